"""Comparison of a base and a new side: which measures are worse, which are not, and where that cannot be said.

Quantiles are compared as ln(new / base) of the calls of all strata together, errors as the difference of shares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wasp_ray.stats.compare import estimate
from wasp_ray.stats.compare.decision import Decision, Evidence, decide
from wasp_ray.stats.compare.difference import Difference, LogRatio, ShareDifference
from wasp_ray.stats.compare.estimate import MIN_RUNS, Estimate
from wasp_ray.stats.compare.resampling import Resampler
from wasp_ray.stats.compare.result import Comparison, Line, Margin, StratumValues
from wasp_ray.stats.compare.series import Errors, Quantile, Stratum, Subject
from wasp_ray.stats.compare.side import Side, log_ns, position_of

TAIL = 0.025
"""Each bound of the intervals is wrong with this probability."""
WITHIN = "within these runs; a repeated run may differ"
_NS = 1e9

Pair = tuple[Estimate, Estimate]


def compare(
    subjects: Sequence[Subject], *, margin: Margin | None = None, resampler: Resampler | None = None
) -> Comparison:
    """Return a line for each measure of each subject, and the answer to each that is judged.

    All runs are restricted to the seconds that each of them has. Equal arguments give equal results; many comparisons
    of equally long runs are faster with one resampler, which keeps its draws.
    """
    end_s = min((run.end_s for subject in subjects for run in (*subject.base, *subject.new)), default=0)
    margin, resampler = margin or Margin(), resampler or Resampler()
    rows = [row for subject in subjects for row in _rows(subject, end_s, margin, resampler)]
    decisions = iter(decide([row.evidence for row in rows if row.measure.judged], TAIL))
    lines = tuple(row.line(next(decisions) if row.measure.judged else None) for row in rows)
    notes = []
    if any(len(side) < MIN_RUNS for subject in subjects for side in (subject.base, subject.new)):
        notes.append(WITHIN)
    if any(math.floor(stratum.to_s) > end_s for subject in subjects for stratum in subject.strata):
        notes.append(f"only the first {end_s} s are compared, which all runs have")
    return Comparison(tuple(notes), lines)


@dataclass(frozen=True, slots=True)
class _Row:
    """A line without its answer."""

    subject: str
    measure: Quantile | Errors
    evidence: Evidence
    margin: float | None
    sides: Pair | None
    strata: tuple[StratumValues, ...]

    def line(self, decision: Decision | None) -> Line:
        base = new = change = low = high = margin = block_s = None
        difference = self.evidence.difference
        if self.sides is not None and difference is not None and self.margin is not None:
            base, new = (_value(self.measure, side.value) for side in self.sides)
            shown = (difference.value, *difference.bounds(TAIL), self.margin)
            change, low, high, margin = (math.exp(x) if isinstance(self.measure, Quantile) else x for x in shown)
            block_s = None if self.evidence.between else max(side.length_s for side in self.sides)
        decision = decision or Decision(None, None, None)
        return Line(
            self.subject, self.measure, base, new, change, low, high, margin, decision.p, decision.adjusted_p,
            decision.answer, decision.reason, decision.more_s, decision.more_runs, block_s, self.strata,
        )  # fmt: skip


def _rows(subject: Subject, end_s: int, margin: Margin, resampler: Resampler) -> list[_Row]:
    strata = [part for stratum in subject.strata if (part := stratum.until(end_s)).seconds]
    runs = min(len(subject.base), len(subject.new))
    seconds = sum(stratum.seconds for stratum in strata)
    sides = Side(subject.base, strata, 0), Side(subject.new, strata, 1)
    pairs = _estimates(subject, sides, resampler, between=runs >= MIN_RUNS)
    rows = []
    for measure in subject.measures:
        pair = pairs.get(measure)
        difference: Difference | None = None
        limit = None
        if pair is not None and isinstance(measure, Quantile):
            difference, limit = LogRatio(*pair), _log_margin(margin, pair[0].value)
        elif pair is not None:
            difference, limit = ShareDifference(*pair), margin.error_points / 100
        evidence = Evidence(str(measure), pair, difference, limit or 0.0, seconds, runs, isinstance(measure, Quantile))
        values = tuple(_stratum_values(measure, i, stratum, sides) for i, stratum in enumerate(strata))
        rows.append(_Row(subject.name, measure, evidence, limit, pair, values))
    return rows


def _estimates(
    subject: Subject, sides: tuple[Side, Side], resampler: Resampler, *, between: bool
) -> dict[Quantile | Errors, Pair]:
    """Both estimates of each measure; none of a measure without calls on a side."""
    found: dict[Quantile | Errors, Pair] = {}
    wanted = [measure for measure in subject.measures if isinstance(measure, Quantile)]
    qs = [measure.q for measure in wanted]
    base, new = sides
    if qs and (of_base := estimate.quantiles(base, qs, resampler, between=between)):
        of_new = estimate.quantiles(new, qs, resampler, between=between)
        found |= zip(wanted, zip(of_base, of_new, strict=True), strict=True) if of_new else ()
    for measure in subject.measures:
        if isinstance(measure, Errors) and (base_share := estimate.errors(base, resampler, between=between)):
            new_share = estimate.errors(new, resampler, between=between)
            found |= {measure: (base_share, new_share)} if new_share else {}
    return found


def _log_margin(margin: Margin, base_log_ns: float) -> float:
    """The margin of ln(new / base): the larger of the share and of the time beside the base."""
    return math.log(max(1 + margin.share, 1 + margin.time_s * _NS / math.exp(base_log_ns)))


def _value(measure: Quantile | Errors, value: float) -> float:
    return math.exp(value) / _NS if isinstance(measure, Quantile) else value


def _stratum_values(
    measure: Quantile | Errors, index: int, stratum: Stratum, sides: tuple[Side, Side]
) -> StratumValues:
    values: list[float | None] = []
    for side in sides:
        if isinstance(measure, Quantile):
            position = position_of(side.pooled(stratum=index), measure.q)
            values.append(None if position is None else _value(measure, float(log_ns(position))))
        else:
            values.append(estimate.share_of_errors(side, index))
    return StratumValues(stratum.name, stratum.seconds, *values)
