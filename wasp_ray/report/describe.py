"""What a plan would do, in words: the line before a run, and `wasp plan`. It must not start or measure anything."""

from __future__ import annotations

from collections.abc import Mapping

from wasp_ray.alerts.check import check_name
from wasp_ray.plan import Plan
from wasp_ray.report.numbers import amounts_text, count, length, rate


def headline(plan: Plan) -> str:
    """`demo: 150/s + 6 users peak, 5,250 calls at due times, 25s, seed 7`; of several nodes, `20 nodes x 25/s = 500/s`."""
    if plan.once:
        return f"{plan.profile}: one call of each Generator, seed {plan.seed}"
    rates = sum(part.peak for part in plan.generators if part.kind == "rate")
    users = sum(part.peak for part in plan.generators if part.kind == "users")
    calls = sum(part.calls or 0 for part in plan.generators)
    nodes, times = plan.nodes, plan.times
    peak = _peak(rates * times, users * times)
    if nodes > 1:
        peak = f"{nodes} nodes x {_peak(rates * times / nodes, users * times / nodes)} = {peak}"
    due = f", {count(calls * times)} calls at due times" if rates else ""
    return f"{plan.profile}: {peak} peak{due}, {length(plan.duration_ns / 1e9)}, seed {plan.seed}"


def _peak(per_s: float, users: float) -> str:
    return " + ".join(([rate(per_s)] if per_s else []) + ([f"{users:,.4g} users"] if users else []))


def _placed(amounts: Mapping[str, float] | None) -> str:
    return "" if amounts is None else f", each with {amounts_text(amounts) or 'nothing'} on Ray"


def describe_plan(plan: Plan, needs: Mapping[str, int]) -> list[str]:
    """Load by Generator and segment, thresholds, and what this machine needs for it."""
    lines = [headline(plan)]
    for part in plan.generators:
        if part.kind == "rate":
            what = f"{rate(part.peak)} peak, {count(part.calls)} calls, {part.arrivals} arrivals"
        else:
            what = f"{part.peak:,.0f} users peak, {part.users_per_process} a process{_placed(part.placement)}"
        way = "async" if part.is_async else "sync"
        lines.append(f" {part.name} ({part.kind}, {way} {part.actor_name}): {what}")
        for segment in part.segments:
            calls = "" if segment.planned_calls is None else f", {count(segment.planned_calls)} calls"
            unit = "" if part.kind == "users" else f" per {length(part.rate_unit_ns / 1e9)}"
            name = f" {segment.name}" if segment.name else ""
            warm = ", warm-up" if segment.warmup else ""
            span = f"{length(segment.from_ns / 1e9)} to {length(segment.to_ns / 1e9)}"
            lines.append(f"   {span}{name}: up to {segment.planned_peak:g}{unit}{calls}{warm}")
    lines += [f" threshold {text}" for text in plan.thresholds]
    lines += [f" no {check_name(check)}" for check in plan.alerts]
    nodes = "1 node," if plan.nodes == 1 else f"{plan.nodes:,} nodes, each with"
    lines.append(
        f" {nodes} {needs['processes']:,} processes, about {needs['memory_bytes'] / 2**20:,.0f} MiB at the peak"
    )
    return lines
