"""Guns and users for tests: importable by fresh processes, so not inside test functions."""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import math
import os
import random
import resource
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

from support.processes import is_alive
from wasp_ray import Gun, Response, RestartUser, StopUser, VirtualUser, task


def witness(path: str, line: str) -> None:
    """Append a line to a file that many processes write to: what happened, seen by the load itself."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\n".encode())
    os.close(file)


class Quick(Gun):
    """Returns at once."""

    async def call(self) -> None:
        return None


def of_locust(**attributes: object) -> type[VirtualUser]:
    """Return a user class with attributes as a locustfile has them."""
    return type("Shopper", (Looper,), attributes)


class Sleepy(Gun):
    """Sleeps for params["s"], async."""

    async def call(self) -> None:
        await asyncio.sleep(self.context.params.get("s", 0.01))


class Blocking(Gun):
    """Sleeps for params["s"], blocking."""

    def call(self) -> None:
        time.sleep(self.context.params.get("s", 0.01))


class RecordsPid(Gun):
    """Appends the pid of each of its workers to the file params["file"]."""

    def setup(self) -> None:
        with open(self.context.params["file"], "a") as file:
            file.write(f"{os.getpid()}\n")

    async def call(self) -> None:
        await asyncio.sleep(0.001)


class Witness:
    """Writes a line per call to the file params["file"]: what truly ran, whatever wasp_ray counts."""

    context: Any

    def setup(self) -> None:
        self.witness = os.open(self.context.params["file"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def seen(self, line: str = "") -> None:
        """One write, which the system appends as a whole."""
        os.write(self.witness, f"{line}\n".encode())


class WitnessedGun(Witness, Gun):
    """Returns at once, blocking."""

    def call(self) -> None:
        self.seen()


class WitnessedUser(Witness, VirtualUser):
    """Returns at once, blocking."""

    def call(self) -> None:
        self.seen()


class WarmingGun(Witness, Gun):
    """The rows of its feeder say how long the request `step` of a call takes and whether it fails; async."""

    async def call(self) -> None:
        row = self.context.feed("ticks")
        with self.group("step") as step:
            began = time.monotonic_ns()
            await asyncio.sleep(row["s"])
            self.seen(f"{row['n']} {int(row['fails'])} {time.monotonic_ns() - began}")
            if row["fails"]:
                step.fail("cold")


class WarmingSyncGun(Witness, Gun):
    """The same, blocking."""

    def call(self) -> None:
        row = self.context.feed("ticks")
        with self.group("step") as step:
            began = time.monotonic_ns()
            time.sleep(row["s"])
            self.seen(f"{row['n']} {int(row['fails'])} {time.monotonic_ns() - began}")
            if row["fails"]:
                step.fail("cold")


class WarmingUser(Witness, VirtualUser):
    """Writes when each of its calls began."""

    def call(self) -> None:
        self.seen(str(time.monotonic_ns()))
        time.sleep(0.01)


class WaitsForFile(Gun):
    """Ends when params["file"] exists, async: a target that the test lets stand still."""

    async def call(self) -> None:
        while not os.path.exists(self.context.params["file"]):
            await asyncio.sleep(0.01)


class BlocksForFile(Gun):
    """The same, blocking."""

    def call(self) -> None:
        while not os.path.exists(self.context.params["file"]):
            time.sleep(0.01)


class Looper(VirtualUser):
    """Sleeps for params["s"], blocking."""

    def call(self) -> None:
        time.sleep(self.context.params.get("s", 0.01))


class HeldUp(VirtualUser):
    """Calls without end; makes the file params["file"] when a call begins params["held_s"] or more after the one before."""

    last_s = math.inf

    def call(self) -> None:
        if time.monotonic() - self.last_s >= self.context.params["held_s"]:
            Path(self.context.params["file"]).touch()
        self.last_s = time.monotonic()


class AsyncLooper(VirtualUser):
    """Sleeps for params["s"], async."""

    async def call(self) -> None:
        await asyncio.sleep(self.context.params.get("s", 0.01))


class Failing(VirtualUser):
    """Every third call raises."""

    calls = 0

    def call(self) -> None:
        self.calls += 1
        time.sleep(0.005)
        if self.calls % 3 == 0:
            raise ValueError("third")


class LongErrors(Failing):
    """Every third call fails with a text of 400 characters."""

    def call(self) -> None:
        self.calls += 1
        if self.calls % 3 == 0:
            raise ValueError("x" * 400)


class Grouped(VirtualUser):
    """Two groups, one nested, a record, a counter and a hand-made Response."""

    def call(self) -> Response:
        with self.group("outer"), self.group("inner"):
            time.sleep(0.01)
        self.record("timed", 0.25, status=201, bytes_in=10)
        self.count("things", 2)
        return Response(group="own", status=200, bytes_out=5)


class FailingGroup(VirtualUser):
    """A group that is failed by hand; the call returns None."""

    def call(self) -> None:
        with self.group("step") as step:
            time.sleep(0.01)
            step.status = 503
            step.fail("too slow")


class Tasks(VirtualUser):
    """Two weighted tasks."""

    @task(3)
    def browse(self) -> None:
        time.sleep(0.001)

    @task
    def buy(self) -> None:
        time.sleep(0.001)


class HungSync(VirtualUser):
    """The first call of each incarnation hangs in C code."""

    def call(self) -> None:
        ctypes.CDLL(None).sleep(30)


class HungNow(VirtualUser):
    """User 0 hangs in every call, others do not. Writes a line before it hangs to params["file"], if there is one."""

    def call(self) -> None:
        if self.context.user_id == 0:
            if "file" in self.context.params:
                witness(self.context.params["file"], "hangs")
            time.sleep(30)
        time.sleep(0.01)


class LooksForItself(VirtualUser):
    """User 0 hangs in every call. Each call notes its user in params["file"], with "again" when the user's last call was in another
    process, which is still alive, else with "alone".
    """

    def call(self) -> None:
        user, file = self.context.user_id, self.context.params["file"]
        last = Path(f"{file}.{user}")
        before = int(last.read_text()) if last.exists() else os.getpid()
        last.write_text(str(os.getpid()))
        is_again = before != os.getpid() and is_alive(before)
        witness(file, f"{user} {'again' if is_again else 'alone'}")
        time.sleep(30 if user == 0 else 0.01)


class SwallowsCancel(Gun):
    """Swallows its cancellation."""

    async def call(self) -> None:
        while True:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                pass


class BlocksLoop(Gun):
    """Blocks the event loop of its worker."""

    async def call(self) -> None:
        time.sleep(30)


class BadSetup(VirtualUser):
    """Its setup raises."""

    def setup(self) -> None:
        raise RuntimeError("no login for you")

    def call(self) -> None:
        return None


class HungSetup(VirtualUser):
    """Its setup hangs."""

    def setup(self) -> None:
        time.sleep(30)

    def call(self) -> None:
        return None


class Crashing(VirtualUser):
    """Dies in each call, as params["how"] says."""

    def call(self) -> None:
        how = self.context.params["how"]
        if how == "exit":
            os._exit(3)
        if how == "segfault":
            ctypes.string_at(0)
        os.kill(os.getpid(), signal.SIGKILL)


class Stopping(VirtualUser):
    """Ends the Generator in its third call."""

    calls = 0

    def call(self) -> None:
        self.calls += 1
        time.sleep(0.01)
        if self.calls == 3:
            self.context.stop("seen enough")


class StopsItself(VirtualUser):
    """Each user makes two calls and leaves."""

    calls = 0

    def call(self) -> None:
        self.calls += 1
        if self.calls == 2:
            raise StopUser


class FirstLeaves(VirtualUser):
    """User 0 leaves in its first call, the others stay."""

    def call(self) -> None:
        if not self.context.user_id:
            raise StopUser
        time.sleep(0.01)


class Restarting(VirtualUser):
    """Asks to be set up again in its second call. Writes each step with its instant to params["file"]."""

    def setup(self) -> None:
        self.calls = 0
        witness(self.context.params["file"], f"setup {time.monotonic()}")

    def call(self) -> None:
        self.calls += 1
        if self.calls == 2:
            raise RestartUser("session is gone")

    def teardown(self) -> None:
        witness(self.context.params["file"], f"teardown {time.monotonic()}")


class TearsDown(VirtualUser):
    """Appends a line to params["file"] when it is torn down; logs in its setup."""

    def setup(self) -> None:
        self.context.log.warning("set up", step=1)

    def call(self) -> None:
        time.sleep(0.01)

    def teardown(self) -> None:
        witness(self.context.params["file"], "torn down")


class Feeds(VirtualUser):
    """Takes a row a call and tells it as the path."""

    def call(self) -> Response:
        row = self.context.feed("people")
        time.sleep(0.002)
        return Response(path=str(row["name"]))


class FeedsGun(Gun):
    """Takes a row a call and counts it by name."""

    async def call(self) -> None:
        self.count(f"row {self.context.feed('people')['name']}")


class Shared(VirtualUser):
    """Reads the shared data, and fails to write it."""

    def call(self) -> Response:
        data = self.context.shared_data
        assert data is not None
        time.sleep(0.01)
        try:
            data[0] = 1
        except TypeError:
            return Response(path=bytes(data).decode())
        return Response(error="shared data is writable")


class Modules(VirtualUser):
    """Tells which heavy modules its process has."""

    def call(self) -> Response:
        import sys

        time.sleep(0.05)
        heavy = {"ray", "aiohttp", "kubernetes", "pykube", "numpy", "rich"} & set(sys.modules)
        return Response(path=",".join(sorted(heavy)) or "none")


class Threaded(VirtualUser):
    """Uses threads inside a call; groups in them count for the call."""

    def call(self) -> None:
        def work() -> None:
            with self.group("thread"):
                time.sleep(0.005)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class Random(VirtualUser):
    """Writes the numbers that its stream gives in three calls to params["file"], with its id in front."""

    calls = 0

    def call(self) -> None:
        self.calls += 1
        witness(self.context.params["file"], f"{self.context.user_id} {self.context.random.random()}")
        if self.calls == 3:
            raise StopUser


class LongStrings(Gun):
    """Errors of 1 MB with any character, and a new path every call."""

    count_ = 0

    async def call(self) -> Response:
        LongStrings.count_ += 1
        return Response(path=f"/item/{LongStrings.count_}", error="\ud800é\x00" + "e" * 1_000_000)


class SlowTeardown(VirtualUser):
    """Its teardown hangs."""

    def call(self) -> None:
        time.sleep(0.01)

    def teardown(self) -> None:
        time.sleep(30)


class SlowCall(VirtualUser):
    """One long call."""

    def call(self) -> None:
        time.sleep(self.context.params.get("s", 20))


class SlowAsync(VirtualUser):
    """One long async call."""

    async def call(self) -> None:
        await asyncio.sleep(self.context.params.get("s", 20))


class KnowsSetup(VirtualUser):
    """Fails unless the profile's setup has run."""

    def call(self) -> None:
        time.sleep(0.01)
        assert self.context.setup_data == {"token": "t"}


