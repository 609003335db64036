"""The engine processes of a node, zygote, aggregator and exporter: processes of sessions of their own, or threads of the inline
runtime. It decides nothing. Used from the loop's thread alone, but for `Engines.wake`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

from wasp_ray.clock import now_ns, sleep_s
from wasp_ray.errors import NodeFailed
from wasp_ray.wire.arena import Arena
from wasp_ray.wire.channel import Channel, ChannelClosed, Message, channel_pair
from wasp_ray.wire.control import NEVER
from wasp_ray.worker.ticker import TimerFd

_CODE = "import json,sys;sys.path[:]=json.loads(sys.argv.pop());from {module} import main;sys.exit(main())"
_END_NS = 5_000_000_000
_GROUP_NS = 500_000_000


class Engine:
    """One engine process or thread, and the channel to it."""

    def __init__(
        self, channel: Channel, process: subprocess.Popen[bytes] | None, thread: threading.Thread | None
    ) -> None:
        self.channel, self._process, self._thread = channel, process, thread
        self.hand_over: Callable[[Arena], None] = lambda arena: None  # inline: gives the zygote its memory

    @property
    def alive(self) -> bool:
        """Whether it still answers."""
        return not self.channel.closed and (self._process is None or self._process.poll() is None)

    @property
    def pid(self) -> int:
        """The process' id; this process' own for a thread."""
        return self._process.pid if self._process is not None else os.getpid()

    def reap_lost(self) -> None:
        """End the processes that it started, now that it has died, and wait for them. Its channel closes before its children are
        killed, and they continue to make calls meanwhile.
        """
        if self._process is None:
            return
        give_up = now_ns() + _END_NS
        while self._process.poll() is None and now_ns() < give_up:
            sleep_s(0.002)
        give_up = now_ns() + _GROUP_NS
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
            while now_ns() < give_up:  # where nobody reaps orphans they are there for ever, as zombies
                sleep_s(0.002)
                os.killpg(self._process.pid, 0)

    def end(self) -> None:
        """Closes the channel, which ends it; kills what does not leave within 5 s. Safe to call twice."""
        if self._process is None:
            with suppress(OSError):
                self.channel.sock.shutdown(socket.SHUT_RDWR)
            if self._thread is not None:
                self._thread.join(5.0)
            self.channel.close()
            return
        self.channel.close()
        give_up = now_ns() + _END_NS
        while self._process.poll() is None and now_ns() < give_up:
            sleep_s(0.002)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # users' own subprocesses


def start_process(module: str) -> Engine:
    """A fresh interpreter with this one's flags and sys.path, in its own session, running `module.main()`."""
    channel, theirs = channel_pair()
    try:
        process = subprocess.Popen(
            python_command(module, str(theirs.fileno())),
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
        )
    finally:
        theirs.close()
    return Engine(channel, process, None)


def python_command(module: str, *arguments: str) -> list[str]:
    """The command of a fresh interpreter with this one's flags and sys.path that runs `module.main()`."""
    return [
        sys.executable, *_interpreter_flags(), "-P", "-c", _CODE.format(module=module), *arguments, json.dumps(sys.path)
    ]  # fmt: skip


def _interpreter_flags() -> list[str]:
    """-O, -W, -X, -B... of this interpreter, as multiprocessing passes them on."""
    return list(subprocess._args_from_interpreter_flags())  # type: ignore[attr-defined]


def _start_zygote(inline: bool, profile: Any) -> Engine:
    """The zygote; inline it is a thread that is given the profile itself."""
    if not inline:
        return start_process("wasp_ray.runtime.zygote_main")
    from wasp_ray.runtime.zygote import Zygote

    channel, theirs = channel_pair()
    zygote = Zygote(Channel(theirs), inline=True, profile=profile)
    engine = Engine(channel, None, _thread(zygote.serve, "wasp-zygote"))
    engine.hand_over = zygote.take
    return engine


def _start_aggregator(inline: bool, arena: Arena, feed: socket.socket | None) -> Engine:
    """The aggregator; it waits for its plan. `feed`: the connection to the exporter, which a process is sent with the plan."""
    if not inline:
        return start_process("wasp_ray.aggregator.serve")
    from wasp_ray.aggregator.serve import serve

    channel, theirs = channel_pair()
    return Engine(channel, None, _thread(lambda: serve(Channel(theirs), arena, feed), "wasp-aggregator"))


