"""The automatic block length against closed forms of processes whose dependence is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from wasp_ray.stats.compare.block_length import dependence, limited_s, stretch


def ar1(phi: float, n: int, seed: int = 1) -> NDArray[np.float64]:
    """A series of which neighbours correlate with phi, and innovations have variance 1."""
    values = np.random.default_rng(seed).standard_normal(n)
    for i in range(1, n):
        values[i] += phi * values[i - 1]
    return values


def test_independent_seconds_want_the_shortest_blocks() -> None:
    """Where nothing depends on anything, what is wanted stays within noise."""
    wanted = [dependence([np.random.default_rng(seed).standard_normal(600)]).wanted_s for seed in range(20)]
    assert np.median(wanted) < 3
    assert max(wanted) < 20


@pytest.mark.parametrize("phi", [0.5, 0.8])
def test_the_length_of_an_ar1_series_is_the_optimal_one(phi: float) -> None:
    """Politis-White's optimum in closed form: (1.5 n (2 phi / (1 - phi^2))^2)^(1/3)."""
    n = 20_000
    optimal = (1.5 * n * (2 * phi / (1 - phi**2)) ** 2) ** (1 / 3)
    found = [dependence([ar1(phi, n, seed)]).wanted_s for seed in range(6)]
    assert np.mean(found) == pytest.approx(optimal, rel=0.1)


def test_the_long_run_variance_of_an_ar1_series_is_known() -> None:
    """It is 1 / (1 - phi)^2, and blocks of 10 see less of it, as their weights say."""
    found = [dependence([ar1(0.6, 4000, seed)]) for seed in range(5)]
    assert np.mean([of.long_run_variance for of in found]) == pytest.approx(6.25, rel=0.1)
    gamma = 0.6 ** np.arange(10) / (1 - 0.36)
    seen = gamma[0] + 2 * ((1 - np.arange(1, 10) / 10) * gamma[1:]).sum()
    assert np.mean([of.block_variance(10) for of in found]) == pytest.approx(seen, rel=0.1)
    assert seen < 5.3


def test_the_means_of_short_parts_do_not_hide_variance() -> None:
    """Independent values have variance 1; the own means of parts of 20 take a seventh of their flat-top sum away."""
    rng = np.random.default_rng(2)
    found = [dependence(list(rng.standard_normal((100, 20)))) for _ in range(20)]
    assert np.mean([of.long_run_variance for of in found]) == pytest.approx(1, rel=0.03)


def test_the_means_of_short_parts_do_not_hide_dependence() -> None:
    """In plateaus of 100 s an AR(1) series with phi 0.8 keeps most of its 25, of which own means take a third."""
    found = [dependence([ar1(0.8, 150, 20 * seed + part)[50:] for part in range(20)]) for seed in range(20)]
    assert 20 < np.mean([of.long_run_variance for of in found]) < 26


def test_weak_but_long_dependence_is_seen() -> None:
    """A slow level of a quarter of the variance, of which hardly an autocorrelation is significant in 300 s."""
    found = []
    for seed in range(40):
        level = 0.5 * np.sqrt(1 - 0.81) * ar1(0.9, 350, seed + 1000)[50:]
        found.append(dependence([level + np.random.default_rng(seed).standard_normal(300)]))
    assert np.mean([of.long_run_variance for of in found]) > 0.68 * (1 + 0.25 * 19)


def test_parts_at_different_levels_are_no_dependence() -> None:
    """Plateaus differ in their means by intention."""
    rng = np.random.default_rng(4)
    levels = [rng.standard_normal(300) + 100 * part for part in range(4)]
    assert dependence(levels).wanted_s < 5
    assert dependence([np.concatenate(levels)]).wanted_s > 50


@pytest.mark.parametrize("values", [[3.0], [1.0, 2.0], [0.0] * 100, [5.0] * 100])
def test_a_constant_or_tiny_series_wants_nothing(values: list[float]) -> None:
    """There is nothing to measure dependence with."""
    assert dependence([np.array(values)]).wanted_s == 0


def test_an_alternating_series_wants_nothing() -> None:
    """Its long-run variance is about zero, and a quotient by it is noise."""
    assert dependence([np.tile([1.0, -1.0], 150)]).wanted_s == 0


@pytest.mark.parametrize(
    ("wanted_s", "seconds", "length_s"),
    [
        (0.0, 300, 2.0),  # never below 2 s
        (7.5, 300, 7.5),  # what is wanted
        (30.0, 300, 20.0),  # 15 blocks at least
        (5.0, 24, 1.6),  # of which 2 s are no part
        (5.0, 10, 1.0),  # and never below 1 s
    ],
)
def test_a_block_is_as_long_as_wanted_within_limits(wanted_s: float, seconds: int, length_s: float) -> None:
    """min(max(wanted, 2 s), n / 15), at least 1 s."""
    assert limited_s(wanted_s, seconds) == pytest.approx(length_s)


def test_a_stretched_run_fits_the_blocks_it_then_wants() -> None:
    """Four times too long a block needs an eightfold run: there its length doubles, and eight times as long ones fit."""
    assert stretch(80, 20) == pytest.approx(8)
    assert pytest.approx(20 * 8) == 80 * 8 ** (1 / 3)
    assert stretch(10, 20) == 1
