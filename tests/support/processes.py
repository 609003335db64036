"""Who is below this process, above another one, or has a variable."""

from __future__ import annotations

import os
from pathlib import Path


def _parents() -> dict[int, int]:
    """Of all live processes."""
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
    return parents


def descendants(root: int | None = None) -> set[int]:
    """Pids of the children of a process and theirs; of this process by default."""
    parents = _parents()
    found: set[int] = set()
    new = {os.getpid() if root is None else root}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return found


def ancestors(pid: int) -> set[int]:
    """Pids of a process' parent, of that one's, and so on."""
    parents, found = _parents(), set[int]()
    while (pid := parents.get(pid, 0)) > 0:
        found.add(pid)
    return found


def processes_with(variable: str) -> list[int]:
    """Processes of this machine, also in containers, that were started with NAME=VALUE."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if variable.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:  # it has ended, or is ending
            pass
    return found


def is_alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False