def make_token() -> dict[str, str]:
    """A profile's setup; it writes a line to the file of the variable WITNESS."""
    witness(os.environ["WITNESS"], "setup")
    return {"token": "t"}


def drop_token() -> None:
    """A profile's teardown; it writes a line as well."""
    witness(os.environ["WITNESS"], "teardown")


def no_token() -> None:
    """A profile's setup that fails."""
    raise RuntimeError("no token today")


class HttpGet(Gun):
    """GET / of params["port"] by aiohttp."""

    async def setup(self) -> None:
        import aiohttp

        self.session = aiohttp.ClientSession()

    async def call(self) -> None:
        async with self.session.get(f"http://127.0.0.1:{self.context.params['port']}/") as answer:
            await answer.read()

    async def teardown(self) -> None:
        await self.session.close()


class GrpcUser(VirtualUser):
    """Echoes by a blocking grpcio channel of its own."""

    def setup(self) -> None:
        import grpc

        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.context.params['port']}")
        self.say: Any = self.channel.unary_unary("/test.Echo/Say")

    def call(self) -> None:
        assert self.say(b"hello", timeout=5) == b"hello"
        time.sleep(0.01)

    def teardown(self) -> None:
        self.channel.close()


class AsyncGrpcUser(VirtualUser):
    """Echoes by grpc.aio."""

    async def setup(self) -> None:
        import grpc.aio

        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.context.params['port']}")
        self.say: Any = self.channel.unary_unary("/test.Echo/Say")

    async def call(self) -> None:
        assert await self.say(b"hello", timeout=5) == b"hello"
        await asyncio.sleep(0.01)

    async def teardown(self) -> None:
        await self.channel.close()


