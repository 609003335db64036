"""How late empty async calls start: start - due, p99, against asyncio's own timer."""

from __future__ import annotations

import asyncio
import statistics
import time

from benchmarks.actors import EmptyGun
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
    """At 1,000 and at 20,000 calls a second."""
    out = []
    for rate in (1_000, 20_000):
        found, peers = [], []
        for _ in range(ROUNDS):
            peers.append(asyncio.run(asyncio_sleep_p99()))
            result = Profile(Generator("g", gun=EmptyGun, schedule=plain(rate, f"{SECONDS}s"))).run()
            assert result.ledger.ok == rate * SECONDS, result
            found.append(result.summary["generators"]["g"]["start_delay_s"]["p99"] * 1000)
        ms, peer_ms = statistics.median(found), statistics.median(peers) * 1000
        out.append(
            Figure(
                f"start - due p99, empty async calls, {rate:,}/s",
                ms,
                "ms",
                "<= 0.25 ms",
                ms <= 0.25,
                "asyncio.sleep",
                ms / peer_ms,
                ROUNDS,
            )
        )
    return out
