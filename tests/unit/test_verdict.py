"""The verdict: which rule gives which one, in which order, with which exit code."""

from __future__ import annotations

from typing import Any

import pytest
from support.histograms import histogram_of
from support.plans import generator_plan, plan_of

from wasp_ray.http.talk import RETRIES
from wasp_ray.plan import Plan
from wasp_ray.stats.limits import OTHER
from wasp_ray.stats.loop_blocks import LoopBlocks
from wasp_ray.stats.tallies import GroupTotals, Ledger, UserTotals
from wasp_ray.stats.totals import GeneratorTotals, NodeTotals
from wasp_ray.stats.verdict import HTTP_RETRIES, JudgeInput, Judgement, exit_code, judge

BROKEN = {"expression": "p99 < 300ms", "value": 0.412, "limit": 0.3, "passed": False}
NO_SAMPLE = {"expression": "p99 of x < 300ms", "value": None, "limit": 0.3, "passed": False}
KEPT = {"expression": "failed < 1%", "value": 0.0, "limit": 0.01, "passed": True}


def shop_plan(**changed: Any) -> Plan:
    given: dict[str, Any] = {"is_async": False, "calls": 1000, "peak": 500.0, "duration_ns": 2_000_000_000}
    return plan_of(generator_plan("shop", **given | changed))


def shop_of(delivered: int | None = None, dropped_by: dict[str, int] | None = None, **columns: int) -> GeneratorTotals:
    made = GeneratorTotals("rate", Ledger(**(columns or {"scheduled": 1000, "started": 1000, "ok": 1000})))
    made.dropped_by = dict(dropped_by or {})
    made.delivered = made.ledger.started if delivered is None else delivered
    return made


def judged(item: GeneratorTotals | None = None, plan: Plan | None = None, **found: Any) -> Judgement:
    totals = NodeTotals(generators={"shop": item or shop_of()})
    return judge(JudgeInput(totals=totals, plan=plan or shop_plan(), **found))


def short_of(**dropped_by: int) -> GeneratorTotals:
    dropped = sum(dropped_by.values())
    return shop_of(scheduled=1000, dropped=dropped, started=1000 - dropped, ok=1000 - dropped, dropped_by=dropped_by)


def test_a_clean_run_passes() -> None:
    """Nothing wrong: passed, no reasons, exit code 0."""
    assert judged(thresholds=[KEPT]) == ("passed", [], [], 0)


@pytest.mark.parametrize(
    ("found", "verdict", "code", "reason"),
    [
        ({"errors": ["the aggregator ended"]}, "error", 4, "the aggregator ended"),
        ({"invalid": ["ticks were late"]}, "invalid", 3, "ticks were late"),
        ({"failed": ["fail_on_error"]}, "failed", 1, "fail_on_error"),
        ({"thresholds": [KEPT, BROKEN]}, "failed", 1, "p99 < 300ms: found 412 ms"),
        ({"thresholds": [NO_SAMPLE]}, "failed", 1, "p99 of x < 300ms: no sample matches it, so it is broken"),
        ({"interrupted": "SIGINT"}, "interrupted", 130, "interrupted by SIGINT"),
        ({"interrupted": "SIGTERM"}, "interrupted", 143, "interrupted by SIGTERM"),
        ({"interrupted": "SIGHUP"}, "interrupted", 143, "interrupted by SIGHUP"),
        ({"cut_by": "SIGINT"}, "interrupted", 130, "interrupted by SIGINT"),
    ],
)
def test_each_reason_has_its_verdict(found: dict[str, Any], verdict: str, code: int, reason: str) -> None:
    """One thing went wrong: its verdict, its exit code, its reason."""
    assert judged(**found) == (verdict, [reason], [], code)


@pytest.mark.parametrize(
    ("names", "verdict", "code"),
    [
        (["errors", "invalid", "failed", "interrupted"], "error", 4),
        (["invalid", "failed", "interrupted"], "invalid", 3),
        (["failed", "interrupted"], "failed", 1),
    ],
)
def test_the_gravest_verdict_wins_and_all_reasons_are_listed(names: list[str], verdict: str, code: int) -> None:
    """error, invalid, failed, interrupted, in this order."""
    every: dict[str, Any] = {"errors": ["e"], "invalid": ["i"], "failed": ["f"], "interrupted": "SIGINT"}
    result = judged(**{name: every[name] for name in names})
    assert (result.verdict, result.exit_code) == (verdict, code)
    assert result.reasons == [every[name][0] if name != "interrupted" else "interrupted by SIGINT" for name in names]