class WritesToAClosedPeer(VirtualUser):
    """Goes on writing to a connection that its peer has closed, as an HTTP client does with a stale one."""

    def call(self) -> None:
        ours, theirs = socket.socketpair()
        theirs.close()
        with ours:
            try:
                os.write(ours.fileno(), b"x")
            except BrokenPipeError:
                return
        raise AssertionError("the write was taken")


class ForksBesideAThread(VirtualUser):
    """Forks while it has another thread: in the child there is one, and its random stream is its own."""

    def call(self) -> None:
        done = threading.Event()
        other = threading.Thread(target=done.wait, args=(10,))
        other.start()
        mine = random.Random()
        mine.setstate(random.getstate())
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(write, f"{threading.active_count()} {random.random()}".encode())
            os._exit(0)
        done.set()
        other.join()
        os.waitpid(pid, 0)
        threads, drawn = os.read(read, 100).decode().split()
        os.close(read)
        os.close(write)
        assert threads == "1" and float(drawn) != mine.random()


class SlowSetup(VirtualUser):
    """A setup that takes half a second."""

    def setup(self) -> None:
        time.sleep(0.5)

    def call(self) -> None:
        time.sleep(0.01)


class Burns(VirtualUser):
    """Keeps a CPU busy for some milliseconds a call."""

    def call(self) -> None:
        hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", 10_000)


