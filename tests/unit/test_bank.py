"""Histograms side by side hold what each would hold alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from wasp_ray.stats.bank import HistogramBank
from wasp_ray.stats.histogram import BUCKETS, Histogram, bucket_of

ROWS = 5


def filled(sizes: list[int], rows: list[int], *, grown_from: int = ROWS) -> tuple[HistogramBank, list[Histogram]]:
    """A bank that grew to ROWS rows before it was given batches of these sizes, spread over `rows`, and each row alone."""
    rng = np.random.default_rng(len(sizes))
    bank, given = HistogramBank(grown_from), [np.zeros(0, np.int64) for _ in range(ROWS)]
    bank.ensure(ROWS)
    for size in sizes:
        at = rng.choice(np.array(rows, np.intp), size)
        values = rng.integers(1, 10**10, size)
        bank.add(at, bucket_of(values), values)
        given = [np.concatenate([before, values[at == row]]) for row, before in enumerate(given)]
    return bank, [alone(values) for values in given]


def alone(values: NDArray[np.int64]) -> Histogram:
    """The histogram of these values, counted one by one."""
    if not len(values):
        return Histogram()
    counts = np.zeros(BUCKETS, np.int64)
    for bucket in bucket_of(values).tolist():
        counts[bucket] += 1
    return Histogram.of_counts(counts, len(values), sum(values.tolist()), min(values.tolist()), max(values.tolist()))


def found(bank: HistogramBank) -> list[Histogram]:
    """Its rows."""
    return [bank.histogram(row) for row in range(ROWS)]


@pytest.mark.parametrize("grown_from", [1, 3, ROWS])
@pytest.mark.parametrize("rows", [[0, 1, 3, 4], [2]], ids=["many rows", "one row"])
@pytest.mark.parametrize("sizes", [[], [0, 1], [2, 3, 40], [ROWS * BUCKETS], [7, BUCKETS // 4, ROWS * BUCKETS, 1]])
def test_a_row_is_the_histogram_of_its_values(sizes: list[int], rows: list[int], grown_from: int) -> None:
    """Of small batches and of dense ones, before and after the bank grew."""
    bank, expected = filled(sizes, rows, grown_from=grown_from)
    assert found(bank) == expected
    assert bank.histogram(99) == Histogram()


def test_growing_keeps_what_was_counted() -> None:
    """At least by as much as there was, so that rows that come one by one do not copy the bank each time."""
    bank, expected = filled([50], [0, 1, 3, 4])
    bank.ensure(ROWS + 1)
    assert len(bank.count) == 2 * ROWS
    bank.ensure(ROWS)
    assert len(bank.count) == 2 * ROWS
    bank.ensure(50)
    assert len(bank.count) == 50
    assert found(bank) == expected
    values = np.array([5, 7], np.int64)
    bank.add_to(49, bucket_of(values), values)
    assert bank.histogram(49) == alone(values)


def test_a_cleared_row_is_empty_and_its_neighbours_are_not() -> None:
    """It may be filled again."""
    bank, expected = filled([50], [0, 1, 3, 4])
    bank.clear(1)
    expected[1] = Histogram()
    assert found(bank) == expected
    values = np.array([10**6], np.int64)
    bank.add(np.array([1], np.intp), bucket_of(values), values)
    assert bank.histogram(1) == alone(values)
