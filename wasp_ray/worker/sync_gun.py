"""A rate worker whose call blocks: takes ticks from the pipe all workers share, whoever is idle takes the next.

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
from wasp_ray.worker.host import Host
from wasp_ray.worker.notes import Notes
from wasp_ray.worker.setup_teardown import Actors, run_blocking

TICK = struct.Struct("<qq")


class SyncGun:
    """Runs one worker from setup to teardown. `run` returns the final State."""

    def __init__(self, host: Host, writer: RingWriter, booker: Booker, notes: Notes) -> None:
        self._host, self._booker, self._drops = host, booker, Drops(host, writer)
        self._actors = Actors(host, booker, notes)
        self._words = host.arena.words
        self._state = CallState(host.worker)
        self._state.entry = host.entry_word(host.worker)
        self._wait = SampledCallWait(self._words, host.header(0))

    def run(self) -> int:
        """Return the final State. Raises SetupEnded."""
        host = self._host
        host.enter(State.SETUP)
        gun = run_blocking(self._actors.set_up(host.worker))
        host.enter(State.READY)
        try:
            with ForkGuard(host):
                self._loop(gun)
        finally:
            self._wait.close()
            host.enter(State.TEARDOWN)
            run_blocking(self._actors.tear_down(gun))
        return State.STOPPED_ITSELF  # the pipe has ended: no successor is needed

    def _loop(self, gun: Any) -> None:
        words, host, booker, state = self._words, self._host, self._booker, self._state
        next_word, fd, call, group = host.header(Header.NEXT_TICK), host.ticks_fd, gun.call, host.part.name
        drops, free_since, is_thread = host.part.on_late_drop, now_ns(), not host.owns_process
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
                end_if_forked(host.pid, exc)
                end = now_ns()
                ok = booker.raised(state, exc, end, group)
                if isinstance(exc, StopUser):
                    booker.free_entry(state)
                    host.ask_stop(why_stopped(exc))
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
            if is_thread and host.abandoned():  # its successor takes the ticks
                return
