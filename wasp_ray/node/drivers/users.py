"""Drives users: sets how many may work and how many are to be there as the schedule goes on, and measures how many were."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

from wasp_ray.node.drivers.base import SECOND_NS, Crew
from wasp_ray.node.sums import Sums
from wasp_ray.schedule import UserCurve, share_count
from wasp_ray.wire.control import NEVER, Word

LEAD_NS, PLACED_LEAD_NS = SECOND_NS, 10 * SECOND_NS
"""How long before the schedule wants them users are started; the second is for placed users."""
REPLACED_NS = 5 * SECOND_NS
"""A user that is being replaced or set up again counts as delivered for so long."""


@dataclass(slots=True)
class UserTime:
    """Time of users outside of warm-up and pauses, in user-ns: scheduled, delivered, and missing by cause.

    `in_setup`: the user was in setup(), which is the target's time; the rest waited for a process, for setup_concurrency or for
    CPU.
    """

    scheduled: int = 0
    delivered: int = 0
    in_setup: int = 0


class UserDriver:
    """See Driver. Users are numbered from 0; those below a limit work or are there."""

    ticks_fd: int | None = None

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        plan = crew.plan
        self._curve = UserCurve(plan.schedule)
        self._per_process = plan.users_per_process
        self._lead_ns = PLACED_LEAD_NS if plan.is_placed else LEAD_NS
        self._warmups = [(segment.from_ns, segment.to_ns) for segment in plan.segments if segment.warmup]
        self.peak = share_count(self._curve.peak, crew.share, crew.shares)
        self.active_max = 0
        self.time = UserTime()
        self._measured_ns = NEVER  # when `measure` was called last
        self._active = 0
        self._left: deque[tuple[int, int]] = deque()  # (when, how many) users were lost that are not back yet

    # -- the schedule

    def prepare(self) -> None:
        """Want the users of the first instant; none may work yet."""
        keep = self._keep_at(0)
        self.crew.control.set(self.crew.gen, Word.KEEP_LIMIT, keep)
        self.crew.fleet.wanted = -(-keep // self._per_process)

    def follow(self, now: int) -> int:
        """Set the limits to what the schedule wants now."""
        t, local = self._wanted(now)
        idle = self.crew.control.paused or self._curve.paused_at(t) or self.crew.is_stopped
        self._set(0 if idle else local, max(local, self._keep_at(t)))
        return NEVER

    def _wanted(self, now: int) -> tuple[int, int]:
        """Return the schedule's instant and the number of users of this node at it."""
        t = max(0, min(self.crew.control.schedule_ns(now), self.crew.plan.duration_ns - 1))
        return t, share_count(self._curve.users_at(t), self.crew.share, self.crew.shares)

    def is_done(self) -> bool:
        """Once every user has left by itself."""
        fleet = self.crew.fleet
        return fleet.empty and len(fleet.gone) >= self.crew.workers > 0

    def end(self) -> None:
        """All leave."""
        self._set(0, 0)
        self.crew.fleet.wanted = 0

    def drain(self, now: int, cut_ns: int) -> None:
        """They leave by themselves."""

    def abort(self) -> None:
        """Want no users."""
        self.crew.fleet.wanted = 0

    def _keep_at(self, t: int) -> int:
        """Return the users that must exist at schedule time t: the most wanted until a user started now is set up."""
        most = self._curve.most_between(t, min(t + self._lead_ns, self.crew.plan.duration_ns - 1))
        return share_count(most, self.crew.share, self.crew.shares)

    def _set(self, run: int, keep: int) -> None:
        control, gen, per = self.crew.control, self.crew.gen, self._per_process
        was_run, was_keep = control.get(gen, Word.RUN_LIMIT), control.get(gen, Word.KEEP_LIMIT)
        if keep != was_keep:
            control.set(gen, Word.KEEP_LIMIT, keep)
            self.crew.fleet.wanted = -(-keep // per)
        if run != was_run:
            control.set(gen, Word.RUN_LIMIT, run)
            if control.asked(gen):  # a worker has closed the gate: it stays closed
                control.set(gen, Word.RUN_LIMIT, 0)
        for low, high in ((min(was_run, run), max(was_run, run)), (min(was_keep, keep), max(was_keep, keep))):
            if low != high:
                self.crew.wakes.update(range(low // per, -(-high // per)))

    # -- what was delivered

    def measure(self, now: int, active: int, in_setup: int) -> None:
        """Add the time since the last sample to `time`, with the users of now."""
        crew = self.crew
        before, self._measured_ns = self._measured_ns, now
        t, wanted = self._wanted(now)
        if crew.control.start_ns > now:
            return
        self.active_max = max(self.active_max, active)
        self._note_losses(now, active, wanted)
        elapsed = now - max(before, crew.control.start_ns)
        if before == NEVER or elapsed <= 0 or not self._counts(t):
            return
        replaced = sum(number for _, number in self._left)
        there = min(wanted, active + replaced)
        self.time.scheduled += wanted * elapsed
        self.time.delivered += there * elapsed
        self.time.in_setup += min(wanted - there, in_setup * self._per_process) * elapsed

    def _counts(self, t: int) -> bool:
        """Whether users are scheduled at schedule time t: not in a pause, in warm-up or after a stop."""
        if self.crew.control.paused or self.crew.is_stopped or self._curve.paused_at(t):
            return False
        return not any(begins <= t < ends for begins, ends in self._warmups)

    def _note_losses(self, now: int, active: int, wanted: int) -> None:
        """Keep users that were lost within the last seconds and are wanted still."""
        lost = min(self._active, wanted) - active
        self._active = active
        if lost > 0:
            self._left.append((now, lost))
        back = -lost
        while self._left and (self._left[0][0] < now - REPLACED_NS or back > 0):
            at, number = self._left.popleft()
            if at >= now - REPLACED_NS and number > back:
                self._left.appendleft((at, number - back))
                back = 0
            else:
                back -= number

    # -- counts

    def spawning(self, worker: int, ring: int) -> None:
        """It looks at the limits."""

    def stop_growing(self) -> None:
        """All users are wanted."""

    def exited(self, worker: int, ring: int, sums: Sums) -> None:
        """The fleet replaces it."""

    def is_replaceable_by_others(self, worker: int) -> bool:
        """Each user is one of its own."""
        return False

    def planned_at(self, t_ns: int) -> float:
        """Return users."""
        return float(self._curve.users_at(min(t_ns, self.crew.plan.duration_ns - 1)))

    def scheduled(self, sums: Sums) -> int:
        """Calls that began, and paces that were skipped."""
        return sums.begun + sums.skipped_paces

    def dropped_by(self, sums: Sums, *, is_final: bool) -> Counter[str]:
        """What workers counted."""
        out = Counter(generator=sums.dropped_generator + sums.skipped_paces, stopped=sums.dropped_stopped)
        return Counter({cause: number for cause, number in out.items() if number})

    def missed_seconds(self) -> Counter[int]:
        """Users compute when their calls are due."""
        return Counter()

    def close(self) -> None:
        """There is no descriptor."""
