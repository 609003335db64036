"""The rate side of a Generator's ledger: what was scheduled, from the schedule alone, and ticks that no worker accounted for."""

from __future__ import annotations

from wasp_ray.node.generator import GeneratorRun
from wasp_ray.schedule import share_count


def scheduled(run: GeneratorRun) -> int:
    """Ticks of this node due by the end or the stop. Never derived from what was started."""
    assert run.curve is not None
    count = run.tick_count
    if run.stop_ns is not None:
        count = min(count, run.curve.count_until(run.stop_cut_ns - 1))
    return share_count(count, run.share, run.shares)


def leftovers(run: GeneratorRun) -> dict[str, int]:
    """Ticks no worker accounted for, by cause: in the hands of the dead, or of workers that were not replaced."""
    out = {"worker_lost": run.dead_hands}
    if run.ticks is not None:
        out["worker_lost"] += run.ticks.written - run.sums.begun - run.sums.dropped
        out["stopped" if run.stop_ns is not None else "worker_limit"] = run.ticks.dropped
        return {cause: number for cause, number in out.items() if number}
    count = scheduled(run)
    for worker in range(run.workers):
        left = share_count(count, worker, run.workers) - run.next_ticks.get(worker, 0)
        if left > 0:
            cause = "stopped" if run.stop_ns is not None else "worker_lost"
            out[cause] = out.get(cause, 0) + left
    return {cause: number for cause, number in out.items() if number}
