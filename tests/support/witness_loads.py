"""Guns and users that write what they do into a file of the test's, whose truth does not come from the engine."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

from wasp_ray import Gun, VirtualUser


def witness_of(context: Any) -> int:
    """The file of params["witness"], to which every process appends whole lines."""
    return os.open(context.params["witness"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)


def seen_in(path: Path) -> Counter[str]:
    """How often each line stands in a witness; a file that nobody has opened yet is empty."""
    return Counter(path.read_text().split("\n")[:-1]) if path.exists() else Counter()


class AsyncGun(Gun):
    """Writes `gun` in each call."""

    async def setup(self) -> None:
        self.witness = witness_of(self.context)

    async def call(self) -> None:
        os.write(self.witness, b"gun\n")
        await asyncio.sleep(0.001)


class SyncGun(Gun):
    """Writes `blocking` in each call."""

    def setup(self) -> None:
        self.witness = witness_of(self.context)

    def call(self) -> None:
        os.write(self.witness, b"blocking\n")


class SyncUser(VirtualUser):
    """Writes `user` in each call; its setup waits for the file of params["gate"], if that is given."""

    def setup(self) -> None:
        self.witness = witness_of(self.context)
        gate = self.context.params.get("gate")
        while gate is not None and not os.path.exists(gate):
            time.sleep(0.01)

    def call(self) -> None:
        os.write(self.witness, b"user\n")
        time.sleep(0.01)


class AsyncUser(VirtualUser):
    """Writes `packed` in each call."""

    async def setup(self) -> None:
        self.witness = witness_of(self.context)

    async def call(self) -> None:
        os.write(self.witness, b"packed\n")
        await asyncio.sleep(0.01)
