"""What a node's run comes to, from what the aggregator, the workers' headers and the drivers counted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from support.plans import generator_plan, plan_of

from wasp_ray.node.conclude import Evidence, conclude, totals_of, totals_so_far
from wasp_ray.node.findings import Findings
from wasp_ray.node.sums import Sums
from wasp_ray.stats.loop_blocks import LoopBlocks
from wasp_ray.stats.tallies import Ledger, UserTotals
from wasp_ray.stats.totals import GeneratorTotals, NodeTotals
from wasp_ray.wire.control import NEVER, Ask

SECOND = 10**9
START = 50 * SECOND


def run_of(name: str = "g", **changed: Any) -> Any:
    """A Generator's run that has ended: 10 calls begun, 2 dropped."""
    plan = generator_plan(name, call_timeout_ns=5 * SECOND)
    sums = Sums(begun=10, dropped_limit=2)
    driver = SimpleNamespace(
        dropped_by=lambda sums, is_final: {
            "in_flight_limit": sums.dropped_limit,
            **({"stopped": 3} if is_final else {}),
        },
        scheduled=lambda sums: 15,
        users=UserTotals,
    )
    made = SimpleNamespace(
        gen=0, name=name, kind="rate", plan=plan, sums=sums, live_sums=lambda: sums, driver=driver, rss={0: 100, 1: 50},
        cpu_s=1.5, cpu_wait_s=0.25, scheduled_ns=10 * SECOND, ended_by="", loop_blocks=lambda sums: LoopBlocks(),
        ended=True, ended_early=False, asked=0, longest_standstill_ns=0,
        fleet=SimpleNamespace(setup_failed=1, replaced=0, deaths=0, hung=0),
        workers=SimpleNamespace(cut_ns=START + 10 * SECOND),
    )  # fmt: skip
    for field, value in changed.items():
        setattr(made, field, value)
    return made


def report_of(**ledger: int) -> dict[str, Any]:
    """What the aggregator has counted of Generator g."""
    return {"generators": {"g": GeneratorTotals("rate", Ledger(**ledger)).to_data()}}


def evidence_of(*runs: Any, **changed: Any) -> Evidence:
    """Of a run whose records were all counted."""
    made = Evidence(
        2, "host", 1000, runs or (run_of(),), report_of(ok=9), is_final=True, start_ns=START, started_wall_s=7.0,
        ended_ns=START + 99 * SECOND,
    )  # fmt: skip
    for field, value in changed.items():
        setattr(made, field, value)
    return made