def test_a_ledger_that_does_not_close_is_invalid() -> None:
    """Calls that are nowhere are our fault; the reason gives the numbers."""
    result = judged(shop_of(scheduled=1000, started=1000, ok=990))
    assert (result.verdict, result.exit_code) == ("invalid", 3)
    assert "does not close" in result.reasons[0] and "accounted for 990" in result.reasons[0]


def test_lost_records_are_invalid() -> None:
    """The ledger closes with them, but the measurement has a hole."""
    result = judged(shop_of(scheduled=1000, started=1000, ok=998, lost=2))
    assert result.verdict == "invalid"
    assert "2 call records were lost" in result.reasons[0]


def test_killed_calls_alone_change_nothing_but_a_warning() -> None:
    """A crashed user is in the ledger, and the run passes."""
    result = judged(shop_of(scheduled=1000, started=1000, ok=999, killed=1))
    assert result.verdict == "passed"
    assert "1 calls were killed" in result.warnings[0]


@pytest.mark.parametrize(
    ("dropped_by", "verdict"),
    [
        ({"in_flight_limit": 11}, "failed"),
        ({"worker_limit": 11}, "failed"),
        ({"generator": 11}, "invalid"),
        ({"worker_lost": 11}, "invalid"),
        ({"in_flight_limit": 10}, "passed"),
        ({"in_flight_limit": 300, "generator": 5}, "failed"),
        ({"in_flight_limit": 5, "generator": 300}, "invalid"),
    ],
)
def test_too_little_delivered_is_judged_by_its_cause(dropped_by: dict[str, int], verdict: str) -> None:
    """The target's causes fail the run, ours make it invalid, and min_delivered itself is enough."""
    assert judged(short_of(**dropped_by)).verdict == verdict


def test_calls_started_too_late_are_not_delivered() -> None:
    """Started over a second after the schedule's end, with slots free: our fault, though none was dropped."""
    assert judged(shop_of(delivered=900)).verdict == "invalid"


def test_a_full_target_is_explained_by_littles_law() -> None:
    """Rate, slots and the time a call takes tell how many slots the rate needs."""
    item = short_of(in_flight_limit=400)
    item.call.service = histogram_of([3_200_000_000] * 600)
    (reason,) = judged(item).reasons
    for part in (
        "600 of 1,000 calls",
        "60.0 %",
        "all 1,000 slots (max_in_flight)",
        "500/s",
        "Little's law",
        "3.2 s",
        "1,600 slots",
    ):
        assert part in reason


@pytest.mark.parametrize(
    ("item", "found"),
    [
        (shop_of(scheduled=9, dropped=8, started=1, ok=1, dropped_by={"generator": 8}), {}),
        (short_of(generator=500), {"stopped": True}),
        (short_of(generator=500), {"stopped_generators": frozenset({"shop"})}),
    ],
)
def test_min_delivered_is_not_for_few_calls_or_after_a_stop(item: GeneratorTotals, found: dict[str, Any]) -> None:
    """Below 10 calls a share says nothing, and a stopped schedule was not meant to be delivered."""
    assert judged(item, **found).verdict == "passed"


def test_a_signal_after_the_load_leaves_its_judgement_whole() -> None:
    """It cut a wait for alerts: what was delivered is judged as ever, where a signal in mid-load would forbid it."""
    found = judged(short_of(in_flight_limit=500), cut_by="SIGINT")
    assert (found.verdict, found.exit_code, found.reasons[-1]) == ("failed", 1, "interrupted by SIGINT")
    assert judged(short_of(in_flight_limit=500), interrupted="SIGINT").verdict == "interrupted"


def test_without_one_success_a_run_failed() -> None:
    """A target that answers nothing but errors is no passed run, with or without thresholds."""
    result = judged(shop_of(scheduled=20, started=20, failed=20))
    assert (result.verdict, result.reasons) == ("failed", ["shop: no call succeeded"])


