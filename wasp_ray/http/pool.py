"""The connections of an async client: those that are idle, how many may be open, and who waits for one.

New connections are opened as TCP opens its window: eight at a time, and one more for each that is open, so that a load that
begins at thousands of calls a second does not spend its first seconds on connections that it needs at no other time. A request
that waits takes whatever comes first, one that is given back or the right to open a new one.
"""

from __future__ import annotations

import asyncio
from collections import deque

from wasp_ray.http import failures
from wasp_ray.http.connection import Connection
from wasp_ray.http.failures import RequestFailed
from wasp_ray.http.parts import Origin
from wasp_ray.wire.control import NEVER

FIRST_OPENINGS = 8
ENOUGH = 64
"""So many at first, and twice as many each time that they do not suffice though the loop is not busy: one that is has enough
to do with those it has, and more of them would only slow it down.
"""
Turn = asyncio.Future[Connection | None]


class Pool:
    """Of one client, for one event loop. `home`: the idle connections of the base URL's origin, nearly always meant."""

    def __init__(self, home: Origin, limit: int, idle_ns: int) -> None:
        self.home: list[Connection] = []
        self._idle: dict[Origin, list[Connection]] = {home: self.home}
        self._limit, self._idle_ns = limit, idle_ns
        self._cap = ENOUGH
        self._open: set[Connection] = set()
        self._opening = 0
        self.waiting: deque[tuple[Turn, Origin, int]] = deque()  # with the deadline of each

    async def take(self, origin: Origin, deadline: int, loop: asyncio.AbstractEventLoop) -> Connection | None:
        """An idle connection; None: open one, and tell `opened` or `not_opened`. Raises RequestFailed after `deadline`."""
        idle = self._idle_of(origin)
        if idle:
            return idle.pop()
        if not self.waiting and self._may_open(origin):
            self._opening += 1
            return None
        turn: Turn = loop.create_future()
        self.waiting.append((turn, origin, deadline))
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:  # what was given is the next one's
                given = turn.result()
                if given is None:
                    self.not_opened()
                else:
                    self.put(origin, given)
            raise

    def opens_anyway(self) -> None:
        """For a request that takes no idle one: it opens one beyond the rules."""
        self._opening += 1

    def opened(self, connection: Connection) -> None:
        """It is in use."""
        self._opening -= 1
        self._open.add(connection)
        self.serve()

    def not_opened(self) -> None:
        """The attempt failed."""
        self._opening -= 1
        self.serve()

    def put(self, origin: Origin, connection: Connection) -> None:
        """Back after an exchange."""
        if connection.reusable:
            self._idle_of(origin).append(connection)
        else:
            connection.close()
            self._open.discard(connection)
        self.serve()

    def drop(self, connection: Connection) -> None:
        """Closes it."""
        connection.close()
        self._open.discard(connection)
        self.serve()

    def lost(self, connection: Connection) -> None:
        """Told by the connection itself: it is no longer open."""
        self._open.discard(connection)
        for idle in self._idle.values():
            if connection in idle:
                idle.remove(connection)
        self.serve()

    def sweep(self, now: int, is_busy: bool) -> None:
        """Ends what is past its deadline, closes what was idle for long, and allows for more where that may help."""
        if self.waiting and not is_busy and len(self._open) >= self._cap // 2:
            self._cap *= 2
            self.serve()
        stale = now - self._idle_ns
        for connection in list(self._open):
            if connection.deadline != NEVER:
                connection.check(now)
            elif connection.ended_ns and connection.ended_ns < stale:
                connection.close()
        late = [entry for entry in self.waiting if entry[2] <= now]
        for entry in late:
            self.waiting.remove(entry)
            if not entry[0].done():
                is_full = len(self._open) + self._opening >= self._limit
                entry[0].set_exception(RequestFailed(failures.NO_CONNECTION if is_full else failures.TIMEOUT))

    def close(self) -> None:
        """Ends all connections and exchanges."""
        for connection in list(self._open):
            connection.fail(failures.CANCELLED)
        for idle in self._idle.values():
            idle.clear()
        self._open.clear()

    # -- who is next

    def _idle_of(self, origin: Origin) -> list[Connection]:
        idle = self._idle.get(origin)
        if idle is None:
            idle = self._idle[origin] = []
        return idle

    def _may_open(self, origin: Origin) -> bool:
        known = len(self._open)
        if self._opening >= FIRST_OPENINGS + known or known + self._opening >= self._cap:
            return False
        if known + self._opening < self._limit:
            return True
        if len(self._idle) > 1:
            for other, idle in self._idle.items():  # an idle one of another origin makes room
                if idle and other != origin:
                    connection = idle.pop()
                    connection.close()
                    self._open.discard(connection)
                    return True
        return False

    def serve(self) -> None:
        """Gives those that wait longest what there is: idle connections, and the right to open more."""
        waiting = self.waiting
        while waiting:
            turn, origin, _ = waiting[0]
            if not turn.done():
                idle = self._idle_of(origin)
                if idle:
                    turn.set_result(idle.pop())
                elif self._may_open(origin):
                    self._opening += 1
                    turn.set_result(None)
                else:
                    return
            waiting.popleft()
