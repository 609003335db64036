"""Thresholds over time: what is broken when, what a breach does, how far a system held."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.histograms import histogram_of
from support.plans import generator_plan, plan_of

from wasp_ray.plan import Plan
from wasp_ray.stats.seconds import Second
from wasp_ray.stats.threshold_watch import Breach, ThresholdWatch

MS = 10**6


def plan(*thresholds: str, breaker: bool = False) -> Plan:
    """Of the Generator g."""
    return plan_of(generator_plan("g"), thresholds=thresholds, breaker=breaker)


def second(at_s: int, *times_ms: float, failed: int = 0, planned: float = 10.0, warmup: bool = False) -> Second:
    """Calls that took so long; so many of them failed."""
    made = Second(at_s, scheduled=len(times_ms), started=len(times_ms), planned=planned, is_warmup=warmup)
    cell = made.cell(None, warmup=warmup)
    cell.ok, cell.failed = len(times_ms) - failed, failed
    cell.service = cell.response = histogram_of([round(ms * MS) for ms in times_ms])
    return made


def breaches(watch: ThresholdWatch, seconds: Sequence[Second]) -> list[Breach]:
    """One second after the other."""
    return [breach for each in seconds for breach in watch.add({"g": [each]})]


def judged(watch: ThresholdWatch, at: int = 0) -> Any:
    """The value of a threshold and whether it passed."""
    return watch.judged(at)


def test_a_window_slides_over_closed_seconds() -> None:
    """Not judged before it is full; broken as soon as its figure is, and only then."""
    watch = ThresholdWatch(plan("mean < 20ms over 3s"))
    times = [10, 10, 30, 10, 10, 90, 10, 10, 10, 10]
    found = breaches(watch, [second(at_s, ms) for at_s, ms in enumerate(times)])
    assert found == [Breach("mean < 20ms over 3s: broken", 6, ends_load=False)]
    (result,) = watch.results()
    assert (result["broken_at_s"], result["broken_for_s"]) == (6, 3)
    assert result["worst"] == pytest.approx((10 + 10 + 90) / 3000, rel=0.01)
    assert judged(watch) == (pytest.approx(0.01, rel=0.01), False)


@given(st.lists(st.lists(st.integers(1, 10**5), max_size=6), min_size=1, max_size=40), st.integers(1, 12))
def test_the_figure_of_a_window_is_that_of_its_calls(times: list[list[int]], over: int) -> None:
    """Whatever came before and has left it: p90, min and max of the last seconds, from a histogram of them alone."""
    watch = ThresholdWatch(plan(*(f"{metric} < 1000h over {over}s" for metric in ("p90", "min", "max", "mean"))))
    for at_s, some in enumerate(times):
        watch.add({"g": [second(at_s, *some)]})
        inside = [ms for each in times[max(0, at_s + 1 - over) : at_s + 1] for ms in each]
        if at_s + 1 >= over and inside:
            expected = histogram_of([ms * MS for ms in inside]).summary_s()
            assert [judged(watch, number)[0] for number in range(4)] == [
                expected["p90"], expected["min"], expected["max"], expected["mean"],
            ]  # fmt: skip


def test_it_must_be_broken_without_interruption_for_as_long_as_it_says() -> None:
    """Two seconds out of three are none; a second without calls interrupts nothing."""
    watch = ThresholdWatch(plan("max < 50ms over 1s for 3s"))
    times: list[list[float]] = [[90], [90], [10], [90], [], [90], [10], [90]]
    found = breaches(watch, [second(at_s, *some) for at_s, some in enumerate(times)])
    assert [breach.at_s for breach in found] == [6]
    assert watch.results()[0]["broken_for_s"] == 5


def test_nothing_counts_before_its_time() -> None:
    """With a window, that is full later; without one, the whole run from then on."""
    watch = ThresholdWatch(plan("max < 50ms over 2s after 3s", "failed < 10% after 3s abort"))
    seconds = [second(at_s, 90, failed=1) for at_s in range(3)] + [second(at_s, 10) for at_s in range(3, 8)]
    assert breaches(watch, seconds) == []
    assert [judged(watch, number) for number in (0, 1)] == [(pytest.approx(0.01), True), (0.0, True)]


def test_a_plain_threshold_is_not_broken_by_a_part_of_the_run() -> None:
    """It says since when it is broken at the end; a breach ends nothing."""
    watch = ThresholdWatch(plan("failed < 10%"))
    found = breaches(watch, [second(at_s, *[10.0] * 10, failed=5 if at_s in (0, 4, 5, 6) else 0) for at_s in range(7)])
    assert found == [] and watch.judged(0) is None
    assert watch.results()[0]["broken_at_s"] == 0 and watch.results()[0]["worst"] == 0.5


def test_abort_reports_one_breach() -> None:
    """However long it lasts."""
    watch = ThresholdWatch(plan("errors == 0 over 2s abort"))
    found = breaches(watch, [second(at_s, 10, 10, failed=at_s > 3) for at_s in range(9)])
    assert found == [Breach("errors == 0 over 2s abort: broken, so the load ends", 5, ends_load=True)]


def test_warm_up_has_no_part_in_it() -> None:
    """As in the figures of the whole run."""
    watch = ThresholdWatch(plan("failed < 1% over 2s", "rate > 1/s over 2s"))
    seconds = [second(at_s, 10, 10, failed=2, warmup=True) for at_s in range(4)]
    seconds += [second(at_s, 10, 10, 10) for at_s in range(4, 8)]
    assert breaches(watch, seconds) == []
    assert judged(watch, 1) == (3.0, True)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("rate > 0/s over 4s", 2.5), ("delivered > 0% over 4s", 10 / 14), ("dropped < 5 over 4s", 4.0),
        ("dropped < 50% over 4s", 4 / 14), ("errors < 900 over 4s", 3.0), ("failed < 99% over 4s", 0.2),
        ("timeouts < 90% over 4s", 0.1),
    ],
)  # fmt: skip
def test_each_metric_of_a_window(text: str, value: float) -> None:
    """Of its calls: in the older seconds everything is different."""
    watch = ThresholdWatch(plan(text))
    breaches(watch, [second(at_s, *[1.0] * 50, failed=50) for at_s in range(3)])
    for at_s in range(3, 7):
        made = second(at_s, *[1.0] * (3 if at_s < 5 else 2))
        made.scheduled += 1
        made.dropped_by = {"limit": 1}
        if at_s == 4:
            made.cell(None, warmup=False).ok -= 3
            made.cell(None, warmup=False).add_outcomes([0, 2, 1, 0, 0])
        watch.add({"g": [made]})
    assert judged(watch) == (pytest.approx(value), True)


def test_a_breakpoint_test_says_how_far_it_held() -> None:
    """The highest load at which it held, and the one at which it broke for good; `for` forgives a moment."""
    watch = ThresholdWatch(plan("p50 < 50ms over 1s for 2s stop"))
    times = [10, 10, 90, 10, 10, 90, 90]
    found = breaches(watch, [second(at_s, ms, planned=100.0 * at_s) for at_s, ms in enumerate(times)])
    assert [breach.ends_load for breach in found] == [True]
    assert watch.capacity() == {"held": 400.0, "broke": 500.0} and judged(watch) == (pytest.approx(0.09), True)


def test_a_breakpoint_test_that_never_held_has_failed() -> None:
    """There is no load of which it could speak."""
    watch = ThresholdWatch(plan("p50 < 50ms over 1s stop"))
    breaches(watch, [second(0, 90, planned=7.0)])
    assert watch.capacity() == {"held": None, "broke": 7.0} and judged(watch) == (pytest.approx(0.09), False)
    unbroken = ThresholdWatch(plan("p50 < 50ms over 1s stop"))
    breaches(unbroken, [second(0, 10, planned=7.0)])
    assert unbroken.capacity() == {"held": 7.0, "broke": None} and ThresholdWatch(plan()).capacity() is None


def test_a_run_shorter_than_the_window_is_judged_by_what_it_has() -> None:
    """Without any call it is broken, as any threshold is that matches nothing."""
    short = ThresholdWatch(plan("max < 50ms over 30s abort"))
    assert breaches(short, [second(0, 10), second(1, 60)]) == []
    assert judged(short) == (pytest.approx(0.06), False)
    empty = ThresholdWatch(plan("max < 50ms over 30s abort"))
    assert judged(empty) == (None, False)


# -- the breaker


def errors(at_s: int, number: int = 5, ok: int = 0) -> Second:
    """Calls of which so many failed."""
    return second(at_s, *[1.0] * (number + ok), failed=number)


def test_a_generator_of_which_every_call_fails_ends_the_load() -> None:
    """After 30 s and more than 100 calls."""
    watch = ThresholdWatch(plan(breaker=True))
    found = breaches(watch, [errors(at_s) for at_s in range(40)])
    assert [(breach.at_s, breach.ends_load) for breach in found] == [(30, True)]
    assert found[0].sentence.startswith("g: all 150 calls of the last 30 s failed")
    assert list(watch.opened) == ["g"]


@pytest.mark.parametrize(
    ("made", "options"),
    [
        (plan(breaker=True), {"breaker": False}), (plan(breaker=False), {}),
        (plan("errors < 1000 abort", breaker=True), {}),
    ],
    ids=["--no-breaker", "Profile(breaker=False)", "an action of the Profile's own"],
)  # fmt: skip
def test_it_can_be_switched_off(made: Plan, options: dict[str, Any]) -> None:
    """By the command, the Profile, or a threshold that does its duty."""
    assert breaches(ThresholdWatch(made, **options), [errors(at_s) for at_s in range(40)]) == []


def test_one_success_or_few_calls_keep_it_closed() -> None:
    """A single good call within 30 s, or 100 calls at most."""
    watch = ThresholdWatch(plan(breaker=True))
    assert breaches(watch, [errors(at_s, ok=int(at_s % 29 == 0)) for at_s in range(58)]) == []
    slow = ThresholdWatch(plan(breaker=True))
    assert breaches(slow, [errors(at_s, 3 if at_s % 3 else 4) for at_s in range(90)]) == []


def test_a_part_that_comes_late_counts_in_the_newest_second() -> None:
    """It moves no window back."""
    watch = ThresholdWatch(plan("errors < 3 over 2s"))
    breaches(watch, [second(at_s, *[1.0] * 4) for at_s in range(5)])
    watch.add({"g": [second(1, 1.0, 1.0, failed=2)]})
    assert judged(watch) == (2.0, True) and watch.results()[0]["broken_for_s"] == 0
    assert np.isclose(watch.results()[0]["worst"], 2.0)
    watch.add({"g": [second(4, 1.0, 1.0, failed=2)]})
    watch.add({"g": [second(4, 1.0, failed=1)]})
    assert judged(watch) == (5.0, False) and watch.results()[0]["broken_for_s"] == 1
