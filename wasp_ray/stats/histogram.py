"""The log-linear histogram of durations in ns: fixed buckets, mergeable by addition. It must not know what it measures.

A value v is counted in the bucket of w = v + 128, which has 128 equal buckets per octave of w. So every value below
128 ns has a bucket of its own, and the midpoint of any other bucket is within 1/256 (0.39 %) of each integer in it:
the bucket of w in [128 * 2^k, 256 * 2^k) is 2^k wide, and v is at least 128 * (2^k - 1).
The layout is the one of HdrHistogram with another seam; the index is taken from the bits of a float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

SUB_BUCKETS = 128
MAX_NS = 1 << 43
"""Values above it (2 h 26 min) are counted in the last bucket; sum, min and max stay exact."""
BUCKETS = SUB_BUCKETS * 36 + 1
"""36 octaves of w from 2^7 to 2^43, and the bucket that holds MAX_NS."""

_MANTISSA_BITS = 52
_SUB_BITS = 7
_SHIFT = _MANTISSA_BITS - _SUB_BITS
_OFFSET = (1023 + _SUB_BITS) << _SUB_BITS
"""Bucket 0 begins at w = 2^7; 1023 is the exponent bias of a float64."""
_QUANTILES = {"p50": 50, "p90": 90, "p95": 95, "p99": 99, "p999": 99.9}
SUMMARY_KEYS = ("min", "mean", "p50", "p90", "p95", "p99", "p999", "max")


def bucket_of(ns: Ints) -> NDArray[np.intp]:
    """Index of the bucket of each value; below 0 counts as 0, above MAX_NS as MAX_NS."""
    shifted = np.clip(ns, 0, MAX_NS).astype(np.float64)
    shifted += SUB_BUCKETS
    index: Ints = shifted.view(np.int64)
    index >>= _SHIFT
    index -= _OFFSET
    return index.astype(np.intp, copy=False)


def bucket_bottom(index: NDArray[np.intp]) -> Ints:
    """The smallest integer in ns of each bucket."""
    octave, sub = np.divmod(np.asarray(index, dtype=np.int64), SUB_BUCKETS)
    bottom: Ints = np.left_shift(sub + SUB_BUCKETS, octave) - SUB_BUCKETS
    return bottom


def bucket_top(index: NDArray[np.intp]) -> Ints:
    """The largest integer in ns of each bucket."""
    octave, sub = np.divmod(np.asarray(index, dtype=np.int64), SUB_BUCKETS)
    top: Ints = np.left_shift(sub + SUB_BUCKETS + 1, octave) - SUB_BUCKETS - 1
    return top


def bucket_value(index: NDArray[np.intp]) -> NDArray[np.float64]:
    """The midpoint in ns of the integers of each bucket."""
    middle: NDArray[np.float64] = (bucket_bottom(index) + bucket_top(index)) / 2
    return middle


class Histogram:
    """Counts of durations in ns; 37 kB once a value was added, next to nothing before.

    One that was read from data keeps only its buckets until it is changed or asked: a controller holds some for each of
    many nodes, and adds them up.
    """

    __slots__ = ("_counts", "_read", "count", "max_ns", "min_ns", "sum_ns")

    def __init__(self) -> None:
        self._counts: Ints | None = None
        self._read: tuple[NDArray[np.uint16], NDArray[Any]] | None = None  # index and count of buckets, not in _counts
        self.count: int = 0
        self.sum_ns: int = 0
        self.min_ns: int | None = None
        self.max_ns: int | None = None

    @property
    def counts(self) -> Ints:
        """int64 array of BUCKETS numbers (the histogram's own, not a copy)."""
        if self._counts is None:
            self._counts = np.zeros(BUCKETS, dtype=np.int64)
        if self._read is not None:
            np.add.at(self._counts, *self._read)
            self._read = None
        return self._counts

    @classmethod
    def of_counts(cls, counts: Ints, count: int, sum_ns: int, min_ns: int, max_ns: int) -> Histogram:
        """A histogram of counts by bucket, which it shares with the caller, and of their exact count, sum, min and max."""
        made = cls()
        made._counts = counts
        made._extend(count, sum_ns, min_ns, max_ns)
        return made

    @classmethod
    def of_buckets(cls, index: Ints, counts: Ints, sum_ns: int, min_ns: int, max_ns: int) -> Histogram:
        """A histogram of some buckets, in ascending order of their index, each with a count above 0; at least one."""
        made = cls()
        kept = np.uint32 if int(counts.max()) < 1 << 32 else np.int64
        made._read = index.astype(np.uint16), counts.astype(kept)
        made._extend(int(counts.sum()), sum_ns, min_ns, max_ns)
        return made

    def buckets(self) -> tuple[Ints, Ints]:
        """Return the index and the count of each bucket that is not empty, in ascending order of the index."""
        if self._counts is None and self._read is not None:
            return self._read[0].astype(np.int64), self._read[1].astype(np.int64)
        if self._counts is None:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        counts = self.counts
        index = np.flatnonzero(counts)
        return index, counts[index]

    def copy(self) -> Histogram:
        """Return a histogram of its own with the same values."""
        made = Histogram()
        made.merge(self)
        return made

    def thinned(self, steps: int) -> Histogram:
        """Return one with `steps` buckets to an octave, a power of 2 up to SUB_BUCKETS: percentiles are within 1 / (2 * steps).
        Count, sum, min and max stay exact.
        """
        if self.min_ns is None or self.max_ns is None or steps >= SUB_BUCKETS:
            return self
        index, counts = self.buckets()
        width = SUB_BUCKETS // steps
        index = np.minimum(index // width * width + width // 2, BUCKETS - 1)
        kept, which = np.unique(index, return_inverse=True)
        sums = np.zeros(len(kept), np.int64)
        np.add.at(sums, which, counts)
        return Histogram.of_buckets(kept, sums, self.sum_ns, self.min_ns, self.max_ns)

    def compact(self) -> None:
        """Keep only the buckets that are not empty, until it is changed."""
        if self._counts is not None and self.count:
            index, counts = self.buckets()
            self._counts, self._read = None, (index.astype(np.uint16), counts.astype(np.int64))

    def merge(self, other: Histogram) -> None:
        """Adds what another histogram counted; the other stays as it is."""
        if other.count == 0 or other.min_ns is None or other.max_ns is None:
            return
        counts = self.counts
        if other._read is not None:
            np.add.at(counts, *other._read)
        if other._counts is not None:
            counts += other._counts
        self._extend(other.count, other.sum_ns, other.min_ns, other.max_ns)

    def _extend(self, count: int, sum_ns: int, min_ns: int, max_ns: int) -> None:
        self.count += count
        self.sum_ns += sum_ns
        self.min_ns = min_ns if self.min_ns is None else min(self.min_ns, min_ns)
        self.max_ns = max_ns if self.max_ns is None else max(self.max_ns, max_ns)

    def percentile(self, q: float) -> float | None:
        """Nearest rank: the smallest value that at least q % of all values do not exceed; None without values.

        q is from 0 (the minimum) to 100 (the maximum), else ValueError. Within 0.4 % of the exact value, and never
        outside of [min, max].
        """
        if not 0 <= q <= 100:
            raise ValueError(f"a percentile is from 0 to 100, found {q!r}")
        if self.min_ns is None or self.max_ns is None:
            return None
        rank = max(1, -(-Fraction(str(q)) * self.count // 100))  # exact: 99.9 % of 1,000 is rank 999, not 1,000
        if rank == 1:
            return float(self.min_ns)
        if rank == self.count:
            return float(self.max_ns)
        index, counts = self.buckets()
        at = index[np.searchsorted(np.cumsum(counts), int(rank))]
        middle = float(bucket_value(np.array([at], dtype=np.intp))[0])
        return min(max(middle, float(self.min_ns)), float(self.max_ns))

    @property
    def mean_ns(self) -> float | None:
        """Exact mean in ns, None without values."""
        return self.sum_ns / self.count if self.count else None

    def summary_s(self) -> dict[str, float | None]:
        """min, mean, p50, p90, p95, p99, p999 (99.9 %) and max in seconds; all None without values."""
        if self.min_ns is None or self.max_ns is None:
            return dict.fromkeys(SUMMARY_KEYS)
        found: dict[str, float | None] = {"min": self.min_ns, "mean": self.mean_ns, "max": self.max_ns}
        found |= {key: self.percentile(q) for key, q in _QUANTILES.items()}
        return {key: _seconds(found[key]) for key in SUMMARY_KEYS}

    def to_data(self) -> dict[str, Any]:
        """JSON-able; `buckets` holds [index, count] of each bucket that is not empty."""
        return {
            "count": self.count,
            "sum_ns": self.sum_ns,
            "min_ns": self.min_ns,
            "max_ns": self.max_ns,
            "buckets": np.stack(self.buckets(), axis=1).tolist(),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Histogram:
        """The reverse of to_data. Raises ValueError if the buckets are out of range or order, or do not add up to the count."""
        buckets = np.array(data["buckets"], dtype=np.int64).reshape(-1, 2)
        total = int(buckets[:, 1].sum())
        if total != data["count"] or (total and (data["min_ns"] is None or data["max_ns"] is None)):
            raise ValueError(f"a histogram of {data['count']} values with min and max, found {total} in its buckets")
        if total == 0:
            return cls()
        if int(buckets.min()) < 0 or int(buckets[:, 0].max()) >= BUCKETS:
            raise ValueError(f"bucket indices from 0 to {BUCKETS - 1}, found {buckets[:, 0].tolist()}")
        index, counts = buckets.T
        if (np.diff(index) <= 0).any() or int(counts.min()) <= 0:
            raise ValueError(f"buckets in ascending order with counts above 0, found {buckets.tolist()}")
        return cls.of_buckets(index, counts, int(data["sum_ns"]), int(data["min_ns"]), int(data["max_ns"]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        mine, theirs = ((h.count, h.sum_ns, h.min_ns, h.max_ns) for h in (self, other))
        return mine == theirs and all(map(np.array_equal, self.buckets(), other.buckets()))

    __hash__ = None  # type: ignore[assignment]  # mutable: equal by content, so not hashable

    def __repr__(self) -> str:
        return f"Histogram(count={self.count}, min_ns={self.min_ns}, max_ns={self.max_ns})"


def _seconds(ns: float | None) -> float | None:
    return None if ns is None else ns / 1e9
