"""A rate worker on an event loop: worker k of n fires the ticks i with i % n == k at their due times, up to
max_in_flight at once.

Ticks that find every slot taken wait as a number, not as a queue; they fire late, and their response time shows it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from contextvars import Context, copy_context

from wasp_ray.clock import now_ns
from wasp_ray.errors import StopUser
from wasp_ray.schedule import share_count
from wasp_ray.wire.arena import Header, State
from wasp_ray.wire.control import NEVER, Control, Word
from wasp_ray.wire.record import LATE_NS, START_LATE_NS, Hook
from wasp_ray.wire.ring import RingWriter
from wasp_ray.worker.booking import Booker
from wasp_ray.worker.call_state import CallState, current_call, why_stopped
from wasp_ray.worker.calls import AsyncCalls
from wasp_ray.worker.drops import Drops
from wasp_ray.worker.loop_watch import give_turn, timed
from wasp_ray.worker.notes import Notes
from wasp_ray.worker.setup_teardown import Actors
from wasp_ray.worker.spec import WorkerSpec
from wasp_ray.worker.ticker import Ticker
from wasp_ray.worker.waiter import Waiter

BATCH_NS = 100_000
"""Wake-ups come at most this often: ticks in between are fired together."""
AT_ONCE = 32
"""So many late ticks are fired before answers are read again: they free connections, of which fewer are needed then."""


class Slot:
    """A task that makes one call after the other. `due`, `tick` and `waited` (whether no slot was free then) are those of the
    tick in hand; without one `due` is NEVER, and the task ends when it is woken.
    """

    __slots__ = ("context", "due", "task", "tick", "waited", "waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        self.context, self.waiter = context, Waiter(loop)
        self.task: asyncio.Task[None] | None = None
        self.due, self.tick = NEVER, -1
        self.waited = False


class AsyncGun:
    """Runs one worker from setup to teardown. `run` returns the final State."""

    def __init__(self, spec: WorkerSpec, writer: RingWriter, booker: Booker, notes: Notes) -> None:
        self._spec, self._booker = spec, booker
        self._actors = Actors(spec, booker, notes)
        self._words = spec.arena.words
        gen = spec.part.index
        self._hold_word, self._stop_word = Control.at(gen, Word.HOLD_NS), Control.at(gen, Word.STOP_NS)
        self._until_word = Control.at(gen, Word.FIRE_UNTIL_NS)
        self._next_word, self._begun_word = spec.header(Header.NEXT_TICK), spec.header(Header.BEGUN)
        self._is_thread = not spec.owns_process
        slots = share_count(spec.part.max_in_flight, spec.share, spec.shares)
        self._limit = share_count(slots, spec.worker, spec.workers)
        self._tick_step = spec.shares * spec.workers
        self._in_flight = 0
        self._free_since = 0  # until then every slot was taken
        self._stood_still_until = 0  # ticks due before it are late through our own fault, whatever filled the slots
        self._drops = Drops(spec, writer)
        self._slots: set[Slot] = set()
        self._idle: list[Slot] = []

    async def run(self) -> int:
        """Return the final State. Raises SetupEnded."""
        spec = self._spec
        self._loop = loop = asyncio.get_running_loop()
        self._finished = loop.create_future()
        self._quiet = asyncio.Event()  # set when the last call has ended
        spec.enter(State.SETUP)
        calls = self._calls = AsyncCalls(spec, self._booker)
        calls.watch()
        self._gun = await self._actors.set_up(spec.worker)
        self._context = copy_context()
        self._load_ticks()
        self._ticker = Ticker(self._fire_due)
        loop.add_reader(spec.wake_fd, self._woken)
        spec.enter(State.READY)
        try:
            self._fire_due()
            await self._finished
            await self._drain()
        finally:
            self._ticker.close()
            loop.remove_reader(spec.wake_fd)
            spec.enter(State.TEARDOWN)
            await self._actors.tear_down(self._gun)
            calls.close()
        return State.STOPPED_ITSELF  # its ticks are accounted for: no successor is needed

    # -- ticks

    def _load_ticks(self) -> None:
        """Goes on where a dead worker stopped: ticks are numbered from the control block, not counted."""
        spec = self._spec
        self._position = self._words[self._next_word]
        self._tick = spec.share + spec.shares * (spec.worker + spec.workers * self._position)
        curve = spec.part.curve()
        count = curve.count if spec.part.max_calls is None else min(curve.count, spec.part.max_calls)
        ahead = max(0, -(-(count - self._tick) // self._tick_step))
        dues = curve.dues(self._tick, self._tick_step)
        self._dues: Iterator[int] = (next(dues) for _ in range(ahead))
        self._due = next(self._dues, NEVER)

    def _take_tick(self) -> None:
        """The tick in hand is this worker's to account for from here on."""
        self._position += 1
        self._words[self._next_word] = self._position
        self._tick += self._tick_step
        self._due = next(self._dues, NEVER)

    def _woken(self) -> None:
        if not os.read(self._spec.wake_fd, 4096):
            asyncio.get_running_loop().remove_reader(self._spec.wake_fd)
            self._finish()
            return
        self._fire_due()

    def _fire_due(self) -> None:
        """Fires what is due, arms the timer for the rest; ends when nothing can become due any more."""
        if self._finished.done():
            return
        if self._spec.control.start_ns == NEVER:
            if self._words[self._stop_word] != NEVER:  # stopped before the load began: it never will
                self._finish()
            return
        now, hold, until = self._instants()
        for _ in range(AT_ONCE):
            due = self._next_due(now, hold, until)
            if due == NEVER:
                self._arm(now, hold, until)
                return
            self._fire(due, now)
        self._loop.call_soon(self._fire_due)

    def _instants(self) -> tuple[int, int, int]:
        """Now, the schedule instant from which ticks wait, and until when overdue ticks may start."""
        if self._is_thread and self._spec.abandoned():  # its successor fires the ticks
            self._due, self._dues = NEVER, iter(())
        now = now_ns()  # read first: what is due by now is due before a stop that is not seen yet (see publish_ahead)
        return now, self._words[self._hold_word], self._words[self._until_word]

    def _next_due(self, now: int, hold: int, until: int) -> int:
        """When the tick in hand was due, if it is to be fired now; NEVER if not. Drops those that are too late."""
        drops, absolute = self._spec.part.on_late_drop, self._spec.control.absolute_ns
        while self._due != NEVER:
            due = absolute(self._due)
            if due > now or self._due >= hold:
                break
            if now > until:
                self._drop_rest(now, hold)
                break
            if self._in_flight >= self._limit:
                break
            if not drops or now - due <= LATE_NS:
                return due
            self._drop(due, now)
        return NEVER

    def _arm(self, now: int, hold: int, until: int) -> None:
        if self._due == NEVER or self._due >= self._words[self._stop_word]:
            self._finish()
            return
        due = self._spec.control.absolute_ns(self._due)
        if self._due >= hold or (self._in_flight >= self._limit and due <= now):
            # the generator wakes it when the stop is fixed, and a slot that frees fires; at the latest the rest is dropped
            self._ticker.arm(max(until, now + BATCH_NS) + 1)
        elif due != NEVER:
            self._ticker.arm(min(max(due, now + BATCH_NS), until + 1))

    def _drop(self, due: int, now: int) -> None:
        """One tick less: by the limit when all slots were taken as it fell due."""
        cause = Header.DROPPED_GENERATOR
        if due > self._stood_still_until and (due <= self._free_since or self._in_flight >= self._limit):
            cause = Header.DROPPED_LIMIT
        if self._words[self._stop_word] != NEVER:
            cause = Header.DROPPED_STOPPED
        self._take_tick()
        self._drops.count(cause, due, now)

    def _drop_rest(self, now: int, hold: int) -> None:
        """After the second of grace for overdue ticks."""
        absolute = self._spec.control.absolute_ns
        while self._due != NEVER and self._due < hold and (due := absolute(self._due)) <= now:
            self._drop(due, now)

    def _finish(self) -> None:
        if not self._finished.done():
            self._finished.set_result(None)

    # -- calls

    def _fire(self, due: int, now: int) -> None:
        """In a slot that waits, until the call waits for something, or in a new one."""
        if self._idle:
            slot = self._idle.pop()
            self._give(slot, due, now)
            slot.waiter.wake()
        else:
            slot = Slot(self._loop, self._context.copy())
            self._give(slot, due, now)
            self._open(slot)

    def _give(self, slot: Slot, due: int, now: int) -> None:
        slot.due, slot.tick, slot.waited = due, self._tick, self._stood_still_until < due <= self._free_since
        if now - due > START_LATE_NS and due > self._free_since:  # found late with a free slot
            self._stood_still_until = now - START_LATE_NS
        self._take_tick()
        self._in_flight += 1

    def _open(self, slot: Slot) -> None:
        self._slots.add(slot)
        slot.task = asyncio.Task(self._serve(slot), loop=self._loop, context=slot.context)  # by no task factory

    async def _serve(self, slot: Slot) -> None:
        """Until it is to end, or a call left something that the next one would find: context variables, a cancellation."""
        entry = self._calls.enter()
        try:
            await timed(self._make_calls(slot, entry), self._calls.loop_watch, Hook.CALL, entry)
        finally:
            self._calls.leave(entry)
            self._slots.discard(slot)
            if slot in self._idle:
                self._idle.remove(slot)
            if slot.due != NEVER:  # ended from outside, with a tick in hand
                heir = Slot(self._loop, self._context.copy())
                heir.due, heir.tick, heir.waited = slot.due, slot.tick, slot.waited
                self._open(heir)

    async def _make_calls(self, slot: Slot, entry: int) -> None:
        while slot.due != NEVER and await self._call(slot, entry):
            pass

    async def _call(self, slot: Slot, entry: int) -> bool:
        """One call, and the wait for the next tick; whether the slot can go on."""
        state = CallState(self._spec.worker)
        state.entry, state.task, state.tick, state.waited = entry, slot.task, slot.tick, slot.waited
        due, slot.due = slot.due, NEVER
        current_call.set(state)
        before, is_clean = copy_context(), False
        try:
            asked = await self._calls.run(state, self._gun.call, self._spec.part.name, due)
            is_clean = _is_same(slot.context, before) and not state.task.cancelling()
        finally:
            self._ended(slot if is_clean else None)
        if isinstance(asked, StopUser):
            self._spec.ask_stop(why_stopped(asked))
        if is_clean and slot.due == NEVER:
            self._idle.append(slot)
            slot.waiter.begin()
            await slot.waiter
        elif is_clean and not state.yielded:  # calls that never wait must not keep the loop for themselves
            await give_turn()
        return is_clean

    def _ended(self, slot: Slot | None) -> None:
        """A call has; its slot is given the tick that waited for one."""
        was_full = self._in_flight >= self._limit
        self._in_flight -= 1
        if self._finished.done():
            if not self._in_flight:
                self._quiet.set()
        elif was_full:
            now, hold, until = self._instants()
            self._free_since = now
            if slot is None:
                self._loop.call_soon(self._fire_due)
            elif (due := self._next_due(now, hold, until)) != NEVER:
                self._give(slot, due, now)
            else:
                self._arm(now, hold, until)

    async def _drain(self) -> None:
        """Calls in flight go on until graceful_stop has run out, then they are cancelled and waited for."""
        grace_word = Control.at(self._spec.part.index, Word.GRACE_NS)
        while self._in_flight and not self._spec.abandoned():
            left_s = (self._words[grace_word] - now_ns()) / 1e9
            if left_s <= 0:
                break
            await self._wait_for_quiet(min(left_s, 0.25))
        if self._in_flight:
            self._calls.interrupt_all()
            while self._in_flight:  # one that swallows its cancellation is ended by the kill of this process
                await self._wait_for_quiet(1.0)
        idle, self._idle = self._idle, []
        for slot in idle:
            slot.waiter.wake_soon()
        while self._slots:
            await asyncio.wait([slot.task for slot in self._slots if slot.task is not None])

    async def _wait_for_quiet(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), seconds)


def _is_same(context: Context, before: Context) -> bool:
    """Whether no variable was changed; at once when none was set at all."""
    try:
        return context == before
    except Exception:  # of values that cannot be compared
        return False
