"""A rate worker on an event loop: worker k of n fires the ticks i with i % n == k at their due times, up to
max_in_flight at once.

Ticks that find every slot taken wait as a number, not as a queue; they fire late, and their response time shows it.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from wasp_ray.clock import now_ns
from wasp_ray.errors import StopUser
from wasp_ray.wire.arena import Header, State
from wasp_ray.wire.control import NEVER, Control, Word
from wasp_ray.wire.ring import RingWriter
from wasp_ray.worker.actor_life import set_up, tear_down
from wasp_ray.worker.booking import Booker
from wasp_ray.worker.call_state import CallState, why_stopped
from wasp_ray.worker.calls import AsyncCalls
from wasp_ray.worker.host import Host
from wasp_ray.worker.notes import Notes
from wasp_ray.worker.pace import LATE_NS
from wasp_ray.worker.ticker import Ticker

BATCH_NS = 50_000
"""Wake-ups come at most this often: ticks in between are fired together."""


class AsyncGun:
    """Runs one worker from setup to teardown. `run` returns the final State."""

    def __init__(self, host: Host, writer: RingWriter, booker: Booker, notes: Notes) -> None:
        self._host, self._booker, self._notes = host, booker, notes
        self._words = host.arena.words
        gen = host.part.index
        self._stop_word, self._until_word = Control.at(gen, Word.STOP_NS), Control.at(gen, Word.FIRE_UNTIL_NS)
        self._next_word, self._begun_word = host.header(Header.NEXT_TICK), host.header(Header.BEGUN)
        self._limit = host.arena.slabs[gen].entries
        self._tick_step = host.shares * host.workers
        self._in_flight = 0
        self._free_since = 0  # until then every slot was taken
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self) -> int:
        """Exceptions of setup reach the caller."""
        host = self._host
        self._loop = loop = asyncio.get_running_loop()
        self._finished = loop.create_future()
        host.enter(State.SETUP)
        calls = self._calls = AsyncCalls(host, self._booker)
        calls.watch()
        self._gun = await set_up(host, self._booker, self._notes, host.worker)
        self._load_ticks()
        self._ticker = Ticker(self._fire_due)
        loop.add_reader(host.wake_fd, self._woken)
        host.enter(State.READY)
        try:
            self._fire_due()
            await self._finished
            await self._drain()
        finally:
            self._ticker.close()
            loop.remove_reader(host.wake_fd)
            host.enter(State.TEARDOWN)
            await tear_down(host, self._booker, self._gun)
            calls.close()
        return State.STOPPED_ITSELF  # its ticks are accounted for: no successor is needed

    # -- ticks

    def _load_ticks(self) -> None:
        """Goes on where a dead worker stopped: ticks are numbered from the control block, not counted."""
        host = self._host
        self._position = self._words[self._next_word]
        self._tick = host.share + host.shares * (host.worker + host.workers * self._position)
        curve = host.part.curve()
        count = curve.count if host.part.max_calls is None else min(curve.count, host.part.max_calls)
        ahead = max(0, -(-(count - self._tick) // self._tick_step))
        dues = curve.dues(self._tick, self._tick_step)
        self._dues = (next(dues) for _ in range(ahead))
        self._due = next(self._dues, NEVER)

    def _take_tick(self) -> None:
        """The tick in hand is this worker's to account for from here on."""
        self._position += 1
        self._words[self._next_word] = self._position
        self._tick += self._tick_step
        self._due = next(self._dues, NEVER)

    def _woken(self) -> None:
        if not os.read(self._host.wake_fd, 4096):
            asyncio.get_running_loop().remove_reader(self._host.wake_fd)
            self._finish()
            return
        self._fire_due()

    def _fire_due(self) -> None:
        """Fires all that is due, arms the timer for the rest; ends when nothing can become due any more."""
        if self._finished.done():
            return
        control, words = self._host.control, self._words
        if control.start_ns == NEVER:
            return
        now = now_ns()  # before the stop word is read: what is due by now was due before a stop not seen yet
        stop, until = words[self._stop_word], words[self._until_word]
        drops, limit, absolute = self._host.part.on_late_drop, self._limit, control.absolute_ns
        while self._due != NEVER:
            due = absolute(self._due)
            if due > now or due > stop:
                break
            if now > until:
                self._drop_rest(min(stop, now))
                break
            if self._in_flight >= limit:
                break
            if drops and now - due > LATE_NS:
                self._drop(due, Header.DROPPED_GENERATOR)
                continue
            self._fire(due)
        self._arm(now, stop, until)

    def _arm(self, now: int, stop: int, until: int) -> None:
        if self._due == NEVER:
            self._finish()
            return
        due = self._host.control.absolute_ns(self._due)
        if due > stop and now >= stop:
            self._finish()
        elif self._in_flight >= self._limit and due <= now:
            self._ticker.arm(until + 1)  # a slot that frees fires; at the latest the rest is dropped then
        elif due != NEVER:
            self._ticker.arm(min(max(due, now + BATCH_NS), stop + 1, until + 1))

    def _drop(self, due: int, cause: int) -> None:
        """One tick less: by the limit when all slots were taken as it fell due."""
        if due <= self._free_since or self._in_flight >= self._limit:
            cause = Header.DROPPED_LIMIT
        if self._words[self._stop_word] != NEVER:
            cause = Header.DROPPED_STOPPED
        self._take_tick()
        self._words[self._host.header(cause)] += 1

    def _drop_rest(self, last: int) -> None:
        """After the second of grace for overdue ticks."""
        while self._due != NEVER and (due := self._host.control.absolute_ns(self._due)) <= last:
            self._drop(due, Header.DROPPED_GENERATOR)

    def _finish(self) -> None:
        if not self._finished.done():
            self._finished.set_result(None)

    # -- calls

    def _fire(self, due: int) -> None:
        state = CallState(self._host.worker)
        state.tick = self._tick
        state.waited = due <= self._free_since
        self._take_tick()
        self._in_flight += 1
        state.task = task = self._loop.create_task(self._one(state, due))
        self._tasks.add(task)

    async def _one(self, state: CallState, due: int) -> None:
        self._calls.admit(state)
        try:
            asked = await self._calls.run(state, self._gun.call, self._host.part.name, due)
        finally:
            self._calls.release(state)
            self._done(state.task)
        if isinstance(asked, StopUser):
            self._host.ask_stop(why_stopped(asked))

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        was_full = self._in_flight >= self._limit
        self._in_flight -= 1
        if was_full:
            self._free_since = now_ns()
            if not self._finished.done():
                self._fire_due()

    async def _drain(self) -> None:
        """Calls in flight go on until graceful_stop has run out, then they are cancelled and waited for."""
        grace_word = Control.at(self._host.part.index, Word.GRACE_NS)
        while self._tasks:
            left_s = (self._words[grace_word] - now_ns()) / 1e9
            if left_s <= 0:
                break
            await asyncio.wait(self._tasks, timeout=min(left_s, 0.25))
        if self._tasks:
            self._calls.interrupt()
            while self._tasks:  # one that swallows its cancellation is ended by the kill of this process
                await asyncio.wait(self._tasks, timeout=1.0)
