"""Processes that user code left behind: the zygote is their subreaper, and ends them with the run, whatever their session."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Collection
from contextlib import suppress

from wasp_ray.clock import now_ns, sleep_s

PR_SET_CHILD_SUBREAPER = 36
END_NS = 5_000_000_000


def become_subreaper() -> None:
    """Make this process the parent of orphans below it."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> set[int]:
    """Return the children of this process, which has one thread; none where the kernel does not list them."""
    with suppress(OSError), open(f"/proc/self/task/{os.getpid()}/children") as file:
        return set(map(int, file.read().split()))
    return set()


def end_orphans(but: Collection[int]) -> None:
    """Kill and reap all children beside `but`, and theirs, which become ours in turn; gives up after 5 s."""
    give_up = now_ns() + END_NS
    while (pids := children().difference(but)) and now_ns() < give_up:
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        sleep_s(0.002)
