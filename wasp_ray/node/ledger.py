"""The rate side of a Generator's ledger: what was scheduled, from the schedule alone, and ticks that no worker accounted for."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from wasp_ray.node.generator import GeneratorRun
from wasp_ray.schedule import share_count

SECOND_NS = 1_000_000_000


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
        cause = "generator" if run.workers_stood_still else "worker_limit"
        out["stopped" if run.stop_ns is not None else cause] = run.ticks.dropped
        return {cause: number for cause, number in out.items() if number}
    count = scheduled(run)
    for worker in range(run.workers):
        left = share_count(count, worker, run.workers) - run.next_ticks.get(worker, 0)
        if left > 0:
            cause = "stopped" if run.stop_ns is not None else "worker_lost"
            out[cause] = out.get(cause, 0) + left
    return {cause: number for cause, number in out.items() if number}


def missed_seconds(run: GeneratorRun) -> Counter[int]:
    """Ticks that free workers should have taken but did not, by the second of the load in which they were due.

    Of a sync gun what idle workers left in the pipe; of an async gun the rest of each worker that was not replaced.
    """
    seconds: Counter[int] = Counter()
    if run.curve is None or run.stop_ns is not None:
        return seconds
    if run.ticks is not None:
        return run.ticks.dropped_in if run.workers_stood_still else seconds
    count, step = scheduled(run), run.shares * run.workers
    for worker in range(run.workers):
        position = run.next_ticks.get(worker, 0)
        left = share_count(count, worker, run.workers) - position
        if left > 0:
            first = run.share + run.shares * (worker + run.workers * position)
            for due in islice(run.curve.dues(first, step), left):
                seconds[(run.control.absolute_ns(due) - run.control.start_ns) // SECOND_NS] += 1
    return seconds