@pytest.mark.parametrize(
    ("item", "change", "found", "verdict"),
    [
        (shop_of(scheduled=0), {"calls": 0}, {}, "passed"),
        (shop_of(scheduled=0), {}, {}, "failed"),
        (shop_of(scheduled=0), {}, {"stopped": True}, "passed"),
        (shop_of(scheduled=1, started=1, interrupted=1), {}, {"interrupted": "SIGINT"}, "interrupted"),
        (shop_of(scheduled=1, started=1, failed=1), {}, {"interrupted": "SIGINT"}, "failed"),
        (
            shop_of(scheduled=1, started=1, interrupted=1),
            {},
            {"interrupted": "SIGINT", "thresholds": [NO_SAMPLE]},
            "interrupted",
        ),
        (GeneratorTotals("users"), {"kind": "users", "peak": 5}, {}, "failed"),
        (GeneratorTotals("users"), {"kind": "users", "peak": 0}, {}, "passed"),
    ],
)
def test_no_success_matters_only_where_one_was_due(
    item: GeneratorTotals, change: dict[str, Any], found: dict[str, Any], verdict: str
) -> None:
    """An empty schedule, an early stop and a signal before the first answer are no failure of the target."""
    assert judged(item, shop_plan(**change), **found).verdict == verdict


def test_a_generator_nobody_reported_has_no_success() -> None:
    """A generator of the plan that is missing in the totals counts as one without calls."""
    result = judge(JudgeInput(totals=NodeTotals(), plan=shop_plan()))
    assert result.reasons == ["shop: no call succeeded"]


@pytest.mark.parametrize(
    ("wait_s", "call_time_s", "percent"), [(3, 30, None), (9.3, 30, 31), (0.4, 0.001, None), (60, 30, 100)]
)
def test_waiting_for_the_cpu_warns(wait_s: float, call_time_s: float, percent: int | None) -> None:
    """Above 10 % of the call time the service times contain this machine's queue; the verdict stays."""
    item = shop_of()
    item.cpu_wait_s, item.call_time_s, item.cpu_s = wait_s, call_time_s, 60.0
    result = judged(item)
    assert result.verdict == "passed"
    line = (
        f"shop: load generator CPU saturated: calls spent {percent} % of their time waiting for a core (60 ms CPU/call);"
        " use more CPU, more nodes or less load"
    )
    assert result.warnings == ([line] if percent else [])


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("failed of shop == 0", ["does not count 7 timed-out calls and 2 killed calls"]),
        ("failed of shop/pay < 5%", ["does not count 3 timed-out requests"]),
        ("failed of shop/buy < 5%", []),
        ("errors of shop < 5%", []),
        ("timeouts of shop < 5%", []),
    ],
)
def test_a_threshold_on_failed_alone_warns_of_what_it_overlooks(expression: str, said: list[str]) -> None:
    """`failed` does not include calls that hang or die: a threshold on it alone warns of those."""
    item = shop_of(None, scheduled=100, started=100, ok=91, timeout=7, killed=2)
    item.group("pay").timeout, item.group("buy").ok = 3, 5
    result = {"expression": expression, "value": 0.0, "limit": 0.0, "passed": True}
    warnings = judged(item, thresholds=[result], warnings=[]).warnings
    found = [text for text in warnings if "does not count" in text]
    assert len(found) == len(said) and all(part in text for part, text in zip(said, found, strict=True))
    assert all("use `errors`" in text for text in found)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("p99 < 50ms over 2s abort", "broken at 7 s, for 4 s in all, worst 90 ms"),
        ("p99 < 50ms over 2s stop", "it never held, worst 90 ms"),
        ("p99 < 50ms", "found 61 ms"),
    ],
)
def test_the_reason_of_a_broken_threshold_says_how_it_was_judged(expression: str, reason: str) -> None:
    """By the second: when and how long; over the whole run: what was found."""
    over_time = {"broken_at_s": 7, "broken_for_s": 4, "worst": 0.09}
    result = {"expression": expression, "value": 0.061, "limit": 0.05, "passed": False, **over_time}
    assert judged(shop_of(), thresholds=[result]).reasons == [f"{expression}: {reason}"]


def test_names_that_found_no_room_warn() -> None:
    """When counts were put under `__other__`, a warning says of what."""
    item = shop_of()
    item.group(OTHER).ok = 3
    item.add_counter(OTHER)
    (warning,) = judged(item, warnings=[]).warnings
    assert "groups, counters" in warning