def start_exporter(inline: bool, feed: socket.socket) -> Engine:
    """The exporter; it waits for its plan. `feed`: where samples come from, which a process is sent with the plan."""
    if not inline:
        return start_process("wasp_ray.sinks.serve")
    from wasp_ray.sinks.serve import serve

    channel, theirs = channel_pair()
    return Engine(channel, None, _thread(lambda: serve(Channel(theirs), feed), "wasp-exporter"))


def _thread(target: Any, name: str) -> threading.Thread:
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


ZYGOTE: Final = "zygote"
AGGREGATOR: Final = "aggregator"


class Interrupted(Exception):
    """A signal or stop came before the load began."""


class Engines:
    """Two engines, a timer and a wake pipe."""

    def __init__(self, inline: bool) -> None:
        self._inline = inline
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self.zygote: Engine | None = None
        self.aggregator: Engine | None = None
        self._timer: TimerFd | None = None

    def wake(self) -> None:
        """Ends the loop's wait; from any thread or signal handler."""
        with suppress(OSError):
            os.write(self._wake_write, b"w")

    # -- engines

    def start_zygote(self, profile: Any) -> Engine:
        """The first of the two: it reads the load."""
        self.zygote = _start_zygote(self._inline, profile)
        return self.zygote

    def start_aggregator(self, arena: Arena, message: Message, feed: socket.socket | None) -> None:
        """The second, with its plan; from now on the loop may wait for instants too."""
        self.aggregator = _start_aggregator(self._inline, arena, feed)
        fds = [] if arena.fd is None else [arena.fd]
        if feed is not None and not self._inline:
            fds.append(feed.fileno())
        self.aggregator.channel.send(message, fds)
        if not self._inline:
            self._timer = TimerFd()

    def lost(self) -> list[str]:
        """Return the names of engine processes that were started and have exited."""
        named = ((ZYGOTE, self.zygote), (AGGREGATOR, self.aggregator))
        return [name for name, engine in named if engine is not None and not engine.alive]

    def ask(
        self,
        message: Message,
        timeout_s: float,
        what: str,
        stopped: Callable[[], bool],
        fds: Sequence[int] = (),
    ) -> Message:
        """The zygote's answer. Raises NodeFailed at the deadline or its death, Interrupted when `stopped()`."""
        engine = self.zygote
        assert engine is not None
        give_up = now_ns() + int(timeout_s * 1e9)
        try:
            engine.channel.send(message, fds)
        except ChannelClosed as exc:
            raise NodeFailed(f"{what}: the engine process ended at once ({exc})") from exc
        while now_ns() < give_up:
            for answer in engine.channel.wait(0.1):
                return answer
            if not engine.alive:
                raise NodeFailed(f"{what}: the engine process died (its messages are above)")
            if stopped():
                raise Interrupted
        raise NodeFailed(f"{what} took longer than {timeout_s:g} s")

    def tell_zygote(self, message: Message) -> None:
        """Send a message without waiting for an answer; `lost` shows a zygote that has exited."""
        with suppress(ChannelClosed):
            assert self.zygote is not None
            self.zygote.channel.send(message)

    def tell_aggregator(self, message: Message) -> bool:
        """Whether it was there to hear it."""
        try:
            assert self.aggregator is not None
            self.aggregator.channel.send(message)
        except ChannelClosed:
            return False
        return True

    # -- waiting

    def wait(self, timeout_ms: float, wake_at: int, fds: Iterable[int]) -> None:
        """Until a message, input on `fds`, a wake-up or the monotonic instant, at most `timeout_ms`."""
        poller = select.poll()
        for fd in (self._wake_read, *fds):
            poller.register(fd, select.POLLIN)
        for engine in (self.zygote, self.aggregator):
            if engine is not None and not engine.channel.closed:
                poller.register(engine.channel, select.POLLIN)
        if self._timer is not None and wake_at != NEVER:
            self._timer.arm(wake_at)
            poller.register(self._timer.fd, select.POLLIN)
        elif wake_at != NEVER:
            timeout_ms = min(timeout_ms, max(0.0, (wake_at - now_ns()) / 1e6))
        ready = {fd for fd, _ in poller.poll(timeout_ms)}
        if self._wake_read in ready:
            with suppress(BlockingIOError):
                os.read(self._wake_read, 4096)
        if self._timer is not None and self._timer.fd in ready:
            self._timer.clear()

    @staticmethod
    def heard(engine: Engine | None) -> list[Message]:
        """What an engine has said since the last time."""
        return [] if engine is None or engine.channel.closed else engine.channel.receive()

    def close(self) -> None:
        """Ends the engines and all with them."""
        for engine in (self.zygote, self.aggregator):
            if engine is not None:
                engine.end()
        if self._timer is not None:
            self._timer.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
