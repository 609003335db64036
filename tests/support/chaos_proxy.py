"""A TCP proxy in front of a real server that spoils what it is told to: connections and answers, not bytes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self


class ChaosProxy:
    """`with ChaosProxy(port) as proxy:` forwards to 127.0.0.1:port. Of each new connection: `drops_answers` more requests reach
    the server and their answers end here, with the connection; `refuses`: it is closed at once; `slows_s`: answers come late.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self.drops_answers, self.refuses, self.slows_s = 0, False, 0.0
        self.dropped = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Its root."""
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self) -> None:
        self._over = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port: int = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if not self.refuses:
                await self._forward(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection("127.0.0.1", self._to)
        there = asyncio.create_task(_pump(reader, their_writer, self._asked))
        back = asyncio.create_task(_pump(their_reader, writer, self._answered))
        await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
        for task in (there, back):
            task.cancel()
        their_writer.close()

    async def _asked(self, piece: bytes) -> bool:
        return True

    async def _answered(self, piece: bytes) -> bool:
        if self.drops_answers:
            self.drops_answers -= 1
            self.dropped += 1
            return False
        if self.slows_s:
            await asyncio.sleep(self.slows_s)
        return True

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)
        self._loop.close()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, goes_on: Callable[[bytes], Awaitable[bool]]
) -> None:
    """What comes goes out, until it says no."""
    while piece := await reader.read(1 << 16):
        if not await goes_on(piece):
            return
        writer.write(piece)
        await writer.drain()