def totaled(evidence: Evidence, findings: Findings, *, are_workers_apart: bool = True) -> NodeTotals:
    """The totals of a node whose own processes took 3 s of CPU, 0.5 s of them after the load."""
    cpu: Any = SimpleNamespace(cpu_ns=3 * SECOND, over_ns=SECOND // 2)
    return totals_of(evidence, findings, cpu, are_workers_apart=are_workers_apart)


def found_in(run: Any) -> Findings:
    """What is wrong with a run."""
    findings = Findings()
    totaled(evidence_of(run), findings)
    return findings


def test_totals_are_those_of_all_who_counted() -> None:
    """Outcomes from the aggregator, started and dropped from the workers, scheduled from the schedule."""
    sums = Sums(begun=10, lost=1, dropped_limit=2, setups_failed=4)
    evidence = evidence_of(run_of(sums=sums), run_of("h"), started_late_ns=SECOND)
    evidence.report = {**evidence.report, "first_delay_ns": SECOND // 2, "rss_bytes": 7}
    totals = totaled(evidence, Findings())
    assert (totals.node, totals.host, totals.start_skew_s) == (2, "host", 1.5)
    assert (totals.cpu_s, totals.cpu_over_s) == (1.5 + 1.5 + 3.0, 0.5)
    assert totals.peak_rss_bytes == 1000 + 7 + 150 + 150
    assert totaled(evidence, Findings(), are_workers_apart=False).cpu_s == 3.0  # threads took theirs from the node's
    made = totals.generators["g"]
    assert made.ledger == Ledger(scheduled=15, dropped=5, started=10, ok=9, lost=1)
    assert made.dropped_by == {"in_flight_limit": 2, "stopped": 3}
    assert (made.users.setup_failed, made.cpu_s, made.cpu_wait_s) == (5, 1.5, 0.25)
    assert totals.generators["h"].ledger == Ledger(scheduled=15, dropped=5, started=10)


@pytest.mark.parametrize(("ok", "lost"), [(0, 10), (4, 6), (10, 0), (12, 0)])
def test_what_a_dead_aggregator_had_not_reported_is_lost(ok: int, lost: int) -> None:
    """The headers know how many calls had begun."""
    totals = totaled(evidence_of(report=report_of(ok=ok), is_final=False), Findings())
    assert totals.generators["g"].ledger.lost == lost


def test_during_the_load_what_is_neither_started_nor_dropped_is_not_scheduled_yet() -> None:
    """So the ledger closes at any time."""
    data = totals_so_far([run_of()], report_of(ok=3))["g"]
    assert (data["ledger"]["scheduled"], data["ledger"]["started"], data["ledger"]["dropped"]) == (12, 10, 2)
    assert totals_so_far([run_of()], {})["g"]["ledger"]["started"] == 10


def test_a_load_that_never_began_has_no_skew_and_no_duration() -> None:
    """A stop came first."""
    evidence, findings = evidence_of(start_ns=NEVER, started_late_ns=SECOND), Findings()
    totals = totaled(evidence, findings)
    result = conclude(evidence, totals, findings, plan_of(), signal=None, stopped=True)
    assert (totals.start_skew_s, result.duration_s, result.stopped) == (None, 0.0, True)


@pytest.mark.parametrize(
    ("runs", "last_end_s", "duration_s"),
    [
        ([run_of()], 4, 10),  # the schedule's end
        ([run_of()], 12, 12),  # the last call's, which ended in its grace
        ([run_of(), run_of(workers=SimpleNamespace(cut_ns=START + 11 * SECOND))], 4, 11),
        ([run_of(ended=False)], 4, 99),  # whatever ended it
        ([run_of(workers=SimpleNamespace(cut_ns=START - 5))], -50, 0),
    ],
)
def test_a_run_lasts_from_t_0_to_the_later_of_schedule_and_last_call(
    runs: list[Any], last_end_s: int, duration_s: float
) -> None:
    """Of all Generators."""
    evidence = evidence_of(*runs)
    evidence.report = {**evidence.report, "last_end_ns": START + last_end_s * SECOND}
    result = conclude(evidence, totaled(evidence, Findings()), Findings(), plan_of(), signal=None, stopped=False)
    assert result.duration_s == duration_s


def test_the_result_carries_what_was_found_and_who_ended_early() -> None:
    """Torn records make it invalid, as lateness does."""
    evidence = evidence_of(run_of(), run_of("h", ended_early=True))
    evidence.report = {**evidence.report, "torn": 1234, "max_gap_s": 2.0, "warnings": ["late"]}
    findings = Findings(["e"], ["i"], ["f"], ["w"])
    plan, totals = plan_of(), totaled(evidence, Findings())
    result = conclude(evidence, totals, findings, plan, signal="SIGINT", stopped=True)
    assert (result.plan, result.totals, result.started_wall_s) == (plan, totals, 7.0)
    assert (result.interrupted, result.stopped, result.stopped_generators) == ("SIGINT", True, ["h"])
    assert (result.errors, result.failed, result.warnings) == (["e"], ["f"], ["w", "late"])
    assert result.invalid[:2] == ["i", "1,234 records were torn: the measurement cannot be trusted"]
    assert "the aggregator did not run for 2.0 s" in result.invalid[2] and len(result.invalid) == 3


def test_a_run_without_trouble_has_no_findings() -> None:
    """Not even at the limits."""
    quiet = run_of(sums=Sums(begun=10, ring_wait_ns=SECOND // 10), longest_standstill_ns=SECOND, asked=Ask.STOP)
    assert found_in(quiet) == Findings()


@pytest.mark.parametrize(
    ("changed", "kind", "told"),
    [
        ({"sums": Sums(ring_wait_ns=SECOND // 10 + 1)}, "warnings", "workers waited 0.1 s in all for room"),
        ({"sums": Sums(lost_requests=1500)}, "invalid", "1,500 requests found no room"),
        ({"sums": Sums(overflowed_strings=1)}, "warnings", "more than 4,096 distinct strings"),
        ({"sums": Sums(forks=1)}, "warnings", "user code forked 1 process;"),
        ({"sums": Sums(forks=2)}, "warnings", "user code forked 2 processes;"),
        ({"longest_standstill_ns": SECOND + 1}, "invalid", "a signal stopped a worker process for 1.0 s"),
        ({"asked": Ask.FAIL}, "failed", "a call failed (fail_on_error)"),
        ({"deaths": 2, "hung": 2}, "warnings", "2 processes were killed since a call outlasted call_timeout (5 s)"),
        ({"deaths": 2, "hung": 2, "replaced": 2}, "warnings", "(5 s); 2 were replaced, which runs setup() again"),
        ({"deaths": 3}, "warnings", "3 worker processes died"),
        ({"deaths": 3, "replaced": 1}, "warnings", "3 worker processes died; 1 were replaced"),
    ],
)
def test_each_trouble_is_one_sentence_of_its_kind(changed: dict[str, Any], kind: str, told: str) -> None:
    """With the Generator's name."""
    fleet = {name: changed.pop(name) for name in ("deaths", "hung", "replaced") if name in changed}
    made = run_of(**changed)
    vars(made.fleet).update(fleet)
    findings = found_in(made)
    (text,) = getattr(findings, kind)
    assert told in text and text.startswith("Generator 'g': ")
    setattr(findings, kind, [])
    assert findings == Findings()


def test_deaths_and_hung_calls_are_told_apart_and_replacements_once() -> None:
    """Three died, one of them since it was killed; without call_timeout there is no limit to name."""
    made = run_of(plan=generator_plan("g", call_timeout_ns=None))
    vars(made.fleet).update(deaths=3, hung=1, replaced=2)
    hung, died = found_in(made).warnings
    assert "call_timeout; 2 were replaced" in hung and died == "Generator 'g': 2 worker processes died"


def test_an_error_has_the_traceback_of_its_first_exception_as_example() -> None:
    """Where the worker could report it; others keep the path that the aggregator found."""
    made = GeneratorTotals("rate")
    made.add_error("ValueError: a", "g", 2, 0.5, "/a")
    made.add_error("ValueError: b", "g", 1, 0.5, "/b")
    evidence = evidence_of(report={"generators": {"g": made.to_data()}})
    findings = Findings(traces={(0, "ValueError: a"): "Traceback", (1, "ValueError: b"): "of another Generator"})
    errors = totaled(evidence, findings).generators["g"].error_list()
    assert {error["error"]: error["example"] for error in errors} == {
        "ValueError: a": "Traceback",
        "ValueError: b": "/b",
    }
