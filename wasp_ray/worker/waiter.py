"""What a task of the engine waits on, time after time: as a future, but never used up, and it wakes its task at once.

asyncio takes every object with `_asyncio_future_blocking` for a future (asyncio.isfuture). One of its own makes an object for
each wait, and another to run the task in the loop's next turn: for a call of 15 us both are much.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any


class Waiter:
    """For one task at a time, which calls `begin` and then awaits it; `wake` or `wake_soon`, maybe before, ends the wait."""

    __slots__ = ("_asyncio_future_blocking", "_cancelled", "_context", "_is_over", "_loop", "_wakeup")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asyncio_future_blocking = False
        self._wakeup: Callable[[Waiter], object] | None = None
        self._context: Context | None = None
        self._cancelled: asyncio.CancelledError | None = None
        self._is_over = True

    def begin(self) -> None:
        """A new wait."""
        self._is_over = False

    def __await__(self) -> Generator[Waiter, None, None]:
        if not self._is_over:
            self._asyncio_future_blocking = True
            yield self

    def wake(self) -> None:
        """Runs the task here and now, until it waits again. Only for callbacks of the loop: never from within a task."""
        self._is_over = True
        wakeup, self._wakeup = self._wakeup, None
        if wakeup is not None and self._context is not None:
            self._context.run(wakeup, self)

    def wake_soon(self) -> None:
        """Has the task run in the loop's next turn."""
        self._is_over = True
        wakeup, self._wakeup = self._wakeup, None
        if wakeup is not None:
            self._loop.call_soon(wakeup, self, context=self._context)

    # -- for asyncio.Task

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop of its tasks."""
        return self._loop

    def add_done_callback(self, wakeup: Callable[[Waiter], object], *, context: Context) -> None:
        """The task waits now."""
        self._wakeup, self._context = wakeup, context

    def result(self) -> None:
        """Asked for when it is woken."""
        if self._cancelled is not None:
            cancelled, self._cancelled = self._cancelled, None
            raise cancelled

    def cancel(self, msg: Any = None) -> bool:
        """The task was cancelled."""
        if self._wakeup is None:
            return False
        self._cancelled = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        self.wake_soon()
        return True
