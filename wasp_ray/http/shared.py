"""What all clients of one event loop share: an outbox, and the timer that looks at their deadlines.

One small write at a time wakes a fast server for each: it has done its work and sleeps before the next one comes, and to wake
it on another core costs more than all else of a request. Sent together, one wake-up serves them all. Alone, a request waits
for the callbacks that are due anyhow.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

from wasp_ray.clock import now_ns, process_cpu_ns

if TYPE_CHECKING:
    from wasp_ray.http.connection import Connection

SWEEP_SHARE = 50
SWEEP_MIN_NS, SWEEP_MAX_NS = 2_000_000, 50_000_000
"""Deadlines are looked at so often: a fiftieth of the shortest timeout, within these bounds."""
LOOK_NS, BUSY_SHARE = 20_000_000, 0.9


class Sweepable(Protocol):
    """A client."""

    def sweep(self, now: int) -> None:
        """Ends what is past its deadline."""


class LoopShare:
    """Of one event loop. `is_busy`: of late it hardly ever waited for anything but the CPU."""

    __slots__ = (
        "__weakref__",
        "_clients",
        "_interval_ns",
        "_looked_ns",
        "_loop",
        "_ran_ns",
        "_timer",
        "_waiting",
        "is_busy",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.is_busy = True  # until it is known
        self._looked_ns, self._ran_ns = now_ns(), _ran_ns()
        self._waiting: list[tuple[Connection, bytes]] = []
        self._clients: WeakSet[Sweepable] = WeakSet()
        self._interval_ns = SWEEP_MAX_NS
        self._timer: asyncio.TimerHandle | None = None

    def put(self, connection: Connection, data: bytes) -> None:
        """To be sent when the callbacks that are due now have run."""
        waiting = self._waiting
        if not waiting:
            self._loop.call_soon(self._send)
        waiting.append((connection, data))

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        now = now_ns()
        for connection, data in waiting:
            connection.write(data, now)

    def watch(self, client: Sweepable, shortest_ns: int) -> None:
        """Sweeps it from now on; `shortest_ns`: its shortest timeout."""
        self._clients.add(client)
        self._interval_ns = min(self._interval_ns, max(shortest_ns // SWEEP_SHARE, SWEEP_MIN_NS))
        if self._timer is None:
            self._sweep()

    def _sweep(self) -> None:
        now = now_ns()
        if now - self._looked_ns >= LOOK_NS:
            ran = _ran_ns()
            self.is_busy = ran - self._ran_ns > BUSY_SHARE * (now - self._looked_ns)
            self._looked_ns, self._ran_ns = now, ran
        clients = list(self._clients)
        self._timer = self._loop.call_later(self._interval_ns / 1e9, self._sweep) if clients else None
        for client in clients:
            client.sweep(now)


def _ran_ns() -> int:
    """How long this process ran or waited to run."""
    try:
        with open("/proc/self/schedstat") as file:
            ran, waited, _ = file.read().split()
    except (OSError, ValueError):
        return process_cpu_ns()
    return int(ran) + int(waited)


_shares: dict[asyncio.AbstractEventLoop, LoopShare] = {}


def share_of(loop: asyncio.AbstractEventLoop) -> LoopShare:
    """The one of this loop."""
    found = _shares.get(loop)
    if found is None:
        for ended in [known for known in _shares if known.is_closed()]:
            del _shares[ended]
        found = _shares[loop] = LoopShare(loop)
    return found
