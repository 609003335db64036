"""summary.json: every key of the interface is there, with seconds, rates and nodes as documented."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from support.histograms import histogram_of
from support.plans import generator_plan, plan_of, segment_plans

from wasp_ray.plan import Plan
from wasp_ray.schedule import plain
from wasp_ray.stats.loop_blocks import LoopBlocks
from wasp_ray.stats.summary import summarise
from wasp_ray.stats.tallies import Ledger
from wasp_ray.stats.totals import GeneratorTotals, NodeTotals
from wasp_ray.stats.verdict import Judgement

RUN: dict[str, Any] = {
    "run_id": "r1", "started_at": "2026-01-01T00:00:00Z", "ended_at": "2026-01-01T00:00:06Z", "duration_s": 6.0,
    "versions": {"wasp_ray": "0.1", "python": "3.11.7"},
}  # fmt: skip
TIMES = ["min", "mean", "p50", "p90", "p95", "p99", "p999", "max"]
COLUMNS = ["scheduled", "dropped", "started", "ok", "failed", "timeout", "killed", "interrupted", "lost"]


def demo_plan(**changed: Any) -> Plan:
    warm, rest = segment_plans([(1, True), (4, False)], 10, 90)
    rate = generator_plan("shop", duration_ns=5 * 10**9, segments=(replace(warm, name="warm"), rest))
    users = generator_plan("vu", kind="users", duration_ns=5 * 10**9, segments=())
    given: dict[str, Any] = {"profile": "demo", "labels": {"branch": "main"}, "seed": 7}
    return plan_of(rate, users, **given | changed)


def node_of(number: int) -> NodeTotals:
    shop = GeneratorTotals("rate", Ledger(scheduled=50, dropped=1, started=49, ok=48, failed=1))
    shop.delivered = 49
    shop.dropped_by = {"generator": 1}
    shop.start_delay = histogram_of([1000, 2000])
    shop.call.service = histogram_of([10**9, 3 * 10**9])
    shop.group("pay").ok = 49
    shop.group("pay").add_status("200", 49)
    shop.segment(1).ok, shop.segment(1).failed = 44, 1
    shop.add_error("HTTP 500", "pay", 1, 0.25 * number, "body")
    shop.loop_blocks = LoopBlocks(1, 0.5, 0.1 * number, "call")
    return NodeTotals(number, f"host{number}", 0.002 * number, 1.0, 100, {"shop": shop}, cpu_over_s=4.0)


def summary_of(plan: Plan | None = None, **run: Any) -> dict[str, Any]:
    judged = Judgement("failed", ["why"], ["mind"], 1)
    made = summarise(
        plan or demo_plan(), [node_of(1), node_of(2)], RUN | run, judged, [{"expression": "x", "passed": False}]
    )
    return dict(json.loads(json.dumps(made)))


def test_every_key_is_there_in_order() -> None:
    """The top level has the keys of the interface, also those that are empty."""
    found = summary_of()
    assert list(found) == [
        "schema", "run_id", "profile", "labels", "verdict", "reasons", "warnings", "started_at", "ended_at",
        "duration_s", "load", "versions", "seed", "ledger", "thresholds", "capacity", "alerts", "generators", "sinks", "nodes",
        "start_skew_s",
    ]  # fmt: skip
    assert found["schema"] == "wasp-ray/summary/1"
    assert found["versions"] == {"wasp_ray": "0.1", "python": "3.11.7", "image": None}
    assert (found["verdict"], found["reasons"], found["warnings"]) == ("failed", ["why"], ["mind"])
    assert found["thresholds"] == [{"expression": "x", "passed": False}]


@pytest.mark.parametrize("name", ["shop", "vu"])
def test_every_generator_has_every_key(name: str) -> None:
    """Also one that no node reported: its numbers are 0, its times null."""
    found = summary_of()["generators"][name]
    assert list(found) == [
        "kind", "ledger", "planned_rate", "delivered_rate", "scheduled_s", "ended_by", "dropped_by", "start_delay_s", "late",
        "users", "cpu_s", "cpu_wait_s", "loop_blocks", "counters", "call", "groups", "segments", "errors",
    ]  # fmt: skip
    assert list(found["ledger"]) == COLUMNS
    assert list(found["start_delay_s"]) == ["p50", "p99", "max"]
    assert list(found["users"]) == ["planned_max", "active_max", "delivered", "setup_failed", "replaced"]
    assert list(found["call"]) == ["service_s", "response_s"]
    assert list(found["call"]["service_s"]) == TIMES


def test_numbers_are_those_of_all_nodes() -> None:
    """Ledgers, groups and errors are summed, times are in seconds, rates are over the schedule."""
    found = summary_of()
    shop = found["generators"]["shop"]
    assert found["ledger"]["scheduled"] == shop["ledger"]["scheduled"] == 100
    assert (shop["planned_rate"], shop["delivered_rate"]) == (20.0, pytest.approx(19.6))
    assert shop["call"]["service_s"]["max"] == 3.0 and shop["call"]["service_s"]["mean"] == 2.0
    assert shop["start_delay_s"]["max"] == 2e-6
    assert shop["loop_blocks"] == {"count": 2, "call_s": 1.0, "max_s": 0.2, "max_in": "call"}
    assert found["generators"]["vu"]["loop_blocks"] == {"count": 0, "call_s": 0.0, "max_s": 0.0, "max_in": None}
    assert shop["groups"]["pay"] == {
        "count": 98, "ok": 98, "failed": 0, "timeout": 0, "killed": 0, "interrupted": 0,
        "status": {"200": 98}, "service_s": dict.fromkeys(TIMES), "response_s": dict.fromkeys(TIMES), "bytes_in": 0, "bytes_out": 0,
    }  # fmt: skip
    assert shop["errors"] == [{"error": "HTTP 500", "group": "pay", "count": 2, "first_at_s": 0.25, "example": "body"}]


@pytest.mark.parametrize(("load", "users"), [("total", 50), ("per-node", 100)])
def test_planned_users_are_those_of_the_plan_whatever_nodes_reported(load: str, users: int) -> None:
    """A node that a stop ended early has reported none."""
    plan = plan_of(generator_plan("vu", kind="users", peak=50.0), load=load, nodes=2)
    found = summary_of(plan)["generators"]
    assert found["vu"]["users"]["planned_max"] == users
    assert found["shop"]["users"]["planned_max"] == 0, "a rate, of which the plan knows nothing"


def test_nodes_are_listed_one_by_one() -> None:
    """Each with its host, skew, CPU, memory and ledger; the largest skew stands for the run."""
    found = summary_of()
    assert [node["host"] for node in found["nodes"]] == ["host1", "host2"]
    assert list(found["nodes"][0]) == [
        "node", "host", "start_skew_s", "clock_offset_s", "clock_error_s", "cpu_s", "cpu_cores", "peak_rss_bytes", "ledger",
    ]  # fmt: skip
    assert found["nodes"][1]["ledger"]["scheduled"] == 50
    assert (found["nodes"][1]["cpu_s"], found["nodes"][1]["cpu_cores"]) == (1.0, 0.25)
    assert found["start_skew_s"] == {"max": 0.004, "spread": pytest.approx(0.002), "spread_error": 0.0}


def test_the_start_spread_is_by_one_clock() -> None:
    """A node that is 2 ms later by a clock that is 10 ms ahead began 8 ms before the other."""
    nodes = [NodeTotals(node=1, start_skew_s=0.001), NodeTotals(node=2, start_skew_s=0.003), NodeTotals(node=3)]
    found = summarise(
        Plan.unknown(), nodes, {"run_id": "r", "started_at": None, "ended_at": None, "duration_s": 1.0},
        Judgement("passed", [], [], 0), clocks={1: (0.0, 0.004), 2: (0.010, 0.002)},
    )  # fmt: skip
    assert found["start_skew_s"] == {"max": 0.003, "spread": pytest.approx(0.008), "spread_error": pytest.approx(0.006)}
    assert [node["clock_offset_s"] for node in found["nodes"]] == [0.0, 0.010, None]


def test_segments_are_those_of_the_plan() -> None:
    """Every segment is there with its bounds and rates, also one that no call was booked in."""
    warm, rest = summary_of()["generators"]["shop"]["segments"]
    assert list(rest) == [
        "index",
        "name",
        "from_s",
        "to_s",
        "planned_rate",
        "delivered_rate",
        "failed",
        "service_s",
        "response_s",
    ]
    assert (warm["name"], warm["planned_rate"], warm["delivered_rate"]) == ("warm", 10.0, 0.0)
    assert (rest["from_s"], rest["to_s"], rest["planned_rate"]) == (1.0, 5.0, 22.5)
    assert (rest["delivered_rate"], rest["failed"]) == (22.5, 2)


def test_load_per_node_multiplies_the_plan() -> None:
    """With the load per node, a segment's planned rate is that of all nodes together."""
    found = summary_of(demo_plan(nodes=2, load="per-node"))
    assert found["generators"]["shop"]["segments"][0]["planned_rate"] == 20.0


