"""Setup and teardown of an async actor, each with its own timeout. It must not book calls."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from wasp_ray.errors import SetupFailed, WaspError
from wasp_ray.worker.booking import Booker, RequestsOutside
from wasp_ray.worker.context import WorkerContext
from wasp_ray.worker.forks import ForkGuard
from wasp_ray.worker.host import Host
from wasp_ray.worker.notes import Notes
from wasp_ray.worker.unawaited import stage


async def set_up(host: Host, booker: Booker, notes: Notes, local_user: int, restarts: int = 0) -> Any:
    """A new actor with its context, set up; booked as a request of the group `setup`. Raises what setup raised."""
    context: WorkerContext | None = None
    try:
        with RequestsOutside(booker, host.global_user(local_user), is_setup=True):
            with ForkGuard(host):
                actor = host.part.actor()
                actor.context = context = WorkerContext(host, booker, notes, local_user, restarts)
            try:
                with stage() as current:
                    await asyncio.wait_for(_finish(host, actor.setup), host.part.setup_timeout_ns / 1e9)
            except TimeoutError as exc:
                raise SetupFailed(
                    f"setup took longer than setup_timeout, {host.part.setup_timeout_ns / 1e9:g} s"
                ) from exc
            if current.unawaited:
                raise SetupFailed(current.unawaited)
    except BaseException:
        if context is not None:
            await context.close_clients()
        raise
    return actor


async def tear_down(host: Host, booker: Booker, actor: Any) -> None:
    """Runs teardown and ends what the actor spawned; failures are told, never raised."""
    try:
        with RequestsOutside(booker, actor.context.user_id, is_setup=False), stage() as current:
            await asyncio.wait_for(_finish(host, actor.teardown), host.part.teardown_timeout_ns / 1e9)
        if current.unawaited:
            raise WaspError(current.unawaited)
    except (Exception, asyncio.CancelledError) as exc:
        booker.tell(f"teardown: {type(exc).__name__}: {exc}", "teardown", exc)
    spawned = list(actor.context.tasks)
    for task in spawned:
        task.cancel()
    if spawned:
        await asyncio.wait(spawned, timeout=1.0)
    await actor.context.close_clients()


async def _finish(host: Host, hook: Callable[[], Any]) -> None:
    with ForkGuard(host):
        result = hook()
        if inspect.isawaitable(result):
            await result
