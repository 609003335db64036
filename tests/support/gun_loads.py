"""Async guns whose calls do what calls of user code may do to their own task: importable by fresh processes."""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from typing import Any

from wasp_ray import Gun

seen: ContextVar[list[int]] = ContextVar("seen")


class Marking(Gun):
    """Sets a context variable and finds it unset again in the next call."""

    async def call(self) -> None:
        assert seen.get(None) is None, "a call before this one left it"
        seen.set([1])
        await asyncio.sleep(0)
        assert seen.get() == [1]


class Grouping(Gun):
    """Uses what asyncio has for a task and its children."""

    async def call(self) -> None:
        with_task = asyncio.current_task()
        assert with_task is not None and not with_task.cancelling()
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(30)
        except TimeoutError:
            pass
        async with asyncio.TaskGroup() as group:
            made = [group.create_task(asyncio.sleep(0, number)) for number in range(3)]
        assert [task.result() for task in made] == [0, 1, 2]
        assert await asyncio.wait_for(asyncio.sleep(0, "there"), 5) == "there"
        assert asyncio.current_task() is with_task


class BlocksOnce(Gun):
    """Its twentieth call blocks the event loop for 300 ms, all others return at once."""

    calls = 0

    async def call(self) -> None:
        self.calls += 1
        if self.calls == 20:
            time.sleep(0.3)


class CancelledByItself(Gun):
    """Every other call cancels its own task: with a wait behind it, or as the last thing it does."""

    calls = 0

    async def call(self) -> None:
        self.calls += 1
        task = asyncio.current_task()
        assert task is not None
        if self.calls % 4 == 0:
            task.cancel()
            await asyncio.sleep(30)
        await asyncio.sleep(0)
        if self.calls % 2 == 0:
            task.cancel()


class CancellingOthers(Gun):
    """Cancels all tasks that have made a call and make none now."""

    def setup(self) -> None:
        self.over: set[asyncio.Task[Any]] = set()

    async def call(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.over.discard(task)
        while self.over:
            self.over.pop().cancel()
        await asyncio.sleep(0)
        self.over.add(task)


class LeavingWork(Gun):
    """Its calls leave a task behind, whose request fails when they are over."""

    async def call(self) -> None:
        self.context.spawn(self.fail_later())

    async def fail_later(self) -> None:
        """A request of a call that has ended."""
        await asyncio.sleep(0.002)
        self.record("late", 0.001, error="too late")
