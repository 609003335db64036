"""Runs one tool on one core and measures it from outside: calls counted by the target, CPU and memory by the kernel.

The same way for every tool, whatever it says of itself: after its first calls and `warm_s`, a window of `window_s` in which
the target's counter, the CPU time of the tool's process tree and that of the target are read at both ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers_targets import Nginx

FIRST_CALL_TIMEOUT_S = 60.0
END_TIMEOUT_S = 60.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
FIRST_CALLS = 20
TRIES, PATIENCE_S, OTHERS_CPU = 3, 2.0, 0.1
"""A window in which the rest of the machine took more than a tenth of a core is measured again."""


@dataclass(frozen=True)
class Measured:
    """Of one run. `calls`: all that the target answered, from start to end."""

    rate: float
    cpu_us: float  # of the tool's processes, a call
    target_cpu: float  # share of the target's core
    tool_cpu: float  # share of the tool's core
    pss_bytes: int
    calls: int
    window_s: float
    others_cpu: float  # cores that other processes of this machine took meanwhile


class ToolError(Exception):
    """A tool made no load or did not end; the message has the end of what it said."""


def measure_undisturbed(
    command: Sequence[str], env: Mapping[str, str], target: Nginx, core: int, log: Path, *, warm_s: float, window_s: float
) -> Measured:  # fmt: skip
    """Up to three times, until other processes leave the machine alone meanwhile; what the tool wrote is of the last time."""
    for left in reversed(range(TRIES)):
        shutil.rmtree(log.parent / "run", ignore_errors=True)
        made = measure(command, env, target, core, log, warm_s=warm_s, window_s=window_s)
        if made.others_cpu <= OTHERS_CPU:
            break
        if left:
            time.sleep(PATIENCE_S)
        else:
            print(f"  {log.parent.name}: other processes took {made.others_cpu:.0%} of a core", flush=True)
    return made


def measure(
    command: Sequence[str], env: Mapping[str, str], target: Nginx, core: int, log: Path, *, warm_s: float, window_s: float
) -> Measured:  # fmt: skip
    """Runs the tool to its end. Raises ToolError."""
    before = target.count()
    with log.open("wb") as file:
        process = start(command, env, core, file.fileno())
    try:
        _wait_for_calls(process, target, before, log)
        time.sleep(warm_s)
        pids, servers = tree(process.pid), tree(target.pid)
        known = {*pids, *servers, os.getpid()}
        others = _each_cpu_s(known)
        began, count, cpu, served = time.monotonic(), target.count(), cpu_s(pids), cpu_s(servers)
        time.sleep(window_s)
        took, made = time.monotonic() - began, target.count() - count
        used, target_used = cpu_s(pids) - cpu, cpu_s(servers) - served
        foreign = sum(max(0.0, now - others.get(pid, 0.0)) for pid, now in _each_cpu_s(known).items())
        memory = sum(map(pss, pids))
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise ToolError(f"{command[0]} did not end: {_tail(log)}") from None
    finally:
        end(process)
    if not made:
        raise ToolError(f"{command[0]} made no call in the window: {_tail(log)}")
    calls = target.count() - before
    return Measured(
        made / took, used / made * 1e6, target_used / took, used / took, memory, calls, took, foreign / took
    )


def start(command: Sequence[str], env: Mapping[str, str], core: int, output: int) -> subprocess.Popen[bytes]:
    """The tool and all its processes on `core`; both its outputs go to the descriptor."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        env={**os.environ, **env},
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """Kills what is left of the tool."""
    if process.poll() is not None:
        return
    for pid in tree(process.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _wait_for_calls(process: subprocess.Popen[bytes], target: Nginx, before: int, log: Path) -> None:
    give_up = time.monotonic() + FIRST_CALL_TIMEOUT_S
    while target.count() - before < FIRST_CALLS:
        if process.poll() is not None or time.monotonic() > give_up:
            raise ToolError(f"no load ({process.args!r}): {_tail(log)}")
        time.sleep(0.02)


def tree(root: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError):
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found, ahead = [], [root]
    while ahead:
        pid = ahead.pop()
        found.append(pid)
        ahead += children.get(pid, [])
    return found


def cpu_s(pids: Iterable[int]) -> float:
    """User and system time, threads included."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            fields = _stat(pid)
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_S


def _each_cpu_s(known: Container[int]) -> dict[int, float]:
    """Of every process that is not known, by its pid."""
    pids = [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]
    return {pid: cpu_s([pid]) for pid in pids if pid not in known}


def pss(pid: int) -> int:
    """Proportional set size, bytes; 0 when the process has ended."""
    with suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _tail(log: Path) -> str:
    return log.read_bytes()[-1500:].decode(errors="replace")


def cores() -> tuple[int, int]:
    """One for the tool, another for the target and this process. Exits where there is only one."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        sys.exit("expected two cores, one for the tools and one for the target, found one")
    return available[0], available[1]
