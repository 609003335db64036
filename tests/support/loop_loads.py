"""Async actors that keep their event loop: in one long step, or in many short ones. Importable by fresh processes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from wasp_ray import Gun, VirtualUser


class _Blocks:
    """Blocks its loop for params["s"] in each call, or in its first one with params["once"]."""

    context: Any
    calls = 0

    async def call(self) -> None:
        await asyncio.sleep(0.001)
        self.calls += 1
        if self.calls == 1 or not self.context.params.get("once"):
            time.sleep(self.context.params["s"])
        await asyncio.sleep(0.001)


class BlockingUser(_Blocks, VirtualUser):
    """As _Blocks."""


class BlockingGun(_Blocks, Gun):
    """As _Blocks."""


class _BlocksAtOnce:
    """Never waits."""

    context: Any

    async def call(self) -> None:
        time.sleep(self.context.params["s"])


class BlockingAtOnceUser(_BlocksAtOnce, VirtualUser):
    """As _BlocksAtOnce."""


class BlockingAtOnceGun(_BlocksAtOnce, Gun):
    """As _BlocksAtOnce."""


class ShortSteps(VirtualUser):
    """All users of a pack take 20 ms of their loop one after another, between two waits."""

    async def call(self) -> None:
        await asyncio.sleep(0.05)
        time.sleep(0.02)
        await asyncio.sleep(0.05)


class BlockingChildren(VirtualUser):
    """Each call makes ten tasks that run one after another; params["s"] is how long each keeps the loop."""

    async def call(self) -> None:
        await asyncio.gather(*(self._child() for _ in range(10)))

    async def _child(self) -> None:
        await asyncio.sleep(0.005)
        time.sleep(self.context.params["s"])


class BlocksInSetup(VirtualUser):
    """The second user of a pack blocks the loop in its setup, within a call of the first."""

    is_calling = False

    async def setup(self) -> None:
        if self.context.user_id:
            while not BlocksInSetup.is_calling:
                await asyncio.sleep(0.001)
            time.sleep(0.2)

    async def call(self) -> None:
        BlocksInSetup.is_calling = True
        await asyncio.sleep(0.01)
        BlocksInSetup.is_calling = False
