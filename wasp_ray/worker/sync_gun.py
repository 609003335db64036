"""A rate worker whose call blocks: takes ticks from the pipe that all workers share; an idle one takes the next.

A tick is 16 bytes (tick number, due time ns). The end of the pipe is the end of the load.
"""

from __future__ import annotations

import os
import struct
from typing import Any

from wasp_ray.clock import now_ns
from wasp_ray.errors import StopUser
from wasp_ray.wire.arena import Header, State
from wasp_ray.wire.record import LATE_NS, START_LATE_NS
from wasp_ray.wire.ring import RingWriter
from wasp_ray.worker.booking import Booker
from wasp_ray.worker.call_state import CallState, why_stopped
from wasp_ray.worker.cpu import SampledCallWait
from wasp_ray.worker.drops import Drops
from wasp_ray.worker.forks import ForkGuard, end_if_forked
from wasp_ray.worker.notes import Notes
from wasp_ray.worker.setup_teardown import Actors, run_blocking
from wasp_ray.worker.spec import WorkerSpec

TICK = struct.Struct("<qq")


class SyncGun:
    """Runs one worker from setup to teardown. `run` returns the final State."""

    def __init__(self, spec: WorkerSpec, writer: RingWriter, booker: Booker, notes: Notes) -> None:
        self._spec, self._booker, self._drops = spec, booker, Drops(spec, writer)
        self._actors = Actors(spec, booker, notes)
        self._words = spec.arena.words
        self._state = CallState(spec.worker)
        self._state.entry = spec.entry_word(spec.worker)
        self._wait = SampledCallWait(self._words, spec.header(0))

    def run(self) -> int:
        """Return the final State. Raises SetupEnded."""
        spec = self._spec
        spec.enter(State.SETUP)
        gun = run_blocking(self._actors.set_up(spec.worker))
        spec.enter(State.READY)
        try:
            with ForkGuard(spec):
                self._loop(gun)
        finally:
            self._wait.close()
            spec.enter(State.TEARDOWN)
            run_blocking(self._actors.tear_down(gun))
        return State.STOPPED_ITSELF  # the pipe has ended: no successor is needed

    def _loop(self, gun: Any) -> None:
        words, spec, booker, state = self._words, self._spec, self._booker, self._state
        next_word, fd, call, group = spec.header(Header.NEXT_TICK), spec.ticks_fd, gun.call, spec.part.name
        drops, free_since, is_thread = spec.part.on_late_drop, now_ns(), not spec.owns_process
        stood_still_until = 0  # ticks due before it are late through our own fault
        wait, measure_ns = self._wait, 0
        booker.sync_call = state
        while raw := os.read(fd, TICK.size):
            words[next_word] += 1
            tick, due = TICK.unpack(raw)
            start = now_ns()
            state.waited = stood_still_until < due < free_since
            if start - due > START_LATE_NS and due >= free_since:
                stood_still_until = start - START_LATE_NS
            if drops and start - due > LATE_NS:
                self._drops.count(Header.DROPPED_LIMIT if state.waited else Header.DROPPED_GENERATOR, due, start)
                continue
            state.tick = tick
            booker.begin(state, due, start)
            if is_measured := start >= measure_ns:
                wait.begin_call(state.number)
            try:
                result = call()
            except (Exception, SystemExit) as exc:
                end_if_forked(spec.pid, exc)
                end = now_ns()
                ok = booker.raised(state, exc, end, group)
                if isinstance(exc, StopUser):
                    booker.free_entry(state)
                    spec.ask_stop(why_stopped(exc))
            else:
                end = now_ns()
                ok = booker.returned(state, result, end, group)
            if not ok:
                booker.failed_call()
            state.reset()
            booker.free_entry(state)
            free_since = end
            if is_measured:
                measure_ns = wait.end_call(end)
            if is_thread and spec.abandoned():  # its successor takes the ticks
                return
