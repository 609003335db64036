"""One Generator on one node while it runs: its ends, its deadlines and the sums of its workers; its driver follows the schedule.

Used from the node's loop.
"""

from __future__ import annotations

from wasp_ray.node.drivers import LATE_START_NS, Driver, WorkerSet, make_driver
from wasp_ray.node.hang_detector import HangDetector
from wasp_ray.node.headers import headers_of
from wasp_ray.node.options import Process
from wasp_ray.node.shape import Shape
from wasp_ray.node.sums import Sums, read_sums, sum_of
from wasp_ray.plan import GeneratorPlan
from wasp_ray.runtime.fleet import Fleet, Instruction, Spawn, Warn, WorkerExit
from wasp_ray.stats.loop_blocks import LoopBlocks
from wasp_ray.wire.arena import Arena, Header, State
from wasp_ray.wire.control import NEVER, Ask, Control, Word, publish_ahead
from wasp_ray.wire.record import HOOK_BITS, Hook

SETUPS, PLACED_SETUPS = 100, 16
"""Setups at once, unless setup_concurrency says how many."""
NOT_SET_UP = (State.EMPTY, State.SETUP, State.SETUP_FAILED, State.BROKEN)
"""A worker whose setup has failed is still there until it is reaped."""
ENDED_BY = {Ask.ROWS: "rows_used_up", Ask.STOP: "stopped_itself", Ask.FAIL: "fail_on_error"}


