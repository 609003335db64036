"""Guns and users that do nothing, or only work."""

from __future__ import annotations

import hashlib
import os

from wasp_ray import Gun, VirtualUser


class EmptyUser(VirtualUser):
    """Returns at once."""

    def call(self) -> None:
        return None


class IdleUser(VirtualUser):
    """Waits in its think time."""

    def call(self) -> None:
        return None


class HashingUser(VirtualUser):
    """1 ms of CPU a call."""

    def call(self) -> None:
        hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", 1_000)


class AskingUser(VirtualUser):
    """GETs params["url"] in each call."""

    def setup(self) -> None:
        self.http = self.context.http(self.context.params["url"])

    def call(self) -> None:
        self.answer = self.http.get("/").text


class EmptyGun(Gun):
    """Returns at once."""

    async def call(self) -> None:
        return None


WORKER_CPU, ENGINE_CPU = 0, 1
"""Positions among the CPUs this process may use."""


class PinnedGun(Gun):
    """Returns at once, on a CPU of its own, named by params["cpu"]."""

    async def setup(self) -> None:
        os.sched_setaffinity(0, {self.context.params["cpu"]})

    async def call(self) -> None:
        return None
