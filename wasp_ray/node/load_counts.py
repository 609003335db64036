"""Counts per second that only the node knows: what was scheduled, started and dropped, and users. They complete the windows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from wasp_ray.node.generator import GeneratorRun
from wasp_ray.node.load import Load
from wasp_ray.schedule import SECOND_NS, share_count
from wasp_ray.stats.seconds import Second, Seconds
from wasp_ray.stats.totals import GeneratorTotals
from wasp_ray.wire.control import NEVER


class LoadCounts:
    """Reads the counters of workers at the end of each second; the difference to the one before is what happened in it.

    `share`: which node this is, from 0, and how many share each schedule.
    """

    def __init__(self, load: Load, share: tuple[int, int]) -> None:
        self._load, self._share = load, share
        self._next = 0  # the first second whose end was not seen
        self._noted: dict[str, dict[int, Second]] = {run.name: {} for run in load.generators}
        self._sums = {run.name: Second(0) for run in load.generators}
        self._last: dict[str, int] = {}  # the last second that was handed out

    @property
    def wake_ns(self) -> int:
        """The end of the present second, monotonic."""
        start_ns = self._load.control.start_ns
        return NEVER if start_ns == NEVER else start_ns + (self._next + 1) * SECOND_NS

    def note(self, now: int) -> None:
        """Read the counters, if a second has ended. If the node was late for some, the first of them has it all."""
        if now < self.wake_ns:
            return
        over = (now - self._load.control.start_ns) // SECOND_NS
        for run in self._load.generators:
            for at_s in range(self._next, over):
                self._noted[run.name][at_s] = self._read(run, at_s)
        self._next = over

    def _read(self, run: GeneratorRun, at_s: int) -> Second:
        sums = run.live_sums()
        dropped_by = run.driver.dropped_by(sums, is_final=False)
        scheduled = sums.begun + sum(dropped_by.values())
        second = self._added(run.name, at_s, scheduled, sums.begun, sums.lost, dropped_by)
        control = self._load.control
        middle_ns = control.schedule_ns(control.start_ns + at_s * SECOND_NS + SECOND_NS // 2)
        if not control.paused and not (run.ended and middle_ns >= run.scheduled_ns):
            second.planned = planned_share(run.kind, run.driver.planned_at(middle_ns), *self._share)
        second.is_warmup = any(s.warmup and s.from_ns <= middle_ns < s.to_ns for s in run.plan.segments)
        second.users, second.in_flight = run.active_users(), run.in_flight()
        return second

    def _added(
        self, name: str, at_s: int, scheduled: int, started: int, lost: int, dropped_by: Mapping[str, int]
    ) -> Second:
        """What the counters have grown by; they are noted."""
        sums = self._sums[name]
        dropped = Counter(dropped_by)
        dropped.subtract(sums.dropped_by)
        second = Second(
            at_s, scheduled=scheduled - sums.scheduled, started=started - sums.started, lost=lost - sums.lost,
            dropped_by={cause: number for cause, number in dropped.items() if number},
        )  # fmt: skip
        sums.merge(second)
        return second

    def complete(self, closed: Seconds) -> None:
        """Add to closed windows what was noted in their second; one that is not over yet, at the end of the load, is read now."""
        by_name = {run.name: run for run in self._load.generators}
        for name, seconds in closed.items():
            for second in seconds:
                noted = self._noted[name].pop(second.at_s, None)
                second.merge(noted or self._read(by_name[name], second.at_s))
                self._last[name] = second.at_s

    def rest(self, totals: Mapping[str, GeneratorTotals]) -> Seconds:
        """Return the seconds in which no call ended, and in the last one what the final totals have beyond what was noted."""
        found: dict[str, list[Second]] = {}
        for name, total in totals.items():
            noted = self._noted[name]
            last = self._added(
                name, max([*noted, self._last.get(name, 0)]), total.ledger.scheduled, total.ledger.started, total.ledger.lost,
                total.dropped_by,
            )  # fmt: skip
            noted.setdefault(last.at_s, Second(last.at_s)).merge(last)
            found[name] = [second for _, second in sorted(noted.items())]
        return found


def planned_share(kind: str, planned: float, index: int, sharing: int) -> float:
    """Return this node's part of the calls per second, or users, that the whole schedule wants."""
    return float(share_count(round(planned), index, sharing)) if kind == "users" else planned / sharing
