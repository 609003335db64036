"""Student's t and the binomial bounds against published tables."""

from __future__ import annotations

import math

import pytest

from wasp_ray.stats.compare.distributions import binomial_bounds, regularized_beta, t_critical, t_upper_tail


@pytest.mark.parametrize(
    ("tail", "df", "published"),
    [
        (0.025, 1, 12.7062),
        (0.025, 2, 4.3027),
        (0.025, 4, 2.7764),
        (0.025, 10, 2.2281),
        (0.005, 30, 2.7500),
        (0.0005, 1, 636.6192),
        (0.0005, 120, 3.3735),
        (0.1, 5, 1.4759),
        (0.025, math.inf, 1.9600),
        (0.5, 7, 0.0),
    ],
)
def test_critical_values_are_those_of_the_tables(tail: float, df: float, published: float) -> None:
    """Student's table, from one degree of freedom to infinitely many."""
    assert t_critical(tail, df) == pytest.approx(published, abs=6e-5)


@pytest.mark.parametrize("df", [1, 1.5, 3, 24.9, 1000, 1e8])
@pytest.mark.parametrize("tail", [0.4, 0.025, 1e-6, 1e-15])
def test_a_critical_value_is_exceeded_with_its_probability(tail: float, df: float) -> None:
    """The two functions are each other's inverse far into the tail, also with fractional degrees of freedom."""
    t = t_critical(tail, df)
    assert t_upper_tail(t, df) == pytest.approx(tail, rel=1e-6)
    assert t_upper_tail(-t, df) == pytest.approx(1 - tail, rel=1e-6)


def test_an_infinite_t_is_certain() -> None:
    """A difference without any error has no tail left."""
    assert (t_upper_tail(math.inf, 3), t_upper_tail(-math.inf, 3)) == (0.0, 1.0)


def test_a_tail_that_is_no_probability_is_refused() -> None:
    """Above one half and at zero there is no critical value to return."""
    for tail in (0.0, 0.6):
        with pytest.raises(ValueError, match="tail must be > 0"):
            t_critical(tail, 3)


@pytest.mark.parametrize(
    ("events", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.3085),
        (1, 10, 0.0025, 0.4450),
        (5, 10, 0.1871, 0.8129),
        (10, 10, 0.6915, 1.0),
        (0, 100, 0.0, 0.0362),
        (10, 100, 0.0490, 0.1762),
    ],
)
def test_binomial_bounds_are_those_of_clopper_and_pearson(events: int, trials: int, low: float, high: float) -> None:
    """The published 95 % intervals, of which each end is wrong with 2.5 %."""
    assert binomial_bounds(events, trials, 0.025) == pytest.approx((low, high), abs=6e-5)


def test_the_incomplete_beta_function_has_its_closed_forms() -> None:
    """I_x(1, b) = 1 - (1 - x)^b and I_x(a, b) = 1 - I_(1-x)(b, a), at the ends 0 and 1."""
    assert regularized_beta(1, 7, 0.2) == pytest.approx(1 - 0.8**7)
    assert regularized_beta(3, 2.5, 0.9) == pytest.approx(1 - regularized_beta(2.5, 3, 0.1))
    assert (regularized_beta(2, 3, 0.0), regularized_beta(2, 3, 1.0)) == (0.0, 1.0)
