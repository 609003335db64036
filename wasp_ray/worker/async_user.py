"""Async users of one process (`users_per_process`): a task each performs the steps of its life.

They behave as one process per user does. Users do not affect each other, except by a call or setup that neither ends nor can be
cancelled: the process is killed for it.
"""

from __future__ import annotations

import asyncio
import os
from heapq import heappop, heappush
from itertools import count
from typing import Any

from wasp_ray.clock import now_ns
from wasp_ray.errors import RestartUser
from wasp_ray.wire.arena import STOPPED_USER, Entry, Header, State
from wasp_ray.wire.control import NEVER, Control, Word
from wasp_ray.wire.record import Hook
from wasp_ray.wire.ring import RingWriter
from wasp_ray.worker.booking import Booker
from wasp_ray.worker.call_state import CallState, current_call, picker
from wasp_ray.worker.calls import AsyncCalls
from wasp_ray.worker.loop_watch import give_turn, timed
from wasp_ray.worker.notes import Notes
from wasp_ray.worker.setup_teardown import Actors
from wasp_ray.worker.spec import WorkerSpec
from wasp_ray.worker.ticker import Ticker
from wasp_ray.worker.user_life import Call, Leave, Setup, Step, UserLife, Wait

SETUPS_AT_ONCE = 64


class Alarms:
    """Wakes tasks at an instant each, or all at once. A wait always gives the loop to others, also one that is over at once:
    waiting for a set asyncio.Event does not, nor does asyncio.wait_for from Python 3.12 on.
    """

    def __init__(self) -> None:
        self._loop, self._ticker, self._numbers = asyncio.get_running_loop(), Ticker(self._ring), count()
        self._heap: list[tuple[int, int, asyncio.Future[None]]] = []

    def at(self, until: int) -> asyncio.Future[None]:
        """Return what to await; NEVER waits for `wake_all`."""
        future: asyncio.Future[None] = self._loop.create_future()
        heappush(self._heap, (until, next(self._numbers), future))
        self._arm()
        return future

    def wake_all(self) -> None:
        """Wake every task that waits."""
        waiting, self._heap = self._heap, []
        for _, _, future in waiting:
            wake(future)

    def _ring(self) -> None:
        now = now_ns()
        while self._heap and self._heap[0][0] <= now:
            wake(heappop(self._heap)[2])
        self._arm()

    def _arm(self) -> None:
        if self._heap and self._heap[0][0] != NEVER:
            self._ticker.arm(self._heap[0][0])

    def close(self) -> None:
        """Wake nobody any more."""
        self._ticker.close()


def wake(future: asyncio.Future[None]) -> None:
    """Wake the task that awaits it, unless it is awake."""
    if not future.done():
        future.set_result(None)


class _Member:
    """A user that is here."""

    __slots__ = ("left_ns", "life", "runs", "state", "task", "user")

    def __init__(self, user: int, life: UserLife, state: CallState) -> None:
        self.user, self.life, self.state = user, life, state
        self.task: asyncio.Task[None] | None = None
        self.runs = False
        self.left_ns = NEVER  # since when the schedule does not keep it


