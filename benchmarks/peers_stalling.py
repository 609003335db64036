"""A server that answers nothing for 1 s in every 10, and logs when each request came and when it was answered.

`python -m benchmarks.peers_stalling PORT LOG`: requests are read and their arrival is noted also while it stands still, as a
kernel's queue or a proxy in front of it would take them. SIGTERM ends it; LOG (an .npz) then holds `came` and `answered`
(monotonic ns) and `stalls` (begin, end).
"""

from __future__ import annotations

import asyncio
import signal
import sys
from array import array
from time import monotonic_ns
from typing import cast

import httptools
import numpy
import uvloop

FIRST_STALL_S, STALL_S, PERIOD_S = 4.5, 1.0, 10.0
BACKLOG = 4096
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!"


class Log:
    """Of all connections. The stalls are reckoned from the first request on."""

    def __init__(self) -> None:
        self.came, self.answered = array("q"), array("q")
        self.first_ns = 0
        self.held: list[tuple[Connection, int]] = []

    def stall(self, now: int) -> tuple[int, int] | None:
        """The one that `now` lies in."""
        since = now - self.first_ns - int(FIRST_STALL_S * 1e9)
        period, length = int(PERIOD_S * 1e9), int(STALL_S * 1e9)
        if since < 0 or since % period >= length:
            return None
        began = now - since % period
        return began, began + length

    def take(self, connection: Connection) -> None:
        """A request is there as a whole."""
        now = monotonic_ns()
        self.first_ns = self.first_ns or now
        stalled = self.stall(now)
        if stalled is None:
            self.answer(connection, now)
            return
        if not self.held:
            asyncio.get_running_loop().call_later((stalled[1] - now) / 1e9, self.go_on, stalled[1])
        self.held.append((connection, now))

    def go_on(self, end: int) -> None:
        """The stall is over, in the order of arrival."""
        if monotonic_ns() < end:  # timers of the loop are as coarse as a millisecond
            asyncio.get_running_loop().call_soon(self.go_on, end)
            return
        held, self.held = self.held, []
        for connection, came in held:
            self.answer(connection, came)

    def answer(self, connection: Connection, came: int) -> None:
        """And its two times."""
        if connection.transport is not None:
            connection.transport.write(ANSWER)
        self.came.append(came)
        self.answered.append(monotonic_ns())

    def write(self, path: str) -> None:
        """Stalls that lie before the last answer."""
        last = self.answered[-1] if self.answered else 0
        begin, stalls = self.first_ns + int(FIRST_STALL_S * 1e9), []
        while begin < last:
            stalls.append((begin, begin + int(STALL_S * 1e9)))
            begin += int(PERIOD_S * 1e9)
        with open(path, "wb") as file:
            numpy.savez(
                file, came=numpy.array(self.came), answered=numpy.array(self.answered), stalls=numpy.array(stalls)
            )


class Connection(asyncio.Protocol):
    """Parses requests; answers are the log's to give."""

    def __init__(self, log: Log) -> None:
        self._log, self._parser = log, httptools.HttpRequestParser(self)
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class is none, but does the same

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is left to be answered."""
        self.transport = None

    def data_received(self, data: bytes) -> None:
        """To llhttp."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Called by llhttp."""
        self._log.take(self)


async def serve(port: int, path: str) -> None:
    """Until SIGTERM."""
    loop, log, over = asyncio.get_running_loop(), Log(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    server = await loop.create_server(lambda: Connection(log), "127.0.0.1", port, backlog=BACKLOG)
    await over.wait()
    server.close()
    log.write(path)


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2]))
