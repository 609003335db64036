"""What a node tells while it runs, and what its snapshots say of our own lateness. It must not change anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wasp_ray.node.options import GeneratorState
from wasp_ray.report.snapshot import Phase

if TYPE_CHECKING:
    from wasp_ray.node.run import Node

MAX_POLL_GAP_S = 1.0
SLOW_WINDOWS = 5


def lateness(snapshot: Mapping[str, Any]) -> list[str]:
    """Reasons for `invalid`: our own lateness, judged by what it did to the measurement."""
    reasons = [
        f"Generator {name!r}: this machine started calls over 50 ms late (p99) for {SLOW_WINDOWS} s in a row"
        for name, slow in snapshot.get("most_slow_windows", {}).items()
        if slow >= SLOW_WINDOWS
    ]
    if snapshot.get("max_gap_s", 0.0) > MAX_POLL_GAP_S:
        reasons.append("the aggregator did not run for more than 1 s: this machine was too busy to measure")
    return reasons


def tell_progress(node: Node, now: int) -> None:
    """Hands the present state to the listener."""
    t = node.control.schedule_ns(now) if node.start_ns_known else 0
    states = []
    for g in node.generators:
        sums = g.live_sums()
        planned = g.planned_at(t) if node.start_ns_known and not g.ended else 0.0
        states.append(
            GeneratorState(g.name, g.kind, planned, g.active_users(), g.in_flight(), sums.begun, sums.dropped)
        )
    node.exports.states(states)
    node.listener.progress(_phase(node), max(0.0, t / 1e9), states, node.snapshot.get("generators", {}))


def _phase(node: Node) -> Phase:
    if not node.start_ns_known:
        return "setting up"
    if node.control.paused:
        return "paused"
    if all(g.ended for g in node.generators):
        return "draining"
    return "stopping" if node.orders.stop.asked else "running"
