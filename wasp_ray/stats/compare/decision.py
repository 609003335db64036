"""The answer to each judged measure, by Holm's method over all of them, and what would decide those that stay open."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wasp_ray.stats.compare.difference import Difference
from wasp_ray.stats.compare.estimate import MIN_RUNS, Estimate
from wasp_ray.stats.compare.result import Answer

MIN_EVENTS, MIN_EVENT_BLOCKS = 50, 10
"""A quantile is judged with at least so many calls beyond it on each side, in so many blocks."""
_MOST = 100.0
"""Runs that must be so many times as long decide nothing in practice."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The estimates of a measure on both sides, and their difference.

    `seconds` are those of one run in all strata, `runs` those of the side with fewer.
    """

    name: str
    sides: tuple[Estimate, Estimate] | None
    difference: Difference | None
    margin: float
    seconds: int
    runs: int
    is_quantile: bool

    @property
    def between(self) -> bool:
        """Whether the error is the one between runs."""
        return self.runs >= MIN_RUNS


@dataclass(frozen=True, slots=True)
class Decision:
    """As in result.Line."""

    p: float | None
    adjusted_p: float | None
    answer: Answer | None
    reason: str = ""
    more_s: float | None = None
    more_runs: int | None = None


def decide(found: Sequence[Evidence], tail: float) -> list[Decision]:
    """Return the decision on each measure; they are judged together, with a chance of `tail` of any wrong "worse".

    "Not worse" needs no adjustment: that nothing is worse is claimed only if it holds for each measure (Berger 1982).
    """
    made: dict[int, Decision] = {}
    ps: dict[int, float] = {}
    for i, of in enumerate(found):
        short = _short(of)
        if short is not None:
            made[i] = short
        elif of.difference is not None:
            ps[i] = of.difference.p_beyond(of.margin)
    adjusted = _holm(ps)
    rest = max(1, sum(p > tail for p in adjusted.values()))
    for i, p in ps.items():
        made[i] = _decision(found[i], p, adjusted[i], tail, tail / rest)
    return [made[i] for i in range(len(found))]


def _holm(ps: dict[int, float]) -> dict[int, float]:
    """Adjusted p: Holm, "A simple sequentially rejective multiple test procedure" (1979)."""
    adjusted, most = {}, 0.0
    for rank, i in enumerate(sorted(ps, key=lambda i: ps[i])):
        most = max(most, min(1.0, (len(ps) - rank) * ps[i]))
        adjusted[i] = most
    return adjusted


def _short(of: Evidence) -> Decision | None:
    """The decision where the data do not suffice to judge."""
    if of.sides is None:
        return _open("no calls in a run" if of.seconds else "no whole second of a plateau")
    events = min(side.events for side in of.sides)
    blocks = min(side.event_blocks for side in of.sides)
    if of.is_quantile and (events < MIN_EVENTS or blocks < MIN_EVENT_BLOCKS):
        found = f"{events:,.0f} calls beyond {of.name} in {blocks} blocks, expected {MIN_EVENTS} in {MIN_EVENT_BLOCKS}"
        return _too_short(of, found, max(MIN_EVENTS / max(events, 1.0), MIN_EVENT_BLOCKS / max(blocks, 1)))
    stretch = max(side.stretch for side in of.sides)
    if not of.between and stretch > 1.0:
        return _too_short(of, "seconds depend on each other for too long", stretch)
    return None


def _too_short(of: Evidence, why: str, factor: float) -> Decision:
    """Runs that are `factor` times as long, or as many, would do."""
    more_s, more_runs = _more(of, factor)
    return _open(f"{why}: {_in_words(more_s, more_runs)} would do", more_s, more_runs)


def _decision(of: Evidence, p: float, adjusted: float, tail: float, tail_beyond: float) -> Decision:
    """`tail_beyond` is the one a measure beyond the margin must fall below."""
    assert of.difference is not None
    if adjusted <= tail:
        return Decision(p, adjusted, Answer.WORSE)
    if 1.0 - p <= tail:
        return Decision(p, adjusted, Answer.NOT_WORSE)
    factor = of.difference.factor(of.margin, tail_beyond if of.difference.value > of.margin else tail)
    if factor is None or factor > _MOST:
        return Decision(p, adjusted, Answer.CANNOT_SAY, "the change is about the margin")
    more_s, more_runs = _more(of, factor)
    reason = f"{_in_words(more_s, more_runs)} would decide"
    return Decision(p, adjusted, Answer.CANNOT_SAY, reason, more_s, more_runs)


def _open(reason: str, more_s: float | None = None, more_runs: int | None = None) -> Decision:
    return Decision(None, None, Answer.CANNOT_SAY, reason, more_s, more_runs)


def _more(of: Evidence, factor: float) -> tuple[float | None, int | None]:
    """Seconds a run, or runs a side, that are lacking: at least one."""
    if of.between:
        return None, max(1, math.ceil(of.runs * (factor - 1.0)))
    return max(1.0, of.seconds * (factor - 1.0)), None


def _in_words(more_s: float | None, more_runs: int | None) -> str:
    if more_s is not None:
        return f"about {math.ceil(more_s):,} more seconds a run"
    return f"about {more_runs} more {'run' if more_runs == 1 else 'runs'} a side"
