"""The control groups of one cluster: a group of the same name in each hierarchy of this machine.

Works with version 1, version 2 and both at once. Owns making, listing and removing the groups; the kubelet and the docker
daemon put theirs below. Limits nothing.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from .errors import HarnessError

DAEMONS = "daemons"  # a leaf: version 2 wants no process in a group that has groups below


def hierarchies() -> list[tuple[Path, bool]]:
    """Where control groups are mounted, and whether that is version 2 (such a one first)."""
    found: list[tuple[Path, bool]] = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, target, kind, *_ = line.split()
        if kind in ("cgroup", "cgroup2") and Path(target) not in [path for path, _ in found]:
            found.append((Path(target), kind == "cgroup2"))
    if not found:
        raise HarnessError("expected mounted control groups (a kubelet needs them), found none in /proc/self/mounts")
    return sorted(found, key=lambda item: not item[1])


def make(cgroup: str) -> None:
    """Makes the group in each hierarchy, with all controllers that version 2 offers."""
    for root, unified in hierarchies():
        folder = root / cgroup.strip("/")
        folder.mkdir(exist_ok=True)
        if unified:
            for parent in (root, folder):
                offered = (parent / "cgroup.controllers").read_text().split()
                if offered:
                    (parent / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in offered))
        elif (folder / "cpuset.cpus").exists():
            for name in ("cpuset.cpus", "cpuset.mems"):  # empty ones let no process in
                (folder / name).write_text((root / name).read_text())
    (hierarchies()[0][0] / cgroup.strip("/") / DAEMONS).mkdir(exist_ok=True)


def join_script(cgroup: str) -> str:
    """What a shell does before it becomes a daemon."""
    folder = hierarchies()[0][0] / cgroup.strip("/") / DAEMONS
    return f'echo $$ > "{folder}/cgroup.procs" && exec "$@"'


def members(cgroup: str) -> set[int]:
    """The running processes that are in the group, or below it, in any hierarchy."""
    found = set()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            paths = [line.split(":", 2)[2] for line in Path(f"/proc/{name}/cgroup").read_text().splitlines()]
            if not any(path == cgroup or path.startswith(cgroup + "/") for path in paths):
                continue
            state = Path(f"/proc/{name}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (OSError, IndexError):
            continue
        if state not in "ZX":
            found.add(int(name))
    return found


def remove(cgroup: str, timeout_s: float = 10.0) -> None:
    """Removes the empty group and those below it from each hierarchy.

    Raises:
        HarnessError: one is still busy after `timeout_s`.
    """
    give_up = time.monotonic() + timeout_s
    for root, _ in hierarchies():
        top = root / cgroup.strip("/")
        while top.exists():
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
            if top.exists():
                if time.monotonic() > give_up:
                    raise HarnessError(f"{top} could not be removed within {timeout_s:.0f} s: is a process left in it?")
                time.sleep(0.05)
