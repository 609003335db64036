"""What a node tells while it runs, and what its snapshots say of our own lateness. It must not change anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wasp_ray.node.options import GeneratorState
from wasp_ray.report.snapshot import Phase

if TYPE_CHECKING:
    from wasp_ray.node.run import Node

MAX_POLL_GAP_S = 1.0
SLOW_SECONDS = 5
"""So many seconds in a row, each with calls due and a p99 of start - due over START_LATE_NS, make a run invalid."""


def lateness(snapshot: Mapping[str, Any], throttled_ns: int = 0) -> list[str]:
    """Reasons for `invalid`: our own lateness, judged by what it did to the measurement.

    `throttled_ns`: how long a CPU quota throttled the node's processes meanwhile.
    """
    quota = f" (its CPU quota throttled it for {throttled_ns / 1e9:.1f} s over all CPUs)" if throttled_ns else ""
    reasons = [
        f"Generator {name!r}: calls started more than 50 ms late (p99) in {seconds} seconds in a row, from second {first} on,"
        f" although slots were free: this machine was too busy or stood still{quota}; use a lower rate, more CPU or more nodes"
        for name, (first, seconds) in snapshot.get("slow_seconds", {}).items()
        if seconds >= SLOW_SECONDS
    ]
    if (gap_s := snapshot.get("max_gap_s", 0.0)) > MAX_POLL_GAP_S:
        reasons.append(
            f"the aggregator did not run for {gap_s:.1f} s, at most {MAX_POLL_GAP_S:g} s is expected: this machine was too busy"
            " or stood still; use fewer processes, more CPU or more nodes"
        )
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
