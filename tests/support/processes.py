"""Who is below this process."""

from __future__ import annotations

import os


def descendants() -> set[int]:
    """Pids of this process' children and theirs."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    state, parent = file.read().rsplit(")", 1)[1].split()[:2]
                if state not in "ZX":
                    parents[int(name)] = int(parent)
            except (OSError, IndexError):
                continue
    found: set[int] = set()
    new = {os.getpid()}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return found
