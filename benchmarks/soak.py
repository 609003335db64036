"""Ten minutes at 20,000 calls a second: the aggregator's memory must not grow.

Compared are medians of a minute's samples: between two looks of malloc_trim one sample may be a megabyte off.
"""

from __future__ import annotations

import statistics
import time

from benchmarks.actors import EmptyGun
from benchmarks.figure import Figure
from benchmarks.processes import pss
from wasp_ray import Generator, Profile, plain

RATE, SECONDS = 20_000, 600


def soak() -> list[Figure]:
    """Growth of the aggregator's memory from the second minute to the last, and the books."""
    going = Profile(Generator("g", gun=EmptyGun, schedule=plain(RATE, f"{SECONDS}s"))).start()
    while going.elapsed_s is None:
        time.sleep(0.1)
    (aggregator,) = (process.pid for process in going.processes() if process.kind == "aggregator")
    began = time.monotonic()
    minutes = []
    for minute in range(1, SECONDS // 60):  # the first one settles, the last one is left to its end
        samples = []
        while time.monotonic() - began < 60 * (minute + 1) - 10:
            time.sleep(5)
            if time.monotonic() - began > 60 * minute:
                samples.append(pss(aggregator))
        minutes.append(statistics.median(samples))
        print(f"  minute {minute + 1}: {minutes[-1] / 2**20:.2f} MiB", flush=True)
    result = going.wait(120)
    growth = 100 * (minutes[-1] - minutes[0]) / minutes[0]
    return [
        Figure("soak: growth of the aggregator's memory", growth, "%", "<= 5 %", growth <= 5),
        Figure("soak: calls in the ledger", result.ledger.ok, "", "12,000,000", result.ledger.ok == RATE * SECONDS),
    ]
