"""Thresholds: what may be written, how a mistake is shown, and which number is compared."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.histograms import histogram_of
from support.plans import generator_plan, plan_of, segment_plans

from wasp_ray.errors import BadInput
from wasp_ray.plan import GeneratorPlan
from wasp_ray.stats.tallies import Ledger
from wasp_ray.stats.thresholds import Threshold, ThresholdError, evaluate, parse
from wasp_ray.stats.totals import GeneratorTotals, NodeTotals


def seconds(*values: float) -> Any:
    return np.array([round(value * 1e9) for value in values], dtype=np.int64)


@pytest.fixture
def totals() -> NodeTotals:
    """Generator shop (rate, group pay) and generator vu (users), 110 answered calls together."""
    shop = GeneratorTotals("rate", Ledger(scheduled=104, dropped=2, started=102, ok=95, failed=4, timeout=1, killed=2))
    shop.delivered = 101
    shop.call.service = histogram_of(seconds(*(0.001 * number for number in range(1, 101))))
    shop.call.response = histogram_of(seconds(*(0.002 * number for number in range(1, 101))))
    shop.add_counter("hits", 7)
    pay = shop.group("pay")
    pay.ok, pay.failed, pay.timeout = 44, 5, 1
    pay.service = histogram_of(seconds(*[0.5] * 50))
    warm = shop.segment(0)
    warm.ok, warm.failed, warm.timeout = 15, 4, 1
    shop.segment(1).ok = 80
    vu = GeneratorTotals("users", Ledger(scheduled=10, started=10, ok=10))
    vu.call.service = histogram_of(seconds(*[3.0] * 10))
    vu.add_counter("hits", 1)
    return NodeTotals(generators={"shop": shop, "vu": vu})


@pytest.mark.parametrize(
    ("text", "metric", "statistic", "series", "generator", "group", "op", "limit", "share"),
    [
        ("p99(response) of search < 300ms", "latency", "p99", "response", "search", None, "<", 0.3, False),
        ("p99.99<1.5s", "latency", "p99.99", "service", None, None, "<", 1.5, False),
        ("  mean ( service )  of  shop/pay  >=  2 us ", "latency", "mean", "service", "shop", "pay", ">=", 2e-6, False),
        ("max != 1m30s", "latency", "max", "service", None, None, "!=", 90.0, False),
        ("min > 100ns", "latency", "min", "service", None, None, ">", 1e-7, False),
        ("p50 < 1h", "latency", "p50", "service", None, None, "<", 3600.0, False),
        ("failed < 1%", "failed", "", "service", None, None, "<", 0.01, True),
        ("failed of shop == 0", "failed", "", "service", "shop", None, "==", 0.0, False),
        (
            "timeouts of shop/GET /users/1 <= 0.5 %",
            "timeouts",
            "",
            "service",
            "shop",
            "GET /users/1",
            "<=",
            0.005,
            True,
        ),
        ("dropped == 0", "dropped", "", "service", None, None, "==", 0.0, False),
        ("delivered of a<b >= 99%", "delivered", "", "service", "a<b", None, ">=", 0.99, True),
        ("rate of my shop > 95.5/s", "rate", "", "service", "my shop", None, ">", 95.5, False),
        ("rate>95", "rate", "", "service", None, None, ">", 95.0, False),
        ("count(cache hits) of shop > 3", "count", "cache hits", "service", "shop", None, ">", 3.0, False),
    ],
)
def test_what_may_be_written(
    text: str, metric: str, statistic: str, series: str, generator: str | None, group: str | None, op: str,
    limit: float, share: bool,
) -> None:  # fmt: skip
    """Metric, target, operator and value are read with or without blanks, names with any characters."""
    found = parse(text).parse()
    assert (found.metric, found.statistic, found.series) == (metric, statistic, series)
    assert (found.generator, found.group, found.op, found.share) == (generator, group, op, share)
    assert found.limit == pytest.approx(limit, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "caret_under", "expected"),
    [
        ("", "", "expected a metric"),
        ("p98th < 3ms", "th < 3ms", "expected of, or one of <"),
        ("foo < 3", "foo", "expected a metric: p50..p99.99"),
        ("p999 < 3ms", "999", "such as p99.9, found p999"),
        ("p100 < 3s", "100", "expected a percentile"),
        ("p99(total) < 3s", "total", "expected service or response"),
        ("p99(response < 3s", "", "expected )"),
        ("failed(x) < 1%", "(x)", "failed takes nothing in parentheses"),
        ("count > 3", " > 3", "count(name)"),
        ("count() > 3", ") > 3", "expected a counter's name"),
        ("p99 shop < 3ms", "shop", "expected of, or one of <"),
        ("p99 of < 3ms", "< 3ms", "expected the name of a generator"),
        ("p99 of shop/ < 3ms", " < 3ms", "expected the name of a group"),
        ("p99 of shop", "", "expected one of <"),
        ("dropped of shop/pay == 0", "pay", "leave out the group"),
        ("p99 = 3ms", "= 3ms", "expected one of < <= > >= == !="),
        ("p99 =< 3ms", "=< 3ms", "expected one of < <= > >= == !="),
        ("p99 <", "", "expected a number"),
        ("p99 < -3ms", "-3ms", "expected a number"),
        ("p99 < 1.2.3ms", "1.2.3ms", "expected a number"),
        ("p99 < 300", "", "expected a unit for a latency"),
        ("p99 < 3 sec", "sec", "expected a unit for a latency"),
        ("p99 < 5%", "%", "expected a unit for a latency"),
        ("p99 < 3ms now", "now", "expected over, for, after, abort, stop or nothing"),
        ("failed < 3ms", "ms", "expected %, over, for, after, abort, stop or nothing"),
        ("failed < 0.01", "", "such as 1%"),
        ("failed < 101%", "%", "expected at most 100 %"),
        ("rate < 5%", "%", "expected /s, over, for, after, abort, stop or nothing"),
    ],
)
def test_a_mistake_is_pointed_at(text: str, caret_under: str, expected: str) -> None:
    """The message shows the text, a caret under the first character that is wrong, and what may stand there."""
    problems = Threshold(text).problems()
    assert len(problems) == 1
    _, shown, pointer = problems[0].split("\n")
    assert shown[2:] == text
    assert shown[pointer.index("^") :].startswith(caret_under)
    assert pointer.index("^") == 2 + len(text) - len(text[text.find(caret_under) :] if caret_under else "")
    assert expected in pointer


def test_a_bad_threshold_raises_only_when_parsed() -> None:
    """Making one takes any text; parse raises an error of the package's tree that is a ValueError too."""
    made = Threshold("nonsense")
    with pytest.raises(ThresholdError) as caught:
        made.parse()
    assert isinstance(caught.value, BadInput) and isinstance(caught.value, ValueError)
    assert caught.value.problems == made.problems()
    with pytest.raises(ThresholdError):
        parse("nonsense")


