"""What a node's run comes to: outcomes from the aggregator, started and dropped from the workers, scheduled from the schedule.

Pure: it reads no clock and asks no process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from wasp_ray.node.cpu import CpuWatch
from wasp_ray.node.findings import Findings
from wasp_ray.node.generator import GeneratorRun
from wasp_ray.node.options import NodeResult
from wasp_ray.node.sums import Sums
from wasp_ray.plan import Plan
from wasp_ray.stats.limits import OTHER
from wasp_ray.stats.outcomes import OUTCOMES
from wasp_ray.stats.totals import GeneratorTotals, NodeTotals, WorkerSums, with_worker_sums
from wasp_ray.wire.control import NEVER, Ask

RING_WAIT_WARN_S = 0.1
MAX_STANDSTILL_NS = 1_000_000_000
MAX_POLL_GAP_S = 1.0
SLOW_SECONDS = 5
"""So many seconds in a row, each with calls due and a p99 of start - due over START_LATE_NS, make a run invalid."""


@dataclass(slots=True)
class Evidence:
    """What a node knows of its run when its workers have exited. Instants in monotonic ns."""

    node: int
    """From 1."""
    host: str
    rss_bytes: int = 0
    """Of the node's own process."""
    generators: Sequence[GeneratorRun] = ()
    report: Mapping[str, Any] = field(default_factory=dict)
    """The aggregator's last one."""
    is_final: bool = False
    """Whether the aggregator reported all its records; if not, it died before."""
    start_ns: int = NEVER
    started_wall_s: float = 0.0
    started_late_ns: int = 0
    """How long after t = 0 the order to start came to this node."""
    ended_ns: int = 0
    throttled_ns: int = 0
    """How long a CPU quota throttled the node's processes, over all CPUs."""


def totals_of(evidence: Evidence, findings: Findings, cpu: CpuWatch, *, are_workers_apart: bool) -> NodeTotals:
    """Return the totals of a node that has ended, without those of its sinks; add what is wrong with them to the findings.

    `are_workers_apart`: whether workers are processes of their own, whose CPU time is not in `cpu`.
    """
    totals = NodeTotals(node=evidence.node, host=evidence.host)
    if evidence.start_ns != NEVER:
        totals.start_skew_s = (evidence.started_late_ns + evidence.report.get("first_delay_ns", 0)) / 1e9
    for run in evidence.generators:
        totals.generators[run.name] = _generator(run, evidence, findings)
        totals.cpu_s += run.cpu_s if are_workers_apart else 0.0
    totals.cpu_s += cpu.cpu_ns / 1e9
    totals.cpu_over_s = cpu.over_ns / 1e9
    workers = sum(sum(run.rss.values()) for run in evidence.generators)
    totals.peak_rss_bytes = evidence.rss_bytes + evidence.report.get("rss_bytes", 0) + workers
    return totals


def conclude(
    evidence: Evidence, totals: NodeTotals, findings: Findings, plan: Plan, *, signal: str | None, stopped: bool
) -> NodeResult:
    """Return the result of a node. `signal`: the one that asked for a stop; `stopped`: whether anything did."""
    duration_s = 0.0
    if evidence.start_ns != NEVER:
        ends = [run.workers.cut_ns if run.ended else evidence.ended_ns for run in evidence.generators]
        last_ns = max([*ends, evidence.report.get("last_end_ns", 0)])
        duration_s = max(0.0, (last_ns - evidence.start_ns) / 1e9)
    if torn := evidence.report.get("torn"):
        findings.invalid.append(f"{torn:,} records were torn: the measurement cannot be trusted")
    blocks = {
        run.name: run.loop_blocks(run.sums).sentence(run.plan.actor_name)
        for run in evidence.generators
        if run.sums.blocks
    }
    findings.invalid += lateness(evidence.report, evidence.throttled_ns, blocks)
    findings.warnings += evidence.report.get("warnings", [])
    ended_early = [run.name for run in evidence.generators if run.ended_early]
    return NodeResult(
        plan, totals, duration_s, evidence.started_wall_s, signal, stopped, ended_early,
        findings.errors, findings.invalid, findings.failed, findings.warnings,
    )  # fmt: skip


