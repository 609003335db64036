"""The difference of two estimates: its one-sided bounds and how surely it lies beyond a margin."""

from __future__ import annotations

import math
from typing import Protocol

from wasp_ray.stats.compare.distributions import binomial_bounds, t_critical, t_upper_tail
from wasp_ray.stats.compare.estimate import Estimate
from wasp_ray.stats.histogram import SUB_BUCKETS

FEW_BLOCKS = 10
"""With errors in fewer blocks, their number is taken as binomial."""
_RESOLUTION = 1 / SUB_BUCKETS / math.sqrt(6)
"""Standard error of ln(a / b) where each may be anywhere in its bucket."""


class Difference(Protocol):
    """New minus base. Called by the judge alone; pure."""

    value: float

    def bounds(self, tail: float) -> tuple[float, float]:
        """Return the lower and the upper bound, each wrong with probability `tail`."""

    def p_beyond(self, margin: float) -> float:
        """Return the probability of so large a difference, or a larger one, if the true one were `margin`."""

    def factor(self, margin: float, tail: float) -> float | None:
        """Return how many times as long (or as many) the runs must be for a bound of `tail` to leave the margin; None if never."""


class LogRatio:
    """ln(new / base) of a quantile: Student's t with the degrees of freedom of Welch and Satterthwaite."""

    def __init__(self, base: Estimate, new: Estimate) -> None:
        self.value = new.value - base.value
        variance = base.error**2 + new.error**2
        self.error = max(math.sqrt(variance), _RESOLUTION)
        spread = base.error**4 / base.df + new.error**4 / new.df
        self.df = variance**2 / spread if spread > 0 else math.inf

    def bounds(self, tail: float) -> tuple[float, float]:
        reach = t_critical(tail, self.df) * self.error
        return self.value - reach, self.value + reach

    def p_beyond(self, margin: float) -> float:
        return t_upper_tail((self.value - margin) / self.error, self.df)

    def factor(self, margin: float, tail: float) -> float | None:
        distance = abs(self.value - margin)
        return (t_critical(tail, self.df) * self.error / distance) ** 2 if distance > 0 else None


class ShareDifference:
    """The difference of two shares of errors; bounds of both sides are combined as squares (MOVER).

    Zou and Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 27 (2008) 1693-1702.
    """

    def __init__(self, base: Estimate, new: Estimate) -> None:
        self.value = new.value - base.value
        self._base, self._new = base, new

    def bounds(self, tail: float) -> tuple[float, float]:
        base_low, base_high = share_bounds(self._base, tail)
        new_low, new_high = share_bounds(self._new, tail)
        low = math.hypot(self._new.value - new_low, base_high - self._base.value)
        high = math.hypot(new_high - self._new.value, self._base.value - base_low)
        return self.value - low, self.value + high

    def p_beyond(self, margin: float) -> float:
        beyond = self.value > margin

        def reaches(tail: float) -> bool:
            low, high = self.bounds(tail)
            return low < margin if beyond else high > margin

        low, high = -40.0, math.log(0.5)
        while high - low > 1e-4:
            middle = 0.5 * (low + high)
            low, high = (middle, high) if reaches(math.exp(middle)) else (low, middle)
        p = math.exp(high)
        return p if beyond else 1.0 - p

    def factor(self, margin: float, tail: float) -> float | None:
        distance = abs(self.value - margin)
        if distance == 0:
            return None
        low, high = self.bounds(tail)
        reach = self.value - low if self.value > margin else high - self.value
        zero = 0 in (self._base.events, self._new.events)
        return reach / distance if zero else (reach / distance) ** 2


def share_bounds(side: Estimate, tail: float) -> tuple[float, float]:
    """Return the one-sided bounds of the share of errors of one side.

    Calls of a block fail together, so Clopper-Pearson counts blocks. Without an error, a block that has one may consist of
    nothing else. With errors in a few blocks, other blocks are taken to be like them, and the wider bounds apply.
    """
    if side.events == 0:
        return 0.0, binomial_bounds(0, side.blocks, tail)[1]
    reach = t_critical(tail, side.df) * side.error
    low, high = side.value - reach, side.value + reach
    if side.event_blocks < FEW_BLOCKS:
        low_blocks, high_blocks = binomial_bounds(side.event_blocks, side.blocks, tail)
        in_block = side.value * side.blocks / side.event_blocks
        low, high = min(low, low_blocks * in_block), max(high, high_blocks * in_block)
    return max(low, 0.0), min(high, 1.0)
