"""What both kinds of guns have in common: ticks from a curve, cut by max_calls and by a stop."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter

from wasp_ray.node.drivers.base import Driver, WorkerSet
from wasp_ray.node.sums import Sums
from wasp_ray.schedule import share_count
from wasp_ray.wire.control import NEVER


class RateDriver(Driver):
    """Subclasses say how ticks reach the workers."""

    limit_cause: str
    """The cause of calls that found no free slot."""

    def __init__(self, workers: WorkerSet) -> None:
        self.workers = workers
        self.curve = workers.plan.curve()
        most = workers.plan.max_calls
        self.tick_count = self.curve.count if most is None else min(self.curve.count, most)
        is_cut = self.tick_count < self.curve.count
        self.until_ns = self.curve.due_ns(self.tick_count) if is_cut else workers.plan.duration_ns

    def is_done(self) -> bool:
        """With max_calls, once every worker has left."""
        fleet = self.workers.fleet
        return self.workers.plan.max_calls is not None and fleet.empty and len(fleet.gone) >= self.workers.most

    def planned_at(self, t_ns: int) -> float:
        """Return calls per second."""
        return self.curve.rate_at(min(t_ns, self.workers.plan.duration_ns - 1))

    def scheduled(self, sums: Sums) -> int:
        """From the schedule alone, never from what was started."""
        if self.workers.control.start_ns == NEVER:
            return 0
        count = self.tick_count
        if self.workers.is_stopped:
            count = min(count, self.curve.count_until(self.workers.stop_cut_ns - 1))
        return share_count(count, self.workers.share, self.workers.shares)

    def dropped_by(self, sums: Sums, *, is_final: bool) -> Counter[str]:
        """What workers counted, and at the end the ticks that none of them accounted for."""
        out = Counter(generator=sums.dropped_generator, stopped=sums.dropped_stopped)
        out[self.limit_cause] += sums.dropped_limit
        if is_final and self.workers.control.start_ns != NEVER:
            out.update(self._untaken(sums))
        return Counter({cause: number for cause, number in out.items() if number})

    @abstractmethod
    def _untaken(self, sums: Sums) -> Counter[str]:
        """Return the ticks no worker accounted for, by cause: taken by workers that died, or by nobody."""
