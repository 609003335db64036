"""Both HTTP clients behind one blocking face, so that one suite says what both do. The event loop runs all the time in a
thread of its own, as a worker's does.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from wasp_ray.http import AsyncClient, Response, SyncClient

HANG_GUARD_S = 30.0
DRIVERS = os.environ.get("WASP_TEST_HTTP_DRIVERS", "asyncio,uvloop,sync").split(",")
"""Kinds of client that the contract tests run with; CI leaves some out on the Pythons that are not its main one."""


class CountingRecorder:
    """A Recorder that keeps what it is told."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.counters: dict[str, int] = {}

    def request_begins(self, start: int, group: str, route: str, source: Any = None) -> Any:
        """Remembers how it began."""
        return start, group, route

    def request_ended(self, opened: Any, end: int, status: int, error: str, bytes_in: int, bytes_out: int) -> None:
        """Keeps it."""
        start, group, route = opened
        assert end >= start
        self.requests.append(
            {"group": group, "route": route, "status": status, "error": error, "in": bytes_in, "out": bytes_out}
        )

    def request_dropped(self, opened: Any) -> None:
        """Keeps nothing of it."""

    def phase(self, start: int, end: int, group: str, route: str) -> None:
        """Keeps it as a request."""
        self.request_ended((start, group, route), end, 0, "", 0, 0)

    def count(self, name: str, number: int) -> None:
        """Adds."""
        self.counters[name] = self.counters.get(name, 0) + number


class Driven:
    """A client whose requests block until their Response is there."""

    def __init__(self, client: AsyncClient | SyncClient, loop: asyncio.AbstractEventLoop | None) -> None:
        self.client, self.loop = client, loop

    def request(self, method: str, path: str, **request: Any) -> Response:
        """One request."""
        client = self.client
        if isinstance(client, SyncClient):
            return client.request(method, path, **request)
        assert self.loop is not None
        return asyncio.run_coroutine_threadsafe(_awaited(client, method, path, request), self.loop).result(HANG_GUARD_S)

    def get(self, path: str, **request: Any) -> Response:
        """GET."""
        return self.request("GET", path, **request)

    def post(self, path: str, **request: Any) -> Response:
        """POST."""
        return self.request("POST", path, **request)

    def start(self, path: str, **request: Any) -> Future[Response]:
        """GET, of an async client, without waiting for it."""
        assert self.loop is not None and isinstance(self.client, AsyncClient)
        return asyncio.run_coroutine_threadsafe(_awaited(self.client, "GET", path, request), self.loop)

    def all_of(self, paths: list[str]) -> list[Response]:
        """GET of each, at once where the client can."""
        if self.loop is None:
            return [self.get(path) for path in paths]
        return [each.result(HANG_GUARD_S) for each in [self.start(path) for path in paths]]

    def close(self) -> None:
        """Ends its connections."""
        if isinstance(self.client, SyncClient):
            self.client.close()
        else:
            assert self.loop is not None
            asyncio.run_coroutine_threadsafe(self.client.close(), self.loop).result(HANG_GUARD_S)


async def _awaited(client: AsyncClient, method: str, path: str, request: dict[str, Any]) -> Response:
    return await client.request(method, path, **request)


class Driver:
    """Makes clients of one kind; `kind` is one of DRIVERS."""

    def __init__(self, kind: str, loop: asyncio.AbstractEventLoop | None) -> None:
        self.kind, self.loop = kind, loop
        self.complaints: list[str] = []  # what the loop's exception handler was told
        self._made: list[Driven] = []

    @property
    def is_async(self) -> bool:
        """On an event loop."""
        return self.loop is not None

    def client(self, url: str, recorder: CountingRecorder | None = None, **options: Any) -> Driven:
        """Closed at the end of the test."""
        made = (AsyncClient if self.is_async else SyncClient)(url, recorder, **options)
        self._made.append(Driven(made, self.loop))
        return self._made[-1]

    def settle(self) -> None:
        """What has arrived is seen: the loop has looked at its sockets."""
        if self.loop is not None:
            asyncio.run_coroutine_threadsafe(_turns(), self.loop).result(HANG_GUARD_S)

    def close(self) -> None:
        """Ends all of its clients."""
        for each in self._made:
            each.close()
        self._made.clear()


@contextmanager
def driving(kind: str) -> Iterator[Driver]:
    """A Driver, with a running loop where it needs one."""
    if kind == "sync":
        driver = Driver(kind, None)
        yield driver
        driver.close()
        return
    loop = _new_loop(kind)
    driver = Driver(kind, loop)
    loop.set_exception_handler(lambda _, context: driver.complaints.append(str(context)))
    thread = threading.Thread(target=loop.run_forever, name=f"loop-{kind}")
    thread.start()
    try:
        yield driver
        driver.close()
        asyncio.run_coroutine_threadsafe(_settled(), loop).result(HANG_GUARD_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(HANG_GUARD_S)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def _new_loop(kind: str) -> asyncio.AbstractEventLoop:
    if kind == "uvloop":
        import uvloop

        made: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return made
    return asyncio.new_event_loop()


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def _settled() -> None:
    """Closed transports say goodbye in the turns that follow; no task is left behind."""
    await _turns()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not others, others
