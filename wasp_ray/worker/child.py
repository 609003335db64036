"""The first moments of a forked worker: default signals, no foreign descriptors, own random streams, lower priority,
capped output.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the plain calls: each enum that `signal` makes of them is memory written in every worker
import ctypes
import gc
import io
import os
import random
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, TextIO

from wasp_ray.worker.spec import WorkerSpec

PR_SET_PDEATHSIG = 1
WAKE_FD = 3
USER_NICE = 10
OOM_RAISE = 500
MAX_LINE_BYTES = 4096


def load_prctl() -> Any:
    """prctl, looked up and warmed up (3 is PR_GET_DUMPABLE) before the first fork: done in each child it costs memory."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    for _ in range(20):
        prctl(3, 0, 0, 0, 0)
    return prctl


def inherited_signals() -> None:
    """Before the first fork: workers end on SIGTERM and SIGHUP, whatever the user's module asked for, the terminal's Ctrl-C
    is the generator's to answer, and SIGPIPE stays ignored as in any Python, or a closed connection would kill its user.
    """
    for number in (_signal.SIGTERM, _signal.SIGHUP):
        _signal.signal(number, _signal.SIG_DFL)
    for number in (_signal.SIGINT, _signal.SIGPIPE):
        _signal.signal(number, _signal.SIG_IGN)


def enter_child(
    spec: WorkerSpec, parent: int, prctl: Any, foreign: Iterable[int], output_fd: int, *, polite: bool
) -> None:
    """Makes the fork a worker. `foreign`: the parent's own descriptors; `polite`: lower its priority."""
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, _signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)
    _signal.set_wakeup_fd(-1)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # all others stand as the zygote has them: see `inherited_signals`
    _take_descriptors(spec, foreign, output_fd)
    try:
        if polite:
            os.nice(USER_NICE)
        oom = os.open("/proc/self/oom_score_adj", os.O_RDWR)
        os.pwrite(oom, b"%d" % min(1000, int(os.read(oom, 16)) + OOM_RAISE), 0)
        os.close(oom)
    except (OSError, ValueError):  # no such file, or not allowed: a courtesy only
        pass
    reseed(spec)
    gc.enable()


def _take_descriptors(spec: WorkerSpec, foreign: Iterable[int], output_fd: int) -> None:
    """stdout and stderr to the node's pipe, the wake pipe low enough for select; stdin is the zygote's, empty.

    The parent's own descriptors are closed; what the user's module opened is left open.
    """
    os.dup2(output_fd, 1)
    os.dup2(output_fd, 2)
    os.dup2(spec.wake_fd, WAKE_FD, inheritable=False)
    for fd in foreign:
        if fd != WAKE_FD:
            os.close(fd)
    os.close(spec.wake_fd)
    spec.wake_fd = WAKE_FD
    open_streams(spec)


def open_streams(spec: WorkerSpec, out: int = 1, err: int = 2) -> None:
    """What user code prints, by line and with its author, to these descriptors."""
    prefix = f"{spec.part.name}/{spec.global_user(spec.first_user)}: "
    sys.stdout, sys.stderr = LineWriter(out, prefix), LineWriter(err, prefix)


def reseed(spec: WorkerSpec) -> None:
    """Seeds the process-wide random streams, which forked children would share, for this worker of the whole run."""
    random.seed(spec.stream_seed())
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed([random.getrandbits(32) for _ in range(4)])  # of 20,000 users, two may well share 32 bits


class LineWriter(io.TextIOBase, TextIO):
    """Text output as whole lines with a prefix, each one atomic write of at most 4 KiB."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, fd: int, prefix: str) -> None:
        self._fd = fd
        self._prefix = prefix.encode("utf-8", "backslashreplace")[:256]
        self._rest = ""

    def fileno(self) -> int:
        """The descriptor, for code that writes to it directly (without a prefix then)."""
        return self._fd

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, text: str) -> int:
        """Keeps what is no whole line yet; a line that never ends is cut at the limit."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._emit(line)
        if len(self._rest) > MAX_LINE_BYTES:
            self._emit(self._rest)
            self._rest = ""
        return len(text)

    def flush(self) -> None:
        """Writes what is left of a line."""
        if self._rest:
            self._emit(self._rest)
            self._rest = ""

    def _emit(self, line: str) -> None:
        raw = line[:MAX_LINE_BYTES].encode("utf-8", "backslashreplace")
        limit = MAX_LINE_BYTES - len(self._prefix) - 1
        with suppress(OSError):
            os.write(self._fd, self._prefix + raw[:limit] + b"\n")
