"""Guns and users that write down each call outside of wasp_ray: lines appended to the file params["file"], one atomic write each.

`b PID` when a call begins and `e PID` when it ends, so that a test counts what really happened. Importable by fresh processes.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from wasp_ray import Gun, VirtualUser


class Witnessed:
    """What the actors below share."""

    context: Any

    def note(self, what: str) -> None:
        """Appends a line."""
        os.write(self._fd(), f"{what} {os.getpid()}\n".encode())

    def _fd(self) -> int:
        if not hasattr(self, "_file"):
            self._file = os.open(self.context.params["file"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
        return self._file

    def end_call(self) -> None:
        """Notes the end; after params["calls"] of them, its worker ends the Generator by params["how"], "stop" or "fail"."""
        self.note("e")
        self._calls = getattr(self, "_calls", 0) + 1
        if self._calls == self.context.params.get("calls"):
            if self.context.params["how"] == "fail":
                raise ValueError("enough")
            self.context.stop()

    def is_first(self) -> bool:
        """Whether nobody asked before, over all processes of the test."""
        try:
            os.close(os.open(self.context.params["file"] + ".first", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True


class AsyncGun(Witnessed, Gun):
    """Sleeps for params["s"]."""

    async def call(self) -> None:
        self.note("b")
        await asyncio.sleep(self.context.params.get("s", 0.0))
        self.end_call()


class SyncGun(Witnessed, Gun):
    """Sleeps for params["s"], blocking; its setups are written down as well."""

    def setup(self) -> None:
        self.note("setup")

    def call(self) -> None:
        self.note("b")
        time.sleep(self.context.params.get("s", 0.0))
        self.end_call()


class TenConnections(SyncGun):
    """Its eleventh setup and all later ones fail."""

    def setup(self) -> None:
        for number in range(10):
            with suppress(FileExistsError):
                os.close(os.open(f"{self.context.params['file']}.{number}", os.O_CREAT | os.O_EXCL))
                self.note("connected")
                return
        raise RuntimeError("too many connections")


class SyncUser(Witnessed, VirtualUser):
    """Sleeps for params["s"], blocking."""

    def call(self) -> None:
        self.note("b")
        time.sleep(self.context.params.get("s", 0.01))
        self.end_call()


class FirstIsLong(SyncUser):
    """Its very first call lasts params["long"] seconds, all others params["s"]."""

    def call(self) -> None:
        self.note("b")
        time.sleep(self.context.params["long" if self.is_first() else "s"])
        self.note("e")


class AsyncUser(Witnessed, VirtualUser):
    """Sleeps for params["s"]."""

    async def call(self) -> None:
        self.note("b")
        await asyncio.sleep(self.context.params.get("s", 0.01))
        self.end_call()


class OneSwallows(AsyncGun):
    """Its very first call swallows its cancellation, all others sleep for params["s"]."""

    async def call(self) -> None:
        if not self.is_first():
            await super().call()
            return
        self.note("b")
        while True:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                pass


def noted(file: Path) -> Counter[str]:
    """How many lines of each kind there are."""
    return Counter(line.split()[0] for line in file.read_text().splitlines()) if file.exists() else Counter()
