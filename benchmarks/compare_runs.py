"""Simulated runs for the calibration of `wasp_ray.stats.compare`: histograms of seconds whose true quantiles are known.

A call takes a lognormal time (median 50 ms, sigma 0.5), times the level of its second, plus the rest of a stall it falls
into; all of it times the ratio. So a side with ratio 1.05 has exactly 1.05 times the quantiles of one with ratio 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wasp_ray.stats.compare import RunSeconds
from wasp_ray.stats.histogram import BUCKETS, bucket_of

Floats = NDArray[np.float64]

MEDIAN_NS, SIGMA = 50e6, 0.5
_NS = 1e9


@dataclass(frozen=True, slots=True)
class Process:
    """How response times depend on each other."""

    name: str
    phi: float = 0.0
    """of the AR(1) process that ln(level) is, once a second"""
    level_sd: float = 0.0
    """standard deviation of ln(level)"""
    drift: float = 0.0
    """rise of ln(level) over the run"""
    stall_every_s: float = 0.0
    """mean time between stalls, which are as likely at any time; 0 for none"""
    stall_s: float = 0.5
    """mean length of a stall, which is exponential"""


INDEPENDENT = Process("independent")
AR1 = Process("AR(1) level, phi 0.8", phi=0.8, level_sd=0.1)
SLOW_AR1 = Process("AR(1) level, phi 0.95", phi=0.95, level_sd=0.05)
WEAK_AR1 = Process("AR(1) level, weak, 0.9", phi=0.9, level_sd=0.03)
STALLS = Process("stalls, one in 20 s", stall_every_s=20)
RARE_STALLS = Process("stalls, one in 60 s", stall_every_s=60)
DRIFT = Process("drift of 10 %", drift=0.1)


def run(
    process: Process,
    seconds: int,
    rng: np.random.Generator,
    *,
    rate: int = 100,
    ratio: float = 1.0,
    errors: float = 0.002,
) -> RunSeconds:
    """Return a run with `rate` calls a second at equal distances; a call is an error with probability `errors`."""
    calls = seconds * rate
    due = (np.arange(calls) + 0.5) / rate
    times = MEDIAN_NS * np.exp(SIGMA * rng.standard_normal(calls) + np.repeat(_levels(process, seconds, rng), rate))
    times += _stalled_ns(process, seconds, due, rng)
    second = due.astype(np.int64)
    failed = np.bincount(second[rng.random(calls) < errors], minlength=seconds)
    return of_calls(second, (times * ratio).astype(np.int64), failed, seconds)


def of_calls(second: NDArray[np.int64], ns: NDArray[np.int64], failed: NDArray[np.int64], seconds: int) -> RunSeconds:
    """Return the seconds of calls that are given one by one: the second and the time of each."""
    key, counts = np.unique(second * BUCKETS + bucket_of(ns), return_counts=True)
    return RunSeconds(
        seconds=np.arange(seconds),
        offsets=np.searchsorted(key // BUCKETS, np.arange(seconds + 1)),
        buckets=key % BUCKETS,
        counts=counts,
        calls=np.bincount(second, minlength=seconds),
        errors=failed,
        end_s=seconds,
    )


def _levels(process: Process, seconds: int, rng: np.random.Generator) -> Floats:
    """ln(level) of each second."""
    levels = process.drift * (np.arange(seconds) / seconds - 0.5)
    if process.level_sd:
        steps = process.level_sd * rng.standard_normal(seconds)
        steps[1:] *= np.sqrt(1 - process.phi**2)
        for i in range(1, seconds):
            steps[i] += process.phi * steps[i - 1]
        levels += steps
    return levels


def _stalled_ns(process: Process, seconds: int, due: Floats, rng: np.random.Generator) -> Floats:
    """The rest of the stall that a call is due in, 0 outside of stalls."""
    rest = np.zeros(len(due))
    if process.stall_every_s:
        number = int(rng.poisson(seconds / process.stall_every_s))
        for begin, length in zip(
            rng.uniform(0, seconds, number), rng.exponential(process.stall_s, number), strict=True
        ):
            low, high = np.searchsorted(due, [begin, begin + length])
            rest[low:high] = np.maximum(rest[low:high], begin + length - due[low:high])
    return rest * _NS
