"""Ten minutes at 20,000 calls a second: the aggregator's memory must not grow."""

from __future__ import annotations

import time

from benchmarks.actors import EmptyGun
from benchmarks.figure import Figure
from benchmarks.processes import pss
from wasp_ray import Generator, Profile, plain

RATE, SECONDS, SETTLE_S = 20_000, 600, 60


def soak() -> list[Figure]:
    """Growth of the aggregator's memory from the first minute to the end, and the books."""
    going = Profile(Generator("g", gun=EmptyGun, schedule=plain(RATE, f"{SECONDS}s"))).start()
    node = going._execution.node
    while not node.start_ns_known:
        time.sleep(0.1)
    time.sleep(SETTLE_S)
    first = pss(node.links.aggregator.pid)
    time.sleep(SECONDS - SETTLE_S - 10)
    last = pss(node.links.aggregator.pid)
    result = going.wait(120)
    growth = 100 * (last - first) / first
    return [
        Figure("soak: growth of the aggregator's memory", growth, "%", "<= 5 %", growth <= 5),
        Figure("soak: calls in the ledger", result.ledger.ok, "", "12,000,000", result.ledger.ok == RATE * SECONDS),
    ]
