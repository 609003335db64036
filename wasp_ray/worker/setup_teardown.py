"""Setup and teardown of actors, blocking or async: recorded, reported, with their timeouts. It must not record calls.

Both are coroutines. One of a sync actor never waits: `run_blocking` runs it to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeVar

from wasp_ray.clock import now_ns
from wasp_ray.errors import SetupFailed, StopUser, WaspError
from wasp_ray.load.locate import trim_traceback
from wasp_ray.wire.arena import Header, State
from wasp_ray.wire.record import Hook
from wasp_ray.worker.booking import Booker, RequestsOutside
from wasp_ray.worker.call_state import describe
from wasp_ray.worker.context import WorkerContext
from wasp_ray.worker.forks import ForkGuard
from wasp_ray.worker.notes import Notes
from wasp_ray.worker.spec import WorkerSpec
from wasp_ray.worker.unawaited import stage
from wasp_ray.worker.user_life import UserLife

if TYPE_CHECKING:
    from wasp_ray.worker.loop_watch import LoopWatch

SPAWNED_END_S = 1.0
"""Time that tasks have to end which user code spawned and teardown cancels."""
Result = TypeVar("Result")


class SetupEnded(Exception):
    """A setup raised, which is reported: `state` is the State that its worker ends in."""

    def __init__(self, state: int) -> None:
        super().__init__(state)
        self.state = state


def run_blocking(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine of a sync actor and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    raise AssertionError("the setup or teardown of a sync actor waited")


class Actors:
    """Makes the actors of one worker, sets them up and tears them down."""

    def __init__(self, spec: WorkerSpec, booker: Booker, notes: Notes) -> None:
        self._spec, self._booker, self._notes = spec, booker, notes
        self._since_word = spec.header(Header.SETUP_SINCE)
        self.loop_watch: LoopWatch | None = None  # of the event loop that calls are made on meanwhile
        self._setups: dict[int, int] = {}  # local user -> when its setup began; the oldest first

    async def set_up(self, local_user: int, number: int = 0) -> Any:
        """Return a new actor, set up, whose random stream is the `number`-th of its user. Raises SetupEnded."""
        context: WorkerContext | None = None
        self._setups[local_user] = now_ns()
        self._publish_oldest()
        try:
            try:
                # recorded before clean-up, in which the process may be killed
                with self._requests(local_user, is_setup=True):
                    with ForkGuard(self._spec):
                        actor = self._spec.part.actor()
                        actor.context = context = WorkerContext(
                            self._spec, self._booker, self._notes, local_user, number
                        )
                    await self._run(actor.setup, self._spec.part.setup_timeout_ns, "setup")
            finally:
                del self._setups[local_user]
                self._publish_oldest()
        except GeneratorExit:
            raise
        except BaseException as exc:
            if context is not None:
                await context.close_clients()
            raise SetupEnded(self._report(exc)) from exc
        return actor

    async def set_up_user(self, life: UserLife, local_user: int) -> Any:
        """Return a new actor of a user, set up, and report to its life; None if the setup raised."""
        try:
            actor = await self.set_up(local_user, life.setups - 1)
        except SetupEnded as exc:
            if exc.state == State.STOPPED_ITSELF:
                life.setup_stopped()
            else:
                life.setup_failed(now_ns())
            return None
        life.set_up(actor.context.random)
        return actor

    async def tear_down(self, actor: Any) -> None:
        """Run teardown, end the tasks that the actor spawned, close its clients; what they raise is reported."""
        try:
            with self._requests(actor.context.local_user, is_setup=False):
                await self._run(actor.teardown, self._spec.part.teardown_timeout_ns, "teardown")
        except GeneratorExit:
            raise
        except BaseException as exc:
            self._booker.report(f"teardown: {describe(exc)}", "teardown", exc)
        if spawned := list(actor.context.tasks):
            from asyncio import wait

            for task in spawned:
                task.cancel()
            await wait(spawned, timeout=SPAWNED_END_S)
        await actor.context.close_clients()

    async def _run(self, hook: Callable[[], Any], timeout_ns: int, name: str) -> None:
        if not self._spec.part.is_async:  # the node kills the process that exceeds the timeout
            with ForkGuard(self._spec):
                hook()
            return
        from asyncio import wait_for

        begun = now_ns()
        with stage() as current:
            try:
                watch = self.loop_watch
                finishes = self._finish(hook) if watch is None else watch.run(Hook[name.upper()], self._finish, hook)
                await wait_for(finishes, timeout_ns / 1e9)
            except TimeoutError as exc:
                if now_ns() - begun < timeout_ns:  # the user's own
                    raise
                raise SetupFailed(f"{name} took longer than {name}_timeout, {timeout_ns / 1e9:g} s") from exc
        if current.unawaited:
            raise WaspError(current.unawaited) if name == "teardown" else SetupFailed(current.unawaited)

    async def _finish(self, hook: Callable[[], Any]) -> None:
        with ForkGuard(self._spec):
            result = hook()
            if isawaitable(result):
                await result

    def _requests(self, local_user: int, *, is_setup: bool) -> RequestsOutside:
        """Return what records the requests of a setup or teardown. An async gun has no entry of its own for them."""
        spec = self._spec
        entry = None if spec.part.kind == "rate" and spec.part.is_async else spec.entry_word(local_user)
        return RequestsOutside(self._booker, spec.global_user(local_user), is_setup=is_setup, entry=entry)

    def _report(self, exc: BaseException) -> int:
        if isinstance(exc, StopUser):
            return State.STOPPED_ITSELF
        self._notes.send("setup_failed", error=describe(exc), text=trim_traceback(exc, self._spec.user_dir))
        return State.SETUP_FAILED

    def _publish_oldest(self) -> None:
        """Let the node see how long the oldest setup takes."""
        self._spec.arena.words[self._since_word] = next(iter(self._setups.values()), 0)
