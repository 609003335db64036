"""How many workers and rings a Generator needs on this node, and whether the machine can hold them.

Pure but for the look at the machine.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass

from wasp_ray.plan import GeneratorPlan
from wasp_ray.schedule import share_count

SMALL_RING, LARGE_RING = 1024, 65_536
RING_BUDGET_BYTES = 64 * 2**20
SPARE_INLINE_RINGS = 64
WORKER_BYTES, PLACED_BYTES = 3 * 2**20, 50 * 2**20
"""What a worker is expected to take at least, beyond what it shares; the user's own data comes on top. One that is no fork
shares nothing.
"""
ENGINE_BYTES = 200 * 2**20


@dataclass(frozen=True, slots=True)
class Shape:
    """Workers at most, rings, slots a ring, in-flight entries a ring, what a worker takes."""

    workers: int
    rings: int
    slots: int
    entries: int
    worker_bytes: int = WORKER_BYTES


def cores() -> int:
    """CPUs this process may use: affinity, and the cgroup's quota rounded up."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_cpus()
    return max(1, min(count, quota) if quota else count)


def _cgroup_cpus() -> int | None:
    """The CPU quota of cgroup v2 or v1, rounded up; None without one."""
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
        return None if quota == "max" else -(-int(quota) // int(period))
    except (OSError, ValueError):
        pass
    try:
        with open("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") as file:
            quota_us = int(file.read())
        with open("/sys/fs/cgroup/cpu/cpu.cfs_period_us") as file:
            return -(-quota_us // int(file.read())) if quota_us > 0 else None
    except (OSError, ValueError):
        return None


def shape_of(part: GeneratorPlan, share: int, shares: int, inline: bool) -> Shape:
    """The shape of one Generator of a plan on a node that does share `share` of `shares`."""
    spare = SPARE_INLINE_RINGS if inline else 0
    if part.kind == "rate":
        if not part.is_async:
            workers = share_count(part.max_workers, share, shares)
            return Shape(workers, workers + spare, SMALL_RING, 1)
        calls = share_count(part.calls or 0, share, shares)
        slots = share_count(part.max_in_flight, share, shares)
        workers = max(1, min(cores() if not inline else 1, calls, int(part.peak) + 1, slots))
        return Shape(workers, workers + spare, LARGE_RING, -(-slots // workers))
    per = part.users_per_process
    workers = -(-share_count(int(part.peak), share, shares) // per)
    slots = _power_of_two(RING_BUDGET_BYTES // 64 // max(1, workers))
    most = LARGE_RING if per > 1 else 16 * SMALL_RING
    each = PLACED_BYTES if part.is_placed else WORKER_BYTES
    return Shape(workers, workers + spare, min(most, max(SMALL_RING, slots)), per, each)


def _power_of_two(at_most: int) -> int:
    return 1 << max(0, at_most.bit_length() - 1)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a node will need."""

    processes: int
    memory_bytes: int


def estimate(shapes: list[Shape], ring_bytes: int) -> Estimate:
    """Processes and memory of a node at the peak of its load."""
    workers = sum(shape.workers for shape in shapes)
    return Estimate(workers + 3, ENGINE_BYTES + ring_bytes + sum(s.workers * s.worker_bytes for s in shapes))


def shortages(need: Estimate) -> list[str]:
    """What this machine lacks for it, one sentence each."""
    out = []
    free = _available_memory()
    if free is not None and need.memory_bytes > free:
        out.append(
            f"about {need.memory_bytes / 2**30:.1f} GiB are needed for {need.processes:,} processes, {free / 2**30:.1f} GiB"
            " are free here: use fewer users"
        )
    limit = _process_limit()
    if limit is not None and need.processes > limit:
        out.append(
            f"{need.processes:,} processes are needed, this machine allows about {limit:,} more: raise the pid limit, use fewer"
            " users, users_per_process= with an async user, or more nodes"
        )
    return out


def _available_memory() -> int | None:
    """MemAvailable, or what the cgroup leaves if that is less."""
    free: int | None = None
    try:
        with open("/proc/meminfo") as file:
            free = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            with open(limit) as a, open(used) as b:
                free = min(free, int(a.read()) - int(b.read()))
        except (OSError, ValueError):
            continue
    return free


def _process_limit() -> int | None:
    """Processes that may still be started: pid_max, the cgroup's pids.max, RLIMIT_NPROC for ordinary users."""
    limits = []
    for path in ("/proc/sys/kernel/pid_max", "/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"):
        try:
            with open(path) as file:
                limits.append(int(file.read()))
        except (OSError, ValueError):
            continue
    if os.getuid() != 0:
        soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
        if soft != resource.RLIM_INFINITY:
            limits.append(soft)
    try:
        running = sum(1 for name in os.listdir("/proc") if name.isdigit())
    except OSError:
        running = 0
    return max(0, min(limits) - running) if limits else None
