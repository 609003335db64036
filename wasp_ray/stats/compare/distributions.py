"""Student's t and the exact binomial bounds, without SciPy. Pure functions of floats."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

_TINY = 1e-300
_EPSILON = 1e-15
_MOST_TERMS = 10_000
_NORMAL_ABOVE = 1e7
"""Degrees of freedom from which Student's t is the normal distribution in every digit that matters here."""


def regularized_beta(a: float, b: float, x: float) -> float:
    """Return I_x(a, b), the regularised incomplete beta function, for a, b > 0 and x in [0, 1].

    Continued fraction 8.17.22 of the NIST Digital Library of Mathematical Functions, evaluated by Lentz's method.
    """
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x < (a + 1.0) / (a + b + 2.0):
        return math.exp(log_front) * _beta_fraction(a, b, x) / a
    return 1.0 - math.exp(log_front) * _beta_fraction(b, a, 1.0 - x) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        for term in (even, odd):
            d = 1.0 / _away_from_zero(1.0 + term * d)
            c = _away_from_zero(1.0 + term / c)
            value *= c * d
        if abs(c * d - 1.0) < _EPSILON:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def t_upper_tail(t: float, df: float) -> float:
    """Return P(T > t) of Student's t with `df` > 0 degrees of freedom; math.inf is the normal distribution."""
    if math.isinf(t):
        return 0.0 if t > 0 else 1.0
    if df >= _NORMAL_ABOVE:
        return 0.5 * math.erfc(t / math.sqrt(2.0))
    tail = 0.5 * regularized_beta(df / 2.0, 0.5, df / (df + t * t))
    return tail if t >= 0 else 1.0 - tail


def t_critical(tail: float, df: float) -> float:
    """Return the t that Student's t exceeds with probability `tail`, for tail in (0, 0.5].

    Newton's method from the normal quantile, which is below it; the tail is convex, so it is approached from below.
    """
    if not 0.0 < tail <= 0.5:
        raise ValueError(f"tail must be > 0 and <= 0.5, got {tail!r}")
    t = max(0.0, -NormalDist().inv_cdf(tail))
    if df >= _NORMAL_ABOVE:
        return t
    log_peak = math.lgamma((df + 1.0) / 2.0) - math.lgamma(df / 2.0) - 0.5 * math.log(df * math.pi)
    for _ in range(_MOST_TERMS):
        density = math.exp(log_peak - 0.5 * (df + 1.0) * math.log1p(t * t / df))
        step = (t_upper_tail(t, df) - tail) / density
        t += step
        if step <= 1e-12 * t:
            break
    return t


def binomial_bounds(events: int, trials: int, tail: float) -> tuple[float, float]:
    """Return the one-sided Clopper-Pearson lower and upper bound of a probability, each wrong with probability `tail`.

    `events` of `trials` >= 1 trials had the event.
    """
    if events == 0:
        return 0.0, -math.expm1(math.log(tail) / trials)
    low = _solve(lambda p: regularized_beta(events, trials - events + 1, p) - tail)
    if events == trials:
        return low, 1.0
    return low, _solve(lambda p: regularized_beta(events + 1, trials - events, p) - (1 - tail))


def _solve(rising: Callable[[float], float]) -> float:
    """The zero of a rising function on [0, 1]; by bisection."""
    low, high = 0.0, 1.0
    while high - low > 1e-13:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return 0.5 * (low + high)
