"""The async client: a pool of kept connections and the way of a request over one of them. See docs/http.md."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

from wasp_ray.clock import now_ns
from wasp_ray.http.answer import USUAL_HEAD_BYTES, is_telling
from wasp_ray.http.connection import Connection
from wasp_ray.http.dial import Dialer
from wasp_ray.http.failures import RequestFailed
from wasp_ray.http.methods import Client, verb_of
from wasp_ray.http.pool import Pool
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
        self._pool = Pool(made.origin, made.connections, made.idle_ns)
        self._dialer = Dialer(made, self._pool.lost)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begins, self._ended = self._recorder.request_begins, self._recorder.request_ended
        self._is_usual = not made.phases
        self._usual_head = b""  # of the last small answer that asked for no work: within a second many are the same

    async def _run(self, request: Request) -> Response:
        """The usual way of a request, one exchange that ends in a usual answer, spelled out; else `_go_on`."""
        loop = self._loop or self._begin()
        start = now_ns()
        opened = self._begins(start, request.group, request.route)
        pool, home, talk, is_kept = self._pool, self._pool.home, None, True
        if home and request.origin is self._home:
            connection = home.pop()
        else:
            talk = Talk(request, start, opened)
            try:
                connection, is_kept = await self._connected(talk, loop)
            except RequestFailed as exc:
                return self._judge.failed(talk, str(exc))
            except BaseException:
                self._judge.cancelled(talk)
                raise
        try:
            await connection.exchange(request, start + request.timeout_ns, loop, self._share)
        except BaseException:
            pool.drop(connection)
            self._judge.cancelled(talk or Talk(request, start, opened))
            raise
        status, head, expect = connection.status, connection.head, request.expect
        if (
            status >= 300
            or not self._is_usual
            or (expect is not None and expect != status)
            or not connection.reusable
            or (head != self._usual_head and is_telling(head))
        ):
            return await self._go_on(talk or Talk(request, start, opened), connection, is_kept, loop)
        if len(head) <= USUAL_HEAD_BYTES:
            self._usual_head = head
        end = connection.ended_ns
        response = Response(status, head, connection.body, request, "", (end - start) / 1e9)
        received = connection.received
        if request.origin is self._home:
            home.append(connection)
            if pool.waiting:
                pool.serve()
        else:
            pool.put(request.origin, connection)
        self._ended(opened, end, status, "", received, len(request.data))
        return response

    async def _go_on(self, talk: Talk, first: Connection, is_kept: bool, loop: asyncio.AbstractEventLoop) -> Response:
        """To the end: what became of the first exchange, and as many more as it takes."""
        connection: Connection | None = first
        judge, pool = self._judge, self._pool
        try:
            while True:
                if connection is None:
                    connection, is_kept = await self._connected(talk, loop)
                    await connection.exchange(talk.request, talk.deadline, loop, self._share)
                origin, answered, error = talk.request.origin, connection, connection.error
                if self.settings.phases and connection.first_ns > connection.began_ns:
                    talk.took("first byte", connection.first_ns - connection.began_ns)
                if error:
                    connection = None
                    pool.drop(answered)
                    if is_kept and judge.may_repeat(talk, answered, error, answered.began_ns != 0):
                        continue
                    return judge.failed(talk, error, answered)
                response = judge.answered(talk, answered, answered.ended_ns)
                connection = None
                pool.put(origin, answered)
                if response is not None:
                    return response
        except RequestFailed as exc:  # no connection could be had
            return judge.failed(talk, str(exc))
        except BaseException:
            if connection is not None:
                pool.drop(connection)
            judge.cancelled(talk)
            raise

    async def _connected(self, talk: Talk, loop: asyncio.AbstractEventLoop) -> tuple[Connection, bool]:
        """A connection, and whether it is a kept one. Raises RequestFailed."""
        origin, pool = talk.request.origin, self._pool
        if talk.repeated:
            pool.opens_anyway()
        elif kept := await pool.take(origin, talk.deadline, loop):
            return kept, True
        try:
            connection = await self._dialer.dial(origin, talk)
        except BaseException:
            pool.not_opened()
            raise
        connection.first_byte_timeout_ns = self.settings.first_byte_timeout_ns or NEVER
        pool.opened(connection)
        return connection, False

    def describe_unawaited(self, _function: str, values: Mapping[str, Any]) -> str:
        """Name a request that was never awaited, by the arguments of `_run`."""
        request: Request = values["request"]
        return f"{request.group} was never awaited: write `await self.http.{verb_of(request.method)}(...)`"

    async def close(self) -> None:
        """Ends all connections; a request after it opens new ones."""
        self._pool.close()

    # -- of the event loop

    def _begin(self) -> asyncio.AbstractEventLoop:
        self._loop = loop = asyncio.get_running_loop()
        self._share = share_of(loop)
        made = self.settings
        self._share.watch(self, min(made.timeout_ns, made.first_byte_timeout_ns or made.timeout_ns))
        return loop

    def sweep(self, now: int) -> None:
        """Called by the loop's timer."""
        self._pool.sweep(now, self._share.is_busy)
