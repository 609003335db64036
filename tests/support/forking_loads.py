"""Guns and users that fork, and write what parents and children did into a witness."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from support.witness_loads import witness_of
from wasp_ray import Gun, RestartUser, StopUser, VirtualUser

MANY = 3_000
"""More records than the ring of a user has room for."""


def wait_for(pid: int) -> int:
    """The exit code of a child; -N for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def write_in_new_process(path: str) -> None:
    """The work of a process that is no fork of the worker's."""
    with open(path, "a") as file:
        file.write("child\n")


class Forking:
    """What a call does, by params["how"]: the methods `do_HOW`. Each writes `child` in a child that is to be counted, and `call`
    in the parent, at its end.
    """

    context: Any
    group: Any
    record: Any
    count: Any
    witness: int

    def prepare(self) -> None:
        """In setup."""
        self.witness = witness_of(self.context)

    def act(self) -> None:
        """The call."""
        with self.group("parent"):
            how: Callable[[], None] = getattr(self, f"do_{self.context.params['how']}")
        with suppress(ReturnedInChild):
            how()
            os.write(self.witness, b"call\n")
            time.sleep(0.005)

    def in_child(self) -> None:
        """All that a call can record, and an end of the whole Generator."""
        with self.group("child"):
            self.record("child", 0.001)
            self.count("children")
        os.write(self.witness, b"child\n")
        self.context.stop("a child wants it")

    def do_return(self) -> None:
        pid = os.fork()
        if pid == 0:
            self.in_child()
            raise ReturnedInChild
        assert wait_for(pid) == 0

    def do_exit(self) -> None:
        pid = os.fork()
        if pid == 0:
            self.in_child()
            sys.exit(3)
        assert wait_for(pid) == 3

    def do_exit_text(self) -> None:
        pid = os.fork()
        if pid == 0:
            self.in_child()
            sys.exit("why")
        assert wait_for(pid) == 1

    def do_hard_exit(self) -> None:
        pid = os.fork()
        if pid == 0:
            self.in_child()
            os._exit(5)
        assert wait_for(pid) == 5

    def do_raise(self) -> None:
        pid = os.fork()
        if pid == 0:
            self.in_child()
            raise ValueError("from a child")
        assert wait_for(pid) == 1

    def do_interrupt(self) -> None:
        pid = os.fork()
        if pid == 0:
            self.in_child()
            raise KeyboardInterrupt
        assert wait_for(pid) == 1

    def do_stop_user(self) -> None:
        pid = os.fork()
        if pid == 0:
            self.in_child()
            raise StopUser
        assert wait_for(pid) == 0

    def do_restart_user(self) -> None:
        pid = os.fork()
        if pid == 0:
            self.in_child()
            raise RestartUser("in a child")
        assert wait_for(pid) == 1

    def do_many_records(self) -> None:
        """A child has no reader: it must not wait for room."""
        pid = os.fork()
        if pid == 0:
            for at in range(MANY):
                with self.group(f"child {at % 100}"):
                    pass
            self.in_child()
            os._exit(0)
        assert wait_for(pid) == 0

    def do_grandchild(self) -> None:
        pid = os.fork()
        if pid == 0:
            self.in_child()
            inner = os.fork()
            if inner == 0:
                with self.group("grandchild"):
                    sys.exit(7)
            sys.exit(wait_for(inner))
        assert wait_for(pid) == 7

    def do_multiprocessing(self) -> None:
        process = multiprocessing.get_context("fork").Process(target=self.in_child)
        process.start()
        process.join()
        assert process.exitcode == 0

    def do_pool(self) -> None:
        """Whose workers end by SIGTERM; the pool forks two."""
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(abs, [-1, -2, -3]) == [1, 2, 3]
        os.write(self.witness, b"child\nchild\n")

    def do_thread(self) -> None:
        """A fork in a thread has that thread alone, and ends with it."""
        codes: list[int] = []

        def fork() -> None:
            pid = os.fork()
            if pid == 0:
                self.in_child()
                return
            codes.append(wait_for(pid))

        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()
        assert codes == [0]

    def do_recording_threads(self) -> None:
        """A fork while other threads record: what they hold is nobody's in the child."""
        over = threading.Event()

        def record() -> None:
            while not over.is_set():
                with self.group("beside"):
                    pass

        threads = [threading.Thread(target=record) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            self.do_hard_exit()
        finally:
            over.set()
            for thread in threads:
                thread.join()

    # -- what is no fork to wasp_ray

    def do_subprocess(self) -> None:
        subprocess.run(["true"], check=True)

    def do_preexec(self) -> None:
        subprocess.run(["true"], check=True, preexec_fn=lambda: None)

    def do_spawnl(self) -> None:
        assert os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-S", "-E", "-c", "") == 0

    def do_mp_spawn(self) -> None:
        self._in_context("spawn")

    def do_mp_forkserver(self) -> None:
        self._in_context("forkserver")

    def _in_context(self, name: str) -> None:
        context: Any = multiprocessing.get_context(name)
        process = context.Process(target=write_in_new_process, args=(self.context.params["witness"],))
        process.start()
        process.join()
        assert process.exitcode == 0


class ReturnedInChild(Exception):
    """A child's way back to the method that wasp_ray called, which then returns."""


class User(Forking, VirtualUser):
    """Forks in its calls; with params["hook"] in its setup or teardown, as params["in_hook"] says."""

    def setup(self) -> None:
        self.prepare()
        self._hook("setup")

    def call(self) -> None:
        self.act()

    def teardown(self) -> None:
        os.write(self.witness, b"teardown\n")
        self._hook("teardown")

    def _hook(self, name: str) -> None:
        if self.context.params.get("hook") == name:
            with suppress(ReturnedInChild):
                getattr(self, f"do_{self.context.params['in_hook']}")()
                os.write(self.witness, name.encode() + b" over\n")


class BlockingGun(Forking, Gun):
    """A rate worker that forks."""

    def setup(self) -> None:
        self.prepare()

    def call(self) -> None:
        self.act()


class AsyncForking(Forking):
    """Forks in coroutines, beside calls of others in the same loop."""

    async def setup(self) -> None:
        self.prepare()

    async def call(self) -> None:
        with self.group("beside"):
            await asyncio.sleep(0.001)
        how = getattr(self, f"async_{self.context.params['how']}", None)
        if how is None:
            self.act()
        else:
            await how()
            os.write(self.witness, b"call\n")

    async def teardown(self) -> None:
        os.write(self.witness, b"teardown\n")

    async def async_await(self) -> None:
        """The child gives way to the loop, in which there are calls of others."""
        pid = os.fork()
        if pid == 0:
            self.in_child()
            await asyncio.sleep(0)  # more than that raises: to asyncio there is no running loop in a fork
            os.write(self.witness, b"a child went on\n")
        assert await asyncio.to_thread(wait_for, pid) == 0

    async def async_to_thread(self) -> None:
        await asyncio.to_thread(self.do_hard_exit)

    async def async_subprocess(self) -> None:
        """For which uvloop forks by itself."""
        process = await asyncio.create_subprocess_exec("true")
        assert await process.wait() == 0

    async def async_subprocess_of_loop(self) -> None:
        """The same by the loop's own method, as a task of its own and awaited."""
        loop = asyncio.get_running_loop()
        for coroutine in (
            loop.subprocess_exec(Ended, "true"),
            loop.create_task(loop.subprocess_exec(Ended, "true")),
        ):
            transport, protocol = await coroutine
            await protocol.over.wait()
            transport.close()


class Ended(asyncio.SubprocessProtocol):
    """Knows when a program has ended."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    def process_exited(self) -> None:
        self.over.set()


class AsyncGun(AsyncForking, Gun):
    """A rate worker on an event loop."""


class AsyncUser(AsyncForking, VirtualUser):
    """Users on an event loop."""


def profile_hook() -> dict[str, int]:
    """A profile's setup whose child returns, too."""
    pid = os.fork()
    return {"code": wait_for(pid) if pid else -1}
