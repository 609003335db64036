"""Guns and users that write what they do into a file of the test's, whose truth does not come from the engine."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from wasp_ray import Gun, Response, VirtualUser


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


class Threads(VirtualUser):
    """Each call has 8 threads do params["rounds"] rounds of a group, a failing group, a record, two counters' steps and a row;
    then it writes how many of each were done, and `end`.
    """

    def setup(self) -> None:
        self.witness = witness_of(self.context)
        sys.setswitchinterval(1e-6)  # threads change places at every chance
        self.pool = ThreadPoolExecutor(8)

    def work(self, number: int) -> int:
        """In a thread. Distinct names are defined by whichever thread comes first."""
        rounds: int = self.context.params["rounds"]
        for at in range(rounds):
            with self.group(f"group {at}"):
                pass
            with self.group("failing") as group:
                group.fail(f"thread {number}")
            self.record("record", 0.001, status=at, bytes_in=1)
            self.count("things", 2)
            os.write(self.witness, b"row %d\n" % self.context.feed("rows")["n"])
        return rounds

    def call(self) -> Response:
        done = sum(self.pool.map(self.work, range(8)))
        os.write(self.witness, b"round\n" * done + b"end\n")
        return Response(group="own", data={"done": done})


class AsyncThreads(Gun):
    """The same by asyncio.to_thread, which knows its call, and by run_in_executor, which does not."""

    async def setup(self) -> None:
        self.witness = witness_of(self.context)
        sys.setswitchinterval(1e-6)

    def work(self, rounds: int) -> int:
        """In a thread."""
        for _ in range(rounds):
            with self.group("group"):
                pass
            self.record("record", 0.001)
            self.count("things")
        return rounds

    async def call(self) -> None:
        rounds = self.context.params["rounds"]
        loop = asyncio.get_running_loop()
        done = await asyncio.gather(
            *(asyncio.to_thread(self.work, rounds) for _ in range(3)),
            *(loop.run_in_executor(None, self.work, rounds) for _ in range(3)),
        )
        with self.group("loop"):
            await asyncio.sleep(0)
        os.write(self.witness, b"round\n" * sum(done) + b"end\n")


class HttpThreads(VirtualUser):
    """Each call has 8 threads send params["rounds"] requests with one client, whose URL is params["url"]."""

    def setup(self) -> None:
        sys.setswitchinterval(1e-6)
        self.pool = ThreadPoolExecutor(8)
        self.http = self.context.http(self.context.params["url"])

    def work(self, number: int) -> None:
        """In a thread."""
        for at in range(self.context.params["rounds"]):
            assert self.http.get("/item", query={"n": f"{number}.{at}"}).text == f"{number}.{at}"

    def call(self) -> None:
        list(self.pool.map(self.work, range(8)))
