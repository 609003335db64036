"""The zygote and the aggregator as the node's loop sees them, and all that wakes the loop. It decides nothing.

Used from the loop's thread alone, but for `wake`.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from wasp_ray.clock import now_ns
from wasp_ray.errors import NodeFailed
from wasp_ray.node.engines import Engine, start_aggregator, start_zygote
from wasp_ray.wire.arena import Arena
from wasp_ray.wire.channel import ChannelClosed, Message
from wasp_ray.wire.control import NEVER
from wasp_ray.worker.ticker import TimerFd

ZYGOTE, AGGREGATOR = "zygote", "aggregator"


class Interrupted(Exception):
    """A signal or stop came before the load began."""


class Links:
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
        self.zygote = start_zygote(self._inline, profile)
        return self.zygote

    def start_aggregator(self, arena: Arena, message: Message, feed: socket.socket | None) -> None:
        """The second, with its plan; from now on the loop may wait for instants too."""
        self.aggregator = start_aggregator(self._inline, arena, feed)
        fds = [] if arena.fd is None else [arena.fd]
        if feed is not None and not self._inline:
            fds.append(feed.fileno())
        self.aggregator.channel.send(message, fds)
        if not self._inline:
            self._timer = TimerFd()

    def lost(self) -> list[str]:
        """Names of engines that were started and are no more."""
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
        """Without an answer; one that is gone is seen by `lost`."""
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
