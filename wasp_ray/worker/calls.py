"""Async calls in flight of one event loop: start, book, time out, cancel. Shared by guns and packed users."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from wasp_ray.clock import now_ns
from wasp_ray.errors import RestartUser, StopUser
from wasp_ray.wire.arena import Header
from wasp_ray.worker import forks
from wasp_ray.worker.booking import Booker
from wasp_ray.worker.call_state import CallState
from wasp_ray.worker.cpu import SampledCallWait
from wasp_ray.worker.loop_watch import SWEEP_NS, LoopWatch
from wasp_ray.worker.spec import WorkerSpec


class AsyncCalls:
    """At most `entries` calls at once, each with an in-flight entry of its own."""

    def __init__(self, spec: WorkerSpec, booker: Booker) -> None:
        self._spec, self._booker, self._words = spec, booker, spec.arena.words
        self._begun_word = spec.header(Header.BEGUN)
        self._timeout_ns = spec.part.call_timeout_ns
        self._in_flight: dict[CallState, str] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._beat = spec.header(Header.HEARTBEAT)
        self._wait = SampledCallWait(self._words, spec.header(0))
        self.loop_watch = LoopWatch(spec, self._in_flight, self._wait)
        self._measures_next = True  # the next call is measured: one after each sweep at most, and one at a time
        self._is_measuring = False

    def __len__(self) -> int:
        return len(self._in_flight)

    def enter(self) -> int:
        """An in-flight entry for a task that makes calls, one at a time."""
        return self._booker.take_entry()

    def leave(self, entry: int) -> None:
        """Takes it back."""
        self._booker.give_entry(entry)

    async def run(self, state: CallState, call: Callable[[], Any], group: str, due: int) -> BaseException | None:
        """One call of a state with an entry, in its task: always booked, never raises but when somebody else than `watch` and
        `interrupt` cancels its task.

        Returns StopUser or RestartUser when the call raised it.
        """
        booker, in_flight, words, entry = self._booker, self._in_flight, self._words, state.entry
        start = now_ns()
        if self._measures_next:
            return await self._run_measured(state, call, group, due)
        booker.begun = number = booker.begun + 1  # Booker.begin, spelled out: this is the hot path
        due = due or start
        state.number, state.due, state.start = number, due, start
        words[entry + 1] = due
        words[entry + 2] = start
        words[entry + 3] = state.user
        words[entry] = number
        words[self._begun_word] = number
        in_flight[state] = group
        asked: BaseException | None = None
        ok = True
        try:
            result = await call()
        except asyncio.CancelledError as exc:
            if not state.closed:
                ok = booker.raised(state, exc, now_ns(), group)
                if state.task.cancelling():
                    raise
        except (Exception, SystemExit) as exc:
            if forks.has_forked:
                forks.end_if_forked(self._spec.pid, exc)
            if not state.closed:
                ok = booker.raised(state, exc, now_ns(), group)
                asked = exc if isinstance(exc, (StopUser, RestartUser)) else None
        except BaseException as exc:
            forks.end_if_forked(self._spec.pid, exc)
            raise
        else:
            if forks.has_forked:
                forks.end_if_forked(self._spec.pid)
            if not state.closed:
                ok = booker.returned(state, result, now_ns(), group)
        finally:
            del in_flight[state]
            words[entry] = 0
            if state.closed:  # cancelled from here, and that was for the call alone
                while state.task.uncancel():
                    pass
        if not ok:
            booker.failed_call()
        return asked

    async def _run_measured(
        self, state: CallState, call: Callable[[], Any], group: str, due: int
    ) -> BaseException | None:
        self._measures_next, self._is_measuring = False, True
        self._wait.begin_call(self._booker.begun + 1)
        try:
            return await self.run(state, call, group, due)
        finally:
            self._wait.end_call(now_ns(), len(self._in_flight) + 1)
            self._is_measuring = False

    def watch(self) -> None:
        """Looks for calls past their deadline every 20 ms, as long as the loop runs; its beat shows the loop is not
        blocked.
        """
        now = now_ns()
        self._spec.arena.words[self._beat] = now
        self._measures_next = not self._is_measuring
        if self._timeout_ns is not None:
            self._time_out(now - self._timeout_ns)
        loop = asyncio.get_running_loop()
        self.loop_watch.sweep(now, loop)
        self._sweeper = loop.call_later(SWEEP_NS / 1e9, self.watch)

    def _time_out(self, started_before: int) -> None:
        late = []
        for state in self._in_flight:  # oldest first: all have the same timeout
            if state.start > started_before:
                break
            if not state.closed:
                late.append(state)
        for state in late:
            self._booker.timed_out(state, state.start + (self._timeout_ns or 0), self._in_flight[state])
            self._booker.failed_call()
            state.task.cancel()

    def interrupt(self, state: CallState) -> None:
        """Book a call as interrupted and cancel it, unless its deadline or an earlier interruption did."""
        group = self._in_flight.get(state)
        if group is not None and not state.closed:
            self._booker.interrupted(state, now_ns(), group)
            state.task.cancel()

    def interrupt_all(self) -> None:
        """graceful_stop has run out."""
        for state in list(self._in_flight):
            self.interrupt(state)

    def close(self) -> None:
        """Stops watching."""
        self._wait.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
