"""What PID 1 of a container has to do: take leave of processes whose parents are gone. Users start some, and die."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress

EVERY_S = 1.0


def reap_as_init(own: Callable[[], set[int]], over: threading.Event) -> None:
    """As PID 1, reaps every zombie that is none of `own()`, which somebody else waits for; elsewhere does nothing."""
    if os.getpid() == 1:
        threading.Thread(target=_live, args=(own, over), name="wasp-init", daemon=True).start()


def _live(own: Callable[[], set[int]], over: threading.Event) -> None:
    while not over.wait(EVERY_S):
        for pid in zombies() - own():
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def zombies() -> set[int]:
    """Pids of this process' children that have ended and nobody has waited for."""
    found = set()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat") as file:
                state, parent = file.read().rsplit(")", 1)[1].split()[:2]
        except (OSError, IndexError, ValueError):
            continue
        if state == "Z" and int(parent) == os.getpid():
            found.add(int(name))
    return found
