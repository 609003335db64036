"""Thresholds and the circuit breaker over the time of a run, judged each second from the seconds of all nodes. Pure; the same live
and on a stored run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wasp_ray.plan import Plan
from wasp_ray.stats.grammar import OUTCOME_METRICS, Parsed
from wasp_ray.stats.histogram import BUCKETS, Histogram
from wasp_ray.stats.outcomes import OutcomeCounts
from wasp_ray.stats.seconds import Second, Seconds
from wasp_ray.stats.thresholds import COMPARE, parse

BREAKER_S, BREAKER_CALLS = 30, 100
"""The breaker opens when every call of so many seconds was an error, and there were more than so many calls."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A threshold was broken as long as it says, or a breaker opened, at `at_s` of the run."""

    sentence: str
    at_s: int
    ends_load: bool


@dataclass(slots=True)
class _Part:
    """What one second has for one threshold."""

    times: Histogram = field(default_factory=Histogram)
    outcomes: OutcomeCounts = field(default_factory=OutcomeCounts)
    scheduled: int = 0
    started: int = 0
    dropped: int = 0
    measured_started: int = 0
    measured: int = 0
    """1 if calls were to be made outside of warm-up"""


class _Sums:
    """The sum of the parts that are in the window."""

    def __init__(self, over_s: int | None) -> None:
        self._over_s = over_s
        self._parts: deque[tuple[int, _Part]] = deque()
        self._buckets = np.zeros(BUCKETS, np.int64)
        self._sum_ns = 0
        self.outcomes = OutcomeCounts()
        self.counts = dict.fromkeys(("scheduled", "started", "dropped", "measured_started", "measured"), 0)
        self._low_ns: int | None = None
        self._high_ns: int | None = None

    def add(self, at_s: int, part: _Part) -> None:
        self._change(part, 1)
        if self._over_s is None:
            self._widen(part.times)
            return
        self._parts.append((at_s, part))
        while self._parts[0][0] <= at_s - self._over_s:
            self._change(self._parts.popleft()[1], -1)
        self._low_ns = self._high_ns = None
        for _, kept in self._parts:
            self._widen(kept.times)

    def _widen(self, times: Histogram) -> None:
        if times.min_ns is not None and times.max_ns is not None:
            self._low_ns = times.min_ns if self._low_ns is None else min(self._low_ns, times.min_ns)
            self._high_ns = times.max_ns if self._high_ns is None else max(self._high_ns, times.max_ns)

    def _change(self, part: _Part, sign: int) -> None:
        index, counts = part.times.buckets()
        self._buckets[index] += sign * counts
        self._sum_ns += sign * part.times.sum_ns
        self.outcomes.add_outcomes(sign * number for number in part.outcomes.outcomes().values())
        for name in self.counts:
            self.counts[name] += sign * getattr(part, name)

    def times(self) -> Histogram:
        """Return a histogram that shares its memory: read it before the next second."""
        if self._low_ns is None or self._high_ns is None:
            return Histogram()
        return Histogram.of_counts(self._buckets, int(self._buckets.sum()), self._sum_ns, self._low_ns, self._high_ns)


class _Watched:
    """One threshold and how it went so far."""

    def __init__(self, text: str, plan: Plan) -> None:
        self.text, self.parsed = text, parse(text).parse()
        self._names = [p.name for p in plan.generators if self.parsed.generator in (None, p.name)]
        self._sums = _Sums(self.parsed.over_s)
        self._planned = 0.0  # of the last second
        self.value: float | None = None
        self.worst: float | None = None
        self.broken_since: int | None = None
        self.breached_s: int | None = None
        self.broken_s, self._broken_last_s = 0, -1
        self.held: float | None = None
        self.broke: float | None = None

    def add(self, at_s: int, seconds: Mapping[str, Second]) -> Breach | None:
        """Judge the end of a second. A part of one that came late counts in the newest."""
        parsed = self.parsed
        mine = [seconds[name] for name in self._names if name in seconds]
        if at_s < parsed.after_s:
            return None
        self._sums.add(at_s, _part(parsed, mine))
        self._planned = sum(second.planned for second in mine)
        if parsed.over_s is not None and at_s + 1 < parsed.after_s + parsed.over_s:
            return None
        value = _value(parsed, self._sums)
        return None if value is None else self._judge(at_s, value)

    def judge_what_there_is(self) -> None:
        """Judge a run that was shorter than the window by what it has."""
        value = _value(self.parsed, self._sums) if self.value is None else None
        if value is not None:
            self._judge(self.parsed.after_s, value)

    def _judge(self, at_s: int, value: float) -> Breach | None:
        parsed, planned = self.parsed, self._planned
        self.value = value
        if self.worst is None or _is_worse(parsed, value, self.worst):
            self.worst = value
        if COMPARE[parsed.op](value, parsed.limit):
            self.broken_since = None
            if self.breached_s is None:
                self.held = planned if self.held is None else max(self.held, planned)
            return None
        if self.broken_since is None:
            self.broken_since = at_s
            if self.breached_s is None:
                self.broke = planned
        if self._broken_last_s != at_s:  # a part of a second that comes late is no second more
            self.broken_s, self._broken_last_s = self.broken_s + 1, at_s
        if self.breached_s is None and at_s + 1 - self.broken_since >= parsed.for_s and parsed.is_judged_by_second:
            self.breached_s = at_s + 1
            consequence = ", so the load ends" if parsed.action else ""
            return Breach(f"{self.text}: broken{consequence}", at_s + 1, bool(parsed.action))
        return None

    def result(self) -> dict[str, Any]:
        """Return what summary.json says of it beside its final value."""
        at_s = self.breached_s
        if at_s is None and not self.parsed.is_judged_by_second:
            at_s = self.broken_since
        return {"broken_at_s": at_s, "broken_for_s": self.broken_s, "worst": self.worst}


