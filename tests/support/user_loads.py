"""Users that write down what they do, blocking and async, for what every kind of user has in common."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import Any, NamedTuple

from support.loads import witness
from wasp_ray import RestartUser, StopUser, VirtualUser


class Line(NamedTuple):
    """A step of a user: setup, ready, call, cancelled, cleaned, teardown; `draw` is a random number of a setup."""

    user: int
    step: str
    at: float
    draw: float


def lines_of(file: Path) -> list[Line]:
    """What was written, in the order in which it was."""
    if not file.exists():
        return []
    parts = [line.split() for line in file.read_text().splitlines()]
    return [Line(int(user), step, float(at), float(draw)) for user, step, at, draw in parts]


class _Scripted:
    """User params["who"] does in its setups and calls what params["setups"] and params["calls"] say: number -> "raise", "stop",
    "restart", "hang"; -1 stands for every number. Calls are numbered in each life, setups over all of them.
    """

    context: Any
    calls = 0

    def _note(self, step: str) -> None:
        context = self.context
        file = context.params["file"]
        witness(file, f"{context.user_id} {step} {time.monotonic()} {context.random.random()}")

    def _acts(self, what: str, number: int) -> str:
        params = self.context.params
        if self.context.user_id != params.get("who"):
            return ""
        script = params.get(what, {})
        return str(script.get(number, script.get(-1, "")))

    def _set_up(self) -> None:
        before = [line for line in lines_of(Path(self.context.params["file"])) if line.step == "setup"]
        number = sum(line.user == self.context.user_id for line in before)
        self._note("setup")
        random.random()
        self._raise(self._acts("setups", number))
        self._note("ready")

    def _next_call(self) -> str:
        number, self.calls = self.calls, self.calls + 1
        self._note("call")
        return self._acts("calls", number)

    def _raise(self, how: str) -> None:
        if how == "raise":
            raise ValueError("planned")
        if how == "stop":
            raise StopUser
        if how == "restart":
            raise RestartUser("planned")


class Blocking(_Scripted, VirtualUser):
    """Calls last params["s"] seconds."""

    def setup(self) -> None:
        self._set_up()

    def call(self) -> None:
        how = self._next_call()
        time.sleep(20 if how == "hang" else self.context.params.get("s", 0.01))
        self._raise(how)

    def teardown(self) -> None:
        self._note("teardown")


class Async(_Scripted, VirtualUser):
    """The same, and what is cancelled takes 0.1 s to clean up."""

    async def setup(self) -> None:
        self._set_up()

    async def call(self) -> None:
        how = self._next_call()
        try:
            await asyncio.sleep(20 if how == "hang" else self.context.params.get("s", 0.01))
        except asyncio.CancelledError:
            self._note("cancelled")
            await asyncio.sleep(0.1)
            self._note("cleaned")
            raise
        self._raise(how)

    async def teardown(self) -> None:
        self._note("teardown")