class AsyncUsers:
    """Runs users first_user .. first_user + users - 1. `run` returns the final State."""

    def __init__(self, spec: WorkerSpec, writer: RingWriter, booker: Booker, notes: Notes) -> None:
        index = spec.part.index
        self._spec, self._words = spec, spec.arena.words
        self._run_word, self._keep_word = Control.at(index, Word.RUN_LIMIT), Control.at(index, Word.KEEP_LIMIT)
        self._grace_word, self._active_word = Control.at(index, Word.GRACE_NS), spec.header(Header.ACTIVE_USERS)
        self._held_word = spec.header(Header.HELD_NS)
        self._actors, self._booker = Actors(spec, booker, notes), booker
        self._members: dict[int, _Member] = {}
        self._ended: dict[int, int] = {}  # users that do not come back -> their last State
        self._setups_of: dict[int, int] = {}  # of users that left and may come back: setups so far
        self._unsettled: set[int] = set()
        self._failure: BaseException | None = None
        self._is_thread, self._is_orphan = not spec.owns_process, False  # orphan: the parent has exited

    async def run(self) -> int:
        """Until the last user has left."""
        spec, loop = self._spec, asyncio.get_running_loop()
        self._alarms, self._setups = Alarms(), asyncio.Semaphore(SETUPS_AT_ONCE)
        self._manager_wait = self._alarms.at(NEVER)
        for offset in spec.stopped_users:
            self._ended[spec.first_user + offset] = State.STOPPED_ITSELF
            self._words[spec.entry_word(spec.first_user + offset) + Entry.USER] = STOPPED_USER
        spec.enter(State.SETUP)
        self._calls = AsyncCalls(spec, self._booker)
        self._calls.watch()
        self._actors.loop_watch = self._calls.loop_watch
        loop.add_reader(spec.wake_fd, self._woken)
        try:
            await self._manage()
        finally:
            loop.remove_reader(spec.wake_fd)
            self._calls.close()
            self._alarms.close()
        if self._failure is not None:
            raise self._failure
        if spec.users == 1:
            return self._ended.get(spec.first_user, State.DONE)
        stopped = sum(state == State.STOPPED_ITSELF for state in self._ended.values())
        return State.STOPPED_ITSELF if stopped == spec.users else State.DONE

    async def _manage(self) -> None:
        """Start users that are to be here, and interrupt calls whose graceful_stop is over, until nobody is here or wanted."""
        while True:
            now = now_ns()
            self._follow_limits(now)
            if not self._members:
                return
            self._manager_wait = self._alarms.at(self._interrupt(now))
            await self._manager_wait

    def _follow_limits(self, now: int) -> None:
        spec, words = self._spec, self._words
        is_over = self._is_given_up() or self._failure is not None
        keep, run = (0 if is_over else words[self._keep_word]), words[self._run_word]
        for user in range(spec.first_user, min(spec.first_user + spec.users, keep)):
            if user not in self._members and user not in self._ended:
                self._start(user)
        for member in self._members.values():
            life = member.life
            life.is_abandoned = is_over
            member.left_ns = NEVER if member.user < keep else min(member.left_ns, now)
            if member.runs != (member.user < run):
                member.runs = not member.runs
                if member.runs:
                    life.released_ns = now
                else:  # of all users of the pack the node knows better
                    held = words[self._held_word] if run <= spec.first_user else now
                    life.held_ns = held if held > life.held_ns else now

    def _is_given_up(self) -> bool:
        return self._is_orphan or self._spec.abandoned()

    def _start(self, user: int) -> None:
        spec, part = self._spec, self._spec.part
        life = UserLife(
            part.index, user, think=part.think, pacing=part.pacing, drops_late=part.on_late_drop,
            setup_backoff_ns=spec.setup_backoff_ns if spec.users > 1 else (),
        )  # fmt: skip
        life.setups = self._setups_of.get(user, 0)
        state = CallState(spec.global_user(user))
        state.entry = spec.entry_word(user)
        member = self._members[user] = _Member(user, life, state)
        self._unsettled.add(user)
        member.task = state.task = asyncio.create_task(self._live(member))

    def _woken(self) -> None:
        if not os.read(self._spec.wake_fd, 4096):
            self._is_orphan = True
            asyncio.get_running_loop().remove_reader(self._spec.wake_fd)
        self._follow_limits(now_ns())  # before users look at them
        self._alarms.wake_all()

    def _interrupt(self, now: int) -> int:
        """Interrupt calls whose graceful_stop is over; return when the next one will be."""
        grace, graceful_ns, next_at = self._words[self._grace_word], self._spec.part.graceful_stop_ns, NEVER
        for member in self._members.values():
            at = now if self._is_given_up() else min(grace, member.left_ns + graceful_ns)
            if at <= now:
                self._calls.interrupt(member.state)
            else:
                next_at = min(next_at, at)
        return next_at

    # -- one user

    async def _live(self, member: _Member) -> None:
        """Perform the steps of a user until the last one."""
        actor: Any = None
        try:
            step = await self._next(member.life)
            while not isinstance(step, Leave):
                if isinstance(step, Call):
                    step = await self._begin_calls(member, actor, step.due)
                    continue
                if isinstance(step, Setup):
                    async with self._setups:
                        actor = await self._actors.set_up_user(member.life, member.user)
                    if actor is None:
                        self._note_failed(member.life)
                    self._note_settled(member)
                else:
                    await self._actors.tear_down(actor)
                    member.life.torn_down(now_ns())
                step = await self._next(member.life)
            if step.state != State.DONE:
                self._ended[member.user] = step.state
            if step.state == State.STOPPED_ITSELF:
                self._words[member.state.entry + Entry.USER] = STOPPED_USER
            self._note_settled(member)
        except (Exception, asyncio.CancelledError) as exc:
            self._failure = self._failure or exc
        finally:
            self._setups_of[member.user] = member.life.setups
            del self._members[member.user]
            wake(self._manager_wait)

    def _note_failed(self, life: UserLife) -> None:
        """A setup raised. Of a user that is alone the process ends, and the node retries."""
        if self._spec.users > 1 and life.left_as != State.STOPPED_ITSELF:
            self._words[self._spec.header(Header.SETUPS_FAILED)] += 1
            if life.has_failed:
                self._words[self._spec.header(Header.SETUP_GAVE_UP)] = 1

    def _note_settled(self, member: _Member) -> None:
        """The process is ready when every user that is to be here was set up or has left; not if a setup failed for good."""
        if member.life.is_settled and not member.life.has_failed:
            self._unsettled.discard(member.user)
            if not self._unsettled and self._words[self._spec.header(Header.STATE)] == State.SETUP:
                self._spec.enter(State.READY)

    async def _begin_calls(self, member: _Member, actor: Any, due: int) -> Step:
        self._words[self._active_word] += 1
        if self._words[self._spec.header(Header.STATE)] != State.RUNNING:
            self._spec.enter(State.RUNNING)
        current_call.set(member.state)
        try:
            return await timed(
                self._call(member, actor, due), self._calls.loop_watch, Hook.CALL, member.state.entry
            )  # fmt: skip
        except BaseException:
            await self._actors.tear_down(actor)
            raise
        finally:
            current_call.set(None)
            self._words[self._active_word] -= 1

    async def _call(self, member: _Member, actor: Any, due: int) -> Step:
        """Perform calls until the first step that is none."""
        words, run_word, user, life, state = self._words, self._run_word, member.user, member.life, member.state
        part, run, call, group = self._spec.part, self._calls.run, actor.call, self._spec.part.name
        tickets, most = part.ticket if part.max_calls is not None else None, part.max_calls or 0
        pick = picker(actor, actor.context.random)
        is_steady = life.is_steady and not self._is_thread  # a thread that is given up has to see it
        while True:
            if tickets is not None and tickets() >= most:
                life.exhausted()
                return await self._next(life)
            if pick is not None:
                call, group = pick()
            asked = await run(state, call, group, due)
            yielded = state.yielded
            if state.failed or state.closed or state.seen is not None:
                state.reset()
            else:  # all that a call without errors changes
                state.opened = state.yielded = False
            if asked is not None:
                (life.restarts if isinstance(asked, RestartUser) else life.stops)(now_ns())
                return await self._next(life)
            if not is_steady:
                life.called(now_ns())
            if not yielded:  # a call that never waits must not keep the loop for itself
                await give_turn()
            if is_steady and words[run_word] > user:
                due = 0
                continue
            step = await self._next(life)
            if not isinstance(step, Call):
                return step
            due = step.due

    async def _next(self, life: UserLife) -> Step:
        """Return the next step that is not a wait."""
        while True:
            if self._is_thread and self._spec.abandoned():
                life.is_abandoned = True
            step = life.next(now_ns(), self._words)
            if life.dropped_busy or life.dropped_late:
                self._spec.count_dropped_paces(life)
            if not isinstance(step, Wait):
                return step
            await self._alarms.at(step.until)