def test_requests_that_were_sent_twice_are_reported() -> None:
    """The counter is the HTTP client's."""
    assert HTTP_RETRIES == RETRIES
    shop = shop_of()
    shop.counters[HTTP_RETRIES] = 1_234
    (warning,) = judged(shop).warnings
    assert warning.startswith("shop: 1,234 HTTP requests were sent again") and "retries=0" in warning


@pytest.mark.parametrize(
    ("scheduled_s", "delivered_s", "in_setup_s", "verdict", "told"),
    [
        (100.0, 90.0, 0.0, "passed", ""),
        (100.0, 60.0, 30.0, "failed", "they were in setup() (p50 3"),
        (100.0, 60.0, 10.0, "invalid", "they waited for a process, for setup_concurrency or for this machine's CPU"),
        (9.0, 0.0, 0.0, "passed", ""),
    ],
)
def test_users_that_are_missing_are_judged_by_what_they_waited_for(
    scheduled_s: float, delivered_s: float, in_setup_s: float, verdict: str, told: str
) -> None:
    """From 10 user-seconds on, against 0.9 of them by default."""
    crowd = GeneratorTotals("users", ledger=Ledger(scheduled=50, started=50, ok=50))
    crowd.users = UserTotals(4, 4, scheduled_s=scheduled_s, delivered_s=delivered_s, in_setup_s=in_setup_s)
    crowd.groups["setup"] = GroupTotals(service=histogram_of([3_000_000_000] * 4))
    plan = plan_of(generator_plan("shop", kind="users", min_delivered=0.9))
    found = judged(crowd, plan)
    assert found.verdict == verdict and told in "".join(found.reasons), found
    assert judged(crowd, plan, stopped=True).verdict == "passed"


def test_exit_codes_are_those_of_the_interface() -> None:
    """0, 1, 3, 4, 130 and 143."""
    found = [exit_code(name) for name in ("passed", "failed", "invalid", "error", "interrupted")]
    assert [*found, exit_code("interrupted", "SIGTERM")] == [0, 1, 3, 4, 130, 143]
    assert exit_code("interrupted", "SIGUSR1") == 130


SENTENCE = "call() of Quick blocked its event loop for up to 104 ms: use `def call`, or an async client"


@pytest.mark.parametrize(
    ("count", "call_s", "verdict"), [(0, 0.0, "passed"), (1, 25.0, "passed"), (9, 3.0, "passed"), (2, 3.1, "invalid")]
)
def test_blocked_loops_are_judged_by_the_call_time_that_they_cover(count: int, call_s: float, verdict: str) -> None:
    """A single block, or less than 10 % of the call time, is a warning; more is invalid, and then there is no warning besides."""
    item = shop_of()
    item.call_time_s, item.loop_blocks = (
        30.0,
        LoopBlocks(count, call_s, 0.1042 if count else 0.0, "call" if count else ""),
    )
    result = judged(item)
    assert result.verdict == verdict
    said = [f"shop: {SENTENCE}"] if count else []
    assert result.warnings == (said if verdict == "passed" else [])
    share = "shop: blocked event loops are 10.3 % of its call time, at most 10 % is allowed: "
    assert result.reasons == ([share + SENTENCE] if verdict == "invalid" else [])


@pytest.mark.parametrize("cause", ["in_flight_limit", "generator"])
def test_what_blocked_loops_did_not_deliver_is_no_fault_of_target_or_machine(cause: str) -> None:
    """Neither "make the target faster" nor "use a lower rate" would help."""
    item = short_of(**{cause: 500})
    item.call_time_s, item.loop_blocks = 30.0, LoopBlocks(40, 29.0, 0.1042, "call")
    result = judged(item)
    assert result.verdict == "invalid"
    (reason,) = result.reasons
    assert reason.startswith("shop: blocked event loops are 96.7 % of its call time") and reason.endswith(SENTENCE)


def test_late_calls_behind_a_few_blocks_name_them() -> None:
    """Less than 10 % of the call time, but calls were dropped late: the cure is that of the block."""
    item = short_of(generator=500)
    item.call_time_s, item.loop_blocks = 30.0, LoopBlocks(2, 1.0, 0.1042, "setup")
    (reason,) = judged(item).reasons
    assert "setup() of Quick blocked its event loop for up to 104 ms: use an async client in it" in reason
    assert "use a lower rate" not in reason
