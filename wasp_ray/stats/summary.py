"""summary.json as a value: every key is always there, in seconds and per second. It must not judge or measure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from wasp_ray.plan import GeneratorPlan, Plan
from wasp_ray.schedule import RateCurve
from wasp_ray.stats.tallies import GroupTotals, SegmentTotals
from wasp_ray.stats.totals import GeneratorTotals, NodeTotals, merge_nodes
from wasp_ray.stats.verdict import Judgement

SCHEMA = "wasp-ray/summary/1"
_VERSION_KEYS = ("wasp_ray", "python", "image")


def summarise(
    plan: Plan,
    nodes: Sequence[NodeTotals],
    run: Mapping[str, Any],
    judged: Judgement,
    thresholds: Sequence[Mapping[str, Any]] = (),
    clocks: Mapping[int, tuple[float, float]] | None = None,
    alerts: Sequence[Mapping[str, Any]] = (),
    capacity: Mapping[str, float | None] | None = None,
) -> dict[str, Any]:
    """The summary of a run, JSON-able.

    `run`: run_id, started_at, ended_at (ISO texts), duration_s (t = 0 to the last end), versions {wasp_ray, python,
    image}; optional `load_s`, the seconds of schedule that were run when a stop cut it short. `thresholds`: results of
    thresholds.evaluate. A generator of the plan that no node reported is there with zeros. `clocks`: of nodes on machines
    of their own, their clocks' offset from one common clock and the error of that, in seconds. `alerts`: results of alert checks.
    `capacity`: of a threshold that ends the load by `stop`, the load at which it held and at which it broke.
    """
    total = merge_nodes(nodes)
    load_s = float(run["duration_s"] if run.get("load_s") is None else run["load_s"])
    versions = run.get("versions") or {}
    planned = plan.by_name
    for name, generator in planned.items():
        total.generator(name, generator.kind)
    names = [*planned, *(name for name in total.generators if name not in planned)]
    return {
        "schema": SCHEMA,
        "run_id": run["run_id"],
        "profile": plan.profile,
        "labels": dict(plan.labels),
        "verdict": judged.verdict,
        "reasons": list(judged.reasons),
        "warnings": list(judged.warnings),
        "started_at": run["started_at"],
        "ended_at": run["ended_at"],
        "duration_s": float(run["duration_s"]),
        "load": plan.load,
        "versions": {key: versions.get(key) for key in _VERSION_KEYS},
        "seed": plan.seed,
        "ledger": total.ledger.to_data(),
        "thresholds": [dict(result) for result in thresholds],
        "capacity": None if capacity is None else dict(capacity),
        "alerts": [dict(result) for result in alerts],
        "generators": {name: _generator(plan, planned.get(name), total.generators[name], load_s) for name in names},
        "sinks": total.sinks,
        "nodes": [_node(node, clocks or {}) for node in nodes],
        "start_skew_s": _start(nodes, clocks or {}),
    }


def _node(node: NodeTotals, clocks: Mapping[int, tuple[float, float]]) -> dict[str, Any]:
    offset_s, error_s = clocks.get(node.node, (None, None))
    return {
        "node": node.node,
        "host": node.host,
        "start_skew_s": node.start_skew_s,
        "clock_offset_s": offset_s,
        "clock_error_s": error_s,
        "cpu_s": node.cpu_s,
        "cpu_cores": _per_s(node.cpu_s, node.cpu_over_s),
        "peak_rss_bytes": node.peak_rss_bytes,
        "ledger": node.ledger.to_data(),
    }


def _start(nodes: Sequence[NodeTotals], clocks: Mapping[int, tuple[float, float]]) -> dict[str, float | None]:
    """How late the latest began by its own clock; how far apart the nodes began by one clock, and how well that is known.

    A node whose clock is ahead by its offset begins as much earlier. Nodes without an offset share one clock.
    """
    skews = {node.node: node.start_skew_s for node in nodes if node.start_skew_s is not None}
    begun = [skew_s - clocks.get(node, (0.0, 0.0))[0] for node, skew_s in skews.items()]
    errors = sorted(clocks.get(node, (0.0, 0.0))[1] for node in skews)
    several = len(begun) > 1
    return {
        "max": max(skews.values(), default=None),
        "spread": max(begun) - min(begun) if several else None,
        "spread_error": sum(errors[-2:]) if several else None,
    }


def _generator(plan: Plan, planned: GeneratorPlan | None, item: GeneratorTotals, load_s: float) -> dict[str, Any]:
    """Rates are means over the generator's schedule, or as much of it as was done; users have no planned rate."""
    is_rate = item.kind == "rate"
    lasted_s = item.scheduled_s
    if lasted_s is None:
        lasted_s = load_s if planned is None else min(load_s, planned.duration_ns / 1e9)
    got = item.delivered if is_rate else item.ledger.started
    delay = item.start_delay.summary_s()
    return {
        "kind": item.kind,
        "ledger": item.ledger.to_data(),
        "planned_rate": _planned_rate(plan, planned, item, lasted_s) if is_rate else None,
        "delivered_rate": _per_s(got, lasted_s),
        "scheduled_s": item.scheduled_s,
        "ended_by": item.ended_by or None,
        "dropped_by": dict(item.dropped_by),
        "start_delay_s": {key: delay[key] for key in ("p50", "p99", "max")},
        "late": item.late,
        "users": {
            "planned_max": 0 if is_rate or planned is None else int(planned.peak) * plan.times,
            "active_max": item.users.active_max,
            "delivered": item.users.delivered,
            "setup_failed": item.users.setup_failed,
            "replaced": item.users.replaced,
        },
        "cpu_s": item.cpu_s,
        "cpu_wait_s": item.cpu_wait_s,
        "loop_blocks": {**item.loop_blocks.to_data(), "max_in": item.loop_blocks.max_in or None},
        "counters": dict(item.counters),
        "call": {"service_s": item.call.service.summary_s(), "response_s": item.call.response.summary_s()},
        "groups": {name: _group(group) for name, group in sorted(item.groups.items())},
        "segments": [] if planned is None else _segments(planned, item, plan.times),
        "errors": item.error_list(),
    }


