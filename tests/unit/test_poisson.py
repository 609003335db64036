"""Poisson arrivals: equal for equal seeds however they are split, with the law of exponential gaps, and cheap to plan."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wasp_ray.schedule import PoissonCurve, Schedule, combine, pause, plain, ramp
from wasp_ray.schedule.poisson import BLOCK

SECOND = 10**9
schedules = st.lists(
    st.one_of(
        st.builds(plain, st.sampled_from([0, 1, 0.1, 700]), st.sampled_from(["7us", "333ms", "2s"])),
        st.builds(
            ramp, st.sampled_from([0, 5, 900]), st.sampled_from([0, 0.25, 1200]), st.sampled_from(["1s", "1.7s"])
        ),
        st.builds(pause, st.sampled_from(["1ns", "400ms"])),
    ),
    min_size=1,
    max_size=5,
).map(lambda parts: combine(*parts))


@settings(max_examples=60, deadline=None)
@given(schedules, st.integers(0, 10**6), st.integers(1, 5))
def test_the_parts_of_a_split_are_the_whole(schedule: Schedule, seed: int, parts: int) -> None:
    """Each call belongs to one part; single calls and counts agree with the whole; no call is due in a pause."""
    whole = list(PoissonCurve(schedule, SECOND, seed).dues(0, 1))
    curve = PoissonCurve(schedule, SECOND, seed)
    assert curve.count == len(whole) and whole == sorted(whole)
    split = [list(PoissonCurve(schedule, SECOND, seed).dues(part, parts)) for part in range(parts)]
    assert [split[i % parts][i // parts] for i in range(len(whole))] == whole
    for i in {0, len(whole) // 2, BLOCK - 1, BLOCK, len(whole) - 1} & set(range(len(whole))):
        assert curve.due_ns(i) == whole[i]
        assert curve.count_until(whole[i]) == sum(due <= whole[i] for due in whole)
        assert curve.count_until(whole[i] - 1) == sum(due < whole[i] for due in whole)
    bounds = schedule.bounds()
    assert sum(curve.calls_between(start, end) for start, end, _ in bounds) == len(whole)
    for start, end, segment in bounds:
        assert not segment.pause or not curve.calls_between(start, end)


@pytest.mark.parametrize("seed", range(5))
def test_gaps_are_exponential_and_independent(seed: int) -> None:
    """Mean and deviation of a gap are 1 / rate, neighbours are uncorrelated, and the distribution is the exponential one.

    The bounds are five standard errors (Kolmogorov-Smirnov: 1.95 / sqrt(n), one in a thousand); seeds are fixed.
    """
    dues = list(PoissonCurve(plain(1000, "40s"), SECOND, seed).dues(0, 1))
    gaps = [(b - a) / 1e6 for a, b in zip([0, *dues], dues, strict=False)]
    n, mean = len(gaps), fmean(gaps)
    assert abs(mean - 1) < 5 / math.sqrt(n)
    assert abs(fmean((gap - mean) ** 2 for gap in gaps) - 1) < 5 * math.sqrt(8 / n)
    assert abs(fmean((a - 1) * (b - 1) for a, b in pairwise(gaps))) < 5 / math.sqrt(n)
    distance = max(abs((i + 0.5) / n - (1 - math.exp(-gap))) for i, gap in enumerate(sorted(gaps)))
    assert distance < 1.95 / math.sqrt(n)


def test_counts_of_many_seeds_vary_as_a_poisson_count_does() -> None:
    """Mean and variance are the expected number of calls, also where a block spans segments."""
    counts = [
        PoissonCurve(ramp(0, 100, "1s") + pause("1s") + plain(50, "1s"), SECOND, seed).count for seed in range(2000)
    ]
    mean = fmean(counts)
    assert abs(mean - 100) < 5 * math.sqrt(100 / len(counts))
    assert abs(fmean((count - mean) ** 2 for count in counts) / 100 - 1) < 5 * math.sqrt(2 / len(counts))


def test_a_long_schedule_of_odd_ramps_can_be_planned() -> None:
    """Rounding at the many odd boundaries neither loses nor repeats a call."""
    schedule = combine(*[ramp(i, i + 1, f"{10**9 + 2 * i + 1}ns") for i in range(60)])
    curve = PoissonCurve(schedule, SECOND, 1)
    assert curve.count == len(list(curve.dues(0, 1)))


def test_planning_draws_blocks_instead_of_calls() -> None:
    """A billion calls are planned without drawing each of them."""
    curve = PoissonCurve(plain(1_000_000, "1000s"), SECOND, 7)
    assert abs(curve.count - 10**9) < 5 * math.sqrt(10**9)
    assert len(curve._edges) < 10**9 / BLOCK * 1.01
    assert curve.count_until(curve.due_ns(123_456_789)) == 123_456_790


def test_a_call_beyond_the_last_is_refused() -> None:
    """As for constant arrivals."""
    curve = PoissonCurve(plain(10, "1s"), SECOND, 0)
    with pytest.raises(IndexError, match=f"call {curve.count} of {curve.count}"):
        curve.due_ns(curve.count)
