"""One side of a comparison: the histograms of its runs by stratum, second and cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from wasp_ray.stats.compare.block_length import longest_s
from wasp_ray.stats.compare.resampling import MAX_CELLS
from wasp_ray.stats.compare.series import Ints, RunSeconds, Stratum
from wasp_ray.stats.histogram import BUCKETS, SUB_BUCKETS

Floats = NDArray[np.float64]


def log_ns(position: float | Floats) -> Floats:
    """Return ln of the ns (at least 1) at a position in buckets: bucket i reaches from i to i + 1."""
    whole = np.floor(position)
    octave, sub = np.divmod(whole, SUB_BUCKETS)
    ns = (sub + SUB_BUCKETS + (np.asarray(position) - whole)) * np.exp2(octave) - SUB_BUCKETS
    made: Floats = np.log(np.maximum(ns, 1.0))
    return made


def position_of(counts: Ints, q: float) -> float | None:
    """Return the position in buckets of a quantile, with the calls of a bucket spread evenly over it; None without calls."""
    cumulated = np.cumsum(counts)
    rank = q * float(cumulated[-1])
    if rank <= 0:
        return None
    at = int(np.searchsorted(cumulated, rank))
    return at + 1 - (float(cumulated[at]) - rank) / float(counts[at])


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A stratum of one run: `n` seconds in `cells` cells. `rows` of the run lie in it, at its seconds `at`."""

    run: int
    stratum: int
    n: int
    cells: int
    rows: slice
    at: Ints

    @property
    def cell_s(self) -> float:
        """Mean length of a cell."""
        return self.n / self.cells

    def cells_of(self, length_s: float) -> int:
        """Return the cells of a block: at least one, at most what leaves enough blocks."""
        most = max(1, int(longest_s(self.n) / self.cell_s))
        return min(most, max(1, round(length_s / self.cell_s)))

    def cell_sums(self, by_second: Floats) -> Floats:
        """Return the sums by cell of values by second."""
        first = -(-np.arange(self.cells) * self.n // self.cells)
        made: Floats = np.add.reduceat(by_second, first, axis=0)
        return made


class Side:
    """The runs of one side, restricted to strata. `stream`, 0 or 1, gives the two sides draws of their own."""

    def __init__(self, runs: Sequence[RunSeconds], strata: Sequence[Stratum], stream: int) -> None:
        self.runs = runs
        self.seconds = len(runs) * sum(stratum.seconds for stratum in strata)
        """Seconds of all runs."""
        self._stream = stream
        cell_s = max(1, -(-self.seconds // MAX_CELLS))
        self.parts = [
            _part(number, index, run, stratum, cell_s)
            for number, run in enumerate(runs)
            for index, stratum in enumerate(strata)
            if stratum.seconds
        ]

    def stream(self, part_index: int) -> int:
        """Return the number of the stream of draws of a part."""
        return 2 * part_index + self._stream

    def pooled(self, *, run: int | None = None, stratum: int | None = None) -> Ints:
        """Return the counts by bucket, of one run or stratum where given."""
        made = np.zeros(BUCKETS, dtype=np.int64)
        for part, counts in zip(self.parts, self._counts, strict=True):
            if run in (None, part.run) and stratum in (None, part.stratum):
                made += counts
        return made

    @cached_property
    def _counts(self) -> list[Ints]:
        made = []
        for part in self.parts:
            run, (entries, _) = self.runs[part.run], self._entries(part)
            counts = np.bincount(run.buckets[entries], run.counts[entries], minlength=BUCKETS)
            made.append(counts.astype(np.int64))
        return made

    def _entries(self, part: Part) -> tuple[slice, Ints]:
        """The buckets of a part, and how many of them each of its rows has."""
        offsets = self.runs[part.run].offsets[part.rows.start : part.rows.stop + 1]
        return slice(int(offsets[0]), int(offsets[-1])), np.diff(offsets)

    def table(self, part_index: int, column_of: NDArray[np.intp], columns: int, *, rows: int) -> Floats:
        """Return counts of a part by row and column: its seconds fall into `rows` rows, buckets into `column_of`."""
        part = self.parts[part_index]
        run = self.runs[part.run]
        entries, widths = self._entries(part)
        at = np.repeat(part.at * rows // part.n * columns, widths)
        flat = np.bincount(at + column_of[run.buckets[entries]], run.counts[entries], minlength=rows * columns)
        return flat.reshape(rows, columns).astype(np.float64, copy=False)

    def calls_and_errors(self, part_index: int) -> Floats:
        """Return the calls and errors of each second of a part: seconds x 2."""
        part = self.parts[part_index]
        run = self.runs[part.run]
        made = np.zeros((part.n, 2))
        made[part.at, 0] = run.calls[part.rows]
        made[part.at, 1] = run.errors[part.rows]
        return made


def _part(number: int, index: int, run: RunSeconds, stratum: Stratum, cell_s: int) -> Part:
    n = stratum.seconds
    low, high = (int(at) for at in np.searchsorted(run.seconds, [stratum.first, stratum.first + n]))
    return Part(number, index, n, max(1, n // cell_s), slice(low, high), run.seconds[low:high] - stratum.first)
