"""One Generator on one node while it runs: its fleet, its limits, its deadlines, its sums.

Driven by the node's loop.
"""

from __future__ import annotations

from typing import Any

from wasp_ray.node.hang_detector import CANCEL_GRACE_NS, HangDetector
from wasp_ray.node.headers import headers_of
from wasp_ray.node.sums import Sums, read_sums, sum_of
from wasp_ray.node.ticks import TickPipe
from wasp_ray.node.user_limits import UserLimits
from wasp_ray.plan import GeneratorPlan
from wasp_ray.runtime.fleet import Fleet, Gone, Instruction, Spawn, Warn
from wasp_ray.schedule import UserCurve
from wasp_ray.wire.arena import Arena, Header, State
from wasp_ray.wire.control import NEVER, Ask, Control, Word, publish_ahead

SECOND = 1_000_000_000
SETUPS, PLACED_SETUPS = 100, 16
"""Setups at once, unless setup_concurrency says how many."""
LATE_START_NS = SECOND
"""Overdue ticks may start so long after the end or a stop."""
GROW_AFTER_NS = 3_000_000
"""Sync gun: a tick that waited so long for a busy worker asks for another one."""
NOT_SET_UP = (State.EMPTY, State.SETUP, State.SETUP_FAILED, State.BROKEN)
"""A worker whose setup has failed is still there until it is reaped."""
FIRST_GUN_WORKERS_S = 0.05
"""Sync gun: workers at the start, as if a call took so long."""


