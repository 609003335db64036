"""What users write: Gun, VirtualUser, Response, @task.

It owns the shape of user code and must not know how it is run.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from wasp_ray.load.context import Context, Group

F = TypeVar("F", bound=Callable[..., Any])
TASK_MARK = "__wasp_task__"


@dataclass(slots=True)
class Response:
    """What one call reports. `status` int or str; `data` (JSON-able, <= 4 KiB) goes to raw samples only.

    `error` set means failed; `timeout` books the call as a timeout. Clients that have recorded it themselves set
    `recorded`.
    """

    group: str = ""
    path: str = ""
    status: str | int = ""
    error: str = ""
    failed: bool = False
    timeout: bool = False
    bytes_in: int = 0
    bytes_out: int = 0
    data: Any = None
    recorded: bool = False


class _Actor:
    """What guns and users share; methods may be sync or async."""

    context: Context

    def group(self, name: str) -> AbstractContextManager[Group]:
        """`with self.group("login") as g:` times the block as a request of this call; nested groups are booked each."""
        return self.context.group(name)

    def record(
        self,
        group: str,
        service_s: float,
        *,
        status: str | int = "",
        error: str = "",
        bytes_in: int = 0,
        bytes_out: int = 0,
    ) -> None:
        """Books a request timed by other means: it ended now after `service_s` seconds; `error` makes it failed."""
        self.context.record(group, service_s, status=status, error=error, bytes_in=bytes_in, bytes_out=bytes_out)

    def count(self, name: str, n: int = 1) -> None:
        """Adds `n` to the Generator's counter `name`."""
        self.context.count(name, n)

    def setup(self) -> Any:
        """Before the first call; not timed as a call."""

    def teardown(self) -> Any:
        """After the last call, exactly once on every ending that still runs Python."""


class Gun(_Actor):
    """Fired at due times (open model). One object a worker: an async `call` runs many times at once on it."""

    def call(self) -> Any:
        """One call; returns a Response or None (ok), or raises (failed)."""
        raise NotImplementedError


class VirtualUser(_Actor):
    """Loops `call` until it is to leave (closed model). One object a user; may have @task methods instead of `call`."""

    def call(self) -> Any:
        """One call; returns a Response or None (ok), or raises (failed)."""
        raise NotImplementedError


@overload
def task(weight: int = 1) -> Callable[[F], F]: ...
@overload
def task(weight: F) -> F: ...
def task(weight: Any = 1) -> Any:
    """Marks a VirtualUser's method as one of its calls, drawn with `weight`; its name is the call's group.

    `@task` alone weighs 1. Raises TypeError for a weight that is no positive int.
    """
    if callable(weight):
        setattr(weight, TASK_MARK, 1)
        return weight
    if isinstance(weight, bool) or not isinstance(weight, int) or weight < 1:
        raise TypeError(f"@task(weight): expected a positive int, found {weight!r}")

    def mark(method: F) -> F:
        setattr(method, TASK_MARK, weight)
        return method

    return mark


def tasks_of(actor: type[VirtualUser]) -> list[tuple[str, int]]:
    """(name, weight) of the @task methods of a class, in order of definition, base classes first."""
    found: dict[str, int] = {}
    for cls in reversed(actor.__mro__):
        for name, value in vars(cls).items():
            if hasattr(value, TASK_MARK):
                found[name] = getattr(value, TASK_MARK)
            elif name in found:
                del found[name]
    return list(found.items())