@given(st.text(max_size=60) | st.none() | st.integers())
def test_any_text_is_taken(text: object) -> None:
    """No text whatever makes the constructor or problems() raise, and a message is three lines."""
    for problem in Threshold(text).problems(["shop"]):
        assert len(problem.split("\n")) == 3


@pytest.mark.parametrize("text", ["p99 < 300ms" + "x" * 5000, "x" * 900 + "\n\x1b[31m"])
def test_a_message_is_short_and_printable(text: str) -> None:
    """Long texts are cut around the caret; control characters do not reach the terminal."""
    (problem,) = Threshold(text).problems()
    assert all(len(line) < 300 and line.isprintable() for line in problem.split("\n"))


@pytest.mark.parametrize(
    ("text", "known"), [("failed < 1%", True), ("p99 of m < 3ms", True), ("p99 of shp < 3ms", False)]
)
def test_a_generator_must_be_known(text: str, known: bool) -> None:
    """A target that is no generator of the profile is a problem that names those there are."""
    problems = Threshold(text).problems(["shop", "m"])
    assert (problems == []) is known
    assert known or ("^ expected one of: m, shop" in problems[0] and "'shp'" in problems[0])


def test_thresholds_are_values() -> None:
    """Equal by text, hashable, printable, and picklable for another process."""
    made = parse("p99 < 3ms")
    assert made == Threshold("p99 < 3ms") == Threshold(made) and len({made, Threshold(made)}) == 1
    assert str(made) == "p99 < 3ms" and repr(made) == "Threshold('p99 < 3ms')"
    assert pickle.loads(pickle.dumps(made)).parse() == made.parse()