def test_a_stopped_run_has_the_rates_of_what_was_run() -> None:
    """Rates are over the seconds of schedule until the stop, not over the whole plan."""
    found = summary_of(load_s=2.5)["generators"]["shop"]
    assert (found["planned_rate"], found["delivered_rate"]) == (40.0, pytest.approx(39.2))


def test_rates_are_over_the_time_in_which_calls_became_due() -> None:
    """Of the longest node, without its drain: 100 calls in 2.5 s are 40/s in a run of 6 s, and so are the delivered ones."""
    nodes = [node_of(1), node_of(2)]
    nodes[0].generators["shop"].scheduled_s, nodes[1].generators["shop"].scheduled_s = 2.4, 2.5
    nodes[1].generators["shop"].ended_by = "rows_used_up"
    found = summarise(demo_plan(), nodes, RUN, Judgement("passed", [], [], 0))["generators"]["shop"]
    assert (found["planned_rate"], found["delivered_rate"]) == (40.0, pytest.approx(39.2))
    assert (found["scheduled_s"], found["ended_by"]) == (2.5, "rows_used_up")


def test_the_planned_rate_is_that_of_the_schedule() -> None:
    """Of one call an hour one is due at once: that is no rate of 0.33/s in three seconds. Drawn ones count as they are."""
    node = NodeTotals(1, "h", generators={"g": GeneratorTotals("rate", Ledger(scheduled=1, started=1, ok=1))})
    rates = []
    for arrivals in ("constant", "poisson"):
        planned = generator_plan(
            "g", schedule=plain(1, "3s"), rate_unit_ns=3600 * 10**9, duration_ns=3 * 10**9, arrivals=arrivals
        )
        found = summarise(plan_of(planned), [node], RUN, Judgement("passed", [], [], 0))["generators"]["g"]
        rates.append(found["planned_rate"])
    assert rates == [pytest.approx(1 / 3600), pytest.approx(1 / 3)]


def test_a_call_alone_is_no_rate() -> None:
    """--once makes one call, whatever the schedule says."""
    assert summary_of(demo_plan(once=True))["generators"]["shop"]["planned_rate"] is None


def test_users_have_no_planned_rate() -> None:
    """What users do per second follows from the target; only the number of users is planned."""
    found = summary_of()["generators"]["vu"]
    assert found["planned_rate"] is None and found["delivered_rate"] == 0.0


def test_a_run_without_time_or_nodes_is_still_a_summary() -> None:
    """A run that ended before it began has all keys and no division by zero."""
    found = summarise(demo_plan(), [], RUN | {"duration_s": 0}, Judgement("error", ["no node"], [], 4))
    assert found["nodes"] == [] and found["start_skew_s"] == {"max": None, "spread": None, "spread_error": None}
    assert found["generators"]["shop"]["planned_rate"] is None
