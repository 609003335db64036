"""Columns of integers and of sparse histograms as bytes. Pure.

A column of integers is stored by byte planes: the lowest bytes of all values, then the next ones. Most values are small, so the
other planes are short or left out, and zlib packs what is left. Negative values are zigzag-coded.

Of a histogram are kept, exactly: the distances of its buckets, their counts, and what min, max and sum differ by from what the
buckets say; these differences take one to three bytes where the values themselves would take eight.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wasp_ray.stats.histogram import BUCKETS, Histogram, bucket_bottom, bucket_top

Ints = NDArray[np.int64]
_HEAD = struct.Struct("<BI")
_SIGNED = 0x80
_MAX = np.iinfo(np.int64).max


def pack_ints(values: Ints) -> bytes:
    """Return the bytes of a column."""
    planes, signed = 0, 0
    if len(values):
        if int(values.min()) < 0:
            signed, values = _SIGNED, (values << 1) ^ (values >> 63)
        planes = 8 if int(values.min()) < 0 else (int(values.max()).bit_length() + 7) // 8
    stored = values.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :planes].T
    return _HEAD.pack(planes | signed, len(values)) + stored.tobytes()


class Columns:
    """Reads columns one after the other. Raises ValueError where the bytes are no columns."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def ints(self) -> Ints:
        """Return the next column."""
        try:
            planes, number = _HEAD.unpack_from(self._data, self._at)
        except struct.error as exc:
            raise ValueError("a column ends early") from exc
        planes, signed = planes & ~_SIGNED, planes & _SIGNED
        begin = self._at + _HEAD.size
        self._at = begin + planes * number
        if planes > 8 or self._at > len(self._data):
            raise ValueError("a column ends early")
        values = np.zeros((number, 8), np.uint8)
        values[:, :planes] = np.frombuffer(self._data, np.uint8, planes * number, begin).reshape(planes, number).T
        column: Ints = values.view("<i8").reshape(-1).astype(np.int64, copy=False)
        return ((column >> 1) & _MAX) ^ -(column & 1) if signed else column

    def histograms(self) -> Histograms:
        """Return the next column of histograms."""
        sizes, deltas, counts, min_off, max_off, sum_off = (self.ints() for _ in range(6))
        starts = np.cumsum(sizes) - sizes
        if len(deltas) != int(sizes.sum()) or len(counts) != len(deltas):
            raise ValueError("the buckets of histograms do not fit their number")
        running = np.cumsum(deltas)
        filled = sizes > 0
        first = starts[filled]
        index = running - np.repeat(running[first] - deltas[first], sizes[filled])
        if len(index) and (int(index.min()) < 0 or int(index.max()) >= BUCKETS):
            raise ValueError("a bucket is out of range")
        last = first + sizes[filled] - 1
        made = Histograms(sizes, index, counts + 1, *(np.zeros(len(sizes), np.int64) for _ in range(3)))
        made.min_ns[filled] = bucket_bottom(index[first]) + min_off
        made.max_ns[filled] = bucket_top(index[last]) - max_off
        made.sum_ns[filled] = made.middles() + sum_off
        return made


@dataclass(slots=True)
class Histograms:
    """n histograms: `sizes` int64[n] buckets each, `index` and `counts` of all buckets one after the other, int64[sum of sizes];
    `sum_ns`, `min_ns`, `max_ns` int64[n], 0 for an empty one.
    """

    sizes: Ints
    index: Ints
    counts: Ints
    sum_ns: Ints
    min_ns: Ints
    max_ns: Ints

    @classmethod
    def of(cls, histograms: Sequence[Histogram]) -> Histograms:
        """Return the buckets of some histograms."""
        parts = [histogram.buckets() for histogram in histograms]
        empty = [np.zeros(0, np.int64)]
        return cls(
            np.array([len(index) for index, _ in parts], np.int64),
            np.concatenate([index for index, _ in parts] or empty).astype(np.int64, copy=False),
            np.concatenate([counts for _, counts in parts] or empty).astype(np.int64, copy=False),
            np.array([histogram.sum_ns for histogram in histograms], np.int64),
            np.array([histogram.min_ns or 0 for histogram in histograms], np.int64),
            np.array([histogram.max_ns or 0 for histogram in histograms], np.int64),
        )

    def pack(self) -> bytes:
        """Return their bytes."""
        filled = self.sizes > 0
        first = (np.cumsum(self.sizes) - self.sizes)[filled]
        last = first + self.sizes[filled] - 1
        deltas = np.diff(self.index, prepend=0)
        deltas[first] = self.index[first]
        columns = (
            self.sizes, deltas, self.counts - 1, self.min_ns[filled] - bucket_bottom(self.index[first]),
            bucket_top(self.index[last]) - self.max_ns[filled], self.sum_ns[filled] - self.middles(),
        )  # fmt: skip
        return b"".join(map(pack_ints, columns))

    def middles(self) -> Ints:
        """Return the sum in ns of each that is not empty, if every value was the middle of its bucket."""
        if not len(self.index):
            return np.zeros(0, np.int64)
        first = (np.cumsum(self.sizes) - self.sizes)[self.sizes > 0]
        doubled = (bucket_bottom(self.index) + bucket_top(self.index)) * self.counts
        sums: Ints = np.add.reduceat(doubled, first) // 2
        return sums

    def total(self, rows: NDArray[np.bool_]) -> Histogram:
        """Return the sum of the histograms of some rows; `rows` is a mask."""
        wanted = rows & (self.sizes > 0)
        if not wanted.any():
            return Histogram()
        of_bucket = np.repeat(wanted, self.sizes)
        counts = np.zeros(BUCKETS, np.int64)
        np.add.at(counts, self.index[of_bucket], self.counts[of_bucket])
        return Histogram.of_counts(
            counts, int(counts.sum()), int(self.sum_ns[wanted].sum()), int(self.min_ns[wanted].min()),
            int(self.max_ns[wanted].max()),
        )  # fmt: skip

    def rows(self) -> list[Histogram]:
        """Return each by itself."""
        ends = np.cumsum(self.sizes).tolist()
        made = []
        for row, (end, size) in enumerate(zip(ends, self.sizes.tolist(), strict=True)):
            index, counts = self.index[end - size : end], self.counts[end - size : end]
            of_row = (int(self.sum_ns[row]), int(self.min_ns[row]), int(self.max_ns[row]))
            made.append(Histogram.of_buckets(index, counts, *of_row) if size else Histogram())
        return made

    def __len__(self) -> int:
        return len(self.sizes)
