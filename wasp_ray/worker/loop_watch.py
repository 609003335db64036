"""Notices tasks that block the event loop of a worker: each step of a hook is timed, until it waits.

A step is what runs between two waits. Nothing else runs on the loop meanwhile, so all calls in flight wait for it.

Tasks that user code makes are timed from the first time on that the loop stood still for a reason that is not known: each costs
2 us then, and most loads never need it.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator, Sized
from typing import Any, TypeVar

from wasp_ray.clock import now_ns
from wasp_ray.wire.arena import Entry, Header
from wasp_ray.wire.control import NEVER
from wasp_ray.wire.record import HOOK_BITS, Hook
from wasp_ray.worker.call_state import current_call
from wasp_ray.worker.cpu import CallWait
from wasp_ray.worker.spec import WorkerSpec

SWEEP_NS = 20_000_000
BLOCK_NS = 50_000_000
"""A longer step is a block. Time for which the loop's thread waited for a core, or for room in the ring, is no part of it."""
Result = TypeVar("Result")


class LoopWatch:
    """Counts blocks in the header of the worker's ring. `in_flight`: the calls in flight of its loop."""

    def __init__(self, spec: WorkerSpec, in_flight: Sized, wait: CallWait) -> None:
        self._words, self._header = spec.arena.words, spec.header(0)
        self._in_flight, self._wait = in_flight, wait
        self._waited_ns = 0
        self._swept_ns, self._blocks = NEVER, 0
        self._times_tasks = False

    def sweep(self, now: int, loop: asyncio.AbstractEventLoop) -> None:
        """Called by the loop each SWEEP_NS: what it waits for a core until then is no part of a later step."""
        waited, blocks = self._waited(), self._words[self._header + Header.BLOCKS]
        stood_still_ns = now - self._swept_ns - SWEEP_NS - (waited - self._waited_ns)
        if (
            stood_still_ns > BLOCK_NS
            and blocks == self._blocks
            and not self._times_tasks
            and loop.get_task_factory() is None
        ):
            self._times_tasks = True
            loop.set_task_factory(self._make_task)
        self._swept_ns, self._waited_ns, self._blocks = now, waited, blocks

    def _waited(self) -> int:
        """How long the loop's thread has waited in its life for what is not user code's to answer for."""
        return self._wait.waited_ns() + self._words[self._header + Header.RING_WAIT_NS]

    def _make_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        """Make a task whose steps are timed, if user code makes it; the name of its coroutine stays."""
        call = current_call.get()
        if call is None or type(coroutine) is not types.CoroutineType or coroutine.cr_code is _RUN_CODE:
            return asyncio.Task(coroutine, loop=loop, **options)
        timed_one: Any = self.run(Hook.CALL if call.number else Hook.SETUP, lambda: coroutine)
        timed_one.__name__, timed_one.__qualname__ = coroutine.__name__, coroutine.__qualname__
        task = asyncio.Task(timed_one, loop=loop, **options)
        task.add_done_callback(lambda _: coroutine.close())  # of a task that is cancelled before it begins
        return task

    async def run(self, hook: Hook, method: Callable[..., Coroutine[Any, Any, Result]], *arguments: Any) -> Result:
        """Call a method in a task of its own, and time its steps. `hook`: of which it is a part."""
        return await timed(method(*arguments), self, hook, 0)

    def ran_long(self, hook: Hook, entry: int, took_ns: int) -> None:
        """Count a step as a block, unless the loop's thread waited for a core or for its ring for so long that it is none."""
        waited, before = self._waited(), self._waited_ns
        self._waited_ns = waited
        took_ns -= max(0, waited - before)
        words, header = self._words, self._header
        calls = len(self._in_flight)
        if entry and not words[entry + Entry.NUMBER]:
            calls += 1  # the one that has ended in this step
        if took_ns <= BLOCK_NS or not calls:
            return
        words[header + Header.BLOCKS] += 1
        words[header + Header.BLOCKED_NS] += took_ns * calls
        longest = took_ns << HOOK_BITS | hook
        words[header + Header.LONGEST_BLOCK] = max(words[header + Header.LONGEST_BLOCK], longest)


_RUN_CODE = LoopWatch.run.__code__


@types.coroutine
def timed(
    coroutine: Coroutine[Any, Any, Result], watch: LoopWatch, hook: Hook, entry: int
) -> Generator[Any, Any, Result]:  # fmt: skip
    """Run a coroutine to its end, in its task, and time each of its steps; it costs 0.2 us a step. `entry`: the first word of the
    in-flight entry of its calls, 0 if it makes none.
    """
    send, clock, limit = coroutine.send, now_ns, BLOCK_NS
    begun = clock()
    try:
        waits_for = send(None)
        while True:
            if clock() - begun > limit:
                watch.ran_long(hook, entry, clock() - begun)
            try:
                yield waits_for
            except GeneratorExit:
                begun = clock()
                coroutine.close()
                raise
            except BaseException as exc:
                begun = clock()
                waits_for = coroutine.throw(exc)
            else:
                begun = clock()
                waits_for = send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    finally:
        if clock() - begun > limit:
            watch.ran_long(hook, entry, clock() - begun)


@types.coroutine
def give_turn() -> Generator[None, None, None]:
    """Let the loop run what else is ready; as asyncio.sleep(0), which takes 0.2 us longer."""
    yield
