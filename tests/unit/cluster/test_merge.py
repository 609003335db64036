"""What several nodes tell as one."""

from __future__ import annotations

from typing import Any

import pytest
from support.plans import plan_of

from wasp_ray.cluster.lifecycle import Phase
from wasp_ray.cluster.merge import merged_phase, merged_states, result_of_lost
from wasp_ray.plan import Plan

ENDS = ("ok", "failed", "timeout", "killed", "interrupted")


def plan(load: str = "total") -> Plan:
    """One rate."""
    return plan_of(load=load)


def state(planned: float = 100, started: int = 10, ok: int = 9, phase: str = "running") -> dict[str, Any]:
    """What a node says each second."""
    ledger = {**dict.fromkeys(ENDS, 0), "ok": ok}
    data = {"name": "g", "kind": "rate", "planned": planned, "users_active": 1, "in_flight": 1, "started": started,
            "dropped": 2, "ledger": ledger}  # fmt: skip
    return {"phase": phase, "elapsed_s": 3.0, "generators": [data]}


@pytest.mark.parametrize(("load", "planned"), [("total", 100), ("per-node", 200)])
def test_counts_add_up_and_a_shared_schedule_is_planned_once(load: str, planned: float) -> None:
    """Each node of a shared schedule knows the whole of it."""
    (merged,), totals = merged_states(plan(load), [state(), state()])
    assert (merged.planned, merged.started, merged.in_flight, merged.dropped) == (planned, 20, 2, 4)
    assert totals["g"]["ledger"]["ok"] == 18


def test_the_phase_is_that_of_most_interest() -> None:
    """A run drains when all its nodes do."""
    states = [state(phase="running"), state(phase="draining")]
    assert merged_phase(Phase.RUNNING, states) == "running"
    assert merged_phase(Phase.RUNNING, [states[1]]) == "draining"
    assert merged_phase(Phase.RUNNING, [state(phase="paused"), state()]) == "paused"
    assert merged_phase(Phase.DEPLOYING, []) == "setting up"
    assert merged_phase(Phase.DRAINING, states) == "stopping"


def test_a_lost_node_leaves_its_last_word_with_closed_books() -> None:
    """Calls whose end it had not told are lost."""
    result = result_of_lost(2, state(started=10, ok=7), plan(), 0.0)
    ledger = result.totals.ledger
    assert (ledger.started, ledger.ok, ledger.lost, ledger.dropped) == (10, 7, 3, 2)
    assert ledger.closes() and result.totals.node == 2
    assert result_of_lost(1, None, plan(), 0.0).totals.ledger.started == 0
