"""JSON messages, one a line, over a socket pair between two processes of a node. No pickle; descriptors may travel
along.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from wasp_ray.clock import now_ns

Message = dict[str, Any]
_CHUNK = 1 << 16
_MAX_FDS = 250  # the kernel passes at most 253 at once


class ChannelClosed(Exception):
    """The other end has closed."""


class Channel:
    """One end. `send` may block while the other end is busy, for `deadline_s` at most; `receive` never blocks."""

    def __init__(self, sock: socket.socket, *, deadline_s: float = 30.0) -> None:
        self.sock = sock
        self._deadline_ns = int(deadline_s * 1e9)
        self._buffer = bytearray()
        self._kept: list[Message] = []
        self.fds: list[int] = []
        self.closed = False
        sock.setblocking(False)

    def fileno(self) -> int:
        """For select."""
        return self.sock.fileno()

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Writes one message; raises ChannelClosed when the other end has closed or does not read in time."""
        raw = memoryview(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        give_up = now_ns() + self._deadline_ns
        while raw:
            try:
                if fds:
                    sent = socket.send_fds(self.sock, [raw], list(fds))
                    fds = ()
                else:
                    sent = self.sock.send(raw)
                raw = raw[sent:]
            except BlockingIOError:
                left_s = (give_up - now_ns()) / 1e9
                if left_s <= 0:
                    self.closed = True
                    raise ChannelClosed("the other end does not read") from None
                _poll_out(self.sock)
            except OSError as exc:
                self.closed = True
                raise ChannelClosed(str(exc)) from exc

    def receive(self) -> list[Message]:
        """All complete messages that are there; sets `closed` at the end of the stream."""
        while not self.closed:
            try:
                chunk, fds, _, _ = socket.recv_fds(self.sock, _CHUNK, _MAX_FDS)
            except BlockingIOError:
                break
            except OSError:
                chunk, fds = b"", []
            self.fds.extend(fds)
            if not chunk:
                self.closed = True
                break
            self._buffer += chunk
            if len(chunk) < _CHUNK:
                break
        kept, self._kept = self._kept, []
        if b"\n" not in self._buffer:
            return kept
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = bytearray(rest)
        return kept + [json.loads(line) for line in lines if line]

    def first(self) -> Message | None:
        """The first message, however long it takes; None when the other end has closed. `receive` has those that came with it."""
        messages: list[Message] = []
        while not messages and not self.closed:
            messages = self.wait(1.0)
        self._kept = messages[1:]
        return messages[0] if messages else None

    def wait(self, timeout_s: float) -> list[Message]:
        """The next messages, waiting up to `timeout_s`; empty at the deadline or when closed."""
        give_up = now_ns() + int(timeout_s * 1e9)
        while not self.closed:
            messages = self.receive()
            if messages:
                return messages
            left_ms = (give_up - now_ns()) / 1e6
            if left_ms <= 0:
                break
            poller = select.poll()
            poller.register(self.sock, select.POLLIN)
            poller.poll(min(left_ms, 1000))
        return []

    def close(self) -> None:
        """Closes this end."""
        self.closed = True
        self.sock.close()


def _poll_out(sock: socket.socket) -> None:
    poller = select.poll()
    poller.register(sock, select.POLLOUT)
    poller.poll(1000)


def channel_pair() -> tuple[Channel, socket.socket]:
    """A channel and the raw socket for the other end."""
    mine, theirs = socket.socketpair()
    for sock in (mine, theirs):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    return Channel(mine), theirs


def served_channel(nice: int = 0) -> Channel:
    """Return the channel to the process that started this one: argument 1 is its descriptor. SIGINT is left to that process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError):
        os.nice(nice)
    sock = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(sock.fileno(), False)
    return Channel(sock)