@pytest.mark.parametrize(
    ("text", "value", "passed"),
    [
        ("p50 of shop < 51ms", 0.050, True),
        ("p50(response) of shop < 51ms", 0.100, False),
        ("max of shop == 100ms", 0.1, True),
        ("min of shop >= 1ms", 0.001, True),
        ("mean of shop <= 50.5ms", 0.0505, True),
        ("max < 2s", 3.0, False),
        ("max of shop/pay <= 500ms", 0.5, True),
        ("failed of shop < 5%", 4 / 102, True),
        ("failed of shop < 3.9%", 4 / 102, False),
        ("failed of shop == 4", 4, True),
        ("failed of shop/pay <= 10%", 0.1, True),
        ("timeouts of shop/pay == 1", 1, True),
        ("timeouts == 0", 1, False),
        ("dropped of shop == 2", 2, True),
        ("dropped < 1%", 2 / 114, False),
        ("delivered of shop >= 97%", 101 / 104, True),
        ("delivered >= 111", 111, True),
        ("rate > 10/s", 11.1, True),
        ("rate of shop/pay == 5/s", 5.0, True),
        ("count(hits) == 8", 8, True),
        ("count(hits) of vu != 1", 1, False),
        ("count(misses) == 0", 0, True),
        ("errors of shop < 7%", 7 / 102, True),
        ("errors of shop/pay == 6", 6, True),
        ("errors == 7", 7, True),
        ("killed of shop == 0", 2, False),
        ("killed < 2%", 2 / 112, True),
    ],
)
def test_the_right_number_is_compared(totals: NodeTotals, text: str, value: float, passed: bool) -> None:
    """Without `of` all generators are one; shares are 0..1, latencies seconds, rates per second of the run."""
    found = evaluate(Threshold(text), totals, 10.0)
    assert found["value"] == pytest.approx(value, rel=0.004)
    assert found["passed"] is passed
    assert found["expression"] == text


@pytest.mark.parametrize(
    "text",
    ["p99 of nobody < 1s", "p99 of shop/nothing < 1s", "failed of shop/nothing == 0", "count(misses) of nobody == 0",
     "failed of idle == 0", "dropped of idle == 0", "rate of idle < 5", "p99(response) of vu < 1s"],
)  # fmt: skip
def test_without_a_sample_a_threshold_is_broken(totals: NodeTotals, text: str) -> None:
    """What was never measured has not passed."""
    totals.generators["idle"] = GeneratorTotals("rate")
    found = evaluate(text, totals, 10.0)
    assert found["value"] is None
    assert found["passed"] is False


def planned(name: str, *segments: tuple[float, bool]) -> GeneratorPlan:
    """A Generator of a plan, of segments of so many seconds that are warm-up or not."""
    made = segment_plans(segments)
    return generator_plan(name, duration_ns=made[-1].to_ns, segments=made)


PLAN = plan_of(planned("shop", (2, True), (8, False)), planned("vu", (20, False)))


