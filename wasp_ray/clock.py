"""The only module that imports `time`: monotonic ns inside a node, wall time at its edge.

It must not decide anything.
"""

from __future__ import annotations

import time

_SCHED_CLOCK = 2
"""Of the CPU clock that Linux has for each process; its id is made of this and the pid, as clock_getcpuclockid(3) does it."""

now_ns = time.monotonic_ns
"""Monotonic clock of this machine, ns; the same for all processes of a node (CLOCK_MONOTONIC)."""

process_cpu_ns = time.process_time_ns
"""CPU time of this process, ns, user and system."""

thread_cpu_ns = time.thread_time_ns
"""CPU time of this thread, ns, user and system."""


def cpu_ns_of(pid: int) -> int:
    """CPU time of another live process, ns, without that of its children; 0 where it is unknown or the process has exited."""
    try:
        return time.clock_gettime_ns(~pid << 3 | _SCHED_CLOCK)
    except (OSError, OverflowError):
        return 0


def cpu_ns_of_thread(ident: int) -> int:
    """CPU time of a live thread of this process, ns; 0 where it is unknown. A thread that has exited must not be asked for."""
    try:
        return time.clock_gettime_ns(time.pthread_getcpuclockid(ident))
    except (AttributeError, OSError):
        return 0


sleep_s = time.sleep
"""Blocks the calling thread for the given seconds; only for threads that nothing has to interrupt."""

wall_s = time.time
"""Seconds since the epoch."""


def suspended_ns() -> int:
    """How long this machine has been suspended since it booted, ns: CLOCK_MONOTONIC stands still meanwhile, CLOCK_BOOTTIME
    does not. 0 where the system has no such clock.
    """
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return 0 if boottime is None else time.clock_gettime_ns(boottime) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def wall_iso(at_s: float | None = None) -> str:
    """UTC with milliseconds, `2026-01-31T12:00:00.000Z`; now, or the given seconds since the epoch."""
    at = time.time() if at_s is None else at_s
    whole, milli = divmod(round(at * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{milli:03d}Z"


def stamp() -> str:
    """Local time for names of files, `20260131-120000`."""
    return time.strftime("%Y%m%d-%H%M%S")
