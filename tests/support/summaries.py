"""Summaries of runs that nobody made: built by the Reporter as for a real run, then changed where a test wants it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from support.histograms import histogram_of
from support.run_seconds import seconds_of
from support.scripted_nodes import Quick
from wasp_ray import Generator, Profile, plain
from wasp_ray.execution import Findings, Listener, Reporter, Settings
from wasp_ray.load.build import make_plan
from wasp_ray.node.options import NodeResult
from wasp_ray.stats.tallies import Ledger
from wasp_ray.stats.totals import GeneratorTotals, NodeTotals

HOSTILE = "a|b `c` <script>alert('x')</script> & \"q\" *bold* _i_ [l](http://evil.example) @team #12 ~~s~~ \x1b[2J\x00 é 🐝\nnext"
"""Everything that could break a table, a document or a terminal."""


def summary_of(
    name: str = "search", *, profile: str = "shop", labels: Mapping[str, str] = {}, thresholds: Sequence[str] = (),
    failed: int = 0, found: Findings | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the summary of 100 calls within 10 s, of which some failed."""
    load = Profile(
        Generator(name, gun=Quick, schedule=plain(10, "10s")), name=profile, labels=labels, thresholds=list(thresholds)
    )
    totals = NodeTotals(node=1, host="h")
    ledger = Ledger(scheduled=100, started=100, ok=100 - failed, failed=failed)
    item = totals.generators[name] = GeneratorTotals(kind="rate", ledger=ledger, delivered=100)
    item.call.service = histogram_of([number * 1_000_000 for number in range(1, 101)])
    item.call.response = histogram_of([number * 2_000_000 for number in range(1, 101)])
    result = NodeResult(make_plan(load, {"seed": 7, "nodes": 1}), totals, 10.0, 0.0)
    reporter = Reporter(Settings(source={}), Listener())
    reporter.windows(seconds_of([result]))
    return reporter.conclude([result], found).summary


def error_entry(error: str, group: str = "", count: int = 3) -> dict[str, Any]:
    """Return an entry of `errors`."""
    return {"error": error, "group": group, "count": count, "first_at_s": 1.5, "example": ""}


def group_entry(count: int, failed: int = 0) -> dict[str, Any]:
    """Return an entry of `groups` without times."""
    outcomes = {"ok": count - failed, "failed": failed, "timeout": 0, "killed": 0, "interrupted": 0}
    empty = {"service_s": None, "response_s": None, "bytes_in": 0, "bytes_out": 0}
    return {"count": count, **outcomes, "status": {}, **empty}


def alert_entry(name: str, state: str, unknown: Sequence[str] = ()) -> dict[str, Any]:
    """Return the result of an alert check."""
    return {"name": name, "kind": "grafana", "state": state, "fired": [], "unknown": list(unknown), "blind": []}
