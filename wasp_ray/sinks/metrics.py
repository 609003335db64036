"""Totals of a node as metrics: names, units, labels and bounded buckets, the same for OTLP and Prometheus. It must not do I/O.

Names are OTLP's. Prometheus has the same with `_` for the dots, the unit and, of counters, `_total` behind them, which is also
what it makes of OTLP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from wasp_ray.sinks.base import SinkRun
from wasp_ray.stats.histogram import BUCKETS, bucket_top
from wasp_ray.stats.outcomes import OUTCOMES

_STEPS = (100, 125, 150, 200, 250, 300, 400, 500, 600, 750)
BOUNDS_NS = (*(step * 10**power for power in range(2, 9) for step in _STEPS), 100_000_000_000)
"""Upper bounds of the exported buckets, inclusive: 10 a decade from 10 us to 100 s. Beyond is one more bucket."""
BOUNDS_S = tuple(bound / 1e9 for bound in BOUNDS_NS)
_EXPORTED = np.searchsorted(np.array(BOUNDS_NS), bucket_top(np.arange(BUCKETS)))
"""By bucket of ours that of the export. One that a bound cuts counts above it: there a bound is up to 0.8 % lower than it says."""
ENDS = (*OUTCOMES, "lost")


class Metric(NamedTuple):
    """`labels`: of its points, beside those of the run."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    text: str
    labels: tuple[str, ...]


