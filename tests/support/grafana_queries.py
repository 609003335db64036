"""A dashboard's queries with what Grafana puts in for its variables, for a Loki to answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from support.loki_client import LokiClient, Series
from support.query_answers import Sample


@dataclass(frozen=True)
class Shown:
    """What a dashboard shows: a span of time and the values of its variables; patterns are of those with several."""

    from_s: int
    to_s: int
    variables: Mapping[str, str]

    def filled(self, expr: str, step_s: int) -> str:
        """As Grafana's Loki data source does it."""
        span = f"{self.to_s - self.from_s}s"
        instant = "[$__range]" in expr
        known = {"__interval_ms": str(step_s * 1000), "__interval": f"{step_s}s", "__range": span, **self.variables}
        known["__auto"] = span if instant else f"{step_s}s"
        for name in sorted(known, key=len, reverse=True):
            expr = expr.replace(f"${name}", known[name])
        assert "$" not in expr, expr
        return expr

    def table(self, loki: LokiClient, target: Mapping[str, Any]) -> list[Sample]:
        """An instant query, at the end."""
        assert target["queryType"] == "instant"
        return loki.query(self.filled(target["expr"], 1), self.to_s * 1_000_000_000)

    def graph(self, loki: LokiClient, target: Mapping[str, Any], step_s: int = 1) -> list[Series]:
        """A range query."""
        assert target["queryType"] == "range"
        start, end = (at - at % step_s + step_s * more for at, more in ((self.from_s, 0), (self.to_s, 1)))
        return loki.query_range(self.filled(target["expr"], step_s), start * 10**9, end * 10**9, step_s)

    def answer(self, loki: LokiClient, target: Mapping[str, Any], step_s: int = 1) -> list[Any]:
        """Of either kind, in a fixed order."""
        instant = target["queryType"] == "instant"
        found: list[Any] = self.table(loki, target) if instant else [*self.graph(loki, target, step_s)]
        return sorted(found, key=str)


def targets(dashboard: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each query with its name: panel and letter."""
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target


def target(dashboard: Mapping[str, Any], panel: str, letter: str = "A") -> Mapping[str, Any]:
    """One of them."""
    return dict(targets(dashboard))[f"{panel} {letter}"]


def column(dashboard: Mapping[str, Any], panel: str, name: str) -> Mapping[str, Any]:
    """The query of a table's column, by the name it is given."""
    (shown,) = (one for one in dashboard["panels"] if one["title"] == panel)
    names = shown["transformations"][1]["options"]["renameByName"]
    (letter,) = (value.removeprefix("Value #") for value, given in names.items() if given == name)
    return target(dashboard, panel, letter)
