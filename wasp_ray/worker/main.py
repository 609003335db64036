"""One worker from its first line to its final state: picks the loop, reports what broke it.

The same in a process and in a thread.
"""

from __future__ import annotations

import gc
import os

from wasp_ray.load.locate import trim_traceback
from wasp_ray.wire.arena import Header, State
from wasp_ray.wire.ring import RingWriter
from wasp_ray.worker.booking import Booker
from wasp_ray.worker.call_state import describe
from wasp_ray.worker.forks import end_if_forked, unwatch, watch
from wasp_ray.worker.notes import Notes
from wasp_ray.worker.setup_teardown import SetupEnded
from wasp_ray.worker.spec import WorkerSpec
from wasp_ray.worker.sync_gun import SyncGun
from wasp_ray.worker.sync_user import SyncUser
from wasp_ray.worker.unawaited import noticed

GC_THRESHOLDS = (50_000, 20, 100)
"""For a process with many calls in flight: each consists of objects that are not garbage. With Python's own threshold of 700
a third of its time was spent on scanning them repeatedly.
"""


def run_worker(spec: WorkerSpec) -> int:
    """Runs to the end; the final State is in the ring's header as well."""
    spec.arena.words[spec.header(Header.PID)] = os.getpid()
    writer = RingWriter(spec.arena, spec.part.index, spec.ring)
    notes = Notes(spec.notes_fd, spec.part.index, spec.global_user(spec.first_user))
    booker = Booker(spec, writer, notes)
    spec.publish_cpu_before()
    if spec.part.pacing is not None:
        spec.arena.words[spec.header(Header.PACE_NS)] = spec.part.pacing.mean_ns
    watch(spec, writer)
    try:
        return _run(spec, writer, booker, notes)
    finally:
        end_if_forked(spec.pid)
        unwatch()


def _run(spec: WorkerSpec, writer: RingWriter, booker: Booker, notes: Notes) -> int:
    state: int = State.DONE
    try:
        if spec.part.is_async:
            state = _run_async(spec, writer, booker, notes)
        elif spec.part.kind == "rate":
            state = SyncGun(spec, writer, booker, notes).run()
        else:
            state = SyncUser(spec, writer, booker, notes).run()
    except SetupEnded as exc:
        state = exc.state
    except BaseException as exc:
        end_if_forked(spec.pid, exc)
        state = State.BROKEN
        notes.send("broken", error=describe(exc), text=trim_traceback(exc, spec.user_dir))
    if not spec.abandoned() or spec.owns_process:
        spec.enter(state)
    return state


def _run_async(spec: WorkerSpec, writer: RingWriter, booker: Booker, notes: Notes) -> int:
    import asyncio

    import uvloop

    from wasp_ray.process import keep_heap
    from wasp_ray.worker.async_gun import AsyncGun
    from wasp_ray.worker.async_user import AsyncUsers

    if spec.owns_process:
        keep_heap()
        gc.set_threshold(*GC_THRESHOLDS)
    worker = (
        AsyncGun(spec, writer, booker, notes) if spec.part.kind == "rate" else AsyncUsers(spec, writer, booker, notes)
    )
    with noticed(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(worker.run())
