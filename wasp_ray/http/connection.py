"""One connection of the async client: writes one request, reads its answer, is reused. It must not decide what an answer
means.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable
from typing import cast

from wasp_ray.clock import now_ns
from wasp_ray.http import failures
from wasp_ray.http.answer import AnswerReader
from wasp_ray.http.failures import RequestFailed, name_of
from wasp_ray.http.request import SENT_AT_ONCE, Request
from wasp_ray.http.shared import LoopShare
from wasp_ray.wire.control import NEVER


class Connection(AnswerReader, asyncio.Protocol):
    """`exchange`, wait for its future, look at `error` and the answer. `deadline` NEVER: it is idle since `ended_ns`."""

    __slots__ = (
        "_feeding", "_is_open", "_lost", "_room", "_waiter", "began_ns", "deadline", "ended_ns", "error",
        "first_byte_timeout_ns", "first_ns", "transport",
    )  # fmt: skip

    def __init__(self, max_body: int, lost: Callable[[Connection], None]) -> None:
        super().__init__(max_body)
        self._lost = lost
        self.transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._feeding: asyncio.Task[None] | None = None
        self._room: asyncio.Event | None = None  # set while more may be written
        self._is_open = False
        self.deadline = self.first_byte_timeout_ns = NEVER
        self.began_ns = self.first_ns = self.ended_ns = 0
        self.error = ""

    # -- of the client

    def exchange(
        self, request: Request, deadline: int, loop: asyncio.AbstractEventLoop, share: LoopShare
    ) -> asyncio.Future[None]:
        """Done when the answer is complete or `error` is set; it has no exception and no result."""
        self._waiter = waiter = loop.create_future()
        self.expect(request.head_only)
        self.deadline = deadline
        self.began_ns = 0
        self.error = ""
        if request.is_chunked:
            self.write(request.data, now_ns())
            self._feeding = loop.create_task(self._send_pieces(request))
        else:
            share.put(self, request.data)
        return waiter

    def write(self, data: bytes, now: int) -> None:
        """Nothing when it was lost meanwhile, which its exchange has been told."""
        if self._is_open and self.transport is not None:
            self.began_ns = now
            if len(data) <= SENT_AT_ONCE:
                self.transport.write(data)
            else:
                self._feeding = asyncio.get_running_loop().create_task(self._send_much(self.transport, data))

    @property
    def reusable(self) -> bool:
        """After an exchange: whether the next one may go on it."""
        return (
            self._is_open and self.keep_alive and not self.surplus and not self.error and self._feeding is None
            and (self._room is None or self._is_all_sent())
        )  # fmt: skip

    def _is_all_sent(self) -> bool:
        """Whether nothing waits for the socket: an answer may come before its request was read."""
        return self.transport is not None and self.transport.get_write_buffer_size() == 0

    def fail(self, name: str) -> None:
        """Ends the exchange and the connection."""
        self.error = self.error or name
        self.close()
        self._done()

    def close(self) -> None:
        """At once; nothing more is read."""
        self._is_open = False
        if self._feeding is not None:
            self._feeding.cancel()
        if self.transport is not None:
            self.transport.abort()

    def check(self, now: int) -> None:
        """Ends an exchange that is past one of its deadlines."""
        if now >= self.deadline:
            self.fail(failures.TIMEOUT)
            return
        is_waiting = self.began_ns and not self.received and self._feeding is None  # it counts from the last byte sent
        if is_waiting and now >= self.began_ns + self.first_byte_timeout_ns:
            self.fail(failures.FIRST_BYTE_TIMEOUT)

    def _done(self) -> None:
        waiter, self._waiter = self._waiter, None
        self.deadline = NEVER
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _send_much(self, transport: asyncio.Transport, data: bytes) -> None:
        """As it is taken: what the transport has taken is out of sight, and the answer may come before it was sent."""
        rest = memoryview(data)
        while rest:
            transport.write(rest[:SENT_AT_ONCE])
            rest = rest[SENT_AT_ONCE:]
            if self._room is not None:
                await self._room.wait()
        self.began_ns, self._feeding = now_ns(), None

    async def _send_pieces(self, request: Request) -> None:
        """A body in pieces, as fast as they are taken."""
        body, transport = request.body, self.transport
        assert transport is not None and body is not None and not isinstance(body, bytes)
        try:
            if isinstance(body, AsyncIterable):
                async for piece in body:
                    await self._put(transport, piece)
            else:
                for piece in body:
                    await self._put(transport, piece)
            transport.write(b"0\r\n\r\n")
            self.began_ns, self._feeding = now_ns(), None
        except Exception:
            self.fail(failures.BODY_SOURCE)

    async def _put(self, transport: asyncio.Transport, piece: bytes) -> None:
        if piece:
            transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            if self._room is not None:
                await self._room.wait()

    # -- of the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self.transport, self._is_open = cast(asyncio.Transport, transport), True

    def data_received(self, data: bytes) -> None:
        """A piece of an answer; when nothing was sent it is nobody's, and the request that was to be sent is not answered."""
        if not self.began_ns or self._waiter is None:
            self.fail(failures.NO_ANSWER)
            return
        is_first = not self.received
        try:
            self.feed(data)
        except RequestFailed as exc:
            self.fail(str(exc))
            return
        if self.complete:
            self.ended_ns = now = now_ns()
            if is_first:
                self.first_ns = now
            self._done()
        elif is_first:
            self.first_ns = now_ns()

    def eof_received(self) -> None:
        """An answer may end so; the transport closes itself afterwards."""
        if self._waiter is not None:
            try:
                self.end()
                self.ended_ns = now_ns()
                self._is_open = False
                self._done()
            except RequestFailed as exc:
                self.fail(str(exc))

    def connection_lost(self, exc: Exception | None) -> None:
        """By the server, the network or this side."""
        self._is_open = False
        if self._waiter is not None:
            if exc is None:
                self.eof_received()
            else:
                name = name_of(exc)
                self.fail(failures.CUT if self.received and name == failures.RESET else name)
        self._lost(self)

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        if self._room is None:
            self._room = asyncio.Event()
        self._room.clear()

    def resume_writing(self) -> None:
        """It does again."""
        if self._room is not None:
            self._room.set()
