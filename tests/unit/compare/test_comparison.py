"""The answers of a comparison, and what would decide those that stay open."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.compare_runs import AR1, INDEPENDENT, STALLS, Process, of_calls, run
from wasp_ray.stats.compare import (
    WITHIN,
    Answer,
    Comparison,
    Errors,
    Line,
    Margin,
    Quantile,
    Resampler,
    RunSeconds,
    Stratum,
    Subject,
    compare,
)

P50, P95, P99, ERRORS = Quantile(0.5), Quantile(0.95), Quantile(0.99), Errors()
Measures = tuple[Quantile | Errors, ...]


def runs(
    ratio: float = 1.0,
    *,
    seconds: int = 300,
    errors: float = 0.0,
    seed: int = 1,
    number: int = 1,
    process: Process = INDEPENDENT,
) -> tuple[RunSeconds, ...]:
    """A side: its runs have draws of their own."""
    return tuple(
        run(process, seconds, np.random.default_rng([seed, i]), ratio=ratio, errors=errors) for i in range(number)
    )


def compared(
    base: tuple[RunSeconds, ...],
    new: tuple[RunSeconds, ...],
    measures: Measures = (P50, P95, P99),
    strata: Sequence[Stratum] | None = None,
    margin: Margin | None = None,
) -> Comparison:
    strata = strata or [Stratum("whole", 0, max(one.end_s for one in base))]
    return compare([Subject("search", base, new, tuple(strata), measures)], margin=margin)


def answers(found: Comparison) -> list[Answer | None]:
    return [line.answer for line in found.lines]


def only(found: Comparison) -> Line:
    (line,) = found.lines
    return line


def uniform(ns: float, *, seconds: int = 300, failed: int = 0, first_failed: int = 0) -> tuple[RunSeconds, ...]:
    """A run of 100 calls a second around a time; in its `failed` seconds all of them fail."""
    second = np.repeat(np.arange(seconds), 100)
    times = ns * (1 + 0.02 * np.random.default_rng(3).random(len(second)))
    errors = np.zeros(seconds, dtype=np.int64)
    errors[first_failed : first_failed + failed] = 100
    return (of_calls(second, times.astype(np.int64), errors, seconds),)


def test_a_clear_change_is_worse() -> None:
    """20 % more in every call: value, ratio and interval show it in seconds and as a ratio."""
    found = compared(runs(), runs(1.2, seed=2))
    assert answers(found) == [Answer.WORSE] * 3
    assert found.answer is Answer.WORSE
    line = found.lines[1]
    assert line.base == pytest.approx(0.05 * math.exp(0.5 * 1.6449), rel=0.02)
    assert line.new == pytest.approx(1.2 * 0.05 * math.exp(0.5 * 1.6449), rel=0.02)
    assert line.base is not None and line.new is not None and line.change is not None
    assert line.change == pytest.approx(line.new / line.base)
    assert line.low is not None and line.high is not None
    assert 1.1 < line.low < line.change < line.high < 1.3
    assert line.margin == pytest.approx(1.05)
    assert line.p is not None and line.adjusted_p is not None
    assert line.p <= line.adjusted_p < 1e-6


def test_equal_sides_are_not_worse() -> None:
    """Nor is a side that became faster."""
    assert compared(runs(), runs(seed=2)).answer is Answer.NOT_WORSE
    assert compared(runs(), runs(0.8, seed=2)).answer is Answer.NOT_WORSE


def test_a_change_at_the_margin_stays_open() -> None:
    """And more seconds are no help, since the interval would have to be infinitely short."""
    base, new = runs(), runs(1.07, seed=2)
    change = only(compared(base, new, (P50,))).change
    assert change is not None
    line = only(compared(base, new, (P50,), margin=Margin(share=change - 1)))
    assert (line.answer, line.reason) == (Answer.CANNOT_SAY, "the change is about the margin")
    assert line.p == pytest.approx(0.5)
    assert (line.more_s, line.more_runs) == (None, None)


@pytest.mark.parametrize(
    ("base_ms", "new_ms", "answer"),
    [
        (2, 2.5, Answer.NOT_WORSE),  # 25 %, but half a millisecond
        (2, 3.5, Answer.WORSE),
        (100, 102, Answer.NOT_WORSE),  # 2 ms, but 2 %
        (100, 110, Answer.WORSE),
    ],
)
def test_worse_is_beyond_the_share_and_the_time(base_ms: float, new_ms: float, answer: Answer) -> None:
    """Both margins, 5 % and 1 ms, must be left behind."""
    assert only(compared(uniform(1e6 * base_ms), uniform(1e6 * new_ms), (P95,))).answer is answer


def test_the_seconds_that_would_decide_do_decide() -> None:
    """A run as much longer as is said has half a chance to, and one of twice its length decides."""
    base, new = runs(seconds=60), runs(1.15, seconds=60, seed=2)
    line = only(compared(base, new, (P99,)))
    assert line.answer is Answer.CANNOT_SAY
    assert line.more_s is not None
    assert line.reason == f"about {math.ceil(line.more_s):,} more seconds a run would decide"
    long = 2 * math.ceil(60 + line.more_s)
    assert 120 < long < 2000
    assert only(compared(runs(seconds=long), runs(1.15, seconds=long, seed=2), (P99,))).answer is Answer.WORSE


def test_few_calls_beyond_a_quantile_are_not_judged() -> None:
    """4,000 calls have 40 beyond p99, and ten seconds more have the other ten."""
    line = only(compared(runs(seconds=40), runs(2, seconds=40, seed=2), (P99,)))
    assert (line.answer, line.p) == (Answer.CANNOT_SAY, None)
    assert line.reason.startswith("40 calls beyond p99 in ")
    assert line.more_s == pytest.approx(10)
    assert line.change is not None and line.change > 1.5  # it is shown


def test_calls_beyond_a_quantile_in_few_blocks_are_not_judged() -> None:
    """Three stalls are three events, however many calls are in them."""
    second = np.repeat(np.arange(300), 100)
    slow = np.isin(second, [20, 150, 280])
    jitter = np.random.default_rng(1).integers(0, 10**6, 30_000)
    new = of_calls(second, np.where(slow, 10**9, 10**7) + jitter, np.zeros(300, dtype=np.int64), 300)
    line = only(compared(uniform(1e7), (new,), (P99,)))
    assert line.answer is Answer.CANNOT_SAY
    assert "calls beyond p99 in 3 blocks, expected 50 in 10" in line.reason
    assert line.more_s == pytest.approx(700)


def test_seconds_that_depend_on_each_other_for_long_are_not_judged() -> None:
    """Blocks of more than a fifteenth of the plateau would be needed, so a longer run is."""
    rising = Process("rises by half", drift=0.4)
    base, new = runs(seconds=120, process=rising), runs(1.3, seconds=120, seed=2, process=rising)
    line = only(compared(base, new, (P95,)))
    assert (line.answer, line.p) == (Answer.CANNOT_SAY, None)
    assert line.reason.startswith("seconds depend on each other for too long: about ")
    assert line.more_s is not None and 10 < line.more_s < 3000
    assert line.block_s == pytest.approx(8)


def test_holm_adjusts_for_all_that_is_judged() -> None:
    """The p of an otherwise equal line grows with the lines beside it, those only shown excepted."""
    base, new = runs(seconds=120), runs(1.1, seconds=120, seed=2)
    one = only(compared(base, new, (P99,)))
    assert one.p is not None and 0.001 < one.p < 0.4
    assert one.adjusted_p == one.p
    shown = compared(base, new, (P99, Quantile(0.9, judged=False)))
    assert shown.lines[0] == one
    beside = compare(
        [Subject(str(i), base, same, (Stratum("whole", 0, 120),), (P99,)) for i, same in enumerate((new, base, base))]
    )
    assert beside.lines[0].p == one.p
    assert beside.lines[0].adjusted_p == pytest.approx(min(1.0, 3 * one.p))
    assert beside.lines[1].adjusted_p == 1.0


def test_what_is_only_shown_has_an_interval_and_no_answer() -> None:
    """And it is no part of the answer to the whole."""
    found = compared(runs(), runs(seed=2), (P50, Quantile(0.999, judged=False)))
    assert (found.lines[1].answer, found.lines[1].p, found.lines[1].reason) == (None, None, "")
    assert found.lines[1].low is not None
    assert found.answer is Answer.NOT_WORSE


def test_fewer_than_three_runs_a_side_carry_a_note() -> None:
    """The interval says nothing about the next run."""
    assert compared(runs(), runs(seed=2), (P50,)).notes == (WITHIN,)
    assert compared(runs(number=3), runs(seed=2, number=2), (P50,)).notes == (WITHIN,)
    assert compared(runs(number=3), runs(seed=2, number=3), (P50,)).notes == ()


def test_three_runs_a_side_are_compared_by_their_own_spread() -> None:
    """Runs that differ by more than their seconds show: within runs the change seems certain, between them it is not."""
    levels = (0.9, 1.0, 1.1)
    base = tuple(runs(level, seed=i)[0] for i, level in enumerate(levels))
    new = tuple(runs(1.15 * level, seed=9 + i)[0] for i, level in enumerate(levels))
    assert only(compared(base[1:2], new[1:2], (P50,))).answer is Answer.WORSE
    line = only(compared(base, new, (P50,)))
    assert (line.answer, line.more_s, line.block_s) == (Answer.CANNOT_SAY, None, None)
    assert line.more_runs is not None and line.more_runs >= 2
    assert line.reason == f"about {line.more_runs} more runs a side would decide"
    assert line.low is not None and line.high is not None
    # t(0.025, 4) = 2.776 times the standard error of the logarithms, from both sides
    reach = 2.776 * np.std(np.log(levels), ddof=1) * math.sqrt(2 / 3)
    assert math.log(line.high / line.low) / 2 == pytest.approx(reach, rel=0.1)
    assert only(compared(base, tuple(runs(2, seed=9, number=3)), (P50,))).answer is Answer.WORSE


def test_strata_are_pooled_and_shown() -> None:
    """Each plateau has its values; seconds outside of them, and those a plateau covers in part, do not count."""
    strata = [Stratum("one", 9.5, 150.0), Stratum("two", 150, 299.5)]
    slow_start = runs()[0]
    moved = replace(
        slow_start,
        buckets=np.where(np.arange(len(slow_start.buckets)) < slow_start.offsets[10], 3000, slow_start.buckets),
    )
    line = only(compared((moved,), runs(seed=2), (P50,), strata))
    assert [(value.name, value.seconds) for value in line.strata] == [("one", 140), ("two", 149)]
    assert line == only(compared(runs(), runs(seed=2), (P50,), strata))
    assert line.base is not None and all(value.base == pytest.approx(line.base, rel=0.03) for value in line.strata)


def test_an_interrupted_run_is_compared_on_the_common_seconds() -> None:
    """The rest of the other run does not count, and the comparison says so."""
    base = runs(seconds=200)[0]
    assert base.end_s == 200
    found = compared((base,), runs(seed=2), (P50,), [Stratum("one", 0, 150), Stratum("two", 150, 300)])
    assert found.notes == (WITHIN, "only the first 200 s are compared, which all runs have")
    assert [value.seconds for value in only(found).strata] == [150, 50]


def test_without_calls_or_plateaus_nothing_can_be_said() -> None:
    """Values are missing, not zero."""
    none = of_calls(np.array([], dtype=np.int64), np.array([], dtype=np.int64), np.zeros(300, dtype=np.int64), 300)
    found = compared(runs(), (none,), (P50, ERRORS))
    assert [(line.answer, line.reason, line.new) for line in found.lines] == [
        (Answer.CANNOT_SAY, "no calls in a run", None)
    ] * 2
    three = compared(runs(number=3), (*runs(number=2), none), (P50, ERRORS))
    assert {line.reason for line in three.lines} == {"no calls in a run"}
    short = compared(runs(), runs(), (P50, ERRORS), [Stratum("short", 10.2, 11.8)])
    assert {line.reason for line in short.lines} == {"no whole second of a plateau"}
    assert compare([]) == Comparison((), ())
    assert compare([]).answer is Answer.CANNOT_SAY


def test_empty_seconds_may_be_left_out() -> None:
    """A second that is not listed is one without calls."""
    full = runs()[0]
    kept = np.arange(300) % 3 != 1
    rows = np.repeat(kept, np.diff(full.offsets))
    widths = np.where(kept, np.diff(full.offsets), 0)
    ends = np.concatenate([[0], np.cumsum(widths)])
    listed = replace(full, buckets=full.buckets[rows], counts=full.counts[rows], offsets=ends,
                     calls=np.where(kept, full.calls, 0), errors=np.where(kept, full.errors, 0))  # fmt: skip
    sparse = RunSeconds(full.seconds[kept], np.append(ends[:-1][kept], ends[-1]), listed.buckets, listed.counts,
                     full.calls[kept], full.errors[kept], 300)  # fmt: skip
    measures = (P50, P99, ERRORS)
    assert compared((listed,), runs(seed=2), measures) == compared((sparse,), runs(seed=2), measures)


def test_more_errors_are_worse_beyond_half_a_point() -> None:
    """As a difference of shares: from 1 % to 3 % is worse, to 1.2 % it is not."""
    found = [only(compared(runs(errors=0.01), runs(errors=new, seed=2), (ERRORS,))) for new in (0.03, 0.012)]
    assert [line.answer for line in found] == [Answer.WORSE, Answer.NOT_WORSE]
    assert found[0].change == pytest.approx(0.02, abs=0.003)
    assert found[0].margin == pytest.approx(0.005)


def test_no_errors_are_no_proof_in_a_short_run() -> None:
    """150 blocks of 2 s without an error: 2.4 % of all blocks may have them; 737 blocks bound it by half a point."""
    line = only(compared(runs(), runs(seed=2), (ERRORS,)))
    bound = 1 - 0.025 ** (1 / 150)
    assert (line.low, line.high) == pytest.approx((-bound, bound))
    assert line.answer is Answer.CANNOT_SAY
    assert line.more_s is not None and 300 + line.more_s == pytest.approx(1472, rel=0.02)
    long = runs(seconds=1500)
    assert only(compared(long, long, (ERRORS,))).answer is Answer.NOT_WORSE


def test_errors_against_none_are_worse() -> None:
    """Where they are more than what the base may have had unseen."""
    assert only(compared(runs(), runs(errors=0.1, seed=2), (ERRORS,))).answer is Answer.WORSE
    assert only(compared(runs(), runs(errors=0.02, seed=2), (ERRORS,))).answer is Answer.CANNOT_SAY


def test_one_outage_proves_nothing() -> None:
    """Four seconds of errors in 300 are 1.3 points more, but one event; the same errors spread out are no accident."""
    line = only(compared(runs(errors=0.001), uniform(5e7, failed=4, first_failed=100), (ERRORS,)))
    assert line.answer is Answer.CANNOT_SAY
    assert only(compared(runs(errors=0.001), runs(errors=0.014, seed=2), (ERRORS,))).answer is Answer.WORSE


def test_equal_arguments_give_equal_results() -> None:
    """Also with a resampler that was used for something else before."""
    subjects = [
        Subject(
            "a", runs(process=STALLS), runs(seed=2, process=STALLS), (Stratum("whole", 0, 300),), (P50, P95, ERRORS)
        ),
        Subject("b", runs(process=AR1), runs(seed=2, process=AR1), (Stratum("whole", 0, 300),), (P50, P95, ERRORS)),
    ]
    used = Resampler()
    compare(subjects[1:], resampler=used)
    assert compare(subjects) == compare(subjects, resampler=used)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"calls": np.zeros(2, dtype=np.int64)}, "one value a second"),
        ({"seconds": np.array([0, 2, 1])}, "ascending"),
        ({"offsets": np.array([0, 1, 2, 4])}, "offsets must ascend from 0 to the number of buckets, 3"),
        ({"buckets": np.array([0, 1, 4609])}, "buckets must be from 0 to 4608"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changed: dict[str, Any], message: str) -> None:
    """A mistake of who fills them is an error here, not a wrong answer."""
    three = RunSeconds(
        np.arange(3), np.arange(4), np.arange(3), np.ones(3, np.int64), np.ones(3, np.int64), np.zeros(3, np.int64), 3
    )
    with pytest.raises(ValueError, match=message):
        replace(three, **changed)


def test_measures_margins_and_sides_are_checked() -> None:
    """Each names the value it found."""
    with pytest.raises(ValueError, match=r"a quantile must be between 0 and 1, got 95"):
        Quantile(95)
    with pytest.raises(ValueError, match=r"margin share must be >= 0, got -0.05"):
        Margin(share=-0.05)
    with pytest.raises(ValueError, match="search: expected at least one run a side"):
        Subject("search", runs(seconds=2), (), (), ())
    assert [str(measure) for measure in (P50, Quantile(0.999), ERRORS)] == ["p50", "p99.9", "errors"]
