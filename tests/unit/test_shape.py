"""How many workers, rings, slots and entries a Generator gets on a node, and what the machine lacks for them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pytest
from support.plans import generator_plan

from wasp_ray.node import shape
from wasp_ray.node.shape import Estimate, Shape, estimate, shape_of, shortages

MIB, GIB = 2**20, 2**30
ASYNC_GUN: dict[str, Any] = {"is_async": True, "calls": 1000, "peak": 100.0, "max_in_flight": 1000}
SYNC_GUN: dict[str, Any] = {"is_async": False, "max_workers": 200}
USERS: dict[str, Any] = {"kind": "users", "is_async": True, "calls": None}


@pytest.mark.parametrize(
    ("changed", "share", "shares", "expected"),
    [
        (SYNC_GUN, 0, 1, Shape(200, 200, 1024, 1)),
        (SYNC_GUN | {"max_workers": 7}, 0, 3, Shape(3, 3, 1024, 1)),  # max_workers is exact over all nodes
        (SYNC_GUN | {"max_workers": 7}, 1, 3, Shape(2, 2, 1024, 1)),
        (ASYNC_GUN, 0, 1, Shape(4, 4, 65_536, 250)),  # a worker a core
        (ASYNC_GUN | {"max_in_flight": 1001}, 0, 1, Shape(4, 4, 65_536, 251)),  # entries for the larger share
        (ASYNC_GUN | {"max_in_flight": 3}, 0, 1, Shape(3, 3, 65_536, 1)),  # each needs a slot
        (ASYNC_GUN | {"max_in_flight": 7}, 1, 2, Shape(3, 3, 65_536, 1)),
        (ASYNC_GUN | {"calls": 2}, 0, 1, Shape(2, 2, 65_536, 500)),  # and a call
        (ASYNC_GUN | {"calls": 3}, 1, 2, Shape(1, 1, 65_536, 500)),
        (ASYNC_GUN | {"calls": 0}, 0, 1, Shape(1, 1, 65_536, 1000)),
        (ASYNC_GUN | {"peak": 1.5}, 0, 1, Shape(2, 2, 65_536, 500)),  # one for each call a second, and one more
        (ASYNC_GUN | {"peak": 0.9}, 0, 1, Shape(1, 1, 65_536, 1000)),
        (USERS | {"peak": 50.0}, 0, 1, Shape(50, 50, 16_384, 1)),
        (USERS | {"peak": 51.0}, 0, 2, Shape(26, 26, 16_384, 1)),
        (USERS | {"peak": 51.0}, 1, 2, Shape(25, 25, 16_384, 1)),
        (USERS | {"peak": 100.0}, 0, 1, Shape(100, 100, 8192, 1)),  # 64 MiB for all rings: a power of two
        (USERS | {"peak": 5000.0}, 0, 1, Shape(5000, 5000, 1024, 1)),  # but never less than 1,024 slots
        (USERS | {"peak": 10.0, "users_per_process": 4}, 0, 1, Shape(3, 3, 65_536, 4)),
        (USERS | {"peak": 10.0, "users_per_process": 4}, 1, 2, Shape(2, 2, 65_536, 4)),
        (USERS | {"peak": 2.0, "placement": {"CPU": 1}}, 0, 1, Shape(2, 2, 16_384, 1, 50 * MIB)),
    ],
)
def test_workers_rings_slots_and_entries_of_a_generator(
    changed: Mapping[str, Any], share: int, shares: int, expected: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a node with four cores that does its share of the load."""
    monkeypatch.setattr(shape, "cores", lambda: 4)
    assert shape_of(generator_plan(**changed), share, shares, inline=False) == expected


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (SYNC_GUN, Shape(200, 264, 1024, 1)),
        (ASYNC_GUN, Shape(1, 65, 65_536, 1000)),
        (USERS | {"peak": 2.0}, Shape(2, 66, 16_384, 1)),
    ],
)
def test_the_inline_runtime_has_spare_rings_and_one_event_loop(
    changed: Mapping[str, Any], expected: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that is given up keeps its ring."""
    monkeypatch.setattr(shape, "cores", lambda: 4)
    assert shape_of(generator_plan(**changed), 0, 1, inline=True) == expected


def files(monkeypatch: pytest.MonkeyPatch, found: Mapping[str, str]) -> None:
    """Let the module find these files, and no others."""

    def opened(path: str, *_: Any) -> io.StringIO:
        if path not in found:
            raise FileNotFoundError(path)
        return io.StringIO(found[path])

    monkeypatch.setattr("builtins.open", opened)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({}, 8),
        ({"/sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ({"/sys/fs/cgroup/cpu.max": "250000 100000\n"}, 3),  # two and a half cores keep three loops busy at times
        ({"/sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"/sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1),
        ({"/sys/fs/cgroup/cpu.max": "3200000 100000\n"}, 8),
        ({"/sys/fs/cgroup/cpu.max": "nonsense"}, 8),
        (
            {"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
            2,
        ),
        ({"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 8),
        ({"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000"}, 8),
    ],
)
def test_cores_are_those_of_the_affinity_or_of_the_quota_if_that_is_less(
    found: Mapping[str, str], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of both versions of control groups, on a machine with eight."""
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)) if pid == 0 else {0})
    files(monkeypatch, found)
    assert shape.cores() == expected