class GeneratorRun:
    """State of one Generator between plan and last record."""

    def __init__(
        self, gen: int, plan: GeneratorPlan, shape: Shape, arena: Arena, control: Control, share: int, shares: int,
        inline: bool,
    ) -> None:  # fmt: skip
        self.gen, self.plan, self.name, self.kind = gen, plan, plan.name, plan.kind
        at_once = plan.setup_concurrency or (PLACED_SETUPS if plan.is_placed else SETUPS)
        self.fleet = Fleet(shape.rings, at_once, reuse_rings=not inline)
        self.workers = WorkerSet(gen, plan, arena, control, self.fleet, shape.workers, share, shares)
        self.driver: Driver = make_driver(self.workers)
        self.control = control
        self._hangs = HangDetector(gen, plan, arena)
        self.sums = Sums()  # of workers that have exited
        self.kills: list[int] = []
        self.stop_ns: int | None = None  # an explicit stop, monotonic
        self.end_ns = NEVER  # nothing becomes due after it, monotonic
        self.grace_ns = NEVER
        self.ended = False  # past end or stop: calls in flight have their grace
        self.cpu_s = self.cpu_wait_s = 0.0  # of workers that have exited, since t = 0; waited for a core inside calls
        self.rss: dict[int, int] = {}  # worker -> the most its incarnations used, bytes
        self.longest_block = 0  # of workers that have exited, as Header.LONGEST_BLOCK
        self.longest_standstill_ns = 0  # of a worker that a signal had stopped, during the load

    @property
    def wakes(self) -> set[int]:
        """Workers that have to look at the control block."""
        return self.workers.wakes

    # -- before the start

    def prepare(self) -> None:
        """Want the workers of the first instant."""
        self.control.set(self.gen, Word.WORKERS, self.workers.most)
        self.driver.prepare()

    @property
    def ready(self) -> bool:
        """The workers of the first instant are set up (or have ended by themselves)."""
        if not self.fleet.settled:
            return False
        return all(self.workers.state(m.ring) not in NOT_SET_UP for m in self.fleet.live.values())

    def begin(self, now: int) -> None:
        """Open the limits: t = 0 is fixed."""
        self._place_end()
        self.driver.follow(now)
        self.workers.wake_all()

    def _place_end(self) -> None:
        """Compute where the schedule ends by the clock; NEVER while a pause holds it."""
        self.end_ns = end = self.control.absolute_ns(self.plan.duration_ns)
        if self.stop_ns is None:
            self.control.set(self.gen, Word.FIRE_UNTIL_NS, end + LATE_START_NS if end != NEVER else NEVER)

    # -- while it runs

    def advance(self, now: int) -> int:
        """Do one turn of the loop; return the monotonic instant at which the next one matters."""
        if self.ended:
            return self._drain(now)
        if self.asked and self.stop_ns is None:
            self.stop()
        if now >= self._end_or_stop_ns:
            self._end(now)
            return now
        wake_at = min(self._end_or_stop_ns, self.driver.follow(now))
        if self.driver.is_done():
            self._end(now)
        return wake_at

    @property
    def _end_or_stop_ns(self) -> int:
        return self.end_ns if self.stop_ns is None else min(self.end_ns, self.stop_ns)

    # -- ends

    def stop(self) -> None:
        """Fix the instant from which on nothing is due, once and for all workers; the first call counts.

        It is an instant of the schedule, so that no later pause or resume moves it, and what is scheduled follows from it
        alone. Workers hold back from the instant that is being tried; only when none can have passed it, it becomes the
        stop: a worker that ended by an instant that was tried in vain would leave ticks behind.
        """
        if self.stop_ns is not None or self.ended:
            return
        control, gen = self.control, self.gen
        self.stop_ns = publish_ahead(lambda at_ns: control.set(gen, Word.HOLD_NS, self._cut_at(at_ns)))
        self.workers.stop_cut_ns = control.get(gen, Word.HOLD_NS)
        control.set(gen, Word.STOP_NS, self.workers.stop_cut_ns)
        control.set(gen, Word.FIRE_UNTIL_NS, self.stop_ns + LATE_START_NS)
        self.workers.wake_all()

    def _cut_at(self, at_ns: int) -> int:
        """Return the first schedule instant that is not due by a monotonic one."""
        return 0 if self.control.start_ns == NEVER else max(0, self.control.schedule_ns(at_ns) + 1)

    def _end(self, now: int) -> None:
        """The schedule's end or the stop: users leave, calls in flight have their grace."""
        self.ended = True
        self.workers.cut_ns = min(self._end_or_stop_ns, now)
        self.grace_ns = self.workers.cut_ns + self.plan.graceful_stop_ns
        self.control.set(self.gen, Word.GRACE_NS, self.grace_ns)
        self.driver.end()
        self.workers.wake_all()

    def cancel(self, now: int) -> None:
        """The load does not begin: workers run their teardown, those in setup() once that has ended."""
        self.stop()
        self._end(now)
        self.driver.abort()

    def abort(self, now: int) -> None:
        """End at once: no grace, no teardown."""
        if not self.ended:
            self.stop()
            self._end(now)
        self.grace_ns = now
        self.control.set(self.gen, Word.GRACE_NS, now)
        self.driver.abort()
        for worker in self.fleet.live:
            self._kill(worker, "interrupted")

    def _drain(self, now: int) -> int:
        """After the end: overdue ticks for a second, calls in flight for the grace, then force."""
        self.driver.drain(now)
        if now > self.grace_ns:
            last = self.grace_ns + self.workers.clean_up_ns
            for worker, member in self.fleet.live.items():
                in_call = not self.plan.is_async and self.workers.in_flight(member.ring) > 0
                if in_call or self.workers.state(member.ring) <= State.SETUP or now > last:
                    self._kill(worker, "interrupted")
        return NEVER

    @property
    def over(self) -> bool:
        """Ended, and every worker has exited with its last records taken."""
        return self.ended and self.fleet.empty

    @property
    def ended_early(self) -> bool:
        """Stopped, or all its users left by themselves: what it delivered is no measure of anything."""
        return self.stop_ns is not None or (self.kind == "users" and bool(self.fleet.gone or self.driver.stopped_users))

    @property
    def scheduled_ns(self) -> int:
        """How much of the schedule was done, or is to be: until a stop, or until max_calls or its users were used up."""
        control, until = self.control, self.driver.until_ns
        if control.start_ns == NEVER:
            return 0
        if self.workers.is_stopped:
            until = min(until, self.workers.stop_cut_ns)
        elif self.ended and self.kind == "users":
            until = min(until, control.schedule_ns(self.workers.cut_ns))
        return max(0, until)

    @property
    def ended_by(self) -> str:
        """What ended it before its schedule did, "" for nothing."""
        if self.workers.is_stopped:
            return ENDED_BY.get(self.asked, "run_stopped")
        if self.control.start_ns == NEVER or self.scheduled_ns >= self.plan.duration_ns:
            return ""
        return "users_left" if self.plan.max_calls is None else "max_calls"

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
            self.driver.follow(at)  # at once: users look at their limit before each call

    def resumed(self) -> None:
        """The clock continues; workers look at their next due time anew."""
        self._place_end()
        self.workers.wake_all()

    # -- workers

    def _kill(self, worker: int, as_: str) -> None:
        member = self.fleet.live[worker]
        if not member.kill_as:
            member.kill_as = as_
            self.kills.append(worker)

    def scan(self, now: int) -> list[Instruction]:
        """Look at every worker: hung calls, setups and teardowns are killed. Return what the fleet wants done."""
        look = self._hangs.look(self.fleet.live, now)
        for late in look.overdue:
            self.fleet.last_error = late.why or self.fleet.last_error
            self._kill(late.worker, late.kill_as)
        for worker, kill_as in self.driver.overdue(now):
            self._kill(worker, kill_as)
        self.driver.measure(now, look.active_users, look.in_setup)
        given_up = self.fleet.setup_gave_up() if look.has_given_up_setup else []
        return self.instructions(now, look.starting) + given_up

    def instructions(self, now: int, setting_up: int) -> list[Instruction]:
        """Return what the fleet wants started while so many workers are setting up."""
        out = self.fleet.step(now, setting_up)
        for order in out:
            if isinstance(order, Spawn):
                self.driver.spawning(order.worker, order.ring)
        return out

    def exited(self, worker: int, status: int, cpu_s: float, wait_s: float, rss: int, at_ns: int) -> list[Instruction]:
        """Add up the header of a worker that was dead at `at_ns`, then ask the fleet. `cpu_s`, `wait_s` and `rss` as in Exit."""
        member = self.fleet.live.get(worker)
        if member is None:
            return []
        longest = self.workers.arena.read(self.gen, member.ring, Header.LONGEST_BLOCK)
        self.longest_block = max(self.longest_block, longest)
        self._add_cpu(member.ring, cpu_s, wait_s, at_ns)
        self.rss[worker] = max(self.rss.get(worker, 0), rss)
        sums = read_sums(self.workers.arena, self.gen, member.ring)
        self.driver.exited(worker, member.ring, sums, at_ns)
        self.sums.add(sums)
        completed = sums.begun - self.workers.in_flight(member.ring) > 0
        others = self.driver.is_replaceable_by_others(worker)
        out = self.fleet.exited(worker, WorkerExit(self.workers.state(member.ring), status, completed, at_ns, others))
        if self.workers.arena.read(self.gen, member.ring, Header.SETUP_GAVE_UP):
            out += self.fleet.setup_gave_up()
        if any(isinstance(order, Warn) for order in out):
            self.driver.stop_growing()
        return out

    def _add_cpu(self, ring: int, cpu_s: float, wait_s: float, at_ns: int) -> None:
        """Add the CPU time that a dead worker took since t = 0, and the time for which its calls waited for a core."""
        arena, gen = self.workers.arena, self.gen
        if at_ns > self.control.start_ns:
            self.cpu_s += max(0.0, cpu_s - arena.read(gen, ring, Header.CPU_BEFORE_NS) / 1e9)
        waited_ns = arena.read(gen, ring, Header.CALL_WAIT_NS)
        if begun := arena.read(gen, ring, Header.CALL_WAIT_FROM):  # it died in a call that was being measured
            waited_ns += max(0, int(wait_s * 1e9) + 1 - begun)
        self.cpu_wait_s += waited_ns / 1e9

    def stood_still(self, since_ns: int, until_ns: int) -> None:
        """A signal had stopped one of its workers; what lies before t = 0 does no harm."""
        since_ns = max(since_ns, self.control.start_ns)
        self.longest_standstill_ns = max(self.longest_standstill_ns, until_ns - since_ns)

    def live_sums(self) -> Sums:
        """Return the sums over living and dead workers."""
        total = sum_of(headers_of(self.workers.arena, self.gen), [member.ring for member in self.fleet.live.values()])
        total.add(self.sums)
        return total

    def processes(self) -> list[Process]:
        """Return the workers that have started and are not known to have ended; from any thread."""
        live = tuple(self.fleet.live.items())  # a copy at one instant: the node's loop changes it
        pids = [(worker, self.workers.arena.read(self.gen, member.ring, Header.PID)) for worker, member in live]
        return [Process("worker", pid, self.name, worker) for worker, pid in pids if pid]

    def loop_blocks(self, sums: Sums) -> LoopBlocks:
        """Return the blocks of its event loops; the longest one is of workers that have exited. `sums`: of all workers."""
        longest_ns, hook = self.longest_block >> HOOK_BITS, Hook(self.longest_block & (1 << HOOK_BITS) - 1)
        name = hook.name.lower() if longest_ns else ""
        return LoopBlocks(sums.blocks, sums.blocked_ns / 1e9, longest_ns / 1e9, name)

    def in_flight(self) -> int:
        """Return the number of calls in flight now."""
        return sum(self.workers.in_flight(member.ring) for member in self.fleet.live.values())

    def active_users(self) -> int:
        """Return the users (or rate workers) that are at work now."""
        if self.kind == "rate":
            return len(self.fleet.live)
        return sum(self.workers.arena.read(self.gen, m.ring, Header.ACTIVE_USERS) for m in self.fleet.live.values())
