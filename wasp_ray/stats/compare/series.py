"""The input of a comparison: histograms and counts of the whole seconds of runs, plateaus, and measures."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wasp_ray.stats.histogram import BUCKETS

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stratum:
    """A plateau of the schedule, in seconds from the start of the run; seconds that it covers in part do not count."""

    name: str
    from_s: float
    to_s: float

    def until(self, end_s: int) -> Stratum:
        """Return the part before `end_s`."""
        return Stratum(self.name, self.from_s, min(self.to_s, end_s))

    @property
    def first(self) -> int:
        """The first whole second."""
        return math.ceil(self.from_s)

    @property
    def seconds(self) -> int:
        """The number of whole seconds, 0 when there is none."""
        return max(0, math.floor(self.to_s) - self.first)


@dataclass(frozen=True, slots=True, eq=False)
class RunSeconds:
    """One run, one Generator or group, one series (service or response): its whole seconds, without warm-up calls.

    Second `seconds[i]` (ascending, counted from the start of the run) has the buckets `buckets[offsets[i]:offsets[i + 1]]`
    of stats/histogram.py with `counts` beside them, `calls[i]` started calls, and `errors[i]` of them failed, timed out
    or were killed. Seconds without a call may be left out. The run recorded whole seconds up to `end_s`, exclusive: an
    interrupted one fewer than its strata cover.
    """

    seconds: Ints
    offsets: Ints
    buckets: Ints
    counts: Ints
    calls: Ints
    errors: Ints
    end_s: int

    def __post_init__(self) -> None:
        n, m = len(self.seconds), len(self.buckets)
        if len(self.offsets) != n + 1 or len(self.calls) != n or len(self.errors) != n or len(self.counts) != m:
            raise ValueError(
                f"seconds, calls and errors must have one value a second, offsets one more, and counts one a bucket, "
                f"got {n}, {len(self.calls)}, {len(self.errors)}, {len(self.offsets)} and {len(self.counts)} for {m}"
            )
        if n and (np.diff(self.seconds) <= 0).any():
            raise ValueError("seconds must be ascending and without duplicates")
        if self.offsets[0] != 0 or self.offsets[-1] != m or (np.diff(self.offsets) < 0).any():
            raise ValueError(f"offsets must ascend from 0 to the number of buckets, {m}")
        if m and not (self.buckets.min() >= 0 and self.buckets.max() < BUCKETS):
            raise ValueError(f"buckets must be from 0 to {BUCKETS - 1}")


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile to compare, 0 < q < 1; one that is not judged is only shown."""

    q: float
    judged: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.q < 1:
            raise ValueError(f"a quantile must be between 0 and 1, got {self.q!r}")

    def __str__(self) -> str:
        return f"p{100 * self.q:.6g}"


@dataclass(frozen=True, slots=True)
class Errors:
    """The share of started calls that failed, timed out or were killed, to compare; judged or only shown."""

    judged: bool = True

    def __str__(self) -> str:
        return "errors"


@dataclass(frozen=True, slots=True)
class Subject:
    """A series of both sides and the measures to compare in it. `name` appears in its lines."""

    name: str
    base: tuple[RunSeconds, ...]
    new: tuple[RunSeconds, ...]
    strata: tuple[Stratum, ...]
    measures: tuple[Quantile | Errors, ...]

    def __post_init__(self) -> None:
        if not self.base or not self.new:
            raise ValueError(f"{self.name}: expected at least one run a side")
