"""The automatic block length of the circular block bootstrap, and the variance that blocks of it miss.

Politis and White, "Automatic block-length selection for the dependent bootstrap", Econometric Reviews 23 (2004) 53-70,
with the correction of Patton, Politis and White, Econometric Reviews 28 (2009) 372-375.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MIN_LENGTH_S = 2.0
"""Least block length, where a stratum is long enough: shorter automatic lengths are noise."""
MIN_BLOCKS = 15
"""A stratum has at least this many blocks; fewer say too little about the variance between blocks."""
_CONSTANT = 1e-18
_MOST_LAGS = 120
"""Longest dependence in seconds that is looked for where it is weak."""
_LEAST_LONG_RUN = 0.1
"""Share of the variance; a smaller long-run variance is that of alternating values, and a quotient by it is noise."""


@dataclass(frozen=True, slots=True)
class Dependence:
    """How the values of neighbouring seconds depend on each other.

    `wanted_s` is the block length that Politis-White ask for, 0 for a constant series. `autocovariances` are those of the
    first lags. `long_run_variance` is n times the variance of the mean, known with `df` degrees of freedom.
    """

    wanted_s: float
    autocovariances: Floats
    long_run_variance: float
    df: float

    def block_variance(self, length: int) -> float:
        """Return the long-run variance that a block bootstrap of this length sees."""
        return _block_variance(self.autocovariances, length)


def _block_variance(gamma: Floats, length: int) -> float:
    """Lag k counts 1 - k / length."""
    lags = np.arange(1, min(length, len(gamma)))
    return max(float(gamma[0] + 2 * ((1 - lags / length) * gamma[1 : len(lags) + 1]).sum()), 0.0)


def dependence(parts: Sequence[Floats]) -> Dependence:
    """Return the dependence of values by second in parts: each at least one, and its mean is its own.

    Parts share their autocovariances, so that a noisy short one neither asks for long blocks nor hides those of others.
    """
    n = sum(len(values) for values in parts)
    longest = max(len(values) for values in parts)
    run = max(5, math.ceil(math.sqrt(math.log10(n)))) if n > 1 else 5
    last = min(math.ceil(math.sqrt(n)) + run, longest - 1)
    long = int(min(longest_s(longest), _MOST_LAGS))
    gamma = _autocovariances(parts, max(last, min(long, longest - 1)))
    if last < 3 or gamma[0] <= _CONSTANT:
        return Dependence(0.0, gamma[:1], float(gamma[0]), max(1.0, float(n - len(parts))))
    small = np.abs(gamma[1 : last + 1]) < 2 * math.sqrt(math.log10(n) / n) * gamma[0]
    bandwidth = min(2 * max(_lags_before(small, run), 1), last)
    lags = np.arange(1, bandwidth + 1)
    window = np.minimum(1.0, 2 * (1 - lags / bandwidth))
    weighted = 2 * window * gamma[1 : bandwidth + 1]
    long_run = float(gamma[0] + weighted.sum())
    slope = float((weighted * lags).sum())
    wanted = (1.5 * (slope / long_run) ** 2 * n) ** (1 / 3) if long_run > _LEAST_LONG_RUN * gamma[0] else 0.0
    # Means are taken from the same values, so each part's autocovariances are short of its long-run variance / n.
    short = len(parts) / n
    long_run /= 1 - min(0.5, (1 + 2 * float(window.sum())) * short)
    # The integral of the squared window is 4/3, so the relative variance of the sum is 8/3 * bandwidth / n; for blocks
    # it is 4/3 * length / n.
    df = max(1.0, 0.75 * n / bandwidth)
    in_blocks = _block_variance(gamma, long) / (1 - min(0.5, long * short))
    if in_blocks > long_run:  # weak but long dependence, of which no single autocorrelation is significant
        long_run, df = in_blocks, max(1.0, 1.5 * n / long)
    return Dependence(min(wanted, 3 * math.sqrt(n), n / 3), gamma, long_run, df)


def _autocovariances(parts: Sequence[Floats], last: int) -> Floats:
    """Those of lag 0 to `last`: pairs of seconds within a part, each from the mean of its part."""
    sums = np.zeros(last + 1)
    for part in parts:
        values = part - part.mean()
        for lag in range(min(last + 1, len(values))):
            sums[lag] += float(values[lag:] @ values[: len(values) - lag])
    made: Floats = sums / sum(len(part) for part in parts)
    return made


def _lags_before(small: NDArray[np.bool_], run: int) -> int:
    """The number of lags before the first `run` insignificant autocorrelations in a row; all without such a run."""
    counted = np.convolve(small, np.ones(run, dtype=np.int64))[run - 1 : len(small)]
    found = np.flatnonzero(counted == run)
    return int(found[0]) if len(found) else len(small)


def longest_s(seconds: int) -> float:
    """Return the longest block of a stratum of so many seconds."""
    return max(1.0, seconds / MIN_BLOCKS)


def limited_s(wanted_s: float, seconds: int) -> float:
    """Return the block length that is used in a stratum of so many seconds when `wanted_s` is wanted."""
    return min(max(wanted_s, MIN_LENGTH_S), longest_s(seconds))


def stretch(wanted_s: float, fitting_s: float) -> float:
    """Return how many times as long runs must be for blocks of `wanted_s` to fit, where `fitting_s` fit now: 1 if they do.

    The wanted length grows with the cube root of the seconds.
    """
    return math.pow(max(1.0, wanted_s / fitting_s), 1.5)
