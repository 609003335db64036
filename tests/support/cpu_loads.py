"""Actors that take CPU time in known parts of their life, or wait for a core there: importable by fresh processes."""

from __future__ import annotations

import time

from wasp_ray import Gun, VirtualUser


def burn(seconds: float) -> None:
    """Take so much CPU time of this thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def waited_s() -> float:
    """How long this thread has waited for a core in its life."""
    with open("/proc/thread-self/schedstat") as file:
        return int(file.read().split()[1]) / 1e9


class BurnsInSetup(VirtualUser):
    """Takes `setup_s` of CPU time in setup() and `call_s` in each call."""

    def setup(self) -> None:
        burn(self.context.params["setup_s"])

    def call(self) -> None:
        burn(self.context.params["call_s"])


class BurnsInAsyncSetup(VirtualUser):
    """As BurnsInSetup."""

    async def setup(self) -> None:
        burn(self.context.params["setup_s"])

    async def call(self) -> None:
        burn(self.context.params["call_s"])


class BurningGun(Gun):
    """As BurnsInSetup."""

    def setup(self) -> None:
        burn(self.context.params["setup_s"])

    def call(self) -> None:
        burn(self.context.params["call_s"])


class BurningAsyncGun(Gun):
    """As BurnsInSetup."""

    async def setup(self) -> None:
        burn(self.context.params["setup_s"])

    async def call(self) -> None:
        burn(self.context.params["call_s"])


class BurnsUntilKilled(VirtualUser):
    """Takes CPU time in setup() and in a call of 2 s."""

    def setup(self) -> None:
        burn(self.context.params["setup_s"])

    def call(self) -> None:
        burn(2)


class WaitsInSetup(VirtualUser):
    """Competes for the cores in setup() and counts how long it waited for them, in us; its call does nothing."""

    waited_us = 0

    def setup(self) -> None:
        burn(self.context.params["setup_s"])
        self.waited_us = int(waited_s() * 1e6)

    def call(self) -> None:
        self.count("waited in setup, us", self.waited_us)
