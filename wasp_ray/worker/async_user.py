"""Async users of one process, one task each (`users_per_process`).

A manager starts and ends them as the control block wants.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from wasp_ray.clock import now_ns
from wasp_ray.errors import RestartUser
from wasp_ray.wire.arena import Header, State
from wasp_ray.wire.control import NEVER, Control, Word
from wasp_ray.wire.ring import RingWriter
from wasp_ray.worker.actor_life import set_up, tear_down
from wasp_ray.worker.booking import Booker
from wasp_ray.worker.call_state import CallState, current_call
from wasp_ray.worker.calls import AsyncCalls
from wasp_ray.worker.host import Host
from wasp_ray.worker.notes import Notes
from wasp_ray.worker.pace import Pace
from wasp_ray.worker.pick import picker
from wasp_ray.worker.sync_user import RESTART_MAX_NS, RESTART_MIN_NS

SETUPS_AT_ONCE = 64


class AsyncUsers:
    """Runs users first_user .. first_user + users - 1. `run` returns the final State."""

    def __init__(self, host: Host, writer: RingWriter, booker: Booker, notes: Notes) -> None:
        self._host, self._booker, self._notes = host, booker, notes
        self._words = host.arena.words
        self._run_word = Control.at(host.part.index, Word.RUN_LIMIT)
        self._keep_word = Control.at(host.part.index, Word.KEEP_LIMIT)
        self._active_word = host.header(Header.ACTIVE_USERS)
        self._gone: set[int] = set()  # users that stopped themselves
        self._users: dict[int, asyncio.Task[None]] = {}
        self._failure: BaseException | None = None

    async def run(self) -> int:
        """Until the last user has left. The first failed setup ends the process and reaches the caller."""
        host = self._host
        self._wake = asyncio.Event()
        self._left = False  # the parent is gone
        self._setups = asyncio.Semaphore(SETUPS_AT_ONCE)
        self._ready: set[int] = set()
        host.enter(State.SETUP)
        self._calls = AsyncCalls(host, self._booker)
        self._calls.watch()
        asyncio.get_running_loop().add_reader(host.wake_fd, self._woken)
        try:
            await self._manage()
        finally:
            asyncio.get_running_loop().remove_reader(host.wake_fd)
            self._calls.close()
        if self._failure is not None:
            raise self._failure
        return State.STOPPED_ITSELF if len(self._gone) == host.users else State.DONE

    async def _manage(self) -> None:
        """Starts users that are to be here, until none is and none is wanted."""
        host = self._host
        while True:
            self._wake.clear()
            wanted = min(host.users, self._keep() - host.first_user) if self._failure is None else 0
            for offset in range(max(0, wanted)):
                user = host.first_user + offset
                if user not in self._users and user not in self._gone:
                    self._users[user] = asyncio.create_task(self._user(user))
            if not self._users:
                return
            if self._interrupted():
                self._calls.interrupt()
            await self._wait_for_wake(self._grace_left_s())

    def _keep(self) -> int:
        return 0 if self._left else self._words[self._keep_word]

    def _woken(self) -> None:
        if not os.read(self._host.wake_fd, 4096):
            self._left = True
            asyncio.get_running_loop().remove_reader(self._host.wake_fd)
        self._wake.set()

    def _grace_left_s(self) -> float | None:
        grace = self._words[Control.at(self._host.part.index, Word.GRACE_NS)]
        return None if grace == NEVER else max(0.02, (grace - now_ns()) / 1e9)

    def _interrupted(self) -> bool:
        return now_ns() >= self._words[Control.at(self._host.part.index, Word.GRACE_NS)]

    async def _wait_for_wake(self, timeout_s: float | None) -> None:
        if timeout_s is not None and timeout_s <= 0:
            return
        try:
            await asyncio.wait_for(self._wake.wait(), timeout_s)
        except TimeoutError:
            pass

    # -- one user

    async def _user(self, user: int) -> None:
        """A user from setup to teardown; RestartUser goes round again."""
        restarts = 0
        try:
            while True:
                async with self._setups:
                    actor = await set_up(self._host, self._booker, self._notes, user, restarts)
                self._note_ready(user)
                again = False
                try:
                    again = await self._loop(actor, user)
                finally:
                    await tear_down(self._host, self._booker, actor)
                if not again or not await self._back_off(user, restarts):
                    break
                restarts += 1
        except (Exception, asyncio.CancelledError) as exc:
            self._failure = self._failure or exc
        finally:
            self._users.pop(user, None)
            self._wake.set()

    def _note_ready(self, user: int) -> None:
        self._ready.add(user)
        if len(self._ready) >= len(self._users) and self._words[self._host.header(Header.STATE)] == State.SETUP:
            self._host.enter(State.READY)

    async def _loop(self, actor: Any, user: int) -> bool:
        """Calls until the user is to leave; whether it wants to start again."""
        host, words, run_word = self._host, self._words, self._run_word
        context, part = actor.context, host.part
        pace, state = Pace(part.pacing), CallState(context.user_id)
        call, group = actor.call, part.name
        pick = picker(actor, group, context.random)
        if not await self._wait_for_turn(user):
            return False
        words[self._active_word] += 1
        run, think = self._calls.run, part.think
        tickets, most = part.ticket if part.max_calls is not None else None, part.max_calls or 0
        state.task = asyncio.current_task()
        state.entry = self._calls.enter()
        current_call.set(state)
        host.enter(State.RUNNING)
        try:
            while True:
                if words[run_word] <= user:
                    if not await self._wait_for_turn(user):
                        return False
                    pace.restart()
                due = 0
                if pace.active and not (due := await self._wait_for_pace(pace, user, context)):
                    continue
                if tickets is not None and tickets() >= most:
                    self._gone.add(user)
                    return False
                if pick is not None:
                    call, group = pick()
                asked = await run(state, call, group, due)
                yielded = state.yielded
                state.reset()
                if asked is not None:
                    again = isinstance(asked, RestartUser)
                    if not again:
                        self._gone.add(user)
                    return again
                if think is not None:
                    await self._sleep_until(now_ns() + think.draw_ns(context.random), user)
                elif not yielded:  # a call that never waits must not keep the loop for itself
                    await asyncio.sleep(0)
        finally:
            self._calls.leave(state.entry)
            words[self._active_word] -= 1

    async def _wait_for_turn(self, user: int) -> bool:
        while self._keep() > user:
            start = self._host.control.start_ns
            now = now_ns()
            if self._words[self._run_word] > user and start <= now:
                return True
            await self._wait_for_wake((start - now) / 1e9 if start != NEVER and start > now else None)
        return False

    async def _wait_for_pace(self, pace: Pace, user: int, context: Any) -> int:
        now = now_ns()
        due = pace.next_due(now, context.random)
        if self._host.part.on_late_drop and (skipped := pace.skip_late(now)):
            self._words[self._host.header(Header.SKIPPED_PACES)] += skipped
            due = pace.due
        if not await self._sleep_until(due, user):
            return 0
        pace.taken()
        return due

    async def _sleep_until(self, until: int, user: int) -> bool:
        """Until the instant; False when it is not this user's turn any more."""
        while (now := now_ns()) < until:
            if self._words[self._run_word] <= user:
                return False
            await self._wait_for_wake((until - now) / 1e9)
        return self._words[self._run_word] > user

    async def _back_off(self, user: int, restarts: int) -> bool:
        until = now_ns() + min(RESTART_MAX_NS, RESTART_MIN_NS << min(restarts, 10))
        while (now := now_ns()) < until and self._keep() > user:
            await self._wait_for_wake((until - now) / 1e9)
        return self._keep() > user
