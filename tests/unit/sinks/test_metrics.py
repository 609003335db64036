"""Metrics hold what the totals hold, in buckets with bounds that are what they say, and deltas that add up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.histograms import histogram_of

from wasp_ray.sinks.metrics import (
    BOUNDS_NS,
    CALL_SERVICE,
    CALLS,
    PLANNED,
    REQUESTS,
    Buckets,
    Value,
    exported,
    measured,
    since,
)
from wasp_ray.stats.histogram import BUCKETS, Histogram, bucket_of, bucket_top
from wasp_ray.stats.outcomes import OUTCOMES
from wasp_ray.stats.totals import GeneratorTotals

DURATIONS = st.lists(st.integers(0, 200_000_000_000), max_size=50)


def histogram(values: list[int]) -> Histogram:
    """Of these durations."""
    return histogram_of(values)


def state(values: list[int], failed: int = 0, planned: float = 0.0) -> dict[str, Any]:
    """Totals of a Generator with a call and a request of each duration."""
    totals = GeneratorTotals("rate")
    totals.call.service.merge(histogram(values))
    totals.ledger.ok, totals.ledger.failed = len(values) - failed, failed
    group = totals.group("g")
    group.ok, group.failed = len(values) - failed, failed
    group.service.merge(histogram(values))
    return {"shop": {**totals.to_data(), "now": {"planned": planned, "users": 0, "in_flight": 0}}}


def test_a_top_is_the_last_value_of_its_bucket() -> None:
    """The next integer is in the next bucket."""
    index = np.arange(BUCKETS - 1)
    assert (bucket_of(bucket_top(index)) == index).all() and (bucket_of(bucket_top(index) + 1) == index + 1).all()


@given(values=DURATIONS)
def test_every_duration_is_in_one_bucket_whose_bounds_hold_it(values: list[int]) -> None:
    """But for the last 0.8 % below a bound, which are counted above it: no bound ever says too much."""
    found = exported(histogram(values).to_data())
    assert sum(found.counts) == found.count == len(values) and found.sum_ns == sum(values)
    for at, bound in enumerate(BOUNDS_NS):
        below = sum(found.counts[: at + 1])
        assert sum(value <= bound * (1 - 1 / 127) for value in values) <= below <= sum(v <= bound for v in values)


@given(first=DURATIONS, then=DURATIONS)
def test_deltas_add_up_to_the_sums(first: list[int], then: list[int]) -> None:
    """Counts, sums and buckets; what has not grown is left out, gauges stay as they are."""
    before, after = measured(state(first, planned=7.0)), measured(state(first + then, failed=len(then), planned=5.0))
    told = since(after, before)
    assert told[PLANNED] == {("shop",): 5.0}
    assert told.get(CALLS, {}) == ({("shop", "failed"): len(then)} if then else {})
    assert told.get(REQUESTS, {}) == ({("shop", "g", "failed"): len(then)} if then else {})
    was, grown, now = (points.get(CALL_SERVICE, {}).get(("shop",)) for points in (before, told, after))
    assert isinstance(was, Buckets) and isinstance(now, Buckets)
    if grown is None:
        assert not then and was == now
        return
    assert isinstance(grown, Buckets)
    assert grown.count == len(then) and grown.sum_ns == sum(then)
    assert tuple(a + b for a, b in zip(was.counts, grown.counts, strict=True)) == now.counts


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_outcomes_of_requests_are_disjoint(outcome: str) -> None:
    """They add up to all requests."""
    points: dict[tuple[str, ...], Value] = measured(state([1, 2, 3], failed=1))[REQUESTS]
    assert points["shop", "g", outcome] == {"ok": 2, "failed": 1}.get(outcome, 0)
