"""Seconds that add up to results which no node has made."""

from __future__ import annotations

from collections.abc import Sequence

from wasp_ray.node.options import NodeResult
from wasp_ray.stats.seconds import Second, Seconds


def seconds_of(results: Sequence[NodeResult]) -> Seconds:
    """Return one second with all calls and requests of some results: a run whose seconds do not add up to its totals is invalid."""
    found: dict[str, list[Second]] = {}
    for result in results:
        for name, totals in result.totals.generators.items():
            ledger = totals.ledger
            second = Second(0, scheduled=ledger.scheduled, started=ledger.started, lost=ledger.lost)
            second.dropped_by = {"limit": ledger.dropped} if ledger.dropped else {}
            second.cell(None, warmup=False).add_outcomes(ledger.outcomes().values())
            for group, requests in totals.groups.items():
                second.cell(group, warmup=False).add_outcomes(requests.outcomes().values())
            found[name] = [second]
    return found
