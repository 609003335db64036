"""Histograms of given durations, made by the bank that the aggregator fills."""

from __future__ import annotations

import numpy as np

from wasp_ray.stats.bank import HistogramBank
from wasp_ray.stats.histogram import Histogram, Ints, bucket_of


def histogram_of(values: list[int] | Ints) -> Histogram:
    """Return the histogram of durations in ns."""
    ns = np.maximum(np.asarray(values, dtype=np.int64), 0)
    bank = HistogramBank(1)
    bank.add_to(0, bucket_of(ns), ns)
    return bank.histogram(0)
