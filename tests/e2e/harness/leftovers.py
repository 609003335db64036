"""Removing all that a cluster leaves on this machine, whenever and however it ended.

Owns the knowledge of what lies outside the state folder: control groups, the bridge, the runtime's shim sockets, entries
of the container network and log links. Ends only processes of the cluster's own control group.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

from . import cgroups
from .errors import HarnessError
from .places import State
from .processes import end, kill_group

SHIM_SOCKETS = Path("/run/containerd/s")
NETWORK_RESULTS = Path("/var/lib/cni/results")
CONTAINER_LOGS = Path("/var/log/containers")
UNMOUNT_WAIT_S = 20.0


def clean(state: State) -> int:
    """Ends and removes everything of this cluster; says how many processes had to be killed beyond its daemons."""
    end(state)
    killed = kill_group(state.cgroup)
    _remove_runtime_entries(state)
    subprocess.run(["ip", "link", "delete", state.bridge], capture_output=True)
    unmount_below(state.docker_data)
    remove_tree(state.folder)
    cgroups.remove(state.cgroup)
    return killed


def mounts_below(folder: Path) -> list[Path]:
    """Where something is mounted at or below the folder, the innermost last."""
    prefix = str(folder)
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        target = line.split()[4].encode().decode("unicode_escape")
        if target == prefix or target.startswith(prefix + "/"):
            found.append(Path(target))
    return found


def unmount_below(folder: Path) -> None:
    """Unmounts all that is mounted at or below the folder; what is busy is detached.

    Raises:
        HarnessError: something is still mounted after a while.
    """
    give_up = time.monotonic() + UNMOUNT_WAIT_S
    while targets := mounts_below(folder):
        for target in reversed(targets):
            if subprocess.run(["umount", target], capture_output=True).returncode:
                subprocess.run(["umount", "--lazy", target], capture_output=True)
        if time.monotonic() > give_up:
            raise HarnessError(f"still mounted after {UNMOUNT_WAIT_S:.0f} s of trying: {mounts_below(folder)}")


def remove_tree(folder: Path) -> None:
    """Removes a folder, unmounting first all that is mounted in it: nothing is ever removed through a mount."""
    unmount_below(folder)
    for _ in range(3):  # a file that a dying process still writes
        with contextlib.suppress(FileNotFoundError):
            if folder.exists():
                shutil.rmtree(folder)
            return
    if folder.exists():
        shutil.rmtree(folder)


def _remove_runtime_entries(state: State) -> None:
    """What the container runtime, the network plugins and the kubelet wrote outside the state folder."""
    containers = set()
    tasks = "io.containerd.runtime.v2.task/*/*"
    runtimes = (state.path("containerd", "state"), state.path("docker", "containerd", "daemon"))
    for task in (task for runtime in runtimes for task in runtime.glob(tasks)):
        containers.add(task.name)
        with contextlib.suppress(OSError):
            socket = Path((task / "address").read_text().removeprefix("unix://"))
            if socket.parent == SHIM_SOCKETS:
                socket.unlink(missing_ok=True)
    if NETWORK_RESULTS.is_dir():
        for result in NETWORK_RESULTS.iterdir():
            if result.name.startswith(state.bridge) or any(name in result.name for name in containers):
                result.unlink(missing_ok=True)
    if CONTAINER_LOGS.is_dir():
        for link in CONTAINER_LOGS.iterdir():
            if link.is_symlink() and os.readlink(link).startswith(f"{state.folder}/"):
                link.unlink(missing_ok=True)


def left_behind(state: State) -> list[str]:
    """What of this cluster is still on the machine: processes, mounts, groups, links; for tests that nothing is."""
    found = [f"process {pid}" for pid in sorted(cgroups.members(state.cgroup))]
    found += [f"mount {path}" for folder in (state.folder, state.docker_data) for path in mounts_below(folder)]
    found += [f"folder {state.folder}"] if state.folder.exists() else []
    for root, _ in cgroups.hierarchies():
        if (root / state.cgroup.strip("/")).exists():
            found.append(f"control group {root}{state.cgroup}")
    if Path("/sys/class/net", state.bridge).exists():
        found.append(f"bridge {state.bridge}")
    for folder in (NETWORK_RESULTS, CONTAINER_LOGS):
        if folder.is_dir():
            names = [path for path in folder.iterdir() if state.bridge in path.name or _points_into(path, state.folder)]
            found += [f"file {path}" for path in names]
    return found


def _points_into(path: Path, folder: Path) -> bool:
    return path.is_symlink() and os.readlink(path).startswith(f"{folder}/")
