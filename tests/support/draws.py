"""Actors that write their random draws into the folder params["folder"]: importable by fresh processes. numpy is in the zygote."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from pathlib import Path
from typing import Any

import numpy.random

from wasp_ray import Gun, VirtualUser, task


class Draws:
    """What the actors below share."""

    context: Any

    def write_down(self) -> None:
        """A file a stream: Generator, user, process, kind of stream -> the first numbers of it."""
        self.draw("own", [self.context.random.random() for _ in range(3)])
        self.draw("process", [random.random() for _ in range(3)])
        self.draw("numpy", [float(numpy.random.random()) for _ in range(3)])

    def draw(self, kind: str, numbers: list[float]) -> None:
        """Writes them beside those of earlier incarnations of the same user."""
        stem = f"{self.context.generator} {self.context.user_id:03} {kind}"
        folder = Path(self.context.params["folder"])
        number = sum(1 for file in folder.iterdir() if file.name.startswith(stem))
        (folder / f"{stem} {number}").write_text(json.dumps(numbers))


class SyncUser(Draws, VirtualUser):
    """Draws its tasks; user 1's first process dies, so that its second one draws as well."""

    def setup(self) -> None:
        self.write_down()
        self.tasks: list[float] = []

    def draw_task(self, number: float) -> None:
        """Notes which task was chosen; the first 20 choices are a stream."""
        self.tasks.append(number)
        if len(self.tasks) == 20:
            self.draw("task", self.tasks)
            died = Path(self.context.params["folder"] + ".died")
            if self.context.user_id == 1 and not died.exists():
                died.touch()
                os._exit(1)
        time.sleep(0.002)

    @task
    def one(self) -> None:
        self.draw_task(1)

    @task
    def two(self) -> None:
        self.draw_task(2)


class AsyncUser(Draws, VirtualUser):
    """For packs."""

    async def setup(self) -> None:
        self.write_down()

    async def call(self) -> None:
        await asyncio.sleep(0.01)


class SyncGun(Draws, Gun):
    """A blocking gun."""

    def setup(self) -> None:
        self.write_down()

    def call(self) -> None:
        time.sleep(0.005)


class AsyncGun(Draws, Gun):
    """A gun on an event loop."""

    async def setup(self) -> None:
        self.write_down()

    async def call(self) -> None:
        await asyncio.sleep(0)


def drawn(folder: Path) -> dict[str, list[float]]:
    """Stream -> numbers."""
    return {file.name: json.loads(file.read_text()) for file in sorted(folder.iterdir())}
