"""A user whose methods block: performs the steps of its life, one call at a time.

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
from wasp_ray.worker.booking import Booker
from wasp_ray.worker.call_state import CallState, picker
from wasp_ray.worker.cpu import CallWait
from wasp_ray.worker.forks import end_if_forked
from wasp_ray.worker.notes import Notes
from wasp_ray.worker.setup_teardown import Actors, run_blocking
from wasp_ray.worker.spec import WorkerSpec
from wasp_ray.worker.user_life import Call, Leave, Setup, Step, UserLife, Wait


class SyncUser:
    """Runs one user from setup to teardown. `run` returns the final State."""

    def __init__(self, spec: WorkerSpec, writer: RingWriter, booker: Booker, notes: Notes) -> None:
        part = spec.part
        self._spec, self._writer, self._booker = spec, writer, booker
        self._words = spec.arena.words
        self._run_word = Control.at(part.index, Word.RUN_LIMIT)
        self._active_word = spec.header(Header.ACTIVE_USERS)
        self._held_word, self._released_word = spec.header(Header.HELD_NS), spec.header(Header.RELEASED_NS)
        self._is_paced, self._is_thread = part.pacing is not None, not spec.owns_process
        self._local = spec.first_user
        self._state = CallState(spec.global_user(self._local))
        self._state.entry = spec.entry_word(self._local)
        self._life = UserLife(
            part.index, self._local, think=part.think, pacing=part.pacing, drops_late=part.on_late_drop
        )
        self._actors = Actors(spec, booker, notes)
        self._actor: Any = None
        self._wait = CallWait(self._words, spec.header(0))

    def run(self) -> int:
        """Perform the steps until the last one."""
        try:
            step = self._next()
            while not isinstance(step, Leave):
                if isinstance(step, Call):
                    step = self._begin_calls(step.due)
                    continue
                if isinstance(step, Setup):
                    self._set_up()
                else:
                    self._tear_down()
                step = self._next()
        finally:
            self._wait.close()
        return step.state

    def _set_up(self) -> None:
        self._spec.enter(State.SETUP)
        self._actor = run_blocking(self._actors.set_up_user(self._life, self._local))
        if self._actor is not None:
            self._spec.enter(State.READY)

    def _tear_down(self) -> None:
        self._words[self._active_word] = 0
        self._spec.enter(State.TEARDOWN)
        run_blocking(self._actors.tear_down(self._actor))
        self._life.torn_down(now_ns())

    def _begin_calls(self, due: int) -> Step:
        self._spec.enter(State.RUNNING)
        self._words[self._active_word] = 1
        try:
            return self._call(due)
        except BaseException:
            self._tear_down()
            raise

    def _call(self, due: int) -> Step:
        """Perform calls until the first step that is none."""
        words, run_word, local, state, life = self._words, self._run_word, self._local, self._state, self._life
        booker, writer, part = self._booker, self._writer, self._spec.part
        ticket, max_calls = part.ticket, part.max_calls
        entry, user = state.entry, state.user
        begun_word, lost_word = self._spec.header(Header.BEGUN), self._spec.header(Header.LOST)
        group = part.name
        group_id, call = writer.intern(group, MAX_NAME_BYTES), self._actor.call
        pick = picker(self._actor, self._actor.context.random)
        plain_ok = head_bits(Kind.RECORD, Outcome.OK, Flag.ENDS_CALL | Flag.IN_GROUP)
        raw, publish, clock = self._spec.wants_raw or self._spec.verbose, writer.publish, now_ns
        is_steady = life.is_steady and not self._is_thread  # a thread that is given up has to see it
        booker.sync_call = state
        self._wait.begin()
        try:
            while True:
                if ticket is not None and max_calls is not None and ticket() >= max_calls:
                    life.exhausted()
                    return self._next()
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
                    end_if_forked(self._spec.pid, exc)
                    end = clock()
                    ok = booker.raised(state, exc, end, group)
                    if not isinstance(exc, Exception) and not isinstance(exc, SystemExit):
                        raise
                    if not ok:
                        booker.failed_call()
                    state.reset()
                    if isinstance(exc, (StopUser, RestartUser)):
                        words[entry] = 0
                        (life.restarts if isinstance(exc, RestartUser) else life.stops)(end)
                        return self._next()
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
                if is_steady and words[run_word] > local:
                    due = 0
                    continue
                life.called(end)
                step = self._next()
                if not isinstance(step, Call):
                    return step
                due = step.due
        finally:
            booker.sync_call = None
            self._wait.end()

    def _next(self) -> Step:
        """Return the next step that is not a wait. A fork that returned from call() ends here, since no call may begin in it."""
        life, words = self._life, self._words
        while True:
            if self._is_paced:
                life.held_ns, life.released_ns = words[self._held_word], words[self._released_word]
            if self._is_thread and self._spec.abandoned():
                life.is_abandoned = True
            step = life.next(now_ns(), words)
            if life.dropped_busy or life.dropped_late:
                self._spec.count_dropped_paces(life)
            if isinstance(step, Call):
                return step
            end_if_forked(self._spec.pid)
            if not isinstance(step, Wait):
                return step
            self._block(step.until)

    def _block(self, until: int) -> None:
        """Block until the generator wakes this worker, or until the instant."""
        timeout = None if until == NEVER else max(0.0, (until - now_ns()) / 1e9)
        is_between_calls = self._booker.sync_call is not None
        if is_between_calls:
            self._wait.end()
        readable, _, _ = select.select([self._spec.wake_fd], [], [], timeout)
        if is_between_calls:
            self._wait.begin()
        if readable and not os.read(self._spec.wake_fd, 4096):
            self._spec.abandoned = lambda: True  # the parent has exited: leave
            self._life.is_abandoned = True


__all__ = ["SyncUser"]
