"""The async client: a pool of kept connections and the way of a request over one of them. See docs/http.md."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any

from wasp_ray.clock import now_ns
from wasp_ray.http import failures
from wasp_ray.http.answer import is_telling
from wasp_ray.http.connection import Connection
from wasp_ray.http.dial import Dialer
from wasp_ray.http.failures import RequestFailed
from wasp_ray.http.methods import Client
from wasp_ray.http.options import Origin
from wasp_ray.http.recorder import Recorder
from wasp_ray.http.request import Request
from wasp_ray.http.response import Response
from wasp_ray.http.shared import share_of
from wasp_ray.http.talk import Talk
from wasp_ray.wire.control import NEVER


class AsyncClient(Client[Coroutine[Any, Any, Response]]):
    """For one event loop; made without one."""

    def __init__(self, base_url: str, recorder: Recorder | None = None, **options: Any) -> None:
        super().__init__(base_url, recorder, **options)
        made = self.settings
        self._home = made.origin
        self._idle_home: list[Connection] = []  # of the base URL's origin, which is nearly always meant
        self._idle: dict[Origin, list[Connection]] = {made.origin: self._idle_home}
        self._open: set[Connection] = set()
        self._opening = 0
        self._queue: deque[asyncio.Future[None]] = deque()  # requests that wait for a connection to be free
        self._dialer = Dialer(made, self._lost)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begins, self._ended = self._recorder.request_begins, self._recorder.request_ended
        self._is_usual = not made.phases

    async def _run(self, request: Request) -> Response:
        """The usual way of a request, over a kept connection to a usual answer, spelled out; else `_go_on`."""
        loop = self._loop or self._begin()
        start = now_ns()
        call, due = self._begins(start)
        idle = self._idle_home
        if not idle or request.origin is not self._home:
            return await self._go_on(Talk(request, start, call, due))
        connection = idle.pop()
        try:
            await connection.exchange(request, start + request.timeout_ns, loop, self._share)
        except BaseException:
            self._drop(connection)
            self._judge.cancelled(Talk(request, start, call, due))
            raise
        status, head = connection.status, connection.head
        if (
            status >= 300
            or not self._is_usual
            or request.expect is not None
            or self._queue
            or not connection.reusable
            or is_telling(head)
        ):
            return await self._go_on(Talk(request, start, call, due), connection, is_kept=True)
        end = connection.ended_ns
        response = Response(status, head, connection.body, request, "", (end - start) / 1e9)
        received = connection.received
        idle.append(connection)
        self._ended(call, due, start, end, request.group, request.route, status, "", received, len(request.data))
        return response

    async def _go_on(self, talk: Talk, connection: Connection | None = None, is_kept: bool = False) -> Response:
        """To the end: what became of the first exchange, and as many more as it takes."""
        loop, judge = self._loop or self._begin(), self._judge
        try:
            while True:
                if connection is None:
                    connection, is_kept = await self._any(talk)
                    await connection.exchange(talk.request, talk.deadline, loop, self._share)
                origin, reader, error = talk.request.origin, connection, connection.error
                if self.settings.phases and connection.first_ns > connection.began_ns:
                    talk.took("first byte", connection.first_ns - connection.began_ns)
                if error:
                    self._drop(connection)
                    connection = None
                    if is_kept and judge.may_repeat(talk, reader, error):
                        continue
                    return judge.failed(talk, error, reader)
                response = judge.answered(talk, reader, connection.ended_ns)
                self._put_back(origin, connection)
                connection = None
                if response is not None:
                    return response
        except RequestFailed as exc:  # no connection could be had
            return judge.failed(talk, str(exc))
        except BaseException:
            if connection is not None:
                self._drop(connection)
            judge.cancelled(talk)
            raise

    async def close(self) -> None:
        """Ends all connections; a request after it opens new ones."""
        for connection in list(self._open):
            connection.fail(failures.CANCELLED)
        for idle in self._idle.values():
            idle.clear()
        self._open.clear()

    # -- connections

    def _begin(self) -> asyncio.AbstractEventLoop:
        self._loop = loop = asyncio.get_running_loop()
        self._share = share_of(loop)
        made = self.settings
        self._share.watch(self, min(made.timeout_ns, made.first_byte_timeout_ns or made.timeout_ns))
        return loop

    def _idle_of(self, origin: Origin) -> list[Connection]:
        idle = self._idle.get(origin)
        if idle is None:
            idle = self._idle[origin] = []
        return idle

    async def _any(self, talk: Talk) -> tuple[Connection, bool]:
        """A kept connection or a new one, waited for when there are as many as may be; whether it is a kept one."""
        origin = talk.request.origin
        idle = self._idle_of(origin)
        while True:
            if idle and not talk.repeated:
                return idle.pop(), True
            if len(self._open) + self._opening < self.settings.connections:
                break
            await self._wait_for_turn(talk)
        self._opening += 1
        try:
            connection = await self._dialer.dial(origin, talk)
        finally:
            self._opening -= 1
            self._next_turn()
        connection.first_byte_timeout_ns = self.settings.first_byte_timeout_ns or NEVER
        self._open.add(connection)
        return connection, False

    def _put_back(self, origin: Origin, connection: Connection) -> None:
        if connection.reusable:
            self._idle_of(origin).append(connection)
            self._next_turn()
        else:
            self._drop(connection)

    async def _wait_for_turn(self, talk: Talk) -> None:
        for origin, idle in self._idle.items():  # one of another origin makes room
            if idle and origin != talk.request.origin:
                self._drop(idle.pop())
                return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout(max(0.0, (talk.deadline - now_ns()) / 1e9)):
                await turn
        except TimeoutError:
            if turn.done() and not turn.cancelled():  # it had come in the same instant: the next one's
                self._next_turn()
            raise RequestFailed(failures.NO_CONNECTION) from None

    def _next_turn(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _drop(self, connection: Connection) -> None:
        connection.close()
        self._open.discard(connection)
        self._next_turn()

    def _lost(self, connection: Connection) -> None:
        """Told by the connection itself: it is no longer open."""
        self._open.discard(connection)
        for idle in self._idle.values():
            if connection in idle:
                idle.remove(connection)
        self._next_turn()

    def sweep(self, now: int) -> None:
        """Looks at deadlines, and closes what was idle for long. Called by the loop's timer."""
        stale = now - self.settings.idle_ns
        for connection in list(self._open):
            if connection.deadline != NEVER:
                connection.check(now)
            elif connection.ended_ns and connection.ended_ns < stale:
                connection.close()
