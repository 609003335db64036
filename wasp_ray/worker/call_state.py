"""One call in flight: which method it runs, and what its requests and its end have to know of each other. It must not write
records.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextvars import ContextVar
from itertools import accumulate
from typing import Any, Protocol

from wasp_ray.errors import RestartUser, StopUser
from wasp_ray.load.actors import tasks_of
from wasp_ray.wire.control import Ask

Method = Callable[[], Any]


class RowsUsedUp(StopUser):
    """A feeder has no row left for this call; its Generator ends."""


def why_stopped(exc: StopUser) -> int:
    """The Ask of a gun's call that raised StopUser: a gun has no users, so its Generator ends."""
    return Ask.ROWS if isinstance(exc, RowsUsedUp) else Ask.STOP


class OpenSource(Protocol):
    """What knows more of an open request than how it began."""

    status: str | int
    error: str
    bytes_in: int
    bytes_out: int


OpenRequest = tuple["CallState | None", int, int, str, str, int, int, OpenSource | None]
"""(call, due, start, group, route, id of the group, id of the route, source). A tuple, since each request makes one."""


class CallState:
    """One call in flight."""

    __slots__ = (
        "closed",
        "due",
        "entry",
        "failed",
        "number",
        "open",
        "opened",
        "seen",
        "start",
        "task",
        "tick",
        "unawaited",
        "user",
        "waited",
        "yielded",
    )

    def __init__(self, user: int) -> None:
        self.user = user
        self.number = 0
        self.due = 0
        self.start = 0
        self.entry = 0  # first word of its in-flight entry
        self.open: list[OpenRequest] = []  # requests that have begun and not ended, in order
        self.tick = -1
        self.waited = False
        self.task: Any = None
        self.reset()

    def reset(self) -> None:
        """Ready for the next call of the same user."""
        self.seen: BaseException | None = None  # already booked by a request; first: to free it may drop a coroutine
        self.opened = False  # a request has begun
        self.failed = False  # a request failed
        self.yielded = False  # it waited for an answer, so other users of its loop had their turn
        self.closed = False  # booked; what comes later is not its own
        self.unawaited = ""  # describes a coroutine that it dropped without awaiting it; it has failed then


current_call: ContextVar[CallState | None] = ContextVar("wasp_ray_call", default=None)


def describe(exc: BaseException) -> str:
    """Return `ValueError: text`, of RestartUser its reason alone, and `DEADLINE_EXCEEDED: details` of an error with a status code,
    as gRPC has them: its class says nothing, and its text begins with a line that does not either.
    """
    text = ""
    try:
        text = str(exc)
        if code := _status_code(exc):
            return code
    except Exception:  # a user's __str__ may fail; the record must not
        text = "(its message cannot be printed)"
    if isinstance(exc, RestartUser) and text:
        return text
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__


def _status_code(exc: BaseException) -> str:
    code, details = getattr(exc, "code", None), getattr(exc, "details", None)
    name = getattr(code(), "name", None) if callable(code) else None
    if not isinstance(name, str):
        return ""
    text = details() if callable(details) else ""
    return f"{name}: {text}" if text else name


def picker(actor: Any, rng: random.Random) -> Callable[[], tuple[Method, str]] | None:
    """Return a function that draws a @task by weight, as (method, group name); None when the actor has a plain `call`."""
    found = tasks_of(type(actor))
    if not found:
        return None
    methods = [(getattr(actor, name), name) for name, _ in found]
    weights = list(accumulate(weight for _, weight in found))

    def pick() -> tuple[Method, str]:
        return rng.choices(methods, cum_weights=weights)[0]

    return pick
