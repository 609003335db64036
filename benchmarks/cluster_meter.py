"""Counts the bytes that pass between somebody and the API server: a relay of TCP, which knows nothing of what it carries.

TLS goes through from end to end, so its bytes and handshakes are counted too, as a network would.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import threading
import time

SAMPLE_S = 0.1


class Meter:
    """Listens on a loopback `port`, in a thread of its own; `with` starts and ends it."""

    def __init__(self, target_port: int) -> None:
        self._target, self.port = target_port, 0
        self.up = self.down = self.connections = 0
        self._samples: list[tuple[float, int]] = []  # epoch seconds, bytes both ways
        self._up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    def __enter__(self) -> Meter:
        """It listens."""
        self._thread.start()
        self._up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        """It does not."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    def until(self, at_s: float) -> int:
        """Bytes both ways up to that moment, known to a tenth of a second."""
        at = bisect.bisect_left(self._samples, (at_s, 0))
        return self._samples[at][1] if at < len(self._samples) else self.up + self.down

    async def _serve(self) -> None:
        self._over = asyncio.Event()
        server = await self._loop.create_server(lambda: _Side(self), "127.0.0.1", 0, backlog=2048)
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        while not self._over.is_set():
            self._samples.append((time.time(), self.up + self.down))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), SAMPLE_S)
        server.close()

    async def connect(self, side: _Side) -> None:
        """The other half of a connection."""
        self.connections += 1
        try:
            await self._loop.create_connection(lambda: _Side(self, side), "127.0.0.1", self._target)
        except OSError:
            side.close()


class _Side(asyncio.Protocol):
    """One end of a connection; what it receives goes out at the other."""

    def __init__(self, meter: Meter, other: _Side | None = None) -> None:
        self._meter, self._other, self._is_ours = meter, other, other is not None
        self._early: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ours is the side of the API server."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._other is None:
            self._connecting = asyncio.ensure_future(self._meter.connect(self))
        else:
            self._other.meet(self)

    def meet(self, other: _Side) -> None:
        """The API server has answered."""
        self._other = other
        for data in self._early:
            other.write(data)
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        """On with it."""
        if self._is_ours:
            self._meter.down += len(data)
        else:
            self._meter.up += len(data)
        if self._other is None:
            self._early.append(data)
        else:
            self._other.write(data)

    def write(self, data: bytes) -> None:
        """Out at this end."""
        if self._transport is not None:
            self._transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Then the other end ends too."""
        if self._other is not None:
            self._other.close()

    def close(self) -> None:
        """Ends it when all is written."""
        if self._transport is not None:
            self._transport.close()
