"""A user whose methods block: one process (or thread), one call at a time. Owns its loop, waits and pacing.

The loop reads one word of the control block a call; everything else happens off the hot path, woken through a pipe.
"""

from __future__ import annotations

import os
import select
from typing import Any

from wasp_ray.clock import now_ns
from wasp_ray.errors import RestartUser, StopUser
from wasp_ray.stats.outcomes import Outcome
from wasp_ray.wire.arena import Header, State
from wasp_ray.wire.control import NEVER, Control, Word
from wasp_ray.wire.record import MAX_NAME_BYTES, Flag, Kind, head_bits
from wasp_ray.wire.ring import RingWriter
from wasp_ray.worker.booking import Booker, RequestsOutside
from wasp_ray.worker.call_state import CallState
from wasp_ray.worker.context import WorkerContext
from wasp_ray.worker.forks import ForkGuard, end_if_forked
from wasp_ray.worker.host import Host
from wasp_ray.worker.notes import Notes
from wasp_ray.worker.pace import Pace
from wasp_ray.worker.pick import picker

RESTART_MIN_NS, RESTART_MAX_NS = 100_000_000, 10_000_000_000


class SyncUser:
    """Runs one user from setup to teardown. `run` returns the final State."""

    def __init__(self, host: Host, writer: RingWriter, booker: Booker, notes: Notes) -> None:
        self._host, self._writer, self._booker, self._notes = host, writer, booker, notes
        self._words = host.arena.words
        self._run_word = Control.at(host.part.index, Word.RUN_LIMIT)
        self._keep_word = Control.at(host.part.index, Word.KEEP_LIMIT)
        self._local = host.first_user
        self._state = CallState(host.global_user(self._local))
        self._state.entry = host.arena.slabs[host.part.index].entry_word(host.ring, 0)
        self._pace = Pace(host.part.pacing)
        self._restarts = 0

    def run(self) -> int:
        """Setup, loop, teardown; a RestartUser goes round again. Exceptions of setup reach the caller."""
        while True:
            self._host.enter(State.SETUP)
            actor = self._set_up()
            self._host.enter(State.READY)
            end = State.DONE
            again = False
            try:
                if self._wait_for_turn():
                    self._host.enter(State.RUNNING)
                    self._words[self._host.header(Header.ACTIVE_USERS)] = 1
                    end, again = self._loop(actor)
            finally:
                self._words[self._host.header(Header.ACTIVE_USERS)] = 0
                self._host.enter(State.TEARDOWN)
                self._tear_down(actor)
            if not again or not self._back_off():
                return end

    def _set_up(self) -> Any:
        with RequestsOutside(self._booker, self._state.user, is_setup=True), ForkGuard(self._host):
            actor = self._host.part.actor()
            self._context = WorkerContext(self._host, self._booker, self._notes, self._local, self._restarts)
            actor.context = self._context
            actor.setup()
        return actor

    def _tear_down(self, actor: Any) -> None:
        try:
            with RequestsOutside(self._booker, self._state.user, is_setup=False), ForkGuard(self._host):
                actor.teardown()
        except Exception as exc:
            self._booker.tell(f"teardown: {type(exc).__name__}: {exc}", "teardown", exc)
        finally:
            self._context.close_blocking_clients()

    def _loop(self, actor: Any) -> tuple[int, bool]:
        """Calls until the user is to leave: (final state, whether it wants to start again)."""
        words, run_word, local, state = self._words, self._run_word, self._local, self._state
        booker, writer, think, ticket = self._booker, self._writer, self._host.part.think, self._host.part.ticket
        max_calls = self._host.part.max_calls
        entry, user = state.entry, state.user
        begun_word, lost_word = self._host.header(Header.BEGUN), self._host.header(Header.LOST)
        default = self._host.part.name
        group, group_id, call = default, writer.intern(default, MAX_NAME_BYTES), actor.call
        pick = picker(actor, default, self._context.random)
        plain_ok = head_bits(Kind.RECORD, Outcome.OK, Flag.ENDS_CALL | Flag.IN_GROUP)
        raw, publish, paced, clock = (
            self._host.wants_raw or self._host.verbose,
            writer.publish,
            self._pace.active,
            now_ns,
        )
        booker.sync_call = state
        try:
            while True:
                if words[run_word] <= local:
                    if not self._wait_for_turn():
                        return State.DONE, False
                    self._pace.restart()
                due = 0
                if paced:
                    due = self._wait_for_pace()
                    if not due:
                        continue
                if ticket is not None and max_calls is not None and ticket() >= max_calls:
                    return State.STOPPED_ITSELF, False
                if pick is not None:
                    call, group = pick()
                    group_id = writer.intern(group, MAX_NAME_BYTES)
                start = clock()
                due = due or start
                booker.begun = number = booker.begun + 1  # Booker.begin, spelled out: this is the hot path
                state.number = number
                state.due = due
                state.start = start
                words[entry + 1] = due
                words[entry + 2] = start
                words[entry + 3] = user
                words[entry] = number
                words[begun_word] = number
                try:
                    result = call()
                except BaseException as exc:
                    end_if_forked(self._host.pid, exc)
                    end = clock()
                    ok = booker.raised(state, exc, end, group)
                    if not isinstance(exc, Exception) and not isinstance(exc, SystemExit):
                        raise
                    if isinstance(exc, (StopUser, RestartUser)):
                        words[entry] = 0
                        state.reset()
                        if not ok:
                            booker.failed_call()
                        return State.STOPPED_ITSELF, isinstance(exc, RestartUser)
                    if not ok:
                        booker.failed_call()
                    state.reset()
                else:
                    end = clock()
                    if result is None and not state.opened and not raw:
                        if not publish(plain_ok, due, start, end, group_id, 0, 0, 0, 0, 0, user, number & 0xFFFFFFFF):
                            words[lost_word] += 1
                    else:
                        if not booker.returned(state, result, end, group):
                            booker.failed_call()
                        state.reset()
                words[entry] = 0
                if think is not None:
                    self._sleep_until(end + think.draw_ns(self._context.random))
        finally:
            booker.sync_call = None

    # -- waiting, off the hot path

    def _leaving(self) -> bool:
        return self._words[self._keep_word] <= self._local or self._host.abandoned()

    def _wait_for_turn(self) -> bool:
        """Blocks while the user may not begin a call; False when it is to leave. A fork that returned from call() ends here, since
        no call may begin in it.
        """
        end_if_forked(self._host.pid)
        while not self._leaving():
            if self._words[self._run_word] > self._local:
                start = self._host.control.start_ns
                if start == NEVER or now_ns() < start:
                    self._block(start)
                    continue
                return True
            self._block(NEVER)
        return False

    def _wait_for_pace(self) -> int:
        """The due time of the next paced call, waited for; 0 when the user has to look again or the pace was dropped."""
        now = now_ns()
        due = self._pace.next_due(now, self._context.random)
        if self._host.part.on_late_drop and (skipped := self._pace.skip_late(now)):
            self._words[self._host.header(Header.SKIPPED_PACES)] += skipped
            due = self._pace.due
        if not self._sleep_until(due):
            return 0
        self._pace.taken()
        return due

    def _sleep_until(self, until: int) -> bool:
        """Sleeps until a monotonic instant; False when it is not this user's turn any more."""
        while (now := now_ns()) < until:
            if self._words[self._run_word] <= self._local:
                return False
            self._block(until, now)
        return self._words[self._run_word] > self._local

    def _back_off(self) -> bool:
        """After RestartUser: 0.1 to 10 s, twice as long each time; False when the user is to leave."""
        until = now_ns() + min(RESTART_MAX_NS, RESTART_MIN_NS << min(self._restarts, 10))
        self._restarts += 1
        while (now := now_ns()) < until:
            if self._leaving():
                return False
            self._block(until, now)
        return not self._leaving()

    def _block(self, until: int, now: int = 0) -> None:
        """Until the generator wakes this worker, or the instant."""
        timeout = None if until == NEVER else max(0.0, (until - (now or now_ns())) / 1e9)
        if self._host.abandoned():
            return
        readable, _, _ = select.select([self._host.wake_fd], [], [], timeout)
        if readable and not os.read(self._host.wake_fd, 4096):
            self._host.abandoned = lambda: True  # the parent is gone: leave


__all__ = ["SyncUser"]
