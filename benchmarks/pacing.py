"""How late empty async calls start: start - due, p99, against asyncio's own timer."""

from __future__ import annotations

import asyncio
import os
import statistics
import time

from benchmarks.actors import ENGINE_CPU, WORKER_CPU, PinnedGun
from benchmarks.figure import Figure
from wasp_ray import Generator, Profile, plain

ROUNDS, SECONDS = 3, 5


async def asyncio_sleep_p99(calls: int = 500) -> float:
    """p99 of the lateness of asyncio.sleep, seconds."""
    late = []
    for _ in range(calls):
        began = time.monotonic()
        await asyncio.sleep(0.002)
        late.append(time.monotonic() - began - 0.002)
    return statistics.quantiles(late, n=100)[98]


def due_error() -> list[Figure]:
    """At 1,000 and at 20,000 calls a second, the worker on a core that is otherwise idle, the engine on another."""
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[min(ENGINE_CPU, len(cpus) - 1)]})
    try:
        return [_at_rate(rate, cpus[WORKER_CPU]) for rate in (1_000, 20_000)]
    finally:
        os.sched_setaffinity(0, cpus)


def _at_rate(rate: int, cpu: int) -> Figure:
    found, peers = [], []
    for _ in range(ROUNDS):
        peers.append(asyncio.run(asyncio_sleep_p99()))
        generator = Generator("g", gun=PinnedGun, schedule=plain(rate, f"{SECONDS}s"), params={"cpu": cpu})
        result = Profile(generator).run()
        assert result.ledger.ok == rate * SECONDS, result
        found.append(result.summary["generators"]["g"]["start_delay_s"]["p99"] * 1000)
    ms, peer_ms = statistics.median(found), statistics.median(peers) * 1000
    name = f"start - due p99, empty async calls, {rate:,}/s"
    return Figure(name, ms, "ms", "<= 0.25 ms", ms <= 0.25, "asyncio.sleep", ms / peer_ms, ROUNDS)
