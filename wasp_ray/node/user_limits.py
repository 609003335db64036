"""How many users of a Generator may be at work on this node and how many are to be there, as its schedule goes on."""

from __future__ import annotations

from wasp_ray.plan import GeneratorPlan
from wasp_ray.runtime.fleet import Fleet
from wasp_ray.schedule import UserCurve, share_count
from wasp_ray.wire.control import Control, Word

SECOND = 1_000_000_000
LEAD_NS, PLACED_LEAD_NS = SECOND, 10 * SECOND
"""How long before the schedule wants them users are started; the second is for placed users."""


class UserLimits:
    """Of one Generator of users. Writes the limits that users look at, what the fleet wants, and into `wakes` whom it concerns."""

    def __init__(
        self, gen: int, plan: GeneratorPlan, curve: UserCurve, control: Control, fleet: Fleet, wakes: set[int],
        share: int, shares: int,
    ) -> None:  # fmt: skip
        self._gen, self._curve, self._control, self._fleet, self._wakes = gen, curve, control, fleet, wakes
        self._share, self._shares = share, shares
        self._per_process = plan.users_per_process
        self._lead_ns = PLACED_LEAD_NS if plan.is_placed else LEAD_NS
        self._duration_ns = plan.duration_ns
        self.peak = share_count(curve.peak, share, shares)
        self.active_max = 0

    def prepare(self) -> None:
        """Wants those of the first instant; none may work yet."""
        keep = self._keep_at(0)
        self._control.set(self._gen, Word.KEEP_LIMIT, keep)
        self._fleet.wanted = -(-keep // self._per_process)

    def follow(self, now: int, *, stopped: bool) -> None:
        """As the schedule wants it now."""
        t = max(0, min(self._control.schedule_ns(now), self._duration_ns - 1))
        local = share_count(self._curve.users_at(t), self._share, self._shares)
        idle = self._control.paused or self._curve.paused_at(t) or stopped
        self._set(0 if idle else local, max(local, self._keep_at(t)))

    def end(self) -> None:
        """All leave."""
        self._set(0, 0)
        self._fleet.wanted = 0

    def _keep_at(self, t: int) -> int:
        """Users that must exist at schedule time t: the most that the schedule wants until a user started now is set up."""
        most = self._curve.most_between(t, min(t + self._lead_ns, self._duration_ns - 1))
        return share_count(most, self._share, self._shares)

    def _set(self, run: int, keep: int) -> None:
        control, gen, per = self._control, self._gen, self._per_process
        was_run, was_keep = control.get(gen, Word.RUN_LIMIT), control.get(gen, Word.KEEP_LIMIT)
        if keep != was_keep:
            control.set(gen, Word.KEEP_LIMIT, keep)
            self._fleet.wanted = -(-keep // per)
        if run != was_run:
            control.set(gen, Word.RUN_LIMIT, run)
            if control.asked(gen):  # a worker has closed the gate: it stays closed
                control.set(gen, Word.RUN_LIMIT, 0)
        for low, high in ((min(was_run, run), max(was_run, run)), (min(was_keep, keep), max(was_keep, keep))):
            if low != high:
                self._wakes.update(range(low // per, -(-high // per)))
        self.active_max = max(self.active_max, run)
