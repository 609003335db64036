"""Empty calls a second of one sync user, recorded, against a bare loop that only reads the clock twice a call."""

from __future__ import annotations

import statistics
import time

from benchmarks.actors import EmptyUser
from benchmarks.figure import Figure
from wasp_ray import Generator, Profile, plain

ROUNDS, SECONDS = 3, 4


def bare_loop(seconds: float) -> float:
    """Calls a second of `call()` between two clock readings."""
    call, clock = EmptyUser().call, time.monotonic_ns
    end, count = clock() + int(seconds * 1e9), 0
    while True:
        start = clock()
        call()
        if clock() > end:
            return count / seconds
        count += 1
        del start


def empty_calls() -> list[Figure]:
    """Median of rounds; the run's books must close."""
    rates, bare = [], []
    for _ in range(ROUNDS):
        bare.append(bare_loop(1.0))
        result = Profile(Generator("u", user=EmptyUser, schedule=plain(1, f"{SECONDS}s"))).run()
        assert result.ledger.started == result.ledger.ok, result
        rates.append(result.ledger.ok / SECONDS)
    rate = statistics.median(rates)
    return [
        Figure(
            "empty calls of one sync user, recorded",
            rate,
            "/s",
            ">= 800 k/s",
            rate >= 800_000,
            "bare loop",
            rate / statistics.median(bare),
            ROUNDS,
        )
    ]
