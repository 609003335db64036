"""What all clients of one event loop share: an outbox, and the timer that looks at their deadlines.

One small write at a time wakes a fast server for each: it has done its work and sleeps before the next one comes, and to wake
it on another core costs more than all else of a request. Sent together, one wake-up serves them all. Alone, a request waits
for the callbacks that are due anyhow.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary, WeakSet

from wasp_ray.clock import now_ns

if TYPE_CHECKING:
    from wasp_ray.http.connection import Connection

SWEEP_SHARE = 50
SWEEP_MIN_NS, SWEEP_MAX_NS = 2_000_000, 50_000_000
"""Deadlines are looked at so often: a fiftieth of the shortest timeout, within these bounds."""


class Sweepable(Protocol):
    """A client."""

    def sweep(self, now: int) -> None:
        """Ends what is past its deadline."""


class LoopShare:
    """Of one event loop. `lag_ns`: what one turn of it took at last."""

    __slots__ = ("__weakref__", "_began_ns", "_clients", "_interval_ns", "_loop", "_timer", "_waiting", "lag_ns")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.lag_ns = self._began_ns = 0
        self._waiting: list[tuple[Connection, bytes]] = []
        self._clients: WeakSet[Sweepable] = WeakSet()
        self._interval_ns = SWEEP_MAX_NS
        self._timer: asyncio.TimerHandle | None = None

    def put(self, connection: Connection, data: bytes) -> None:
        """To be sent when the callbacks that are due now have run."""
        waiting = self._waiting
        if not waiting:
            self._began_ns = now_ns()
            self._loop.call_soon(self._send)
        waiting.append((connection, data))

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        self.lag_ns = now_ns() - self._began_ns
        for connection, data in waiting:
            connection.write(data)

    def watch(self, client: Sweepable, shortest_ns: int) -> None:
        """Sweeps it from now on; `shortest_ns`: its shortest timeout."""
        self._clients.add(client)
        self._interval_ns = min(self._interval_ns, max(shortest_ns // SWEEP_SHARE, SWEEP_MIN_NS))
        if self._timer is None:
            self._sweep()

    def _sweep(self) -> None:
        now = now_ns()
        for client in list(self._clients):
            client.sweep(now)
        self._timer = self._loop.call_later(self._interval_ns / 1e9, self._sweep) if self._clients else None


_shares: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopShare] = WeakKeyDictionary()


def share_of(loop: asyncio.AbstractEventLoop) -> LoopShare:
    """The one of this loop."""
    found = _shares.get(loop)
    if found is None:
        found = _shares[loop] = LoopShare(loop)
    return found