class GeneratorRun:
    """State of one Generator between plan and last record."""

    def __init__(
        self, gen: int, plan: GeneratorPlan, shape: Any, arena: Arena, control: Control, share: int, shares: int, inline: bool,
    ) -> None:  # fmt: skip
        self.gen, self.plan, self.name, self.kind = gen, plan, plan.name, plan.kind
        self.arena, self.control = arena, control
        self.is_async = plan.is_async
        self.share, self.shares = share, shares
        self.workers: int = shape.workers
        self._most_workers = self.workers  # sync gun: so many it may grow to
        at_once = plan.setup_concurrency or (PLACED_SETUPS if plan.is_placed else SETUPS)
        self.fleet = Fleet(shape.rings, at_once, reuse_rings=not inline)
        self._hangs = HangDetector(gen, plan, arena)
        self.sums = Sums()  # of workers that are gone
        self.next_ticks: dict[int, int] = {}  # async gun: where a worker's successor goes on
        self.dead_hands = 0
        self.kills: list[int] = []
        self.wakes: set[int] = set()
        self.stop_ns: int | None = None  # an explicit stop, monotonic
        self.stop_cut_ns = NEVER  # ticks due from this schedule instant on were cut off by the stop
        self.end_ns = NEVER  # nothing becomes due after it, monotonic
        self.cut_ns = NEVER  # where it ended
        self.grace_ns = NEVER
        self.ended = False  # past end or stop: calls in flight have their grace
        self.cpu_s = self.cpu_wait_s = 0.0
        self.rss: dict[int, int] = {}  # worker -> the most its incarnations used, bytes
        self._ticks_taken: dict[int, int] = {}  # sync gun: by worker, how many it had taken at the end of the schedule
        self.workers_stood_still = False  # sync gun: an idle worker took no tick in the second after the end
        self.longest_standstill_ns = 0  # of a worker that a signal had stopped, during the load
        self.duration_ns = plan.duration_ns
        self.users = UserCurve(plan.schedule) if self.kind == "users" else None
        self.limits: UserLimits | None = None
        if self.users is not None:
            self.limits = UserLimits(gen, plan, self.users, control, self.fleet, self.wakes, share, shares)
        self.curve = plan.curve() if self.users is None else None
        most = self.curve.count if self.curve is not None else 0
        self.tick_count = most if plan.max_calls is None else min(most, plan.max_calls)
        blocking = self.curve if not self.is_async else None
        self.ticks = None if blocking is None else TickPipe(blocking, self.tick_count, share, shares)

    # -- before the start

    def prepare(self) -> None:
        """Wants the workers of the first instant."""
        self.control.set(self.gen, Word.WORKERS, self.workers)
        if self.limits is not None:
            self.limits.prepare()
        elif self.ticks is not None:
            first = int(self.plan.peak * FIRST_GUN_WORKERS_S / self.shares) + 2
            self.fleet.wanted = min(self.workers, first)
        else:
            self.fleet.wanted = self.workers

    @property
    def ready(self) -> bool:
        """The workers of the first instant are set up (or have ended by themselves)."""
        if not self.fleet.settled:
            return False
        return all(self._state(m.ring) not in NOT_SET_UP for m in self.fleet.live.values())

    def begin(self, now: int) -> None:
        """t = 0 is fixed: limits open."""
        self._place_end()
        self._follow(now)
        self.wakes.update(self.fleet.live)

    def _place_end(self) -> None:
        """Where the schedule ends by the clock; NEVER while a pause holds it."""
        end = self.control.absolute_ns(self.duration_ns)
        self.end_ns = end
        if self.stop_ns is None:
            self.control.set(self.gen, Word.FIRE_UNTIL_NS, end + LATE_START_NS if end != NEVER else NEVER)

    # -- while it runs

    def advance(self, now: int) -> int:
        """One turn of the loop; returns the instant at which it wants the next one."""
        if self.ended:
            return self._drain(now)
        if self.asked and self.stop_ns is None:
            self.stop()
        if now >= min(self.end_ns, self.stop_ns if self.stop_ns is not None else NEVER):
            self._end(now)
            return now
        self._follow(now)
        wake_at = min(self.end_ns, self.stop_ns if self.stop_ns is not None else NEVER)
        if self.ticks is not None:
            wake_at = min(wake_at, self.ticks.feed(self.control, now, self.stop_cut_ns))
            self._grow()
        if (
            self.ticks is not None
            and self.plan.max_calls is not None
            and self.ticks.exhausted
            and not self.ticks.unread()
        ):
            self._end(now)
        if (
            not self.ended
            and self.fleet.empty
            and self._all_gone()
            and (self.kind == "users" or self.plan.max_calls is not None)
        ):
            self._end(now)
        return wake_at

    def _all_gone(self) -> bool:
        """Every user there will be has ended by itself."""
        return len(self.fleet.gone) >= self.workers > 0

    def _follow(self, now: int) -> None:
        if self.limits is not None:
            self.limits.follow(now, stopped=self.stop_ns is not None)

    def _grow(self) -> None:
        """Sync gun: a worker for each tick that waits, unless one is idle or on its way; at most half as many more at once.

        A tick alone is no reason: on a busy machine it waits for the CPU, and another process would not help it.
        """
        assert self.ticks is not None
        wanted = self.fleet.wanted
        waiting = self.ticks.waiting(GROW_AFTER_NS) if wanted < self._most_workers else 0
        if waiting:
            missing = waiting - (wanted - self._busy_workers())
            self.fleet.wanted = min(self._most_workers, wanted + max(0, min(missing, max(1, wanted // 2))))

    def _busy_workers(self) -> int:
        """Workers of a sync gun that are in a call."""
        slab, words = self.arena.slabs[self.gen], self.arena.words
        return sum(words[slab.entry_word(member.ring, 0)] != 0 for member in self.fleet.live.values())

    # -- ends

    def stop(self) -> None:
        """Fixes the instant from which on nothing is due, once and for all workers; the first call counts.

        It is an instant of the schedule, so that no later pause or resume moves it, and what is scheduled follows from it
        alone. Workers hold back from the instant that is being tried; only when none can have passed it, it becomes the
        stop: a worker that ended by an instant that was tried in vain would leave ticks behind.
        """
        if self.stop_ns is not None or self.ended:
            return
        control, gen = self.control, self.gen
        self.stop_ns = publish_ahead(lambda at_ns: control.set(gen, Word.HOLD_NS, self._cut_at(at_ns)))
        self.stop_cut_ns = control.get(gen, Word.HOLD_NS)
        control.set(gen, Word.STOP_NS, self.stop_cut_ns)
        control.set(gen, Word.FIRE_UNTIL_NS, self.stop_ns + LATE_START_NS)
        self.wakes.update(self.fleet.live)

    def _cut_at(self, at_ns: int) -> int:
        """The first schedule instant that is not due by a monotonic one."""
        return 0 if self.control.start_ns == NEVER else max(0, self.control.schedule_ns(at_ns) + 1)

    def _end(self, now: int) -> None:
        """The schedule's end or the stop: users leave, calls in flight have their grace."""
        self.ended = True
        self.cut_ns = min(self.end_ns, self.stop_ns if self.stop_ns is not None else NEVER, now)
        self.grace_ns = self.cut_ns + self.plan.graceful_stop_ns
        self.control.set(self.gen, Word.GRACE_NS, self.grace_ns)
        self._ticks_taken = self._idle_workers()
        if self.limits is not None:
            self.limits.end()
        self.wakes.update(self.fleet.live)

    def cancel(self, now: int) -> None:
        """The load does not begin: workers run their teardown, those in setup() once that has ended."""
        self.stop()
        self._end(now)
        self.fleet.wanted = 0
        if self.ticks is not None:
            self.ticks.close(self.control, self.stop_cut_ns)

    def hurry(self, now: int) -> None:
        """At once: no grace, no teardown."""
        if not self.ended:
            self.stop()
            self._end(now)
        self.grace_ns = now
        self.control.set(self.gen, Word.GRACE_NS, now)
        self.fleet.wanted = 0
        if self.ticks is not None:
            self.ticks.close(self.control, self.stop_cut_ns)
        for worker in self.fleet.live:
            self._kill(worker, "interrupted")

    def _drain(self, now: int) -> int:
        """After the end: overdue ticks for a second, calls in flight for the grace, then force."""
        if self.ticks is not None and not self.ticks.closed:
            self.ticks.feed(self.control, now, self.stop_cut_ns)
            late = now > self.cut_ns + LATE_START_NS
            if late or (self.ticks.all_written(self.stop_cut_ns) and not self.ticks.unread()):
                idle = self._idle_workers()
                self.workers_stood_still = any(idle.get(w) == taken for w, taken in self._ticks_taken.items())
                self.ticks.close(self.control, self.stop_cut_ns)
        if self.kind == "rate" and (self.ticks is None or self.ticks.closed) and now > self.cut_ns + LATE_START_NS:
            self.fleet.wanted = 0
        if now > self.grace_ns:
            last = self.grace_ns + self.plan.teardown_timeout_ns + 2 * CANCEL_GRACE_NS
            for worker, member in self.fleet.live.items():
                in_call = not self.is_async and bool(self.arena.entries(self.gen, member.ring))
                if in_call or self._state(member.ring) <= State.SETUP or now > last:
                    self._kill(worker, "interrupted")
        return NEVER

    def _idle_workers(self) -> dict[int, int]:
        """Sync gun: the ticks that each worker without a call in flight has taken."""
        if self.ticks is None:
            return {}
        return {
            worker: self.arena.read(self.gen, member.ring, Header.NEXT_TICK)
            for worker, member in self.fleet.live.items()
            if self._state(member.ring) == State.READY and not self.arena.entries(self.gen, member.ring)
        }

    @property
    def over(self) -> bool:
        """Ended, and every worker is gone with its last records taken."""
        return self.ended and self.fleet.empty

    @property
    def ended_early(self) -> bool:
        """Stopped, or all its users left by themselves: what it delivered is no measure of anything."""
        return self.stop_ns is not None or (self.kind == "users" and bool(self.fleet.gone))

    @property
    def asked(self) -> int:
        """The Ask of its own code, 0 for none; also of calls that end after the schedule does."""
        return self.control.asked(self.gen)

    @property
    def stops_everywhere(self) -> bool:
        """Its own code ended it, for all nodes."""
        return self.asked in (Ask.STOP, Ask.FAIL)

    # -- pause

    def paused(self, at: int) -> None:
        """The schedule's clock stands still from this instant on."""
        self._place_end()
        if not self.ended:
            self._follow(at)  # at once: users look at their limit before each call

    def resumed(self) -> None:
        """The clock goes on; workers look at their next due time anew."""
        self._place_end()
        self.wakes.update(self.fleet.live)

    # -- workers

    def _state(self, ring: int) -> int:
        return self.arena.read(self.gen, ring, Header.STATE)

    def _kill(self, worker: int, as_: str) -> None:
        member = self.fleet.live[worker]
        if not member.kill_as:
            member.kill_as = as_
            self.kills.append(worker)

    def scan(self, now: int) -> int:
        """Looks at every worker: hung calls, setups and teardowns are killed. Returns how many are setting up."""
        setting_up, overdue = self._hangs.look(self.fleet.live, now)
        for late in overdue:
            self.fleet.last_error = late.why or self.fleet.last_error
            self._kill(late.worker, late.kill_as)
        return setting_up

    def instructions(self, now: int, setting_up: int) -> list[Instruction]:
        """What the fleet wants done; next ticks are put where a successor finds them."""
        out = self.fleet.step(now, setting_up)
        for order in out:
            if isinstance(order, Spawn) and order.worker in self.next_ticks:
                self.arena.write(self.gen, order.ring, Header.NEXT_TICK, self.next_ticks[order.worker])
        return out

    def exited(self, worker: int, status: int, cpu_s: float, wait_s: float, rss: int, at_ns: int) -> list[Instruction]:
        """Adds up the header of a worker that was dead at `at_ns`, then asks the fleet."""
        member = self.fleet.live.get(worker)
        if member is None:
            return []
        self.cpu_s += cpu_s
        self.cpu_wait_s += wait_s
        self.rss[worker] = max(self.rss.get(worker, 0), rss)
        sums = read_sums(self.arena, self.gen, member.ring)
        self.sums.add(sums)
        if self.kind == "rate" and self.is_async:
            reached = self.arena.read(self.gen, member.ring, Header.NEXT_TICK)
            before = self.next_ticks.get(worker, 0)
            reached = max(reached, before)
            self.dead_hands += reached - before - sums.begun - sums.dropped
            self.next_ticks[worker] = reached
        in_flight = len(self.arena.entries(self.gen, member.ring))
        gone = Gone(self._state(member.ring), status, sums.begun - in_flight > 0, at_ns, self._has_others(worker))
        out = self.fleet.exited(worker, gone)
        if any(isinstance(order, Warn) for order in out):
            self._most_workers = self.fleet.wanted
        return out

    def _has_others(self, worker: int) -> bool:
        """Whether others are at work that do the same: workers of a sync gun all take ticks from one pipe."""
        if self.ticks is None or self.control.start_ns == NEVER:
            return False
        return any(w != worker and self._state(m.ring) == State.READY for w, m in self.fleet.live.items())

    def stood_still(self, since_ns: int, until_ns: int) -> None:
        """A signal had stopped one of its workers; what lies before t = 0 does no harm."""
        since_ns = max(since_ns, self.control.start_ns)
        self.longest_standstill_ns = max(self.longest_standstill_ns, until_ns - since_ns)

    def live_sums(self) -> Sums:
        """Sums over living and dead workers."""
        total = sum_of(headers_of(self.arena, self.gen), [member.ring for member in self.fleet.live.values()])
        total.add(self.sums)
        return total

    def planned_at(self, t_ns: int) -> float:
        """Calls per second, or users, that the schedule wants at an instant."""
        at = min(t_ns, self.duration_ns - 1)
        if self.users is not None:
            return float(self.users.users_at(at))
        assert self.curve is not None
        return self.curve.rate_at(at)

    def in_flight(self) -> int:
        """Calls in flight now."""
        return sum(len(self.arena.entries(self.gen, m.ring)) for m in self.fleet.live.values())

    @property
    def users_peak(self) -> int:
        """Users of this node at the most."""
        return self.limits.peak if self.limits is not None else 0

    def active_users(self) -> int:
        """Users (or rate workers) that are at work now."""
        if self.kind == "rate":
            return len(self.fleet.live)
        return sum(self.arena.read(self.gen, m.ring, Header.ACTIVE_USERS) for m in self.fleet.live.values())
