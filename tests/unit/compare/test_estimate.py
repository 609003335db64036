"""Standard errors of quantiles and shares against closed forms and a plain resampling of every call."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.compare_runs import AR1, INDEPENDENT, SIGMA, STALLS, Process, of_calls, run
from wasp_ray.stats.compare import Resampler, RunSeconds, Stratum
from wasp_ray.stats.compare import estimate as estimates
from wasp_ray.stats.compare.estimate import Estimate
from wasp_ray.stats.compare.resampling import MAX_CELLS
from wasp_ray.stats.compare.side import Side, log_ns, position_of
from wasp_ray.stats.histogram import BUCKETS, bucket_of

QS = (0.5, 0.95, 0.99)


def simulated(process: Process, seconds: int, seed: int, rate: int = 100) -> RunSeconds:
    return run(process, seconds, np.random.default_rng(seed), rate=rate)


def quantiles(runs: Sequence[RunSeconds], strata: Sequence[Stratum], *, between: bool = False) -> list[Estimate]:
    found = estimates.quantiles(Side(runs, strata, 0), QS, Resampler(), between=between)
    assert found is not None
    return found


def whole(seconds: int) -> list[Stratum]:
    return [Stratum("whole", 0, seconds)]


def test_positions_are_spread_evenly_over_a_bucket() -> None:
    """A bucket with all calls has its median in the middle and its ends at 0 and 1; without calls there is none."""
    counts = np.zeros(BUCKETS, dtype=np.int64)
    assert position_of(counts, 0.5) is None
    counts[7] = 40
    assert position_of(counts, 0.5) == pytest.approx(7.5)
    assert position_of(counts, 0.25) == pytest.approx(7.25)
    counts[900] = 40
    assert position_of(counts, 0.5) == pytest.approx(8)
    assert position_of(counts, 0.75) == pytest.approx(900.5)


def test_the_value_of_a_position_is_within_its_bucket() -> None:
    """Bucket edges are the values between which bucket_of changes."""
    for ns in (5, 1000, 50_000_000, 3_000_000_000):
        at = int(bucket_of(np.array([ns]))[0])
        assert math.exp(log_ns(at)) <= ns + 1e-6 < math.exp(log_ns(at + 1)) + 2e-6


@pytest.mark.parametrize("seconds", [300, 5400])
def test_independent_calls_have_the_error_of_order_statistics(seconds: int) -> None:
    """sqrt(q (1 - q) / N) / f(q), which long runs with cells of several seconds have as well."""
    found = [quantiles([simulated(INDEPENDENT, seconds, seed, rate=30)], whole(seconds)) for seed in range(6)]
    for i, (q, z) in enumerate(zip(QS, (0.0, 1.6449, 2.3263), strict=True)):
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi) / SIGMA
        expected = math.sqrt(q * (1 - q) / (30 * seconds)) / density
        assert np.mean([one[i].error for one in found]) == pytest.approx(expected, rel=0.15)
        assert np.mean([one[i].value for one in found]) == pytest.approx(math.log(50e6) + z * SIGMA, abs=4 * expected)


def test_long_runs_have_no_more_cells_than_replicates_can_bear() -> None:
    """Two runs of two hours and a short plateau: cells are seconds of equal number, give or take one."""
    one = simulated(INDEPENDENT, 7200, 1, rate=1)
    side = Side([one, one], [Stratum("long", 0, 7000), Stratum("short", 7000, 7100)], 0)
    assert sum(part.cells for part in side.parts) <= MAX_CELLS
    ones = [part.cell_sums(np.ones(part.n)) for part in side.parts]
    assert all(set(np.unique(sums)) <= {8, 9} for sums in ones)
    table = side.table(0, np.zeros(BUCKETS, dtype=np.intp), 1, rows=side.parts[0].cells)
    assert (table[:, 0] == ones[0]).all()  # a call a second


@pytest.mark.parametrize("process", [AR1, STALLS])
def test_the_error_is_that_of_resampled_seconds(process: Process) -> None:
    """As from drawing the same blocks of whole seconds and sorting every bucket of each replicate."""
    seconds = 240
    one = simulated(process, seconds, 3)
    side = Side([one], whole(seconds), 0)
    dense = side.table(0, np.arange(BUCKETS), BUCKETS, rows=seconds)
    found = quantiles([one], whole(seconds))
    for q, estimate in zip(QS[:2], found, strict=False):
        length = round(estimate.length_s)
        weights = Resampler().totals(0, np.eye(seconds), length)[:400]  # how often a replicate has each second
        positions = [position_of(np.rint(1000 * row).astype(np.int64), q) for row in weights @ dense]
        logs = [float(log_ns(position)) for position in positions if position is not None]
        assert estimate.error >= 0.9 * np.std(logs)
        assert estimate.error <= 1.6 * np.std(logs)  # raised by what the blocks miss


def test_the_error_includes_what_blocks_miss() -> None:
    """The median of an AR(1) level has the error of the level's mean in closed form, and that of independent calls."""
    level = AR1.level_sd * math.sqrt((1 + AR1.phi) / (1 - AR1.phi) / 300)
    calls = SIGMA * math.sqrt(2 * math.pi) * 0.5 / math.sqrt(30_000)
    resampler = Resampler()
    errors = []
    for seed in range(40):
        found = estimates.quantiles(Side([simulated(AR1, 300, seed)], whole(300), 0), [0.5], resampler, between=False)
        assert found is not None
        errors.append(found[0].error)
    assert np.mean(errors) == pytest.approx(math.hypot(level, calls), rel=0.1)