class CountsRows(VirtualUser):
    """Takes a row a call and counts it by name."""

    def call(self) -> None:
        self.count(f"row {self.context.feed('people')['n']}")
        time.sleep(0.002)


class SlowOnNodeTwo(VirtualUser):
    """Ten times slower there."""

    def call(self) -> None:
        time.sleep(0.1 if self.context.node_id == 2 else 0.01)


class BadOnNodeTwo(VirtualUser):
    """Its setup raises there."""

    def setup(self) -> None:
        if self.context.node_id == 2:
            raise RuntimeError("no login for you")

    def call(self) -> None:
        time.sleep(0.01)


class Limits(VirtualUser):
    """Fails unless it may have as many descriptors as the system allows."""

    def call(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert soft == hard, (soft, hard)
        time.sleep(0.01)


class StopsOnNodeTwo(VirtualUser):
    """Ends its Generator in its third call there."""

    def call(self) -> None:
        self.calls = getattr(self, "calls", 0) + 1
        if self.context.node_id == 2 and self.calls == 3:
            self.context.stop("enough")
        time.sleep(0.02)


class FailsOnNodeTwo(VirtualUser):
    """Fails in its third call there."""

    def call(self) -> None:
        self.calls = getattr(self, "calls", 0) + 1
        assert not (self.context.node_id == 2 and self.calls == 3)
        time.sleep(0.02)