def test_the_estimate_adds_workers_to_what_the_engine_takes() -> None:
    """Three engine processes beside them."""
    shapes = [Shape(10, 10, 1024, 1), Shape(2, 2, 1024, 1, 50 * MIB)]
    assert estimate(shapes, 5 * MIB) == Estimate(15, (200 + 5 + 30 + 100) * MIB)


MEMINFO = "MemTotal: 9000000 kB\nMemAvailable:    2097152 kB\n"


@pytest.mark.parametrize(
    ("found", "free_gib"),
    [
        ({"/proc/meminfo": MEMINFO}, 2.0),
        ({}, None),
        ({"/proc/meminfo": "MemTotal: 9000000 kB\n"}, None),
        (
            {
                "/proc/meminfo": MEMINFO,
                "/sys/fs/cgroup/memory.max": str(GIB),
                "/sys/fs/cgroup/memory.current": str(GIB // 4),
            },
            0.75,
        ),
        (
            {
                "/proc/meminfo": MEMINFO,
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": str(GIB),
                "/sys/fs/cgroup/memory/memory.usage_in_bytes": str(GIB // 2),
            },
            0.5,
        ),
        (
            {
                "/proc/meminfo": MEMINFO,
                "/sys/fs/cgroup/memory.max": str(9 * GIB),
                "/sys/fs/cgroup/memory.current": str(GIB),
            },
            2.0,
        ),
        (
            {"/proc/meminfo": MEMINFO, "/sys/fs/cgroup/memory.max": "max", "/sys/fs/cgroup/memory.current": "5"},
            2.0,
        ),
    ],
)
def test_memory_is_lacking_beyond_what_is_available(
    found: Mapping[str, str], free_gib: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the machine, and under the limit of the control group; nothing lacks where the system does not tell."""
    files(monkeypatch, found)
    monkeypatch.setattr("os.listdir", lambda path: [])
    monkeypatch.setattr("os.getuid", lambda: 0)
    if free_gib is None:
        assert shortages(Estimate(1, 2**60)) == []
        return
    free = int(free_gib * GIB)
    assert shortages(Estimate(1, free)) == []
    (told,) = shortages(Estimate(1234, free + 1))
    assert f"{free_gib:.1f} GiB are free here" in told and "1,234 processes" in told


@pytest.mark.parametrize(
    ("found", "user", "soft", "allowed"),
    [
        ({"/proc/sys/kernel/pid_max": "1000"}, 0, 10, 997),  # root has no RLIMIT_NPROC
        ({"/proc/sys/kernel/pid_max": "1000", "/sys/fs/cgroup/pids.max": "50"}, 0, 10, 47),
        ({"/proc/sys/kernel/pid_max": "1000", "/sys/fs/cgroup/pids/pids.max": "60"}, 0, 10, 57),
        ({"/proc/sys/kernel/pid_max": "1000", "/sys/fs/cgroup/pids.max": "max"}, 7, 20, 17),
        ({"/proc/sys/kernel/pid_max": "1000"}, 7, -1, 997),
        ({"/proc/sys/kernel/pid_max": "2"}, 0, 10, 0),
        ({}, 0, 10, None),
    ],
)
def test_processes_are_lacking_beyond_the_lowest_limit(
    found: Mapping[str, str], user: int, soft: int, allowed: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the system, the control group and the user; three processes run already."""
    files(monkeypatch, found)
    monkeypatch.setattr("os.listdir", lambda path: ["1", "22", "333", "self", "net"])
    monkeypatch.setattr("os.getuid", lambda: user)
    monkeypatch.setattr("resource.getrlimit", lambda which: (soft, soft))
    if allowed is None:
        assert shortages(Estimate(10**9, 0)) == []
        return
    assert shortages(Estimate(allowed, 0)) == []
    (told,) = shortages(Estimate(allowed + 1, 0))
    assert f"allows about {allowed:,} more" in told
