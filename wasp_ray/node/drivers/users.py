"""Drives users: sets how many may work and how many must exist as the schedule proceeds, and measures how many worked."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

import numpy as np

from wasp_ray.node.drivers.base import Driver, WorkerSet
from wasp_ray.node.headers import entries_of
from wasp_ray.node.sums import Sums
from wasp_ray.schedule import SECOND_NS, UserCurve, share_count
from wasp_ray.stats.tallies import UserTotals
from wasp_ray.wire.arena import STOPPED_USER, Entry, Header
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


class UserDriver(Driver):
    """Users are numbered from 0; those below a limit work or are there."""

    def __init__(self, workers: WorkerSet) -> None:
        self.workers = workers
        plan = workers.plan
        self.until_ns = plan.duration_ns
        self.leaving: dict[int, int] = {}  # local user -> since when (monotonic ns) the schedule does not want it
        self._run = self._keep = 0  # the limits as last set; a worker that asks for the end closes the word by itself
        self._curve = UserCurve(plan.schedule)
        self._per_process = plan.users_per_process
        self._lead_ns = PLACED_LEAD_NS if plan.is_placed else LEAD_NS
        self._warmups = [(segment.from_ns, segment.to_ns) for segment in plan.segments if segment.warmup]
        self.peak = share_count(self._curve.peak, workers.share, workers.shares)
        self.active_max = 0
        self.time = UserTime()
        self._measured_ns = NEVER  # when `measure` was called last
        self._active = 0
        self._lost: deque[tuple[int, int]] = deque()  # (when, how many) users were lost that are not back yet

    # -- the schedule

    def prepare(self) -> None:
        """Want the users of the first instant; none may work yet."""
        self._set(0, self._keep_at(0), 0)

    def follow(self, now: int) -> int:
        """Set the limits to what the schedule wants now."""
        t, local = self._wanted(now)
        idle = self.workers.control.paused or self._curve.paused_at(t) or self.workers.is_stopped
        self._set(0 if idle else local, max(local, self._keep_at(t)), now)
        return NEVER

    def _wanted(self, now: int) -> tuple[int, int]:
        """Return the schedule's instant and the number of users of this node at it."""
        t = max(0, min(self.workers.control.schedule_ns(now), self.workers.plan.duration_ns - 1))
        return t, share_count(self._curve.users_at(t), self.workers.share, self.workers.shares)

    def is_done(self) -> bool:
        """Once every user has left by itself."""
        fleet = self.workers.fleet
        return fleet.empty and len(fleet.gone) >= self.workers.most > 0

    def end(self) -> None:
        """All leave. Their grace is the Generator's own."""
        before = dict(self.leaving)
        self._set(0, 0, self.workers.cut_ns)
        self.leaving = before
        self.workers.fleet.wanted = 0

    def _keep_at(self, t: int) -> int:
        """Return the users that must exist at schedule time t: the most wanted until a user started now is set up."""
        most = self._curve.most_between(t, min(t + self._lead_ns, self.workers.plan.duration_ns - 1))
        return share_count(most, self.workers.share, self.workers.shares)

    def _set(self, run: int, keep: int, now: int) -> None:
        control, gen, per = self.workers.control, self.workers.gen, self._per_process
        was_run, was_keep = self._run, self._keep
        self._run, self._keep = run, keep
        if run != was_run:
            self._stamp(was_run, run, now)  # before users can see that they are held
        if keep != was_keep:
            control.set(gen, Word.KEEP_LIMIT, keep)
            self.workers.fleet.wanted = -(-keep // per)
            for user in range(was_keep, keep):
                self.leaving.pop(user, None)
            self.leaving.update(dict.fromkeys(range(keep, was_keep), now))
        if run != was_run:
            control.set(gen, Word.RUN_LIMIT, run)
            if control.asked(gen):  # a worker has closed the gate: it stays closed
                control.set(gen, Word.RUN_LIMIT, 0)
        for low, high in ((min(was_run, run), max(was_run, run)), (min(was_keep, keep), max(was_keep, keep))):
            if low != high:
                self.workers.wakes.update(range(low // per, -(-high // per)))

    def _stamp(self, was_run: int, run: int, now: int) -> None:
        """Tell workers since when none of their users, or one of them again, may begin calls."""
        workers, per = self.workers, self._per_process
        word = Header.HELD_NS if run < was_run else Header.RELEASED_NS
        for worker in range(-(-min(run, was_run) // per), -(-max(run, was_run) // per)):
            if (member := workers.fleet.live.get(worker)) is not None:
                workers.arena.write(workers.gen, member.ring, word, now)

    def overdue(self, now: int) -> list[tuple[int, str]]:
        """Users that the schedule does not want any more have graceful_stop for their calls, as at its end.

        Async ones cancel their calls by themselves; their process is killed if that does not end the call.
        """
        workers, per, out = self.workers, self._per_process, []
        slab, words = workers.arena.slabs[workers.gen], workers.arena.words
        grace_ns = workers.plan.graceful_stop_ns + (workers.clean_up_ns if workers.plan.is_async else 0)
        for user in [user for user, since_ns in self.leaving.items() if now > since_ns + grace_ns]:
            del self.leaving[user]
            worker, offset = divmod(user, per)
            member = workers.fleet.live.get(worker)
            if member is not None and words[slab.entry_word(member.ring, offset)]:
                is_empty = workers.control.get(workers.gen, Word.KEEP_LIMIT) <= worker * per
                out.append((worker, "interrupted" if is_empty else "timeout"))  # calls of its mates are killed
        return out

    # -- what was delivered

    def measure(self, now: int, active: int, in_setup: int) -> None:
        """Add the time since the last sample to `time`, with the users of now: some 50 times a second."""
        workers = self.workers
        before, self._measured_ns = self._measured_ns, now
        t, wanted = self._wanted(now)
        if workers.control.start_ns > now:
            return
        self.active_max = max(self.active_max, active)
        self._note_losses(now, active, wanted)
        elapsed = now - max(before, workers.control.start_ns)
        if before == NEVER or elapsed <= 0 or workers.cut_ns != NEVER or not self._counts(t):
            return
        replaced = sum(number for _, number in self._lost)
        there = min(wanted, active + replaced)
        self.time.scheduled += wanted * elapsed
        self.time.delivered += there * elapsed
        self.time.in_setup += min(wanted - there, in_setup * self._per_process) * elapsed

    def users(self) -> UserTotals:
        """Return the numbers of users and their times in seconds."""
        time = self.time
        return UserTotals(
            active_max=self.active_max, scheduled_s=time.scheduled / 1e9,
            delivered_s=time.delivered / 1e9, in_setup_s=time.in_setup / 1e9,
        )  # fmt: skip

    def _counts(self, t: int) -> bool:
        """Whether users are scheduled at schedule time t: not in a pause, in warm-up or after a stop."""
        if self.workers.control.paused or self.workers.is_stopped or self._curve.paused_at(t):
            return False
        return not any(begins <= t < ends for begins, ends in self._warmups)

    def _note_losses(self, now: int, active: int, wanted: int) -> None:
        """Keep users that were lost within the last seconds and are wanted still."""
        lost = min(self._active, wanted) - active
        self._active = active
        if lost > 0:
            self._lost.append((now, lost))
        back = -lost
        while self._lost and (self._lost[0][0] < now - REPLACED_NS or back > 0):
            at, number = self._lost.popleft()
            if at >= now - REPLACED_NS and number > back:
                self._lost.appendleft((at, number - back))
                back = 0
            else:
                back -= number

    # -- counts

    def exited(self, worker: int, ring: int, sums: Sums, at_ns: int) -> None:
        """Count paces that fell due during its calls in flight; keep which users of a pack stopped themselves."""
        sums.dropped_busy += self._paces_missed(ring, at_ns)
        if self._per_process > 1:
            entries = entries_of(self.workers.arena, self.workers.gen)[ring]
            if stopped := np.flatnonzero(entries[:, Entry.USER] == STOPPED_USER).tolist():
                self.stopped_users = {**self.stopped_users, worker: stopped}

    def _paces_missed(self, ring: int, at_ns: int) -> int:
        """Return the paces that fell due during calls in flight of a worker that was dead at `at_ns`; drawn ones by their mean."""
        workers = self.workers
        step = workers.arena.read(workers.gen, ring, Header.PACE_NS)
        if not step:
            return 0
        missed, held = 0, workers.arena.read(workers.gen, ring, Header.HELD_NS)
        for call in workers.arena.entries(workers.gen, ring):
            until = min(at_ns, workers.cut_ns, held if held >= call.due else NEVER)
            missed += max(0, until - call.due) // step
        return missed

    def planned_at(self, t_ns: int) -> float:
        """Return users."""
        return float(self._curve.users_at(min(t_ns, self.workers.plan.duration_ns - 1)))

    def scheduled(self, sums: Sums) -> int:
        """Calls that began, and paces that were dropped."""
        return sums.begun + sums.dropped

    def dropped_by(self, sums: Sums, *, is_final: bool) -> Counter[str]:
        """What workers counted."""
        out = Counter(user_busy=sums.dropped_busy, generator=sums.dropped_generator, stopped=sums.dropped_stopped)
        return Counter({cause: number for cause, number in out.items() if number})
