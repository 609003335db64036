"""Puts a node's books together: outcomes from the aggregator, started and dropped from the headers, scheduled from the
schedule.
"""

from __future__ import annotations

import resource
import socket
from typing import TYPE_CHECKING, Any

from wasp_ray.node.generator import GeneratorRun
from wasp_ray.node.ledger import leftovers, scheduled
from wasp_ray.node.options import NodeResult
from wasp_ray.node.progress import lateness
from wasp_ray.node.sums import Sums
from wasp_ray.stats.limits import OTHER
from wasp_ray.stats.outcomes import OUTCOMES
from wasp_ray.stats.tallies import UserTotals
from wasp_ray.stats.totals import GeneratorTotals, NodeTotals, WorkerSums, with_worker_sums
from wasp_ray.wire.control import NEVER, Ask

if TYPE_CHECKING:
    from wasp_ray.node.run import Node

RING_WAIT_WARN_S = 0.1
MAX_STANDSTILL_NS = 1_000_000_000


def node_totals(node: Node) -> NodeTotals:
    """The totals of a node that has ended. Adds what it finds wrong to the node's lists."""
    totals = NodeTotals(node=node.options.node + 1, host=socket.gethostname())
    if node.start_ns_known:
        totals.start_skew_s = (node.told_late_ns + node.snapshot.get("first_delay_ns", 0)) / 1e9
    for generator in node.generators:
        totals.generators[generator.name] = _generator(node, generator)
        totals.cpu_s += generator.cpu_s
    totals.cpu_s += node.snapshot.get("cpu_s", 0.0)
    own_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    totals.peak_rss_bytes = (
        own_rss + node.snapshot.get("rss_bytes", 0) + sum(sum(g.rss.values()) for g in node.generators)
    )
    if node.snapshot.get("torn"):
        node.invalid.append(f"{node.snapshot['torn']:,} records were torn: the measurement cannot be trusted")
    return totals


def node_result(node: Node, totals: NodeTotals, ended_ns: int) -> NodeResult:
    """All that a node tells of its run, when its sinks have ended. Adds what came of them to the node's lists."""
    duration_s = 0.0
    if node.start_ns != NEVER:
        ends = [generator.cut_ns if generator.ended else ended_ns for generator in node.generators]
        last = max([*ends, node.snapshot.get("last_end_ns", 0)])
        duration_s = max(0.0, (last - node.start_ns) / 1e9)
    node.invalid += lateness(node.snapshot, node.machine.throttled_ns) + node.machine.reasons()
    node.warnings += node.snapshot.get("warnings", [])
    totals.sinks = node.exports.results(*node.snapshot.get("samples", (0, 0)))
    told = node.exports.judge(totals.sinks)
    node.warnings += told["warn"]
    node.invalid += told["invalid"]
    node.failed += told["fail"]
    return NodeResult(
        node.plan, totals, duration_s, node.started_wall_s, node.orders.stop.signal, node.orders.stop.asked,
        [generator.name for generator in node.generators if generator.ended_early],
        node.errors, node.invalid, node.failed, node.warnings,
    )  # fmt: skip


def totals_so_far(node: Node) -> dict[str, dict[str, Any]]:
    """By Generator, as GeneratorTotals.to_data has them, during the load: what is due and neither started nor dropped by then
    is not in `scheduled` yet.
    """
    out = {}
    for run in node.generators:
        sums = run.live_sums()
        dropped_by = _dropped_by(run, sums)
        known = _worker_sums(run, sums, sums.begun + sum(dropped_by.values()), sums.lost, dropped_by)
        out[run.name] = with_worker_sums(_counted(node, run), known)
    return out


def _counted(node: Node, run: GeneratorRun) -> dict[str, Any]:
    """What the aggregator's last snapshot has of a Generator."""
    data: dict[str, Any] = node.snapshot.get("generators", {}).get(run.name) or GeneratorTotals(run.kind).to_data()
    return data


def _generator(node: Node, run: GeneratorRun) -> GeneratorTotals:
    sums, data = run.sums, _counted(node, run)
    lost = sums.lost
    if not node.final:  # the aggregator died: what it had not reported is lost
        lost = max(0, sums.begun - sum(data["ledger"][name] for name in OUTCOMES))
    dropped_by = _dropped_by(run, sums)
    due = sums.begun + sums.skipped_paces
    if run.kind == "rate":
        due = scheduled(run) if node.start_ns_known else 0
        for cause, number in (leftovers(run) if node.start_ns_known else {}).items():
            dropped_by[cause] = dropped_by.get(cause, 0) + number
    _warn(node, run)
    for error in data["errors"]:
        trace = node.traces.get((run.gen, error["error"]))
        if trace:
            error["example"] = trace
    return GeneratorTotals.from_data(with_worker_sums(data, _worker_sums(run, sums, due, lost, dropped_by)))


def _dropped_by(run: GeneratorRun, sums: Sums) -> dict[str, int]:
    """What workers counted, by cause."""
    return {
        "in_flight_limit" if run.is_async else "worker_limit": sums.dropped_limit,
        "generator": sums.dropped_generator + (sums.skipped_paces if run.kind == "users" else 0),
        "stopped": sums.dropped_stopped,
    }


def _worker_sums(run: GeneratorRun, sums: Sums, due: int, lost: int, dropped_by: dict[str, int]) -> WorkerSums:
    active_max = run.limits.active_max if run.limits is not None else 0
    users = UserTotals(run.users_peak, active_max, run.fleet.setup_failed, run.fleet.replaced)
    return WorkerSums(due, sums.begun, lost, dropped_by, users, run.cpu_s, run.cpu_wait_s)


def _warn(node: Node, run: GeneratorRun) -> None:
    sums, name = run.sums, run.name
    if sums.ring_wait_ns > RING_WAIT_WARN_S * 1e9:
        node.warnings.append(
            f"Generator {name!r}: workers waited {sums.ring_wait_ns / 1e9:.1f} s in all for room in their rings"
        )
    if sums.lost_requests:
        node.invalid.append(
            f"Generator {name!r}: {sums.lost_requests:,} requests found no room in a ring and are not counted"
        )
    if sums.overflowed_strings:
        node.warnings.append(
            f"Generator {name!r}: a worker used more than 4,096 distinct strings; the later ones are counted as {OTHER}"
        )
    if sums.forks:
        node.warnings.append(
            f"Generator {name!r}: user code forked {sums.forks:,} process{'es' if sums.forks > 1 else ''}; their groups and records"
            " are not counted"
        )
    if run.longest_standstill_ns > MAX_STANDSTILL_NS:
        node.invalid.append(
            f"Generator {name!r}: a signal stopped a worker process for {run.longest_standstill_ns / 1e9:.1f} s during the load,"
            f" at most {MAX_STANDSTILL_NS / 1e9:g} s is allowed: its call seems to last as long; do not stop the processes of a"
            " run"
        )
    if run.asked == Ask.FAIL:
        node.failed.append(f"Generator {name!r}: a call failed (fail_on_error)")
    if run.fleet.deaths:
        node.warnings.append(f"Generator {name!r}: {run.fleet.deaths} worker deaths, {run.fleet.replaced} replaced")