def lateness(
    report: Mapping[str, Any], throttled_ns: int = 0, blocks: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """Return reasons for `invalid`: our own lateness, judged by what it did to the measurement. `blocks`: by Generator whose event
    loops were blocked, what blocked them: that made its calls late, not the machine.
    """
    quota = f" (its CPU quota throttled it for {throttled_ns / 1e9:.1f} s over all CPUs)" if throttled_ns else ""
    busy = f"this machine was too busy or stood still{quota}; use a lower rate, more CPU or more nodes"
    reasons = [
        f"Generator {name!r}: calls started more than 50 ms late (p99) in {seconds} seconds in a row, from second {first} on,"
        f" although slots were free: {blocks.get(name, busy)}"
        for name, (first, seconds) in report.get("slow_seconds", {}).items()
        if seconds >= SLOW_SECONDS
    ]
    if (gap_s := report.get("max_gap_s", 0.0)) > MAX_POLL_GAP_S:
        reasons.append(
            f"the aggregator did not run for {gap_s:.1f} s, at most {MAX_POLL_GAP_S:g} s is expected: this machine was too busy"
            " or stood still; use fewer processes, more CPU or more nodes"
        )
    return reasons


def totals_so_far(generators: Sequence[GeneratorRun], report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return GeneratorTotals as data by Generator, during the load: what is due and neither started nor dropped by then is not
    in `scheduled` yet.
    """
    out = {}
    for run in generators:
        sums = run.live_sums()
        dropped_by = dict(run.driver.dropped_by(sums, is_final=False))
        known = _worker_sums(run, sums, sums.begun + sum(dropped_by.values()), sums.lost, dropped_by)
        out[run.name] = with_worker_sums(_counted(run, report), known)
    return out


def _counted(run: GeneratorRun, report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the aggregator counted of a Generator."""
    data: dict[str, Any] = report.get("generators", {}).get(run.name) or GeneratorTotals(run.kind).to_data()
    return data


def _generator(run: GeneratorRun, evidence: Evidence, findings: Findings) -> GeneratorTotals:
    sums, data = run.sums, _counted(run, evidence.report)
    lost = sums.lost
    if not evidence.is_final:
        lost = max(0, sums.begun - sum(data["ledger"][name] for name in OUTCOMES))
    dropped_by = dict(run.driver.dropped_by(sums, is_final=True))
    _report_problems(run, findings)
    for error in data["errors"]:
        trace = findings.traces.get((run.gen, error["error"]))
        if trace:
            error["example"] = trace
    known = _worker_sums(run, sums, run.driver.scheduled(sums), lost, dropped_by)
    return GeneratorTotals.from_data(with_worker_sums(data, known))


def _worker_sums(run: GeneratorRun, sums: Sums, due: int, lost: int, dropped_by: dict[str, int]) -> WorkerSums:
    users = run.driver.users()
    users.setup_failed, users.replaced = run.fleet.setup_failed + sums.setups_failed, run.fleet.replaced
    return WorkerSums(
        due, sums.begun, lost, dropped_by, users, run.cpu_s, run.cpu_wait_s, run.scheduled_ns / 1e9, run.ended_by,
        run.loop_blocks(sums),
    )  # fmt: skip


def _report_problems(run: GeneratorRun, findings: Findings) -> None:
    sums, name = run.sums, f"Generator {run.name!r}"
    if sums.ring_wait_ns > RING_WAIT_WARN_S * 1e9:
        findings.warnings.append(
            f"{name}: workers waited {sums.ring_wait_ns / 1e9:.1f} s in all for room in their rings"
        )
    if sums.lost_requests:
        findings.invalid.append(f"{name}: {sums.lost_requests:,} requests found no room in a ring and are not counted")
    if sums.overflowed_strings:
        findings.warnings.append(
            f"{name}: a worker used more than 4,096 distinct strings; the later ones are counted as {OTHER}"
        )
    if sums.forks:
        findings.warnings.append(
            f"{name}: user code forked {sums.forks:,} process{'es' if sums.forks > 1 else ''}; their groups and records are not"
            " counted"
        )
    if run.longest_standstill_ns > MAX_STANDSTILL_NS:
        findings.invalid.append(
            f"{name}: a signal stopped a worker process for {run.longest_standstill_ns / 1e9:.1f} s during the load, at most"
            f" {MAX_STANDSTILL_NS / 1e9:g} s is allowed: its call seems to last as long; do not stop the processes of a run"
        )
    if run.asked == Ask.FAIL:
        findings.failed.append(f"{name}: a call failed (fail_on_error)")
    fleet = run.fleet
    again = f"; {fleet.replaced:,} were replaced, which runs setup() again" if fleet.replaced else ""
    if fleet.hung:
        limit = f" ({run.plan.call_timeout_ns / 1e9:g} s)" if run.plan.call_timeout_ns is not None else ""
        findings.warnings.append(
            f"{name}: {fleet.hung:,} processes were killed since a call outlasted call_timeout{limit}{again}"
        )
    if (died := fleet.deaths - fleet.hung) > 0:
        findings.warnings.append(f"{name}: {died:,} worker processes died{'' if fleet.hung else again}")
