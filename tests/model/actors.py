"""Guns and users that play a scenario and write down what they do: the witness.

Each actor object has a descriptor of its own, opened with O_APPEND, and writes one line with one `os.write` (below
PIPE_BUF, so lines never mix). The order of a line and the engine's action is fixed, because it says which single step of a
killed process is uncertain: `begin` comes after the engine has begun the call, every other line comes before the engine
learns of the fact. The module must not import test libraries: worker processes import it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from model import scenario as s
from model.knobs import shorten_ring_wait
from wasp_ray import Gun, Response, RestartUser, StopUser, VirtualUser

RELEASED = "released"
"""File in the run's folder; hung calls end when it is there."""
HUNG_AT_MOST_S = 60.0
HUNG_POLL_S = 0.03
CHILD_AT_MOST_S = 5.0
DRY = "the feeder had no row"
_lives = itertools.count()


class Planned(Exception):
    """What a step raises on purpose."""


class Actor:
    """The part that sync and async actors share: one interpreter; a sync actor runs its coroutine to the end at once."""

    context: Any
    is_async = False
    _fd = -1
    _pid = 0
    _number = 0

    # -- the witness

    def _line(self, what: str, call: int = -1, *detail: Any) -> None:
        context = self.context
        fields = (
            time.monotonic_ns(), what, self._index, context.node_id, context.user_id, os.getpid(), self._life, call, *detail,
        )  # fmt: skip
        os.write(self._fd, json.dumps(fields).encode() + b"\n")

    def _open(self) -> None:
        params = self.context.params
        self._folder: Path = Path(params["folder"])
        self._index: int = params["index"]
        self._load: s.Load = params["load"]
        self._pid = os.getpid()
        self._life = f"{self._pid}.{next(_lives)}"
        path = self._folder / f"witness-{self._index}.log"
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def _close(self) -> None:
        os.close(self._fd)
        self._fd = -1

    # -- setup, call, teardown

    async def _set_up(self) -> None:
        self._open()
        if self._load.ring_wait_ms is not None:
            shorten_ring_wait(self.context, self._load.ring_wait_ms)
        self._line("setup", -1, random.random(), self.context.random.random())
        bad = self._load.bad_setup
        try:
            await self._play(self._load.setup, -1)
            if bad is not None and bad.at <= self._number_of_setup(bad.at + bad.times) < bad.at + bad.times:
                await self._play(bad.steps, -1)
        except BaseException as exc:
            self._line("unready", -1, type(exc).__name__)
            self._close()
            raise
        self._line("ready")

    async def _tear_down(self) -> None:
        self._line("teardown")
        try:
            await self._play(self._load.teardown, -1)
        finally:
            self._line("gone")
            self._close()

    async def _call(self) -> Any:
        if os.getpid() != self._pid:  # a forked copy that went on as a user
            self._line("ghost")
            os._exit(0)
        number, self._number = self._number, self._number + 1
        self._line("begin", number)
        try:
            _, value = await self._play(self._program(number), number)
        except asyncio.CancelledError:
            self._line("cancelled", number)
            await self._clean_up(number)
            raise
        except BaseException as exc:
            self._line("end", number, _how_raised(exc), "")
            raise
        if value is None:
            self._line("end", number, "none", "")
            return None
        self._line("end", number, value.how, value.group)
        return _response(value)

    async def _clean_up(self, number: int) -> None:
        if not self._load.cleanup_ms:
            return
        try:
            await asyncio.sleep(self._load.cleanup_ms / 1000)
        except asyncio.CancelledError:
            self._line("cancelled", number)
            raise
        self._line("cleaned", number)

    def _program(self, number: int) -> s.Program:
        for at, special in enumerate(self._load.specials):
            if number >= special.at and self._claim(f"special-{at}", special.times):
                return special.steps
        calls = self._load.calls
        return calls[(number + self.context.user_id) % len(calls)]

    def _claim(self, name: str, times: int) -> bool:
        """Take one of `times` tokens that all actors of this load share; a replacement finds those of the dead taken."""
        return self._token(name, times) < times

    def _number_of_setup(self, most: int) -> int:
        """Count the setups of the load in the order in which they come here; `most` from there on."""
        return self._token("setup", most)

    def _token(self, name: str, most: int) -> int:
        for token in range(most):
            try:
                path = self._folder / f"claim-{self._index}-{name}-{token}"
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            except FileExistsError:
                continue
            return token
        return most

    # -- steps

    async def _play(self, program: s.Program, call: int) -> tuple[bool, s.Return | None]:
        """Run steps; return whether a Return ended them, and which."""
        for step in program:
            match step:
                case s.Return():
                    return True, step
                case s.Group():
                    done, value = await self._group(step, call)
                    if done:
                        return True, value
                case s.Sleep():
                    await self._sleep(step.ms / 1000)
                case s.Busy():
                    time.sleep(step.ms / 1000)
                case s.Hang():
                    await self._hang()
                case s.Swallow():
                    await self._swallow(call)
                case s.Block():
                    self._block()
                case _:
                    self._act(step, call)
        return False, None

    async def _group(self, step: s.Group, call: int) -> tuple[bool, s.Return | None]:
        token = f"{time.monotonic_ns():x}"
        done, value = False, None
        try:
            self._line("opening", call, token, step.name)
            with self.group(step.name) as group:  # type: ignore[attr-defined]  # of Gun and VirtualUser
                self._line("open", call, token)
                try:
                    done, value = await self._play(step.steps, call)
                except BaseException as exc:
                    self._line("close", call, token, _how_raised(exc))
                    raise
                if step.fails:
                    group.fail("planned")
                self._line("close", call, token, "failed" if step.fails else "ok")
        except Planned:
            if not step.catches:
                raise
        return done, value

    def _act(self, step: s.Step, call: int) -> None:
        """Run a step that never waits for the loop."""
        record = self.record  # type: ignore[attr-defined]  # of Gun and VirtualUser
        match step:
            case s.Record():
                self._line("record", call, step.name, step.fails)
                record(step.name, 0.0, error="planned" if step.fails else "")
            case s.Flood():
                self._line("many", call, step.name, step.number)
                for _ in range(step.number):
                    record(step.name, 0.0)
                self._line("done", call)
            case s.Threads():
                self._line("many", call, step.name, step.threads * step.each)
                with ThreadPoolExecutor(step.threads) as pool:
                    list(pool.map(lambda _: [record(step.name, 0.0) for _ in range(step.each)], range(step.threads)))
                self._line("done", call)
            case s.Raise():
                raise Planned("planned")
            case s.Leave():
                raise StopUser
            case s.Restart():
                raise RestartUser("planned")
            case s.StopGenerator():
                self._line("stopping", call)
                self.context.stop("planned")
            case s.Feed():
                self._feed(call)
            case s.Die():
                self._die(step.how, call)
            case s.Fork():
                self._fork(step.how, call)

    def _feed(self, call: int) -> None:
        try:
            row = self.context.feed("rows")
        except StopUser as exc:
            self._line("dry", call)
            exc.add_note(DRY)  # the engine has to see its own exception
            raise
        self._line("row", call, row["n"])

    def _die(self, how: str, call: int) -> None:
        self._line("die", call, how)
        if how == "exit":
            os._exit(3)
        os.kill(os.getpid(), signal.SIGKILL)

    def _fork(self, how: str, call: int) -> None:
        self._line("fork", call, how)
        pid = os.fork()
        if pid == 0:
            if how == "group":
                with self.group("child"):  # type: ignore[attr-defined]  # of Gun and VirtualUser
                    pass
            elif how == "exit":
                raise SystemExit(3)
            elif how == "return":
                return
            os._exit(0)
        give_up = time.monotonic() + CHILD_AT_MOST_S
        while os.waitpid(pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > give_up:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                self._line("survivor", call, pid)
                return
            time.sleep(0.005)

    # -- waits

    async def _sleep(self, seconds: float) -> None:
        if self.is_async:
            await asyncio.sleep(seconds)
        else:
            time.sleep(seconds)

    async def _hang(self) -> None:
        give_up = time.monotonic() + HUNG_AT_MOST_S
        while not self._released() and time.monotonic() < give_up:
            await self._sleep(HUNG_POLL_S)

    async def _swallow(self, call: int) -> None:
        give_up = time.monotonic() + HUNG_AT_MOST_S
        while not self._released() and time.monotonic() < give_up:
            try:
                await asyncio.sleep(HUNG_POLL_S)
            except asyncio.CancelledError:
                self._line("cancelled", call)

    def _block(self) -> None:
        give_up = time.monotonic() + HUNG_AT_MOST_S
        while not self._released() and time.monotonic() < give_up:
            time.sleep(HUNG_POLL_S)

    def _released(self) -> bool:
        return (self._folder / RELEASED).exists()


def _how_raised(exc: BaseException) -> str:
    if isinstance(exc, StopUser):
        return "dry" if DRY in getattr(exc, "__notes__", ()) else "left"
    if isinstance(exc, RestartUser):
        return "restarted"
    return "cut" if isinstance(exc, asyncio.CancelledError) else "raised"


def _response(step: s.Return) -> Any:
    match step.how:
        case "wrong":
            return 5
        case "error":
            return Response(group=step.group, error="planned")
        case how:
            return Response(group=step.group, failed=how == "failed", timeout=how == "timeout")


def _finish(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a blocking actor awaited something")


class SyncGun(Actor, Gun):
    """A blocking gun."""

    def setup(self) -> None:
        """Play the setup."""
        _finish(self._set_up())

    def call(self) -> Any:
        """Play one call."""
        return _finish(self._call())

    def teardown(self) -> None:
        """Play the teardown."""
        _finish(self._tear_down())


class SyncUser(Actor, VirtualUser):
    """A blocking user."""

    def setup(self) -> None:
        """Play the setup."""
        _finish(self._set_up())

    def call(self) -> Any:
        """Play one call."""
        return _finish(self._call())

    def teardown(self) -> None:
        """Play the teardown."""
        _finish(self._tear_down())


class AsyncGun(Actor, Gun):
    """An async gun."""

    is_async = True

    async def setup(self) -> None:
        """Play the setup."""
        await self._set_up()

    async def call(self) -> Any:
        """Play one call."""
        return await self._call()

    async def teardown(self) -> None:
        """Play the teardown."""
        await self._tear_down()


class AsyncUser(Actor, VirtualUser):
    """An async user, alone in its process or packed."""

    is_async = True

    async def setup(self) -> None:
        """Play the setup."""
        await self._set_up()

    async def call(self) -> Any:
        """Play one call."""
        return await self._call()

    async def teardown(self) -> None:
        """Play the teardown."""
        await self._tear_down()


ACTORS: dict[s.Kind, type[Any]] = {
    "sync gun": SyncGun,
    "async gun": AsyncGun,
    "sync user": SyncUser,
    "async user": AsyncUser,
    "packed": AsyncUser,
}
