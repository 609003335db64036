"""The histogram against exact answers: numpy's sort, and HdrHistogram."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st
from support.histograms import histogram_of

from wasp_ray.stats.histogram import BUCKETS, MAX_NS, SUMMARY_KEYS, Histogram, Ints, bucket_of, bucket_value

durations = st.lists(st.integers(0, MAX_NS), min_size=1, max_size=200)
QUANTILES = (0, 1, 25, 50, 90, 95, 99, 99.9, 99.99, 100)


def ints(values: list[int]) -> Ints:
    return np.array(values, dtype=np.int64)


def filled(values: list[int] | Ints) -> Histogram:
    return histogram_of(values)


def nearest_rank(values: list[int], q: float) -> int:
    return sorted(values)[max(1, math.ceil(round(q * len(values) / 100, 9))) - 1]


@given(st.integers(0, MAX_NS))
def test_a_bucket_stands_for_its_values_within_half_a_percent(value: int) -> None:
    """The midpoint of a value's bucket is at most 1/256 of the value away, and exact below 128 ns."""
    index = bucket_of(ints([value]))
    assert 0 <= index[0] < BUCKETS
    assert abs(bucket_value(index)[0] - value) <= value / 256
    if value < 128:
        assert bucket_value(index)[0] == value


@given(st.integers(0, MAX_NS - 1))
def test_buckets_are_in_the_order_of_their_values(value: int) -> None:
    """A larger value is never in a lower bucket, and no bucket is skipped."""
    low, high = bucket_of(ints([value, value + 1]))
    assert 0 <= high - low <= 1


def test_every_bucket_holds_its_own_midpoint() -> None:
    """bucket_of and bucket_value belong together over the whole range."""
    index = np.arange(BUCKETS - 1)
    assert (bucket_of(bucket_value(index).astype(np.int64)) == index).all()
    assert bucket_of(ints([MAX_NS]))[0] == BUCKETS - 1


def test_values_out_of_range_are_clamped() -> None:
    """Negative values count as 0, values above the range in the last bucket with their exact maximum."""
    made = filled([-5, 3 * MAX_NS])
    assert (made.min_ns, made.max_ns, made.sum_ns) == (0, 3 * MAX_NS, 3 * MAX_NS)
    assert made.counts[0] == 1 and made.counts[-1] == 1
    assert made.percentile(100) == 3 * MAX_NS


@given(durations, st.sampled_from(QUANTILES))
def test_percentiles_are_those_of_the_sorted_values(values: list[int], q: float) -> None:
    """Nearest rank, within 0.4 % of the exact value and inside of [min, max]."""
    made = filled(values)
    found = made.percentile(q)
    exact = nearest_rank(values, q)
    assert found is not None
    assert abs(found - exact) <= exact / 256
    assert min(values) <= found <= max(values)


@pytest.mark.parametrize("q", [50, 90, 99, 99.9])
def test_percentiles_agree_with_hdrhistogram(q: float) -> None:
    """An independent implementation of three digits sees the same percentiles within both errors."""
    values = np.random.default_rng(7).lognormal(17, 1.2, 50_000).astype(np.int64)
    oracle = HdrHistogram(1, MAX_NS, 3)
    for value in values.tolist():
        oracle.record_value(value)
    assert filled(values).percentile(q) == pytest.approx(oracle.get_value_at_percentile(q), rel=0.006)


def test_a_percentile_takes_the_exact_rank() -> None:
    """99.9 % of 1,000 values is the 999th, although 0.999 is no binary fraction."""
    made = filled([1] * 999 + [100])
    assert made.percentile(99.9) == 1
    assert made.percentile(99.91) == 100


@given(durations, durations)
def test_merging_is_counting_together(left: list[int], right: list[int]) -> None:
    """A merged histogram equals the one that saw all values, and the source is untouched."""
    total, other = filled(left), filled(right)
    before = other.to_data()
    total.merge(other)
    assert total == filled(left + right)
    assert other.to_data() == before


@given(st.lists(st.integers(0, MAX_NS), max_size=100))
def test_data_survive_json(values: list[int]) -> None:
    """A histogram that went through JSON is the same one, empty or not."""
    made = filled(values)
    assert Histogram.from_data(json.loads(json.dumps(made.to_data()))) == made


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"count": 3}, "a histogram of 3 values"),
        ({"min_ns": None}, "with min and max"),
        ({"buckets": [[BUCKETS, 2]]}, "bucket indices from 0 to"),
        ({"buckets": [[-1, 2]]}, "bucket indices from 0 to"),
    ],
)
def test_damaged_data_are_refused(change: dict[str, object], complaint: str) -> None:
    """Data that contradict themselves raise and say how."""
    with pytest.raises(ValueError, match=complaint):
        Histogram.from_data(filled([5, 6]).to_data() | change)


def test_an_empty_histogram_knows_nothing() -> None:
    """Without values there is no percentile, mean, min or max; adding nothing changes nothing."""
    made = Histogram()
    made.merge(Histogram())
    made.merge(filled([]))
    assert made.percentile(50) is None and made.mean_ns is None
    assert made.summary_s() == dict.fromkeys(SUMMARY_KEYS)


@pytest.mark.parametrize("q", [-1, 100.1, math.nan])
def test_a_percentile_out_of_range_raises(q: float) -> None:
    """Only 0 to 100 is a percentile."""
    with pytest.raises(ValueError, match="from 0 to 100"):
        filled([1]).percentile(q)


def test_the_summary_is_in_seconds() -> None:
    """min, mean and max are exact, the keys are those of summary.json in order."""
    found = filled(np.arange(1, 101, dtype=np.int64) * 1_000_000).summary_s()
    assert list(found) == ["min", "mean", "p50", "p90", "p95", "p99", "p999", "max"]
    assert (found["min"], found["mean"], found["max"]) == (0.001, 0.0505, 0.1)
    assert found["p50"] == pytest.approx(0.05, rel=0.004)
    assert found["p999"] == 0.1


def test_one_value_is_every_percentile() -> None:
    """A single value comes back exactly, whatever its bucket."""
    assert {filled([123_456_789]).percentile(q) for q in QUANTILES} == {123_456_789.0}


def test_adding_does_not_change_the_callers_array() -> None:
    """The values belong to the caller."""
    values = ints([-1, 5, 300])
    filled(values)
    assert values.tolist() == [-1, 5, 300]


@given(st.lists(durations, min_size=1, max_size=4))
def test_many_small_batches_are_one_large_one(batches: list[list[int]]) -> None:
    """How the values were cut into batches (few or many at once) does not show."""
    made = Histogram()
    for batch in batches:
        made.merge(filled(batch))
    assert made == filled([value for batch in batches for value in batch])
