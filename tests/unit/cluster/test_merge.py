"""What several nodes tell as one."""

from __future__ import annotations

import pytest
from support.plans import plan_of

from wasp_ray.cluster import lifecycle
from wasp_ray.cluster.merge import merged, result_of_lost
from wasp_ray.plan import Plan
from wasp_ray.report.listener import GeneratorState, Phase, Snapshot


def plan(load: str = "total") -> Plan:
    """One rate."""
    return plan_of(load=load)


def state(planned: float = 100, started: int = 10, ok: int = 9, phase: Phase = "running") -> Snapshot:
    """What a node says each second."""
    counts = GeneratorState(ok=ok, name="g", planned=planned, users_active=1, in_flight=1, started=started, dropped=2)
    return Snapshot(3.0, 10.0, phase, [counts])


@pytest.mark.parametrize(("load", "planned"), [("total", 100), ("per-node", 200)])
def test_counts_add_up_and_a_shared_schedule_is_planned_once(load: str, planned: float) -> None:
    """Each node of a shared schedule knows the whole of it."""
    (total,) = merged(plan(load), lifecycle.Phase.RUNNING, [state(), state()]).generators
    assert (total.planned, total.started, total.in_flight, total.dropped, total.ok) == (planned, 20, 2, 4, 18)


def test_the_phase_is_that_of_most_interest() -> None:
    """A run drains when all its nodes do."""
    phases = lifecycle.Phase
    states = [state(phase="running"), state(phase="draining")]
    assert merged(plan(), phases.RUNNING, states).phase == "running"
    assert merged(plan(), phases.RUNNING, states[1:]).phase == "draining"
    assert merged(plan(), phases.RUNNING, [state(phase="paused"), state()]).phase == "paused"
    assert merged(plan(), phases.DEPLOYING, []).phase == "setting up"
    assert merged(plan(), phases.DRAINING, states).phase == "stopping"


def test_a_lost_node_leaves_its_last_word_with_closed_books() -> None:
    """Calls whose end it had not told are lost."""
    result = result_of_lost(2, state(started=10, ok=7), plan(), 0.0)
    ledger = result.totals.ledger
    assert (ledger.started, ledger.ok, ledger.lost, ledger.dropped) == (10, 7, 3, 2)
    assert ledger.closes() and result.totals.node == 2
    assert result_of_lost(1, None, plan(), 0.0).totals.ledger.started == 0
