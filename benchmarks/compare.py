"""Calibration of `wasp compare`: how often it calls a change worse that is not, and how often it finds one that is.

`make bench-compare`, or `python -m benchmarks.compare [--pairs N]`. Simulated pairs of runs with known quantiles, beside a
bootstrap of single calls. Exits 1 when a bound is missed; the power curves have none. All is seeded.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from benchmarks.compare_runs import AR1, DRIFT, INDEPENDENT, RARE_STALLS, SLOW_AR1, STALLS, WEAK_AR1, Process, run
from wasp_ray.stats.compare import Answer, Errors, Margin, Quantile, Resampler, RunSeconds, Stratum, Subject, compare
from wasp_ray.stats.histogram import BUCKETS, bucket_top

MEASURES = (Quantile(0.5), Quantile(0.95), Quantile(0.99), Errors())
MARGIN = Margin()
AT_MARGIN = 1 + MARGIN.share
REPLICATES = 2000
NORMAL_BOUND = 1.959964
CHUNK = 50
SEED = 17
FOLDER = Path("bench-results")


@dataclass(frozen=True, slots=True)
class Case:
    """Pairs of runs of one kind. `more_errors`: points of percent that the new side has more."""

    process: Process
    seconds: int
    ratio: float
    more_errors: float = 0.0


@dataclass(frozen=True, slots=True)
class Bound:
    """`answer` of `measure` ("any": of any line, "all": of all lines) in at most or at least `limit` of all pairs."""

    case: Case
    measure: str
    answer: Answer
    at_most: bool
    limit: float | None


AT_THE_MARGIN = [
    Bound(Case(process, 300, AT_MARGIN, MARGIN.error_points), "any", Answer.WORSE, True, 0.038)
    for process in (INDEPENDENT, AR1, STALLS, DRIFT)
]
BOUNDS = [
    *AT_THE_MARGIN,
    Bound(Case(WEAK_AR1, 300, AT_MARGIN, MARGIN.error_points), "any", Answer.WORSE, True, None),
    Bound(Case(SLOW_AR1, 900, AT_MARGIN, MARGIN.error_points), "any", Answer.WORSE, True, None),
    Bound(Case(INDEPENDENT, 300, 1.0), "all", Answer.NOT_WORSE, False, 0.80),
    *(Bound(Case(process, 300, 1.0), "all", Answer.NOT_WORSE, False, None) for process in (AR1, DRIFT)),
    Bound(Case(INDEPENDENT, 300, 1.10), "p95", Answer.WORSE, False, 0.80),
]
"""Those without a limit are shown: no bound holds in a run that is short for what its seconds depend on."""

POWER = [
    Case(process, seconds, 1 + change / 100)
    for process in (INDEPENDENT, AR1, RARE_STALLS, STALLS)
    for seconds in (60, 300, 900)
    for change in (5, 10, 15, 20, 30)
]


def count(case: Case, pairs: Iterable[int]) -> Counter[str]:
    """Count the answers to pairs of a case: "p95 worse", "any worse", "all not worse", "naive p95 worse" and so on."""
    found: Counter[str] = Counter()
    resampler = Resampler()
    for pair in pairs:
        rng = np.random.default_rng([SEED, pair])
        base = run(case.process, case.seconds, rng)
        new = run(case.process, case.seconds, rng, ratio=case.ratio, errors=0.002 + case.more_errors / 100)
        subject = Subject("", (base,), (new,), (Stratum("", 0, case.seconds),), MEASURES)
        lines = compare([subject], resampler=resampler).lines
        answers = {str(line.measure): line.answer for line in lines}
        naive = {name: naive_answer(base, new, q, rng) for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
        for prefix, of in (("", answers), ("naive ", naive)):
            found.update(f"{prefix}{name} {answer}" for name, answer in of.items())
            found.update(f"{prefix}any {answer}" for answer in set(of.values()))
            if len(set(of.values())) == 1:
                found[f"{prefix}all {next(iter(of.values()))}"] += 1
    return found


def naive_answer(base: RunSeconds, new: RunSeconds, q: float, rng: np.random.Generator) -> Answer:
    """Return the answer of a bootstrap of single calls: as many replicates, the same margin, a normal interval."""
    logs = [_replicated_logs(side, q, rng) for side in (base, new)]
    distance = float(logs[1].mean() - logs[0].mean()) - math.log(AT_MARGIN)
    reach = NORMAL_BOUND * math.sqrt(sum(float(of.var()) for of in logs))
    return Answer.WORSE if distance > reach else Answer.NOT_WORSE if distance < -reach else Answer.CANNOT_SAY


def _replicated_logs(
    side: RunSeconds, q: float, rng: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """ln of the quantile of calls drawn with replacement: of the drawn calls, a binomial number lies below each value."""
    below = np.cumsum(np.bincount(side.buckets, side.counts, minlength=BUCKETS))
    total = int(below[-1])
    rank = q * total + rng.binomial(total, q, REPLICATES) - round(q * total)
    tops = np.log(bucket_top(np.arange(BUCKETS)) + 1.0)
    made: np.ndarray[tuple[int], np.dtype[np.float64]] = np.interp(rank, below, tops)
    return made


def measured(cases: Sequence[Case], pairs: int) -> dict[Case, Counter[str]]:
    """Count the answers of all cases on all cores."""
    chunks = [(case, range(at, min(at + CHUNK, pairs))) for case in cases for at in range(0, pairs, CHUNK)]
    made: dict[Case, Counter[str]] = {case: Counter() for case in cases}
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # read by the children when they import numpy: a core each
    with multiprocessing.get_context("spawn").Pool() as pool:
        for (case, _), found in zip(chunks, pool.starmap(count, chunks, chunksize=1), strict=True):
            made[case] += found
    return made


def bounds_table(found: dict[Case, Counter[str]], pairs: int) -> tuple[list[str], bool]:
    """The lines of the table of bounds, and whether all are met."""
    lines = [
        f"{'PAIRS':<24} {'LENGTH':>6} {'RATIO':>5}  {'ANSWER':<16} {'FOUND':>6}  {'BOUND':<9} {'MET':<4} {'NAIVE':>6}"
    ]
    all_met = True
    for bound in BOUNDS:
        case, key = bound.case, f"{bound.measure} {bound.answer}"
        share, naive = found[case][key] / pairs, found[case][f"naive {key}"] / pairs
        limit, met = "", ""
        if bound.limit is not None:
            holds = share <= bound.limit if bound.at_most else share >= bound.limit
            all_met &= holds
            limit, met = f"{'<=' if bound.at_most else '>='} {bound.limit:.1%}", "yes" if holds else "NO"
        lines.append(
            f"{case.process.name:<24} {case.seconds:>4} s {case.ratio:>5.2f}  {key:<16} {share:>6.1%}  {limit:<9} {met:<4}"
            f" {naive:>6.1%}"
        )
    return lines, all_met


def power_table(found: dict[Case, Counter[str]], pairs: int, measure: str) -> list[str]:
    """How often a change of a quantile is found, and by the bootstrap of single calls after the slash, in %."""
    changes = list(dict.fromkeys(case.ratio for case in POWER))
    lines = [f"{measure + ' worse, %':<24} {'LENGTH':>6} " + " ".join(f"{f'+{ratio - 1:.0%}':>9}" for ratio in changes)]
    for (process, seconds), cases in groupby(POWER, key=lambda case: (case.process, case.seconds)):
        cells = []
        for case in cases:
            ours, naive = (100 * found[case][f"{prefix}{measure} {Answer.WORSE}"] / pairs for prefix in ("", "naive "))
            cells.append(f"{f'{ours:.0f} / {naive:.0f}':>9}")
        lines.append(f"{process.name:<24} {seconds:>4} s " + " ".join(cells))
    return lines


def main() -> int:
    """Print the tables and write them to bench-results/compare.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("--pairs", type=int, default=1000, help="Pairs of each bound; the power curves take a tenth.")
    pairs = parser.parse_args().pairs
    fewer = max(1, pairs // 10)
    began = time.perf_counter()
    found = measured([bound.case for bound in BOUNDS], pairs)
    lines, met = bounds_table(found, pairs)
    print(
        f"{pairs:,} pairs, 100 calls/s; any: of p50, p95, p99 and errors; naive: single calls, p50 to p99, without Holm"
    )
    print("\n".join(lines), flush=True)
    power = measured(POWER, fewer)
    print(f"\n{fewer:,} pairs, 100 calls/s, compared / bootstrap of single calls; +5 % is the margin itself")
    for measure in ("p50", "p95", "p99"):
        print("\n".join(power_table(power, fewer, measure)), end="\n\n")
    FOLDER.mkdir(exist_ok=True)
    counted = [
        {"case": asdict(case), "pairs": n, "counts": dict(of)}
        for n, part in ((pairs, found), (fewer, power))
        for case, of in part.items()
    ]
    (FOLDER / "compare.json").write_text(json.dumps(counted, indent=1))
    print(f"{time.perf_counter() - began:.0f} s; written to {FOLDER / 'compare.json'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
