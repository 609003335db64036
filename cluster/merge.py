"""What several nodes tell as one: live states, and a result for a node that left none. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wasp_ray.cluster.last_word import ledgers
from wasp_ray.cluster.lifecycle import Phase
from wasp_ray.node.options import GeneratorState, NodeResult
from wasp_ray.plan import Kind, Plan
from wasp_ray.report import snapshot
from wasp_ray.stats.outcomes import outcomes_of
from wasp_ray.stats.tallies import Ledger
from wasp_ray.stats.totals import GeneratorTotals, NodeTotals

UNKNOWN_CAUSE = "worker_lost"


def merged_states(plan: Plan, states: Iterable[Mapping[str, Any]]) -> tuple[list[GeneratorState], dict[str, Any]]:
    """Each Generator's numbers over all nodes, and {name: {"ledger": ...}}. A schedule that nodes share is planned once."""
    shared = plan.load == "total"
    found = {part.name: _Sum(part.kind) for part in plan.generators}
    for state in states:
        for data in state["generators"]:
            if data["name"] in found:
                found[data["name"]].add(data, shared)
    merged = [
        GeneratorState(name, s.kind, s.planned, s.users_active, s.in_flight, s.started, s.dropped)
        for name, s in found.items()
    ]
    return merged, {name: {"ledger": s.ledger} for name, s in found.items()}


class _Sum:
    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.planned = 0.0
        self.users_active = self.in_flight = self.started = self.dropped = 0
        self.ledger: dict[str, int] = {}

    def add(self, data: Mapping[str, Any], shared: bool) -> None:
        self.planned = max(self.planned, data["planned"]) if shared else self.planned + data["planned"]
        for name in ("users_active", "in_flight", "started", "dropped"):
            setattr(self, name, getattr(self, name) + data[name])
        for column, number in data["ledger"].items():
            self.ledger[column] = self.ledger.get(column, 0) + number


def merged_phase(phase: Phase, states: Iterable[Mapping[str, Any]]) -> snapshot.Phase:
    """The run's phase in the words of one node's."""
    if phase is Phase.DEPLOYING:
        return "setting up"
    if phase is Phase.DRAINING:
        return "stopping"
    told = {state["phase"] for state in states}
    if phase is not Phase.RUNNING or told == {"draining"}:
        return "draining"
    return "paused" if "paused" in told else "running"


def result_of_lost(
    node: int, state: Mapping[str, Any] | None, plan: Plan, began_wall_s: float,
    word: Mapping[str, Any] | None = None,
) -> NodeResult:  # fmt: skip
    """From what a node left at its end (`word`), which has whole books and no times; else from the last state that was
    heard, by which calls whose end was not told are lost. The caller says that the run is invalid.
    """
    totals = NodeTotals(node=node, host="")
    elapsed_s = 0.0 if state is None else float(state["elapsed_s"])
    kinds = {part.name: part.kind for part in plan.generators}
    books = None if word is None else ledgers(word, list(kinds))
    if books is not None:
        for name, ledger in books.items():
            dropped_by = {UNKNOWN_CAUSE: ledger.dropped} if ledger.dropped else {}
            totals.generators[name] = GeneratorTotals(
                kind=kinds.get(name, "rate"), ledger=ledger, dropped_by=dropped_by, delivered=ledger.started
            )
    elif state is not None:
        for data in state["generators"]:
            totals.generators[data["name"]] = _generator(kinds.get(data["name"], data["kind"]), data)
    errors = [] if word is None else list(word["errors"])
    return NodeResult(plan, totals, elapsed_s, began_wall_s, stopped=True, errors=errors)


def _generator(kind: str, data: Mapping[str, Any]) -> GeneratorTotals:
    ends = outcomes_of(data["ledger"])
    started = max(data["started"], sum(ends.values()))
    ledger = Ledger(
        scheduled=started + data["dropped"], dropped=data["dropped"], started=started,
        lost=started - sum(ends.values()), **ends,
    )  # fmt: skip
    dropped_by = {UNKNOWN_CAUSE: data["dropped"]} if data["dropped"] else {}
    return GeneratorTotals(kind=kind, ledger=ledger, dropped_by=dropped_by, delivered=started)
