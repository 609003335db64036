"""Quantiles and the share of errors of one side, with their standard errors between blocks of seconds or between runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wasp_ray.stats.compare.block_length import dependence, limited_s, longest_s, stretch
from wasp_ray.stats.compare.resampling import Resampler
from wasp_ray.stats.compare.side import Side, log_ns, position_of
from wasp_ray.stats.histogram import BUCKETS

Floats = NDArray[np.float64]

MIN_RUNS = 3
"""From so many runs a side on, the standard error is taken between runs."""
_KNOTS = 48
_REACH = 6.0
"""Replicates are counted at so many points of the distribution, up to so many standard errors around the quantile."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """`value` is ln(ns) of a quantile or a share of calls, with its standard error and degrees of freedom.

    `events` are the calls beyond the quantile, or the errors; they lie in `event_blocks` of the `blocks` blocks of at
    most `length_s`. The runs must be `stretch` times as long for the wanted blocks to fit: 1 when they do.
    """

    value: float
    error: float
    df: float
    events: float
    event_blocks: int
    blocks: int
    length_s: float
    stretch: float


def quantiles(side: Side, qs: Sequence[float], resampler: Resampler, *, between: bool) -> list[Estimate] | None:
    """Return the estimates of quantiles pooled over strata and runs; None without calls.

    `between`: take value and standard error from the runs' own quantiles (None if a run has no calls), else from the
    seconds within the runs.
    """
    pooled = side.pooled()
    found = [position_of(pooled, q) for q in qs]
    positions = [position for position in found if position is not None]
    if len(positions) < len(qs):
        return None
    blocks = _quantile_blocks(side, pooled, qs, positions)
    if between:
        each = [_between_runs(side, q, of) for q, of in zip(qs, blocks, strict=True)]
        of_runs = [one for one in each if one is not None]
        return of_runs if len(of_runs) == len(qs) else None
    total = float(pooled.sum())
    edges = [
        _edges(pooled, q, position, of.sum_error / total) for q, position, of in zip(qs, positions, blocks, strict=True)
    ]
    every = np.unique(np.concatenate([*edges, [BUCKETS]]))
    column_of = np.searchsorted(every, np.arange(BUCKETS), side="right")
    below = [
        side.table(i, column_of, len(every) + 1, rows=part.cells).cumsum(axis=1) for i, part in enumerate(side.parts)
    ]
    made = []
    for q, position, of, own in zip(qs, positions, blocks, edges, strict=True):
        columns = np.append(np.searchsorted(every, own), len(every))
        replicates = of.replicates(resampler, [counts[:, columns] for counts in below])
        logs = log_ns(_replicated(own, replicates, q))
        made.append(of.estimate(float(log_ns(position)), float(logs.std(ddof=1))))
    return made


def _quantile_blocks(
    side: Side, pooled: NDArray[np.int64], qs: Sequence[float], positions: Sequence[float]
) -> list[_Blocks]:
    """Blocks for the calls of each second beyond each quantile.

    They are no shorter than those of the median: what moves all calls shows in it first, while the few calls beyond a
    high quantile hide it in their own noise.
    """
    middle = position_of(pooled, 0.5)
    assert middle is not None
    wanted = [middle, *positions]
    cuts = np.unique([int(at) + more for at in wanted for more in (0, 1)])
    column_of = np.searchsorted(cuts, np.arange(BUCKETS), side="right")
    tables = [side.table(i, column_of, len(cuts) + 1, rows=part.n) for i, part in enumerate(side.parts)]

    def beyond(position: float) -> list[Floats]:
        at = int(column_of[int(position)])
        inside = int(position) + 1 - position
        return [table[:, at] * inside + table[:, at + 1 :].sum(axis=1) for table in tables]

    def blocks(q: float, position: float, least_s: float) -> _Blocks:
        events = beyond(position)
        excess = [values - (1 - q) * table.sum(axis=1) for values, table in zip(events, tables, strict=True)]
        return _Blocks(side, excess, events, least_s)

    least_s = blocks(0.5, middle, 0.0).found.wanted_s
    return [blocks(q, at, least_s) for q, at in zip(qs, positions, strict=True)]


def _between_runs(side: Side, q: float, blocks: _Blocks) -> Estimate | None:
    positions = [position_of(side.pooled(run=run), q) for run in range(len(side.runs))]
    logs = [float(log_ns(position)) for position in positions if position is not None]
    return blocks.of_runs(np.array(logs)) if len(logs) == len(positions) else None


def _edges(pooled: NDArray[np.int64], q: float, position: float, rank_error: float) -> NDArray[np.int64]:
    """Edges of buckets around a quantile, equally spaced in rank."""
    ranks = np.clip(q + np.linspace(-_REACH, _REACH, _KNOTS) * rank_error, 0.0, 1.0)
    below = np.concatenate([[0], np.cumsum(pooled)])
    found = np.searchsorted(below, ranks * below[-1])
    return np.unique(np.clip(np.append(found, [int(position), int(position) + 1]), 0, BUCKETS))


def _replicated(edges: NDArray[np.int64], replicates: Floats, q: float) -> Floats:
    """The position of the quantile in each replicate: counts below each edge, and of all calls in the last column."""
    below, target = replicates[:, :-1], q * replicates[:, -1]
    right = np.clip((below < target[:, None]).sum(axis=1), 1, len(edges) - 1)
    rows = np.arange(len(below))
    low, width = below[rows, right - 1], below[rows, right] - below[rows, right - 1]
    share = np.clip((target - low) / np.where(width > 0, width, 1.0), 0.0, 1.0)
    made: Floats = edges[right - 1] + share * (edges[right] - edges[right - 1])
    return made


def errors(side: Side, resampler: Resampler, *, between: bool) -> Estimate | None:
    """Return the estimate of the share of errors; None without calls. `between` as in `quantiles`."""
    tables = [side.calls_and_errors(i) for i in range(len(side.parts))]
    calls, failed = (float(sum(table[:, column].sum() for table in tables)) for column in (0, 1))
    if calls <= 0:
        return None
    share = failed / calls
    excess = [table[:, 1] - share * table[:, 0] for table in tables]
    blocks = _Blocks(side, excess, [table[:, 1] for table in tables], 0.0)
    if between:
        sums = np.zeros((len(side.runs), 2))
        for part, table in zip(side.parts, tables, strict=True):
            sums[part.run] += table.sum(axis=0)
        return blocks.of_runs(sums[:, 1] / sums[:, 0]) if sums[:, 0].all() else None
    replicates = blocks.replicates(
        resampler, [part.cell_sums(table) for part, table in zip(side.parts, tables, strict=True)]
    )
    shares = replicates[:, 1] / np.maximum(replicates[:, 0], 1.0)
    return blocks.estimate(share, float(shares.std(ddof=1)))


class _Blocks:
    """The blocks of each part for a statistic that is, to first order, the sum of `excess` over all seconds.

    `events` by second are what the statistic counts; blocks of `least_s` are wanted anyway.
    """

    def __init__(self, side: Side, excess: Sequence[Floats], events: Sequence[Floats], least_s: float) -> None:
        self._side = side
        self._events = events
        self.found = dependence(excess)
        self._wanted_s = max(self.found.wanted_s, least_s)
        self._cells = [part.cells_of(limited_s(self._wanted_s, part.n)) for part in side.parts]
        self._weights = [float(values @ values) for values in excess]

    @property
    def sum_error(self) -> float:
        """Standard error of the sum as the bootstrap sees it."""
        lengths = [
            max(1, round(cells * part.cell_s)) for part, cells in zip(self._side.parts, self._cells, strict=True)
        ]
        parts = zip(self._side.parts, lengths, strict=True)
        return math.sqrt(sum(part.n * self.found.block_variance(length) for part, length in parts))

    def replicates(self, resampler: Resampler, cells: Sequence[Floats]) -> Floats:
        """Return the totals of each column over all parts in each replicate."""
        side = self._side
        drawn = [
            resampler.totals(side.stream(i), sums, length)
            for i, (sums, length) in enumerate(zip(cells, self._cells, strict=True))
        ]
        total: Floats = np.sum(drawn, axis=0, dtype=np.float64)
        return total

    def estimate(self, value: float, error: float) -> Estimate:
        """Return an estimate within runs.

        Blocks miss the dependence beyond their ends, so the error is raised by what they miss in the sum.
        """
        whole, seen = math.sqrt(self.found.long_run_variance * self._side.seconds), self.sum_error
        missed = whole / seen if whole > seen > 0 else 1.0
        df = min(self._blocks - len(self._side.parts), self.found.df)
        return self._made(value, error * missed, max(1.0, df))

    def of_runs(self, values: Floats) -> Estimate:
        """Return an estimate between runs from the value of each."""
        n = len(values)
        return self._made(float(values.mean()), float(values.std(ddof=1)) / math.sqrt(n), n - 1.0)

    @property
    def _blocks(self) -> int:
        return sum(part.cells // cells for part, cells in zip(self._side.parts, self._cells, strict=True))

    def _made(self, value: float, error: float, df: float) -> Estimate:
        side = self._side
        events = round(sum(float(values.sum()) for values in self._events), 6)  # 50 calls, not 49.999999999
        length_s = max(cells * part.cell_s for part, cells in zip(side.parts, self._cells, strict=True))
        return Estimate(value, error, df, events, self._event_blocks, self._blocks, length_s, self._stretch)

    @property
    def _event_blocks(self) -> int:
        found = 0
        for part, cells, values in zip(self._side.parts, self._cells, self._events, strict=True):
            cell = np.arange(part.n) * part.cells // part.n
            block = np.minimum(cell // cells, part.cells // cells - 1)
            found += int(np.count_nonzero(np.bincount(block, values)))
        return found

    @property
    def _stretch(self) -> float:
        """Parts in which nothing varies need no blocks."""
        fitting = [longest_s(part.n) for part in self._side.parts]
        weight = sum(self._weights)
        return stretch(self._wanted_s, float(np.average(fitting, weights=self._weights))) if weight > 0 else 1.0


def share_of_errors(side: Side, stratum: int) -> float | None:
    """Return the share of errors of the runs of a side in one stratum; None without calls."""
    tables = [side.calls_and_errors(i) for i, part in enumerate(side.parts) if part.stratum == stratum]
    calls, failed = np.sum([table.sum(axis=0) for table in tables], axis=0)
    return float(failed / calls) if calls else None