class ThresholdWatch:
    """Takes the seconds of a run as they close. `breaker`: whether a Generator of which every call fails ends the load."""

    def __init__(self, plan: Plan, *, breaker: bool = True) -> None:
        self._watched = [_Watched(text, plan) for text in plan.thresholds]
        has_actions = any(each.parsed.action for each in self._watched)
        watches = breaker and plan.breaker and not has_actions
        self._breakers = {p.name: _Sums(BREAKER_S) for p in plan.generators} if watches else {}
        self._newest_s = 0
        self.opened: dict[str, Breach] = {}
        """Breakers that opened, by Generator."""

    def add(self, closed: Seconds) -> list[Breach]:
        """Judge each second that has closed; return what was broken by it, in order of time."""
        by_second: dict[int, dict[str, Second]] = {}
        for name, seconds in closed.items():
            for second in seconds:
                by_second.setdefault(second.at_s, {})[name] = second
        found: list[Breach] = []
        for at_s, by_name in sorted(by_second.items()):
            self._newest_s = at_s = max(at_s, self._newest_s)
            found += [breach for each in self._watched if (breach := each.add(at_s, by_name)) is not None]
            found += [
                breach for name, second in by_name.items() if (breach := self._broke(name, at_s, second)) is not None
            ]
        return found

    def _broke(self, name: str, at_s: int, second: Second) -> Breach | None:
        if name not in self._breakers or name in self.opened:
            return None
        sums = self._breakers[name]
        part = _Part()
        part.outcomes.add_outcomes(second.calls().outcomes().values())
        sums.add(at_s, part)
        calls = sums.outcomes.count
        if at_s + 1 < BREAKER_S or calls <= BREAKER_CALLS or sums.outcomes.ok:
            return None
        sentence = (
            f"{name}: all {calls:,} calls of the last {BREAKER_S} s failed, so the load ends (`wasp run --no-breaker` and"
            " Profile(breaker=False) let it continue)"
        )
        self.opened[name] = Breach(sentence, at_s + 1, ends_load=True)
        return self.opened[name]

    def results(self) -> list[dict[str, Any]]:
        """Return broken_at_s, broken_for_s and worst of each threshold of the plan."""
        return [each.result() for each in self._watched]

    def capacity(self) -> dict[str, float | None] | None:
        """Return the load up to which the first threshold held that ends the load by `stop`, and the one at which it broke, in
        calls/s or users; None for a plan without one.
        """
        tests = [each for each in self._watched if each.parsed.action == "stop"]
        for each in sorted(tests, key=lambda each: each.breached_s is None):
            return {"held": each.held, "broke": each.broke if each.breached_s is not None else None}
        return None

    def judged(self, index: int) -> tuple[float | None, bool] | None:
        """Return the last value of a threshold that is judged by the second and whether it passed; None for any other."""
        each = self._watched[index]
        if not each.parsed.is_judged_by_second:
            return None
        each.judge_what_there_is()
        if each.parsed.action == "stop":
            return each.value, each.held is not None
        return each.value, each.value is not None and each.breached_s is None


def _part(parsed: Parsed, seconds: Iterable[Second]) -> _Part:
    part = _Part()
    for second in seconds:
        for key, cell in second.cells.items():
            if key.group == parsed.group and not key.warmup:
                part.outcomes.add_outcomes(cell.outcomes().values())
                if parsed.metric == "latency":
                    part.times.merge(cell.response if parsed.series == "response" else cell.service)
        part.scheduled += second.scheduled
        part.started += second.started
        part.dropped += second.dropped
        if not second.is_warmup:
            part.measured_started += second.started
            part.measured = max(part.measured, int(second.planned > 0 or second.started > 0))
    part.times.compact()  # a long window keeps many
    return part


def _value(parsed: Parsed, sums: _Sums) -> float | None:
    """Return the metric over the window, in the units of `Parsed.limit`; None where nothing can be said."""
    counts, metric = sums.counts, parsed.metric
    if metric == "latency":
        times = sums.times()
        quantile = {"min": 0.0, "max": 100.0}.get(parsed.statistic)
        if parsed.statistic == "mean":
            ns = times.mean_ns
        else:
            ns = times.percentile(float(parsed.statistic[1:]) if quantile is None else quantile)
        return None if ns is None else ns / 1e9
    if metric in ("dropped", "delivered"):
        part = counts["dropped"] if metric == "dropped" else counts["started"]
        return _share(parsed, part, counts["scheduled"])
    if metric == "rate":
        number = counts["measured_started"] if parsed.group is None else sums.outcomes.count
        return number / counts["measured"] if counts["measured"] else None
    if metric == "count":
        return None
    return _share(parsed, getattr(sums.outcomes, OUTCOME_METRICS[metric]), sums.outcomes.count)


def _share(parsed: Parsed, part: int, whole: int) -> float | None:
    if not whole:
        return None
    return part / whole if parsed.share else float(part)


def _is_worse(parsed: Parsed, value: float, than: float) -> bool:
    """Whether a value is farther on the wrong side of the limit, or nearer to it on the right one."""
    if parsed.op in ("<", "<="):
        return value > than
    if parsed.op in (">", ">="):
        return value < than
    distance, before = abs(value - parsed.limit), abs(than - parsed.limit)
    return distance > before if parsed.op == "==" else distance < before
