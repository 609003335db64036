"""Starting, watching and ending the cluster's processes, so that none can be lost or mistaken.

Each daemon runs in a session of its own, logs to a file, and moves into the cluster's control group before its program is
executed; all it starts inherits that. So whatever a killed harness left is found by its group, and no pid that was given
to a stranger in the meantime is ever signalled. The pids and start times recorded beside it say what is what.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .cgroups import join_script, members
from .errors import HarnessError
from .places import State
from .progress import tail

TERM_WAIT_S = 5.0
KILL_WAIT_S = 20.0
PORTS = range(20000, 30000)  # below the ephemeral ports, so that no outgoing connection takes one before it is bound


@dataclass(frozen=True)
class Daemon:
    """A process that was started: its pid counts only together with its start time (clock ticks since boot)."""

    name: str
    pid: int
    started: int

    def is_alive(self) -> bool:
        """It is running; a zombie or a stranger with the same pid is not."""
        return start_time(self.pid) == self.started


def start_time(pid: int) -> int | None:
    """Ticks from boot to the start of a process; None when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def start(state: State, name: str, command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> Daemon:
    """Starts a daemon and records it; it outlives this process."""
    log = state.log(name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        process = subprocess.Popen(
            ["/bin/sh", "-c", join_script(state.cgroup), name, *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            env={**os.environ, **(env or {})},
        )
    _reap_later(process)
    daemon = Daemon(name, process.pid, start_time(process.pid) or 0)
    folder = state.path("processes")
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{name}"
    unfinished.write_text(json.dumps(asdict(daemon)))
    unfinished.replace(folder / f"{name}.json")
    return daemon


_children: list[subprocess.Popen[bytes]] = []


def _reap_later(process: subprocess.Popen[bytes]) -> None:
    """Ended children are collected whenever another one is started or waited for, so that none stays a zombie."""
    _children[:] = [child for child in [*_children, process] if child.poll() is None]


def reap() -> None:
    """Collects children that have ended."""
    _children[:] = [child for child in _children if child.poll() is None]


def recorded(state: State) -> list[Daemon]:
    """The daemons that were started, dead or alive, oldest first."""
    found = []
    for path in state.path("processes").glob("[!.]*.json"):
        with contextlib.suppress(ValueError, TypeError, OSError):
            found.append(Daemon(**json.loads(path.read_text())))
    return sorted(found, key=lambda daemon: daemon.started)


def wait_until(check: Callable[[], bool], timeout_s: float, what: str, log: Path, daemon: Daemon | None = None) -> None:
    """Asks again and again until the answer is yes.

    Raises:
        HarnessError: the daemon ended, or `timeout_s` went by; the message has the end of the log.
    """
    began = time.monotonic()
    while not check():
        reap()
        if daemon is not None and not daemon.is_alive():
            raise HarnessError(f"{daemon.name} ended while waiting for {what}; {log} ends with:\n{tail(log)}")
        if time.monotonic() - began > timeout_s:
            raise HarnessError(f"{what}: not within {timeout_s:.0f} s; {log} ends with:\n{tail(log)}")
        time.sleep(0.05)


def end(state: State, names: Sequence[str] | None = None) -> None:
    """Asks the recorded daemons to end (all, or those named), kills those that did not after 5 s."""
    chosen = [daemon for daemon in recorded(state) if names is None or daemon.name in names]
    for number, wait_s in ((signal.SIGTERM, TERM_WAIT_S), (signal.SIGKILL, KILL_WAIT_S)):
        for daemon in chosen:
            if daemon.is_alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(daemon.pid, number)
        give_up = time.monotonic() + wait_s
        while any(daemon.is_alive() for daemon in chosen) and time.monotonic() < give_up:
            reap()
            time.sleep(0.02)
    alive = [daemon for daemon in chosen if daemon.is_alive()]
    if alive:
        raise HarnessError(f"these did not end within {KILL_WAIT_S:.0f} s of SIGKILL: {alive}")
    for daemon in chosen:
        state.path("processes", f"{daemon.name}.json").unlink(missing_ok=True)
    reap()


def kill_group(cgroup: str) -> int:
    """Kills every process of a control group and of those below it; says how many there were.

    Raises:
        HarnessError: some did not end.
    """
    killed: set[int] = set()
    give_up = time.monotonic() + KILL_WAIT_S
    while pids := members(cgroup):
        killed |= pids
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        reap()
        if time.monotonic() > give_up:
            raise HarnessError(
                f"these processes of {cgroup} did not end within {KILL_WAIT_S:.0f} s of SIGKILL: {sorted(pids)}"
            )
        time.sleep(0.02)
    return len(killed)


def free_port() -> int:
    """A TCP port that nobody listens at now on any address."""
    for port in random.sample(PORTS, 1000):
        with socket.socket() as candidate:
            try:
                candidate.bind(("", port))
            except OSError:
                continue
            return port
    raise HarnessError(f"expected a free port among {PORTS}, found none in 1,000 tries")
