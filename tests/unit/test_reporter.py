"""A run whose thresholds could not be evaluated does not pass, whatever its calls were."""

from __future__ import annotations

import pytest
from support.run_seconds import seconds_of
from support.scripted_nodes import plan_of

from wasp_ray.execution import Findings, Listener, Reporter, Settings
from wasp_ray.execution.reporter import NO_PLAN, STOPPED_EARLY
from wasp_ray.node.options import NodeResult
from wasp_ray.plan import Plan
from wasp_ray.stats.tallies import Ledger
from wasp_ray.stats.totals import GeneratorTotals, NodeTotals

GOOD = Ledger(scheduled=100, started=100, ok=100)


def result(*, has_plan: bool = True, duration_s: float = 10.0, ledger: Ledger = GOOD) -> NodeResult:
    """One node whose calls all went well."""
    totals = NodeTotals(node=1, host="h")
    totals.generators["search"] = GeneratorTotals(kind="rate", ledger=ledger, delivered=ledger.started)
    return NodeResult(plan_of(1) if has_plan else Plan.unknown(), totals, duration_s, 0.0)


@pytest.mark.parametrize(
    ("results", "found", "verdict", "reasons"),
    [
        ([result()], Findings(), "passed", []),
        ([result(has_plan=False)], Findings(), "error", [NO_PLAN]),
        ([result(has_plan=False)], Findings(stopped=True), "error", [NO_PLAN]),
        ([result(has_plan=False)], Findings(interrupted="SIGINT"), "error", [NO_PLAN, "interrupted by SIGINT"]),
        ([], Findings(stopped=True), "error", [STOPPED_EARLY]),
        ([result(duration_s=0.0, ledger=Ledger())], Findings(stopped=True), "error", [STOPPED_EARLY]),
        ([], Findings(interrupted="SIGINT"), "interrupted", ["interrupted by SIGINT"]),
        ([], Findings(errors=["no place"]), "error", ["no place"]),
        ([result()], Findings(failed=["it fired"]), "failed", ["it fired"]),
    ],
    ids=[
        "all is well", "its plan is not known", "its plan is not known, and it was stopped",
        "its plan is not known, and it was interrupted", "it was stopped before any node reported",
        "it was stopped before the load began", "it was interrupted before the load began", "it could not be started",
        "an alert had fired before this controller took over",
    ],
)  # fmt: skip
def test_what_was_not_judged_does_not_pass(
    results: list[NodeResult], found: Findings, verdict: str, reasons: list[str]
) -> None:
    """A run without a plan or without a load is an error, unless another reason ranks above or says it already."""
    reporter = Reporter(Settings(source={}), Listener())
    reporter.windows(seconds_of(results))
    judged = reporter.conclude(results, found).judged
    assert (judged.verdict, judged.reasons) == (verdict, reasons)


def test_seconds_that_do_not_add_up_to_the_totals_make_a_run_invalid() -> None:
    """With each column in which they differ; not when a node was lost, whose last seconds are missing."""
    for found, verdict in ((Findings(), "invalid"), (Findings(is_partial=True), "passed")):
        reporter = Reporter(Settings(source={}), Listener())
        (second,) = seconds_of([result()])["search"]
        second.started -= 1
        second.cell("cart", warmup=False).ok += 2
        reporter.windows({"search": [second]})
        judged = reporter.conclude([result()], found).judged
        assert judged.verdict == verdict
    reporter = Reporter(Settings(source={}), Listener())
    (reason,) = reporter.conclude([result()]).judged.reasons
    assert "Generator 'search': its seconds add up to 0 scheduled, its total is 100" in reason


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([["slow", "slow"]], ["slow"]),
        ([["slow", "slow"], []], ["node 1: slow"]),
        ([["slow"], ["slow", "slow"]], ["slow"]),
        ([[], ["slow"], ["slow"]], ["node 2, 3: slow"]),
    ],
)
def test_what_several_nodes_say_is_reported_once_with_the_nodes_that_say_it(
    said: list[list[str]], told: list[str]
) -> None:
    """However often each of them says it."""
    results = []
    for node, warnings in enumerate(said, 1):
        one = result()
        one.totals.node, one.warnings = node, warnings
        results.append(one)
    assert Reporter(Settings(source={}), Listener()).conclude(results, Findings()).judged.warnings == told
