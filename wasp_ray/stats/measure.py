"""The number a threshold is about, taken from merged totals. It must not compare or judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from wasp_ray.plan import GeneratorPlan, Plan
from wasp_ray.stats.grammar import OUTCOME_METRICS, Parsed
from wasp_ray.stats.histogram import Histogram
from wasp_ray.stats.outcomes import OutcomeCounts
from wasp_ray.stats.tallies import GroupTotals, SegmentTotals
from wasp_ray.stats.totals import GeneratorTotals, NodeTotals


def measure(parsed: Parsed, totals: NodeTotals, duration_s: float, plan: Plan) -> float | None:
    """Seconds for a latency, 0..1 for a share, calls per second for a rate, else a count; None when nothing matches."""
    chosen, groups = _chosen(parsed, totals)
    if parsed.metric == "latency":
        return _latency(parsed, list(chosen.values()), groups)
    if parsed.metric == "count":
        return sum(item.counters.get(parsed.statistic, 0) for item in chosen.values()) if chosen else None
    if parsed.metric in ("dropped", "delivered"):
        return _of_schedule(parsed, list(chosen.values()))
    if parsed.metric == "rate":
        return _rate(chosen, groups, duration_s, plan)
    found = _outcomes(chosen, groups, plan)
    if not found.count:
        return None
    part = getattr(found, OUTCOME_METRICS[parsed.metric])
    return float(part / found.count) if parsed.share else float(part)


def outcomes_in_scope(parsed: Parsed, totals: NodeTotals, plan: Plan) -> OutcomeCounts:
    """Return the outcomes outside of warm-up of the calls or requests that a threshold is about."""
    return _outcomes(*_chosen(parsed, totals), plan)


def _chosen(parsed: Parsed, totals: NodeTotals) -> tuple[dict[str, GeneratorTotals], list[GroupTotals] | None]:
    """The Generators of a threshold, and its groups if it names one."""
    chosen = {
        name: generator
        for name, generator in totals.generators.items()
        if parsed.generator is None or name == parsed.generator
    }
    if parsed.group is None:
        return chosen, None
    return chosen, [item.groups[parsed.group] for item in chosen.values() if parsed.group in item.groups]


def _latency(parsed: Parsed, chosen: Sequence[GeneratorTotals], groups: list[GroupTotals] | None) -> float | None:
    sources = [item.call for item in chosen] if groups is None else groups
    merged = Histogram()
    for source in sources:
        merged.merge(source.response if parsed.series == "response" else source.service)
    ns = merged.mean_ns if parsed.statistic == "mean" else merged.percentile(_quantile(parsed.statistic))
    return None if ns is None else ns / 1e9


def _quantile(statistic: str) -> float:
    if statistic == "min":
        return 0.0
    return 100.0 if statistic in ("max", "mean") else float(statistic[1:])


def _of_schedule(parsed: Parsed, chosen: Sequence[GeneratorTotals]) -> float | None:
    """Return a metric of the ledger; all that users start is delivered."""
    scheduled = sum(item.ledger.scheduled for item in chosen)
    if not scheduled:
        return None
    if parsed.metric == "dropped":
        part = sum(item.ledger.dropped for item in chosen)
    else:
        part = sum(item.delivered if item.kind == "rate" else item.ledger.started for item in chosen)
    return part / scheduled if parsed.share else part


def _rate(
    chosen: Mapping[str, GeneratorTotals], groups: list[GroupTotals] | None, duration_s: float, plan: Plan
) -> float | None:
    """Calls started (of a group: requests) outside of warm-up, per second of the Generators' schedules without warm-up.

    Without a warm-up it equals `delivered_rate` of the summary: the same calls over the same seconds.
    """
    if groups is not None:
        count = sum(group.count for group in groups)
    else:
        count = 0
        for name, item in chosen.items():
            started = item.delivered if item.kind == "rate" else item.ledger.started
            count += started - sum(segment.count for segment in _warmup_of(name, item, plan))
    seconds = _measured_s(chosen, duration_s, plan)
    return count / seconds if count > 0 and seconds > 0 else None


def _measured_s(chosen: Mapping[str, GeneratorTotals], duration_s: float, plan: Plan) -> float:
    """Seconds in which the schedule of at least one of the Generators was done and had no warm-up; `duration_s` of it where that is
    not known.

    Summed in whole ns: ten segments of 100 ms are a second, so 20 calls in them are not less than 20/s.
    """
    planned = plan.by_name
    spans: list[tuple[int, int]] = []
    for name, item in chosen.items():
        last = round((duration_s if item.scheduled_s is None else item.scheduled_s) * 1e9)
        own = _between_warmups(planned[name]) if name in planned else [(0, last)]
        spans += [(start, min(end, last)) for start, end in own]
    total = reached = 0
    for start, end in sorted(spans):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total / 1e9


def _between_warmups(planned: GeneratorPlan) -> Iterator[tuple[int, int]]:
    """(from ns, to ns) without warm-up. Other segments are not needed: a plan that was too large to record has only warm-ups."""
    at = 0
    for segment in planned.segments:
        if segment.warmup:
            yield at, segment.from_ns
            at = segment.to_ns
    yield at, planned.duration_ns


def _outcomes(chosen: Mapping[str, GeneratorTotals], groups: list[GroupTotals] | None, plan: Plan) -> OutcomeCounts:
    found = OutcomeCounts()
    for group in groups or ():
        found.add_outcomes(group.outcomes().values())
    if groups is not None:
        return found
    for name, item in chosen.items():
        found.add_outcomes(item.ledger.outcomes().values())
        for segment in _warmup_of(name, item, plan):
            found.add_outcomes(-number for number in segment.outcomes().values())
    return found


def _warmup_of(name: str, item: GeneratorTotals, plan: Plan) -> list[SegmentTotals]:
    """Totals of a Generator's warm-up segments, as far as it came."""
    planned = plan.by_name.get(name)
    indices = [segment.index for segment in planned.segments if segment.warmup] if planned is not None else []
    return [item.segments[index] for index in indices if index < len(item.segments)]