def test_few_or_long_blocks_leave_few_degrees_of_freedom() -> None:
    """Never more than blocks but one a stratum, and fewer where dependence reaches far."""
    halves = [Stratum("one", 0, 30), Stratum("two", 30, 60)]
    for found in quantiles([simulated(INDEPENDENT, 60, 1)], halves):
        assert found.blocks <= 30
        assert 1 <= found.df <= found.blocks - 2
    (median, *_), (independent, *_) = (quantiles([simulated(of, 300, 1)], whole(300)) for of in (AR1, INDEPENDENT))
    assert median.df < 40 < 100 < independent.df


def test_every_part_of_both_sides_has_draws_of_its_own() -> None:
    """Strata that were drawn alike would add up their errors, and sides would cancel theirs."""
    runs = [simulated(INDEPENDENT, 60, seed) for seed in range(2)]
    halves = [Stratum("one", 0, 30), Stratum("two", 30, 60)]
    streams = [side.stream(i) for side in (Side(runs, halves, 0), Side(runs, halves, 1)) for i in range(4)]
    assert len(set(streams)) == 8


def test_what_moves_all_calls_sets_the_blocks_of_high_quantiles() -> None:
    """The p99 of an AR(1) level has blocks as long as those of the median, which shows the level best."""
    for seed in range(5):
        median, _, p99 = quantiles([simulated(AR1, 300, seed)], whole(300))
        assert p99.length_s >= median.length_s > 5
        assert p99.stretch >= median.stretch


def test_plateaus_at_different_levels_add_no_error() -> None:
    """Strata are resampled each by itself, so that the step between them is no variance."""
    rng = np.random.default_rng(5)
    second = np.repeat(np.arange(300), 100)
    ns = np.where(second < 150, 10e6, 100e6) * np.exp(0.1 * rng.standard_normal(len(second)))
    one = of_calls(second, ns.astype(np.int64), np.zeros(300, dtype=np.int64), 300)
    halves = [Stratum("low", 0, 150), Stratum("high", 150, 300)]
    apart, together = (quantiles([one], strata)[1] for strata in (halves, whole(300)))
    assert apart.error < 0.002
    assert apart.stretch == 1
    assert together.stretch > 1