def _planned_rate(plan: Plan, planned: GeneratorPlan | None, item: GeneratorTotals, lasted_s: float) -> float | None:
    """Calls per second that the schedule wanted, drawn arrivals by their number. None with --once: one call is no rate.

    A call is due as soon as a fraction of it is scheduled: one an hour makes one call in three seconds, but no rate of 0.33/s.
    """
    if plan.once:
        return None
    scheduled = float(item.ledger.scheduled)
    if planned is not None and planned.arrivals == "constant" and planned.schedule.segments:
        reached = RateCurve(planned.schedule, planned.rate_unit_ns).reached(round(lasted_s * 1e9))
        scheduled = max(0.0, scheduled - plan.times * float(math.ceil(reached) - reached))
    return _per_s(scheduled, lasted_s)


def _per_s(number: float, seconds: float) -> float | None:
    return number / seconds if seconds > 0 else None


def _group(group: GroupTotals) -> dict[str, Any]:
    return {
        "count": group.count,
        **group.outcomes(),
        "status": dict(sorted(group.status.items())),
        "service_s": group.service.summary_s(),
        "response_s": group.response.summary_s(),
        "bytes_in": group.bytes_in,
        "bytes_out": group.bytes_out,
    }


def _segments(planned: GeneratorPlan, item: GeneratorTotals, times: int) -> list[dict[str, Any]]:
    """Every segment of the plan, also one that was not reached; `times`: nodes that each do all of the plan's load."""
    entries = []
    for segment in planned.segments:
        index, calls = segment.index, segment.planned_calls
        found = item.segments[index] if index < len(item.segments) else SegmentTotals()
        seconds = (segment.to_ns - segment.from_ns) / 1e9
        entries.append(
            {
                "index": index,
                "name": segment.name,
                "from_s": segment.from_ns / 1e9,
                "to_s": segment.to_ns / 1e9,
                "planned_rate": None if calls is None else _per_s(calls * times, seconds),
                "delivered_rate": _per_s(found.count, seconds),
                "failed": found.failed,
                "service_s": found.service.summary_s(),
                "response_s": found.response.summary_s(),
            }
        )
    return entries
