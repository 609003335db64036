"""Drives an async gun: each worker computes the due times of its own stride of the ticks, all the workers there ever are."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from wasp_ray.node.drivers.base import LATE_START_NS, WorkerSet
from wasp_ray.node.drivers.rates import RateDriver
from wasp_ray.node.sums import Sums
from wasp_ray.schedule import SECOND_NS, share_count
from wasp_ray.wire.arena import Header


class StrideDriver(RateDriver):
    """A worker that died leaves its next tick to its successor."""

    limit_cause = "in_flight_limit"

    def __init__(self, workers: WorkerSet) -> None:
        super().__init__(workers)
        self.next_ticks: dict[int, int] = {}  # worker -> the next tick of its own numbering
        self._lost_ticks = 0  # taken by workers that died before they began or dropped them

    def prepare(self) -> None:
        """Want all workers."""
        self.workers.fleet.wanted = self.workers.most

    def drain(self, now: int) -> None:
        """Workers drop what is late by themselves, then end; none is replaced after that."""
        if now > self.workers.cut_ns + LATE_START_NS:
            self.workers.fleet.wanted = 0

    def spawning(self, worker: int, ring: int) -> None:
        """Put the next tick where a successor finds it."""
        if worker in self.next_ticks:
            self.workers.arena.write(self.workers.gen, ring, Header.NEXT_TICK, self.next_ticks[worker])

    def exited(self, worker: int, ring: int, sums: Sums, at_ns: int) -> None:
        """Ticks that it took and neither began nor dropped are lost."""
        before = self.next_ticks.get(worker, 0)
        reached = max(before, self.workers.arena.read(self.workers.gen, ring, Header.NEXT_TICK))
        self._lost_ticks += reached - before - sums.begun - sums.dropped
        self.next_ticks[worker] = reached

    def _untaken(self, sums: Sums) -> Counter[str]:
        out = Counter(worker_lost=self._lost_ticks)
        out["stopped" if self.workers.is_stopped else "worker_lost"] += sum(left for _, left in self._rests(sums))
        return out

    def _rests(self, sums: Sums) -> list[tuple[int, int]]:
        """Return the workers that left ticks of their own untaken, with how many."""
        count, workers = self.scheduled(sums), self.workers.most
        rests = [
            (worker, share_count(count, worker, workers) - self.next_ticks.get(worker, 0)) for worker in range(workers)
        ]
        return [(worker, left) for worker, left in rests if left > 0]

    def missed_seconds(self) -> Counter[int]:
        """The rest of each worker that was not replaced."""
        seconds: Counter[int] = Counter()
        workers, control = self.workers, self.workers.control
        if workers.is_stopped:
            return seconds
        step = workers.shares * workers.most
        for worker, left in self._rests(Sums()):
            first = workers.share + workers.shares * (worker + workers.most * self.next_ticks.get(worker, 0))
            for due in islice(self.curve.dues(first, step), left):
                seconds[(control.absolute_ns(due) - control.start_ns) // SECOND_NS] += 1
        return seconds
