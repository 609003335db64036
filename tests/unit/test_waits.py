"""Think times and paces: constant, from a range, or exponential."""

from __future__ import annotations

import random
import statistics

import pytest

from wasp_ray import between, exponential
from wasp_ray.load.waits import Wait, as_wait

MS = 1_000_000
DRAWS = 20_000


@pytest.mark.parametrize(
    ("value", "mean_ms", "shortest_ms", "longest_ms", "spread_ms"),
    [
        (0, 0, 0, 0, 0),
        (0.25, 250, 250, 250, 0),
        ("40ms", 40, 40, 40, 0),
        (between("10ms", "30ms"), 20, 10, 30, 20 / 12**0.5),
        (between(1, "1s"), 1000, 1000, 1000, 0),
        (exponential("200ms"), 200, 0, 200 * 25, 200),
    ],
)
def test_waits_have_the_mean_the_limits_and_the_spread_of_their_distribution(
    value: float | str | Wait, mean_ms: float, shortest_ms: float, longest_ms: float, spread_ms: float
) -> None:
    """The mean is known before anything is drawn: what is planned and estimated uses it."""
    wait = as_wait(value)
    assert wait.problems() == []
    drawn = wait.resolved()
    assert wait.mean_ns == drawn.mean_ns == mean_ms * MS
    assert drawn.is_constant == (wait.kind == "constant")
    rng = random.Random(3)
    waits = [drawn.draw_ns(rng) for _ in range(DRAWS)]
    assert all(type(ns) is int and shortest_ms * MS <= ns <= longest_ms * MS for ns in waits)
    assert statistics.fmean(waits) == pytest.approx(mean_ms * MS, rel=0.03)
    assert statistics.pstdev(waits) == pytest.approx(spread_ms * MS, rel=0.03)


def test_both_ends_of_a_range_are_drawn() -> None:
    """Each of three nanoseconds is."""
    drawn = between("10ns", "12ns").resolved()
    assert {drawn.draw_ns(random.Random(seed)) for seed in range(50)} == {10, 11, 12}


@pytest.mark.parametrize(
    ("wait", "told"),
    [
        (as_wait("soon"), "soon"),
        (between("2s", "1s"), "expected the shorter one first"),
        (between("2s", "late"), "late"),
        (exponential(-1), "-1"),
    ],
)
def test_what_is_no_duration_is_one_problem(wait: Wait, told: str) -> None:
    """With the value that was found."""
    (problem,) = wait.problems()
    assert told in problem
