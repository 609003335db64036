"""The dashboard's panels: what is asked of Loki and how it is drawn. Pure; positions are given where they are put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wasp_ray.grafana.queries import failures_by_group, increase, largest, quantile, streams, worst

SOURCE = {"type": "loki", "uid": "${datasource}"}
PROFILE = "$profile"
CHOSEN = {name: f"${name}" for name in ("branch", "commit", "run")}
"""Several values may be chosen of each: Grafana makes a pattern of them."""
STATS, RESPONSES = streams("stats", CHOSEN, profile=PROFILE), streams("responses", CHOSEN, profile=PROFILE)
STEP, WHOLE, PER_S = "$__auto", "$__range", "($__interval_ms / 1000)"

Panel = dict[str, Any]
Query = tuple[str, str]
"""LogQL and legend."""


def all_panels() -> list[Panel]:
    """In reading order, each with its number and place."""
    out, y = [], 0
    for number, (height, row) in enumerate(_ROWS):
        width = 24 // len(row)
        for at, make in enumerate(row):
            place = {"x": at * width, "y": y, "w": width, "h": height}
            out.append({"id": 1 + number * 10 + at, "gridPos": place, "datasource": SOURCE, **make()})
        y += height
    return out


def _series(title: str, description: str, unit: str, *queries: Query) -> Panel:
    targets = [_target(letter, expr, legend) for letter, (expr, legend) in zip("ABCDEF", queries, strict=False)]
    custom = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 5, "showPoints": "auto", "spanNulls": False}
    return {
        "type": "timeseries", "title": title, "description": description, "interval": "1s", "targets": targets,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": custom}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }  # fmt: skip


def _table(title: str, description: str, unit: str, labels: Sequence[str], columns: Mapping[str, str]) -> Panel:
    """A row for each combination of the labels, a column for each query."""
    letters = dict(zip("ABCDEF", columns, strict=False))
    order = [*labels, *(f"Value #{letter}" for letter in letters)]
    return {
        "type": "table", "title": title, "description": description, "interval": "1s",
        "targets": [_target(letter, columns[name], "", instant=True) for letter, name in letters.items()],
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "options": {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}},
        "transformations": [
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {
                "excludeByName": {"Time": True}, "indexByName": {name: at for at, name in enumerate(order)},
                "renameByName": {f"Value #{letter}": name for letter, name in letters.items()},
            }},
        ],
    }  # fmt: skip


def _target(letter: str, expr: str, legend: str, *, instant: bool = False) -> dict[str, Any]:
    return {
        "refId": letter, "datasource": SOURCE, "editorMode": "code", "expr": expr, "legendFormat": legend,
        "queryType": "instant" if instant else "range",
    }  # fmt: skip


def rate() -> Panel:
    """A planned rate beside what was delivered."""
    planned = largest(STATS, "planned", STEP, "generator", of="rate")
    delivered = increase(STATS, "calls_total", STEP, "generator")
    return _series(
        "Rate: planned and delivered", "Calls that ended, a second.", "cps",
        (planned, "{{generator}} planned"), (f"{delivered} / {PER_S}", "{{generator}} delivered"),
    )  # fmt: skip


def users() -> Panel:
    """Generators of users."""
    return _series(
        "Users: planned and active", "Of Generators of users, at the end of each second.", "short",
        (largest(STATS, "planned", STEP, "generator", of="users"), "{{generator}} planned"),
        (largest(STATS, "current_instances", STEP, "generator", of="users"), "{{generator}} active"),
    )  # fmt: skip


def percentiles_by_second() -> Panel:
    """From the stats, so it is there without samples."""
    queries = [
        (worst(STATS, f"response_s.{name}", STEP, "generator"), f"{{{{generator}}}} {name}")
        for name in ("p50", "p95", "p99")
    ]
    return _series(
        "Response time of calls", "From due to end. The worst second and node of each interval.", "s", *queries
    )


def failures() -> Panel:
    """From the counters."""
    queries = [
        (f"{increase(STATS, counter, STEP, 'generator')} / {PER_S}", f"{{{{generator}}}} {legend}")
        for counter, legend in (("failed", "failed"), ("callTimeout", "timeout"))
    ]
    return _series("Failed calls", "A second, by Generator.", "cps", *queries)


def group_failures() -> Panel:
    """From the responses."""
    description = "Failed requests and calls in each interval, from the responses, of which failures are all there."
    return _series(
        "Failures by group", description, "short",
        (failures_by_group(RESPONSES, STEP, "generator, group"), "{{generator}} {{group}}"),
    )  # fmt: skip


def group_percentiles() -> Panel:
    """Over the time that is shown."""
    by = "run, generator, group"
    columns = {
        f"{name} {label}": quantile(RESPONSES, q, field, WHOLE, by)
        for field, label in (("duration", "service"), ("response", "from due"))
        for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
    description = "Of sampled successes within the time shown."
    return _table("Percentiles by group", description, "s", ("run", "generator", "group"), columns)


def totals() -> Panel:
    """Of whole runs."""
    columns = _outcomes("run, generator")
    return _table(
        "Calls by Generator", "Of the chosen runs, since their start.", "short", ("run", "generator"), columns
    )


def nodes() -> Panel:
    """What each node did."""
    columns = _outcomes("run, node") | {
        "most users": largest(STATS, "current_instances", WHOLE, "run, node", of="users"),
        "most in flight": largest(STATS, "in_flight", WHOLE, "run, node"),
    }
    return _table(
        "Nodes",
        "Of the chosen runs, since their start; up to as many as Loki's limit of series allows, 500.",
        "short",
        ("run", "node"),
        columns,
    )


def _outcomes(by: str) -> dict[str, str]:
    counters = {"calls": "calls_total", "ok": "success", "failed": "failed", "timeout": "callTimeout"}
    return {name: largest(STATS, counter, WHOLE, by) for name, counter in counters.items()}


_ROWS = (
    (8, (rate, users)),
    (8, (percentiles_by_second, failures)),
    (8, (group_failures, group_percentiles)),
    (7, (totals, nodes)),
)
