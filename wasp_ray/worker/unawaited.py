"""Notices coroutines that user code dropped without awaiting them: such a call did not do what it says, so it fails.

CPython itself finds such a coroutine when it frees it, and this module takes its report, so that a call pays nothing for it. A
warning, as Python's own, shows the line. A coroutine that a task holds, or that was closed, is not dropped.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from wasp_ray.worker.call_state import current_call

if TYPE_CHECKING:
    from types import CoroutineType

    Dropped = CoroutineType[Any, Any, Any]

HOOK = "_warn_unawaited_coroutine"
"""Of the module warnings, called by CPython 3.7 and later with each such coroutine. `warnings.showwarning` is public, but gets
no coroutine, and nothing at all where user code ignores warnings. Objects that notice their own end (`__del__`) around each
request cost 0.9 us, 5 % of it.
"""


@runtime_checkable
class DescribesRequests(Protocol):
    """A client whose methods return coroutines that are requests."""

    def describe_unawaited(self, function: str, values: Mapping[str, Any]) -> str:
        """Name a request that was never awaited and the cure, by the function's name and arguments. May raise."""


@runtime_checkable
class DescribesItself(Protocol):
    """A request that is an object of its own instead of a coroutine."""

    def unawaited_error(self) -> str:
        """Name this request, which was never awaited, and the cure. May raise."""


class Stage:
    """A setup or teardown: `unawaited` describes the first coroutine that it dropped."""

    __slots__ = ("is_over", "unawaited")

    def __init__(self) -> None:
        self.unawaited = ""
        self.is_over = False  # tasks that were spawned in it have it in their context for good


_stage: ContextVar[Stage | None] = ContextVar("wasp_ray_stage", default=None)


@contextmanager
def stage() -> Iterator[Stage]:
    """Notice what is dropped in this block and in tasks that it starts, as long as it lasts."""
    current = Stage()
    token = _stage.set(current)
    try:
        yield current
    finally:
        current.is_over = True
        _stage.reset(token)


def describe(dropped: object) -> str:
    """Name a coroutine, or what a client returned instead of one, and say what to write."""
    with suppress(Exception):  # of a URL that is none, or of a library that has changed
        if isinstance(dropped, DescribesItself):
            return dropped.unawaited_error()
        frame = getattr(dropped, "cr_frame", None)
        if frame is not None and isinstance(client := frame.f_locals.get("self"), DescribesRequests):
            return client.describe_unawaited(frame.f_code.co_name, frame.f_locals)
    name = getattr(dropped, "__qualname__", type(dropped).__qualname__).rpartition("<locals>.")[2]
    return f"{name}() was never awaited: write `await` before it"


def _notice(coroutine: Dropped) -> None:
    """Called by CPython, in the thread, and mostly in the task, that dropped it."""
    current, call = _stage.get(), current_call.get()
    if current is None and call is None:
        _listener.pass_on(coroutine)
        return
    text = describe(coroutine)
    if current is not None and not current.is_over:
        current.unawaited = current.unawaited or text
    elif call is not None and not call.closed:
        call.unawaited = call.unawaited or text
        call.failed = True
    warnings.warn(text, RuntimeWarning, stacklevel=2)


class _Listener:
    """Of this process: inline workers are threads of one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers = 0
        self.pass_on: Callable[[Dropped], None] = getattr(warnings, HOOK, lambda _: None)

    def enter(self) -> None:
        """One worker more."""
        with self._lock:
            self._workers += 1
            if self._workers == 1:
                self.pass_on = getattr(warnings, HOOK, self.pass_on)
                setattr(warnings, HOOK, _notice)

    def leave(self) -> None:
        """Restore what was there when the last one has left, unless somebody replaced it meanwhile."""
        with self._lock:
            self._workers -= 1
            if self._workers == 0 and getattr(warnings, HOOK, None) is _notice:
                setattr(warnings, HOOK, self.pass_on)


_listener = _Listener()


@contextmanager
def noticed() -> Iterator[None]:
    """Around the event loop of a worker."""
    _listener.enter()
    try:
        yield
    finally:
        _listener.leave()