_CALL, _REQUEST = ("generator",), ("generator", "group")
CALLS = Metric("wasp_ray.calls", "counter", "{call}", "Calls that were started and have ended.", (*_CALL, "outcome"))
SCHEDULED = Metric("wasp_ray.calls_scheduled", "counter", "{call}", "Calls that were due: started or dropped.", _CALL)
STARTED = Metric("wasp_ray.calls_started", "counter", "{call}", "Calls that were started.", _CALL)
DROPPED = Metric("wasp_ray.calls_dropped", "counter", "{call}", "Calls that were due, not started.", (*_CALL, "cause"))
LATE = Metric("wasp_ray.calls_late", "counter", "{call}", "Calls started more than 10 ms after due.", _CALL)
CALL_SERVICE = Metric("wasp_ray.call.service_time", "histogram", "s", "Start to end of calls.", _CALL)
CALL_RESPONSE = Metric("wasp_ray.call.response_time", "histogram", "s", "Due to end of calls.", _CALL)
REQUESTS = Metric("wasp_ray.requests", "counter", "{request}", "Requests.", (*_REQUEST, "outcome"))
RESPONSES = Metric("wasp_ray.responses", "counter", "{request}", "Requests with a status.", (*_REQUEST, "status"))
RECEIVED = Metric("wasp_ray.received", "counter", "By", "Bytes that requests received.", _REQUEST)
SENT = Metric("wasp_ray.sent", "counter", "By", "Bytes that requests sent.", _REQUEST)
SERVICE = Metric("wasp_ray.request.service_time", "histogram", "s", "Start to end of requests.", _REQUEST)
RESPONSE = Metric("wasp_ray.request.response_time", "histogram", "s", "Due to end of requests.", _REQUEST)
COUNTERS = Metric("wasp_ray.counters", "counter", "", "What the load counted by count().", (*_CALL, "counter"))
IN_FLIGHT = Metric("wasp_ray.calls_in_flight", "gauge", "{call}", "Calls in flight now.", _CALL)
USERS = Metric("wasp_ray.users", "gauge", "{user}", "Users now.", _CALL)
PLANNED_USERS = Metric("wasp_ray.planned_users", "gauge", "{user}", "Users that the schedule wants now.", _CALL)
PLANNED = Metric("wasp_ray.planned_calls", "gauge", "{call}/s", "Calls per second that the schedule wants now.", _CALL)


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram in the exported buckets. `counts`: of each alone; `min_ns`, `max_ns`: None without values or when not known."""

    counts: tuple[int, ...]
    count: int
    sum_ns: int
    min_ns: int | None
    max_ns: int | None

    def __sub__(self, before: Buckets) -> Buckets:
        counts = tuple(mine - theirs for mine, theirs in zip(self.counts, before.counts, strict=True))
        return Buckets(counts, self.count - before.count, self.sum_ns - before.sum_ns, None, None)


Value = int | float | Buckets
Measured = dict[Metric, dict[tuple[str, ...], Value]]
"""Points by metric and by the values of its labels."""


def exported(data: Mapping[str, Any]) -> Buckets:
    """Of a histogram as Histogram.to_data has it."""
    counts = np.zeros(len(BOUNDS_NS) + 1, np.int64)
    if data["buckets"]:
        index, number = np.array(data["buckets"], np.int64).T
        np.add.at(counts, _EXPORTED[index], number)
    return Buckets(tuple(counts.tolist()), data["count"], data["sum_ns"], data["min_ns"], data["max_ns"])


def measured(generators: Mapping[str, Mapping[str, Any]]) -> Measured:
    """All metrics of a state of totals."""
    found: Measured = {}

    def put(metric: Metric, value: Value, *labels: str) -> None:
        found.setdefault(metric, {})[labels] = value

    for name, data in generators.items():
        ledger, now = data["ledger"], data["now"]
        for outcome in ENDS:
            put(CALLS, ledger[outcome], name, outcome)
        for cause, number in data["dropped_by"].items():
            put(DROPPED, number, name, cause)
        for counter, number in data["counters"].items():
            put(COUNTERS, number, name, counter)
        put(SCHEDULED, ledger["scheduled"], name)
        put(STARTED, ledger["started"], name)
        put(LATE, data["late"], name)
        put(CALL_SERVICE, exported(data["call"]["service"]), name)
        put(CALL_RESPONSE, exported(data["call"]["response"]), name)
        put(IN_FLIGHT, now["in_flight"], name)
        put(PLANNED if data["kind"] == "rate" else PLANNED_USERS, now["planned"], name)
        if data["kind"] == "users":
            put(USERS, now["users"], name)
        for group, part in data["groups"].items():
            for outcome in OUTCOMES:
                put(REQUESTS, part[outcome], name, group, outcome)
            for status, number in part["status"].items():
                put(RESPONSES, number, name, group, status)
            put(RECEIVED, part["bytes_in"], name, group)
            put(SENT, part["bytes_out"], name, group)
            put(SERVICE, exported(part["service"]), name, group)
            put(RESPONSE, exported(part["response"]), name, group)
    return found


def since(found: Measured, before: Measured) -> Measured:
    """What counters and histograms have more than before, where they have; gauges as they are."""
    out: Measured = {}
    for metric, points in found.items():
        known = before.get(metric, {})
        if metric.kind == "gauge":
            out[metric] = points
            continue
        grown = {labels: _less(value, known.get(labels)) for labels, value in points.items()}
        out[metric] = {labels: grown[labels] for labels, value in points.items() if value != known.get(labels)}
    return {metric: points for metric, points in out.items() if points}


def _less(value: Value, before: Value | None) -> Value:
    if before is None:
        return value
    if isinstance(value, Buckets) and isinstance(before, Buckets):
        return value - before
    assert not isinstance(value, Buckets) and not isinstance(before, Buckets)
    return value - before


class RunLabels:
    """Labels of every point: those of the Profile and the Generator, `profile`, `run`, `node`, and the metric's own, which win."""

    def __init__(self, run: SinkRun) -> None:
        of_profile = {str(key): str(value) for key, value in run.typed_plan.labels.items()}
        own = {"profile": run.typed_plan.profile, "run": run.run_id, "node": str(run.node)}
        self._by_generator = {part.name: {**of_profile, **part.labels, **own} for part in run.typed_plan.generators}

    def of(self, metric: Metric, values: tuple[str, ...]) -> dict[str, str]:
        """Of one point; the first label of all metrics is the Generator."""
        return {**self._by_generator[values[0]], **dict(zip(metric.labels, values, strict=True))}