def test_a_stall_is_one_event() -> None:
    """The calls of ten neighbouring slow seconds are in few blocks, and as many slow calls all over in many."""
    second = np.repeat(np.arange(300), 100)
    rng = np.random.default_rng(1)
    scattered, jitter = rng.random(30_000) < 1 / 30, rng.integers(0, 10**6, 30_000)
    for slow, blocks in ((second // 10 == 7, range(1, 7)), (scattered, range(90, 151))):
        ns = np.where(slow, 10**9, 10**7) + jitter
        found = quantiles([of_calls(second, ns, np.zeros(300, dtype=np.int64), 300)], whole(300))[2]
        assert found.event_blocks in blocks
        assert found.events == pytest.approx(300)


def test_three_runs_have_the_error_between_their_own_quantiles() -> None:
    """s / sqrt(3) with two degrees of freedom, around the mean of the logarithms."""
    runs = [simulated(INDEPENDENT, 60, seed) for seed in range(3)]
    found = quantiles(runs, whole(60), between=True)[1]
    own = np.array([quantiles([one], whole(60))[1].value for one in runs])
    assert found.value == pytest.approx(own.mean())
    assert found.error == pytest.approx(own.std(ddof=1) / math.sqrt(3))
    assert found.df == 2
    assert found.events == pytest.approx(3 * 300, rel=0.02)


def test_two_runs_are_resampled_each_by_itself() -> None:
    """Twice the calls have 1 / sqrt(2) of the error, though the runs are at different levels."""
    runs = [simulated(INDEPENDENT, 300, seed) for seed in range(2)]
    one, both = (quantiles(of, whole(300))[0].error for of in (runs[:1], runs))
    assert both == pytest.approx(one / math.sqrt(2), rel=0.15)


def failing(failed: NDArray[np.int64]) -> RunSeconds:
    second = np.repeat(np.arange(len(failed)), 100)
    return of_calls(second, np.full(len(second), 10**7), failed, len(failed))


def test_errors_that_come_together_are_less_certain() -> None:
    """A tenth of all calls: independent ones have the binomial error, those of whole seconds ten times as much."""
    rng = np.random.default_rng(1)
    cases = (rng.binomial(100, 0.1, 1500), 100 * rng.binomial(1, 0.1, 1500))
    alone, together = (
        estimates.errors(Side([failing(of)], whole(1500), 0), Resampler(), between=False) for of in cases
    )
    assert alone is not None and together is not None
    assert alone.value == pytest.approx(0.1, abs=0.01)
    assert alone.error == pytest.approx(math.sqrt(0.09 / 150_000), rel=0.15)
    assert together.error == pytest.approx(math.sqrt(0.09 / 1500), rel=0.25)


def test_without_calls_there_is_no_estimate() -> None:
    """Neither of a quantile nor of a share."""
    empty = of_calls(np.array([], dtype=np.int64), np.array([], dtype=np.int64), np.zeros(30, dtype=np.int64), 30)
    side = Side([empty], whole(30), 0)
    assert estimates.quantiles(side, QS, Resampler(), between=False) is None
    assert estimates.errors(side, Resampler(), between=False) is None


def test_draws_depend_on_the_seed_alone() -> None:
    """Not on what was drawn before; sides, and seeds, have draws of their own."""
    sums = np.random.default_rng(1).random((60, 3))
    fresh = Resampler().totals(0, sums, 4)
    used = Resampler()
    used.totals(1, sums, 2)
    assert (used.totals(0, sums, 4) == fresh).all()
    assert (used.totals(1, sums, 4) != fresh).any()
    assert (Resampler(1).totals(0, sums, 4) != fresh).any()


def test_totals_of_replicates_are_those_of_the_whole() -> None:
    """A constant has no variance, whether blocks fit the cells or not, and the mean is kept."""
    sums = np.stack([np.full(62, 3.0), np.arange(62.0)], axis=1)
    totals = Resampler().totals(0, sums, 4)
    assert totals[:, 0] == pytest.approx(186, rel=1e-5)
    assert totals[:, 1].mean() == pytest.approx(sums[:, 1].sum(), rel=0.03)
