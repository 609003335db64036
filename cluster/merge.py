"""What several nodes tell as one: live states, and a result for a node that left none. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from wasp_ray.cluster.last_word import ledgers
from wasp_ray.cluster.lifecycle import Phase
from wasp_ray.node.options import NodeResult
from wasp_ray.plan import Kind, Plan
from wasp_ray.report import listener
from wasp_ray.report.listener import COUNTS, GeneratorState, Snapshot
from wasp_ray.stats.tallies import Ledger
from wasp_ray.stats.totals import GeneratorTotals, NodeTotals

UNKNOWN_CAUSE = "worker_lost"


def merged(plan: Plan, phase: Phase, nodes: Collection[Snapshot]) -> Snapshot:
    """All nodes as one run. A schedule that nodes share is planned once."""
    shared = plan.load == "total"
    found = {part.name: GeneratorState(name=part.name, kind=part.kind) for part in plan.generators}
    for node in nodes:
        for state in node.generators:
            if state.name in found:
                _add(found[state.name], state, shared)
    elapsed_s = max((node.elapsed_s for node in nodes), default=0.0)
    return Snapshot(elapsed_s, plan.duration_ns / 1e9, _phase(phase, nodes), list(found.values()))


def _add(total: GeneratorState, state: GeneratorState, shared: bool) -> None:
    total.planned = max(total.planned, state.planned) if shared else total.planned + state.planned
    for name in COUNTS:
        setattr(total, name, getattr(total, name) + getattr(state, name))


def _phase(phase: Phase, nodes: Iterable[Snapshot]) -> listener.Phase:
    """The run's phase in the words of one node's."""
    if phase is Phase.DEPLOYING:
        return "setting up"
    if phase is Phase.DRAINING:
        return "stopping"
    told = {node.phase for node in nodes}
    if phase is not Phase.RUNNING or told == {"draining"}:
        return "draining"
    return "paused" if "paused" in told else "running"


def result_of_lost(
    node: int, state: Snapshot | None, plan: Plan, began_wall_s: float,
    word: Mapping[str, Any] | None = None,
) -> NodeResult:  # fmt: skip
    """From what a node left at its end (`word`), which has whole books and no times; else from the last state that was
    heard, by which calls whose end was not told are lost. The caller says that the run is invalid.
    """
    totals = NodeTotals(node=node, host="")
    elapsed_s = 0.0 if state is None else state.elapsed_s
    kinds = {part.name: part.kind for part in plan.generators}
    books = None if word is None else ledgers(word, list(kinds))
    if books is not None:
        for name, ledger in books.items():
            dropped_by = {UNKNOWN_CAUSE: ledger.dropped} if ledger.dropped else {}
            totals.generators[name] = GeneratorTotals(
                kind=kinds.get(name, "rate"), ledger=ledger, dropped_by=dropped_by, delivered=ledger.started
            )
    elif state is not None:
        for generator in state.generators:
            totals.generators[generator.name] = _generator(kinds.get(generator.name, generator.kind), generator)
    errors = [] if word is None else list(word["errors"])
    return NodeResult(plan, totals, elapsed_s, began_wall_s, stopped=True, errors=errors)


def _generator(kind: Kind, state: GeneratorState) -> GeneratorTotals:
    started = max(state.started, state.count)
    ledger = Ledger(
        scheduled=started + state.dropped, dropped=state.dropped, started=started, lost=started - state.count, **state.outcomes(),
    )  # fmt: skip
    dropped_by = {UNKNOWN_CAUSE: state.dropped} if state.dropped else {}
    return GeneratorTotals(kind=kind, ledger=ledger, dropped_by=dropped_by, delivered=started)
