"""Many histograms side by side, filled by whole batches: row r of a bank is one histogram. Pure; grows by rows, never by
time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wasp_ray.stats.histogram import BUCKETS, Histogram

Ints = NDArray[np.int64]
_MAX = np.iinfo(np.int64).max


class HistogramBank:
    """Rows of BUCKETS counts with exact count, sum, min and max each."""

    def __init__(self, rows: int = 4, counts: type[np.signedinteger] = np.int64) -> None:
        """`counts`: type of a count, which must not overflow."""
        self._counts = np.full(
            (rows, BUCKETS), 0, counts
        )  # written, so that its memory is taken now and not in the run
        self.count = np.zeros(rows, np.int64)
        self.sum = np.zeros(rows, np.int64)
        self.min = np.full(rows, _MAX, np.int64)
        self.max = np.zeros(rows, np.int64)

    def ensure(self, rows: int) -> None:
        """Grows to hold at least `rows` rows."""
        have = len(self.count)
        if rows <= have:
            return
        more = max(rows, 2 * have) - have
        self._counts = np.concatenate([self._counts, np.full((more, BUCKETS), 0, self._counts.dtype)])
        self.count = np.concatenate([self.count, np.zeros(more, np.int64)])
        self.sum = np.concatenate([self.sum, np.zeros(more, np.int64)])
        self.min = np.concatenate([self.min, np.full(more, _MAX, np.int64)])
        self.max = np.concatenate([self.max, np.zeros(more, np.int64)])

    def add(self, rows: NDArray[np.intp], buckets: NDArray[np.intp], values: Ints) -> None:
        """values[i] (ns, >= 0), which falls into buckets[i], goes to histogram rows[i]."""
        if not len(values):
            return
        first = int(rows[0])
        if (rows == first).all():
            self.add_to(first, buckets, values)
            return
        size = len(self.count)
        if size * BUCKETS <= 8 * len(values):  # a dense count is cheaper than scattered adds
            self._counts += np.bincount(rows * BUCKETS + buckets, minlength=size * BUCKETS).reshape(size, BUCKETS)
        else:
            np.add.at(self._counts.reshape(-1), rows * BUCKETS + buckets, 1)
        np.add.at(self.count, rows, 1)
        np.add.at(self.sum, rows, values)
        np.minimum.at(self.min, rows, values)
        np.maximum.at(self.max, rows, values)

    def add_to(self, row: int, buckets: NDArray[np.intp], values: Ints) -> None:
        """The same for one row."""
        if not len(values):
            return
        if len(values) > BUCKETS // 8:
            self._counts[row] += np.bincount(buckets, minlength=BUCKETS)
        else:
            np.add.at(self._counts[row], buckets, 1)
        self.count[row] += len(values)
        self.sum[row] += int(values.sum())
        self.min[row] = min(int(self.min[row]), int(values.min()))
        self.max[row] = max(int(self.max[row]), int(values.max()))

    def add_row(self, row: int, other: HistogramBank, other_row: int) -> None:
        """Add a row of another bank."""
        self._counts[row] += other._counts[other_row]
        self.count[row] += other.count[other_row]
        self.sum[row] += other.sum[other_row]
        self.min[row] = min(self.min[row], other.min[other_row])
        self.max[row] = max(self.max[row], other.max[other_row])

    def summed(self, row: int, other: HistogramBank, others: list[int]) -> Histogram:
        """Return the sum of a row and of rows of another bank; it shares no memory with them unless there are none."""
        others = [at for at in others if other.count[at]]
        if not others:
            return self.histogram(row)
        counts = other._counts[others].sum(axis=0, dtype=np.int64)
        counts += self._counts[row]
        return Histogram.of_counts(
            counts, int(self.count[row] + other.count[others].sum()), int(self.sum[row] + other.sum[others].sum()),
            int(min(self.min[row], other.min[others].min())), int(max(self.max[row], other.max[others].max())),
        )  # fmt: skip

    def clear(self, row: int) -> None:
        """Empties a row."""
        self._counts[row] = 0
        self.count[row] = self.sum[row] = self.max[row] = 0
        self.min[row] = _MAX

    def histogram(self, row: int) -> Histogram:
        """A row as a Histogram that shares its memory: read it before the bank changes."""
        if row >= len(self.count) or not self.count[row]:
            return Histogram()
        return Histogram.of_counts(
            self._counts[row], int(self.count[row]), int(self.sum[row]), int(self.min[row]), int(self.max[row])
        )

    def sparse(self, row: int) -> Histogram:
        """A copy of a row with the buckets that are not empty."""
        if not self.count[row]:
            return Histogram()
        index = np.flatnonzero(self._counts[row])
        counts = self._counts[row][index].astype(np.int64)
        return Histogram.of_buckets(index, counts, int(self.sum[row]), int(self.min[row]), int(self.max[row]))
