"""Holm's method, Welch's t and bounds of shares against published examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import pytest

from wasp_ray.stats.compare import Answer
from wasp_ray.stats.compare.decision import Decision, Evidence, decide
from wasp_ray.stats.compare.difference import LogRatio, ShareDifference, share_bounds
from wasp_ray.stats.compare.distributions import binomial_bounds, t_upper_tail
from wasp_ray.stats.compare.estimate import Estimate

MARGIN = math.log(1.05)


def estimated(
    value: float, error: float, df: float = 1e9, *, events: float = 1000, event_blocks: int = 100, blocks: int = 150
) -> Estimate:
    return Estimate(value, error, df, events, event_blocks, blocks, 2.0, 1.0)


def evidence(z: float, *, runs: int = 1) -> Evidence:
    """A quantile whose change is z standard errors beyond the margin."""
    sides = estimated(0.0, 0.0), estimated(MARGIN + 0.02 * z, 0.02)
    return Evidence("p95", sides, LogRatio(*sides), MARGIN, 300, runs, is_quantile=True)


def decided(ps: Sequence[float]) -> list[Decision]:
    """Decisions on measures that have these p."""
    return decide([evidence(-NormalDist().inv_cdf(p)) for p in ps], 0.025)


def test_holm_is_applied_as_published() -> None:
    """The smallest p times their number, the next times one less, and never a smaller one after a larger one."""
    made = decided([0.005, 0.011, 0.02, 0.04])
    assert [of.p for of in made] == pytest.approx([0.005, 0.011, 0.02, 0.04])
    assert [of.adjusted_p for of in made] == pytest.approx([0.02, 0.033, 0.04, 0.04])
    assert [of.answer for of in made] == [Answer.WORSE] + 3 * [Answer.CANNOT_SAY]
    assert [of.adjusted_p for of in decided([0.04, 0.005])] == pytest.approx([0.04, 0.01])


def test_not_worse_needs_no_adjustment() -> None:
    """Each of many measures is not worse by its own bound, since nothing is claimed of one without the others."""
    assert {of.answer for of in decided(10 * [0.98])} == {Answer.NOT_WORSE}
    assert decided([0.97])[0].answer is Answer.CANNOT_SAY


def test_what_would_decide_follows_from_the_standard_error() -> None:
    """At one standard error of the 1.96 that are needed, 3.84 times the seconds have 1.96; of three runs 12 do."""
    (within,) = decide([evidence(1.0)], 0.025)
    assert within.more_s == pytest.approx(300 * (1.96**2 - 1), rel=0.001)
    assert within.reason == "about 853 more seconds a run would decide"
    (between,) = decide([evidence(1.0, runs=3)], 0.025)
    assert (between.more_s, between.more_runs) == (None, 9)
    (one,) = decide([evidence(1.7, runs=3)], 0.025)
    assert one.reason == "about 1 more run a side would decide"


def test_what_would_decide_takes_the_measures_beside_it_into_account() -> None:
    """Beyond the margin a measure must pass Holm's bound; below it, its own."""
    apart, together = decide([evidence(1.0)], 0.025)[0], decide([evidence(1.0), evidence(-9.0)], 0.025)[0]
    assert apart.more_s is not None and together.more_s is not None
    assert together.more_s == pytest.approx(300 * (2.2414**2 - 1), rel=0.001)
    assert decide([evidence(-1.0), evidence(-9.0)], 0.025)[0].more_s == pytest.approx(apart.more_s)


def test_welchs_t_is_that_of_a_published_example() -> None:
    """Two samples of 15 with means 20.8 and 23.0 and variances 7.9 and 3.8: t 2.46, 24.9 degrees of freedom, p 0.021."""
    base = estimated(20.82, math.sqrt(7.9 / 15), 14)
    new = estimated(22.98, math.sqrt(3.8 / 15), 14)
    found = LogRatio(base, new)
    assert found.df == pytest.approx(24.9, abs=0.1)
    assert found.value / found.error == pytest.approx(2.46, abs=0.02)
    assert 2 * found.p_beyond(0.0) == pytest.approx(0.021, abs=0.001)


def test_a_ratio_is_no_surer_than_its_buckets() -> None:
    """Runs whose calls all take the same time have an error of a bucket, not of zero."""
    found = LogRatio(estimated(17.0, 0.0), estimated(17.0, 0.0))
    assert found.error == pytest.approx(1 / 128 / math.sqrt(6))
    assert found.bounds(0.025)[1] < MARGIN


@pytest.mark.parametrize("tail", [0.025, 0.1])
def test_shares_with_errors_in_many_blocks_have_bounds_of_students_t(tail: float) -> None:
    """And the bounds of a difference of two such are the square root of the sum of their squares."""
    base, new = estimated(0.02, 0.003), estimated(0.05, 0.004)
    low, high = ShareDifference(base, new).bounds(tail)
    assert high - 0.03 == pytest.approx(0.03 - low)
    assert t_upper_tail((high - 0.03) / 0.005, 1e9) == pytest.approx(tail)


def test_a_share_without_errors_is_bounded_by_its_blocks() -> None:
    """The rule of three: with 300 blocks about 1.2 % at 97.5 %."""
    none = estimated(0.0, 0.0, events=0, event_blocks=0, blocks=300)
    assert share_bounds(none, 0.025) == pytest.approx((0.0, 1 - 0.025 ** (1 / 300)))


def test_errors_in_a_few_blocks_are_bounded_by_their_number() -> None:
    """Five single errors of 30,000 calls in 5 of 150 blocks: Clopper-Pearson for the blocks, 1 / 200 of calls in each."""
    few = estimated(5 / 30_000, 0.00001, events=5, event_blocks=5)
    assert share_bounds(few, 0.025) == pytest.approx(tuple(bound / 200 for bound in binomial_bounds(5, 150, 0.025)))


@pytest.mark.parametrize("margin", [0.005, 0.02, 0.06])
def test_p_and_bounds_of_a_difference_of_shares_agree(margin: float) -> None:
    """At a tail of p, or of 1 - p below the margin, a bound touches the margin."""
    found = ShareDifference(estimated(0.0, 0.0, events=0, event_blocks=0), estimated(0.05, 0.01, events=90))
    p = found.p_beyond(margin)
    touching = found.bounds(min(p, 1 - p))[0 if margin < 0.05 else 1]
    assert touching == pytest.approx(margin, rel=0.01)
    assert (p < 0.5) == (margin < 0.05)
