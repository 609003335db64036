"""An HTTPS reverse proxy in front of the API server that injects faults and counts.

Runs in a thread of its own with its own event loop; its certificate is signed by the cluster's authority, and the caller's
Authorization header goes through, so any token works (client certificates do not). Bodies are passed on byte by byte and
unbuffered. Connections that get upgraded (exec, port-forward) are refused with 501.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web
from yarl import URL

from .access import Access
from .certs import Authority
from .errors import HarnessError
from .faults import STREAM_EFFECTS, Fault, Faults, list_key, method_of, shape_of, status_body
from .processes import free_port

START_TIMEOUT_S = 15.0
HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade", "host"}
)
LARGEST_BODY = 64 << 20


@dataclass
class Count:
    """Of one method and path shape: requests, their bytes, the answers' bytes, answers by status (0: none was sent)."""

    requests: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    statuses: dict[int, int] = field(default_factory=lambda: defaultdict(int))


class Proxy:
    """`with Proxy(kubernetes.access, kubernetes.authority) as proxy:`; `proxy.access` is the way through it."""

    def __init__(self, upstream: Access, authority: Authority, faults: Iterable[Fault] = ()) -> None:
        """Nothing runs yet."""
        self._upstream, self._authority, self._faults = upstream, authority, Faults(faults)
        self.port = 0
        self._counts: dict[tuple[str, str], Count] = defaultdict(Count)
        self._lists: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self._open: dict[int, web.Request] = {}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._failure: BaseException | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)

    def __enter__(self) -> Self:
        """Starts it.

        Raises:
            HarnessError: it did not come up.
        """
        self.port = free_port()
        self._authority.sign(self._name, "/CN=fault-proxy", ["IP:127.0.0.1", "DNS:localhost"])
        self._thread.start()
        if not self._ready.wait(START_TIMEOUT_S) or self._failure is not None:
            raise HarnessError(f"the proxy did not start within {START_TIMEOUT_S:.0f} s: {self._failure}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cuts what is open and ends the thread."""
        assert self._loop is not None and self._over is not None
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(START_TIMEOUT_S)

    @property
    def _name(self) -> str:
        """Of its certificate: several proxies may run at a time."""
        return f"proxy-{self.port}"

    @property
    def access(self) -> Access:
        """The given user's way in through the proxy; `.as_user(...)` gives another's."""
        return self._upstream.at(f"https://127.0.0.1:{self.port}")

    def set(self, *faults: Fault) -> None:
        """Puts these faults in force, and no others; requests that were met already go on as they began."""
        self._faults.set(*faults)

    def forget(self) -> None:
        """Forgets remembered lists: the next answers are what `stale` serves later."""
        with self._lock:
            self._lists.clear()

    def cut(self, method: str = "WATCH", path: str = "") -> int:
        """Cuts all open connections of such requests now; says how many."""
        probe = Fault("drop", method=method, path=path)
        with self._lock:
            chosen = [r for r in self._open.values() if probe.matches(method_of(r.method, r.raw_path), r.raw_path)]
        assert self._loop is not None
        for request in chosen:
            self._loop.call_soon_threadsafe(_abort, request)
        return len(chosen)

    def counts(self) -> dict[tuple[str, str], Count]:
        """What went through so far, by method (`WATCH` for watches) and path shape (names replaced by `*`)."""
        with self._lock:
            return {key: replace(count, statuses=dict(count.statuses)) for key, count in self._counts.items()}

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        inward = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        inward.load_cert_chain(self._authority.cert(self._name), self._authority.key(self._name))
        outward = ssl.create_default_context(cafile=str(self._upstream.ca))
        connector = aiohttp.TCPConnector(ssl=outward, limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        app = web.Application(client_max_size=LARGEST_BODY)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as self._session:
            app.router.add_route("*", "/{anything:.*}", self._handle)
            runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.2)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=inward, backlog=1024).start()
            self._ready.set()
            await self._over.wait()
            for request in list(self._open.values()):
                _abort(request)
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        method = method_of(request.method, request.raw_path)
        body = await request.read()
        count = self._counts[method, shape_of(request.raw_path)]
        with self._lock:
            count.requests += 1
            count.bytes_in += len(body)
            self._open[id(request)] = request
        status = 0
        try:
            faults = self._faults.meet(method, request.raw_path)
            answer = await self._before(request, faults)
            if answer is None:
                answer = await self._forward(request, body, [f for f in faults if f.effect in STREAM_EFFECTS], count)
            status = answer.status
            return answer
        except aiohttp.ClientError as error:
            status = 502
            return web.json_response(status_body(502, f"the proxy got no answer: {error}"), status=502)
        finally:
            with self._lock:
                self._open.pop(id(request), None)
                count.statuses[status] += 1

    async def _before(self, request: web.Request, faults: list[Fault]) -> web.StreamResponse | None:
        """What is decided without the API server; None: ask it."""
        if "upgrade" in request.headers.get("Connection", "").lower():
            return web.json_response(status_body(501, "the fault proxy carries no upgraded connections"), status=501)
        for fault in faults:
            match fault.effect:
                case "delay":
                    await asyncio.sleep(fault.seconds)
                case "hang":
                    await asyncio.Event().wait()
                case "refuse":
                    _abort(request)
                    await asyncio.Event().wait()  # cancelled: the connection is gone
                case "answer":
                    headers = {} if fault.retry_after_s is None else {"Retry-After": str(fault.retry_after_s)}
                    return web.json_response(
                        status_body(fault.status, "injected"), status=fault.status, headers=headers
                    )
                case "stale":
                    with self._lock:
                        remembered = self._lists.get(list_key(request.raw_path))
                    if remembered is not None:
                        return web.Response(status=remembered[0], headers=remembered[1], body=remembered[2])
        return None

    async def _forward(
        self, request: web.Request, body: bytes, faults: list[Fault], count: Count
    ) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        method = method_of(request.method, request.raw_path)
        url = URL(self._upstream.server + request.raw_path, encoded=True)
        skip = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
        async with self._session.request(
            request.method, url, headers=headers, data=body or None, allow_redirects=False, skip_auto_headers=skip
        ) as theirs:
            answer = web.StreamResponse(status=theirs.status)
            for name, value in theirs.headers.items():
                if name.lower() not in HOP_BY_HOP and not (faults and name.lower() == "content-length"):
                    answer.headers.add(name, value)
            kept = bytearray()
            remember = method == "GET" and theirs.status == 200 and "/log" not in request.path
            await answer.prepare(request)
            chunks = _disturbed(request, theirs.content.iter_any(), faults) if faults else theirs.content.iter_any()
            try:
                async for chunk in chunks:
                    await answer.write(chunk)
                    with self._lock:
                        count.bytes_out += len(chunk)
                    if remember and len(kept) < LARGEST_BODY:
                        kept += chunk
            except aiohttp.ClientError:  # the API server ended in the middle: so does this
                _abort(request)
                return answer
            if remember and len(kept) < LARGEST_BODY:
                plain = {
                    n: v for n, v in answer.headers.items() if n.lower() not in ("content-length", "transfer-encoding")
                }
                with self._lock:
                    self._lists.setdefault(list_key(request.raw_path), (200, plain, bytes(kept)))
            with contextlib.suppress(ConnectionError):
                await answer.write_eof()
            return answer