@pytest.mark.parametrize(
    ("text", "value"), [("failed of shop == 0", 0), ("timeouts of shop < 1%", 0.0), ("rate of shop > 10/s", 81 / 8)]
)
def test_warmup_does_not_count(totals: NodeTotals, text: str, value: float) -> None:
    """Calls of a warm-up segment of the plan are left out of failed, timeouts and rate, its seconds of rate."""
    found = evaluate(text, totals, 20.0, PLAN)
    assert found["value"] == pytest.approx(value)
    assert found["passed"]


@pytest.mark.parametrize(
    ("text", "load_s", "seconds", "calls"),
    [
        ("rate of shop > 1", 20.0, 8, 101 - 20),
        ("rate of shop/pay > 1", 20.0, 8, 50),
        ("rate of vu > 0", 20.0, 20, 10),
        ("rate > 1", 20.0, 20, 101 - 20 + 10),
        ("rate of shop > 1", 5.0, 3, 101 - 20),
        ("rate of vu > 1", 5.0, 5, 10),
    ],
)
def test_a_rate_is_per_second_of_its_own_generators_schedule(
    totals: NodeTotals, text: str, load_s: float, seconds: float, calls: int
) -> None:
    """Without warm-up, as far as the load came; without `of` the seconds in which any Generator was measured."""
    assert evaluate(text, totals, load_s, PLAN)["value"] == pytest.approx(calls / seconds)


def test_a_rate_over_generators_that_take_turns_counts_each_second_once(totals: NodeTotals) -> None:
    """One measured in seconds 0 to 4 and 8 to 10, the other in 2 to 6, are 8 seconds of measured load together."""
    plan = plan_of(planned("shop", (4, False), (4, True), (2, False)), planned("vu", (2, True), (4, False)))
    totals.generators["vu"].segment(0)
    totals.generators["shop"].segments[1].ok = 0
    assert evaluate("rate > 1", totals, 10.0, plan)["value"] == pytest.approx((101 + 10) / 8)


def test_a_warmup_that_a_load_did_not_come_to_leaves_nothing_out(totals: NodeTotals) -> None:
    """A stopped load has no totals of the segments behind the stop."""
    plan = plan_of(planned("shop", (2, True), (8, False), (2, True)))
    assert evaluate("failed of shop == 0", totals, 5.0, plan)["value"] == 0
    plan = plan_of(planned("shop", (2, False), (8, False), (2, True)))
    assert evaluate("failed of shop == 0", totals, 5.0, plan)["value"] == 4


def test_a_rate_is_over_the_time_in_which_calls_became_due(totals: NodeTotals) -> None:
    """A Generator that ended itself after 4 s of 20 has the rate of those 4 s, without its drain; the others' time is their own."""
    totals.generators["shop"].scheduled_s = 4.0
    assert evaluate("rate of shop > 1", totals, 20.0, PLAN)["value"] == pytest.approx((101 - 20) / 2)
    assert evaluate("rate of vu > 1", totals, 20.0, PLAN)["value"] == pytest.approx(10 / 20)


def test_a_rate_of_nothing_but_warmup_is_broken(totals: NodeTotals) -> None:
    """No second of it was measured."""
    plan = plan_of(planned("shop", (10, True)))
    assert evaluate("rate of shop > 0", totals, 10.0, plan)["value"] is None


def test_a_threshold_of_a_thousand_characters_is_the_longest() -> None:
    """Whatever a file or a command line may hold."""
    text = "failed of " + "x" * 986 + " < 1"
    assert len(text) == 1000 and parse(text).expression == text
    with pytest.raises(ThresholdError, match="expected at most 1000 characters, found 1001"):
        parse(text + " ")


def test_thresholds_and_verdict_do_not_load_numpy() -> None:
    """They are imported where every megabyte is paid once per user."""
    code = (
        "import sys, wasp_ray.stats.outcomes, wasp_ray.stats.thresholds, wasp_ray.stats.verdict\n"
        "wasp_ray.stats.thresholds.Threshold('p99 < 3ms').parse(); sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