async def _disturbed(request: web.Request, chunks: AsyncIterator[bytes], faults: list[Fault]) -> AsyncIterator[bytes]:
    """The lines of a stream as the faults leave them."""
    number, lines = 0, _lines(chunks)
    while True:
        for fault in faults:
            if number >= fault.after:
                match fault.effect:
                    case "drop":
                        await asyncio.sleep(0.05)  # what was written reaches the client first
                        _abort(request)
                        await asyncio.Event().wait()
                    case "stall":
                        await asyncio.Event().wait()
                    case "end":
                        return
                    case "gone":
                        yield gone_event()
                        return
        try:
            line = await anext(lines)
        except StopAsyncIteration:
            return
        number += 1
        copies = 1
        for fault in faults:
            if fault.effect == "repeat" and number > fault.after:
                copies *= fault.copies
            elif fault.effect == "lag" and number > fault.after:
                await asyncio.sleep(fault.seconds)
            elif fault.effect == "skip" and fault.after < number <= fault.after + fault.lines:
                copies = 0
        if copies:
            yield line * copies


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Whole lines, of any length; the rest at the end as it is."""
    rest = bytearray()
    async for chunk in chunks:
        rest += chunk
        while (end := rest.find(b"\n")) >= 0:
            yield bytes(rest[: end + 1])
            del rest[: end + 1]
    if rest:
        yield bytes(rest)


def gone_event() -> bytes:
    """The line of a watch that tells that its resourceVersion is too old."""
    return (
        json.dumps({"type": "ERROR", "object": status_body(410, "too old resource version: injected")}).encode() + b"\n"
    )


def _abort(request: web.Request) -> None:
    transport: Any = request.transport
    if transport is not None:
        transport.abort()
