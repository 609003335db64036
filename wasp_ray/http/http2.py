"""An httpx2.AsyncClient that speaks HTTP/2 only and whose requests are recorded. See docs/http.md.

A request ends when its body was read: at once, or with stream() when user code closes the response. No other module imports
httpx2; user code does get its exceptions, since it asked for its client.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import h2.exceptions
import httpcore2
import httpx2

from wasp_ray.clock import now_ns
from wasp_ray.errors import causes
from wasp_ray.http import failures
from wasp_ray.http.cookies import cookie_domain
from wasp_ray.http.failures import UNTRUSTED, name_of
from wasp_ray.http.foreign import Desk, Exchange, SessionRecorder, read_naming
from wasp_ray.http.options import read_options

OPTIONS = frozenset({
    "auth", "cert", "connect_timeout", "connections", "cookies", "expect", "headers", "idle", "proxy", "redirects", "timeout",
    "unix", "verify",
})  # fmt: skip
DEFAULT_REDIRECTS = 20
"""When a request alone asks for them, which then has no limit of its own."""
OWN = "wasp"
"""Key of a request's own `group` and `expect` in its extensions."""


def open_session(
    recorder: SessionRecorder | None, base_url: str | None = None, *, group: Any = None, **options: Any
) -> RecordedClient:
    """Raises BadInput with all that is wrong with the options."""
    made = read_options(base_url or "http://localhost", options, client="http2", only=OPTIONS)
    tls = made.ssl_context("h2")
    limits = httpx2.Limits(
        max_connections=made.connections,
        max_keepalive_connections=made.connections,
        keepalive_expiry=made.idle_ns / 1e9,
    )
    transport = httpx2.AsyncHTTPTransport(
        verify=tls, http1=False, http2=True, limits=limits, trust_env=False, uds=made.unix, proxy=options.get("proxy")
    )
    headers = {"User-Agent": "wasp-ray", **made.headers}
    if made.authorization:
        headers["Authorization"] = made.authorization
    cookies = httpx2.Cookies()
    for name, value in made.cookies.items():
        cookies.set(name, value, domain=cookie_domain(made.origin.host) if base_url else "")
    total_s = made.timeout_ns / 1e9
    client = RecordedClient(
        transport=transport,
        base_url=base_url or "",
        headers=headers,
        cookies=cookies,
        timeout=httpx2.Timeout(total_s, connect=made.connect_timeout_ns / 1e9),
        follow_redirects=made.redirects > 0,
        max_redirects=made.redirects or DEFAULT_REDIRECTS,
        trust_env=False,
    )
    client.desk, client.total_s = Desk(recorder, made.expect, read_naming("http2", group), phases=False), total_s
    return client


class RecordedClient(httpx2.AsyncClient):
    """`extensions={"wasp": {"group": ..., "expect": ...}}` names or judges one request."""

    desk: Desk
    total_s: float

    async def send(self, request: httpx2.Request, *, stream: bool = False, **asked: Any) -> httpx2.Response:
        """See httpx2; redirects are followed in here."""
        exchange = Exchange(self.desk, request.extensions.get(OWN))
        url = request.url
        exchange.named(request.method, url, url.raw_path.decode("ascii").partition("?")[0])
        exchange.begins()
        try:
            async with asyncio.timeout(self.total_s):
                response = await super().send(request, stream=stream, **asked)
        except BaseException as exc:
            error = error_of(exc)
            if error:
                exchange.failed(error, exc)
            else:
                exchange.never_sent()
            raise
        exchange.answered(response.status_code, response)
        for one in [*response.history, response]:
            _count(exchange, one)
        if stream:
            self.desk.open.add(exchange)
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _Watched(response.stream, response, exchange)
        else:
            exchange.bytes_in += response.num_bytes_downloaded
            exchange.end(now_ns())
        return response

    def describe_unawaited(self, function: str, values: Mapping[str, Any]) -> str:
        """Name a request that was never awaited, by the function of httpx2 and its arguments."""
        request = values.get("request") or self.build_request(values.get("method", function.upper()), values["url"])
        asked = request.extensions.get(OWN) or (values.get("extensions") or {}).get(OWN) or {}
        path = request.url.raw_path.decode("ascii").partition("?")[0]
        group, _ = self.desk.name(request.method, request.url, path, asked.get("group"))
        return f"{group} was never awaited: write `await` before the client's {function}(...)"

    async def close(self) -> None:
        """Ends all connections; what nobody read or closed is recorded."""
        await self.aclose()
        self.desk.close()


class _Watched(httpx2.AsyncByteStream):
    """The body of an answer that user code reads piece by piece."""

    def __init__(self, stream: httpx2.AsyncByteStream, response: httpx2.Response, exchange: Exchange) -> None:
        self._stream, self._response, self._exchange = stream, response, exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._stream:
                yield piece
        except Exception as exc:
            error = error_of(exc)
            if error:
                self._exchange.failed(error, exc)
            raise

    async def aclose(self) -> None:
        """See httpx2."""
        if not self._exchange.is_done:
            self._exchange.bytes_in += self._response.num_bytes_downloaded
            self._exchange.end(now_ns())
        await self._stream.aclose()


def _count(exchange: Exchange, response: httpx2.Response) -> None:
    """Headers as they are before they are packed: what HTTP/2 makes of them is not told."""
    exchange.bytes_in += sum(len(name) + len(value) for name, value in response.headers.raw)
    sent = response.request.headers
    exchange.bytes_out += sum(len(name) + len(value) for name, value in sent.raw) + int(sent.get("Content-Length", 0))


def error_of(exc: BaseException) -> str:
    """One of failures.ALL; empty for what is no failure of the network or the server."""
    for kinds, error in _KINDS:
        if isinstance(exc, kinds):
            return error
    if not isinstance(exc, (httpx2.TransportError, OSError)):
        return ""
    chain = list(causes(exc))
    named = [name_of(one) for one in chain if isinstance(one, OSError) and not isinstance(one, TimeoutError)]
    if named:
        return UNTRUSTED if UNTRUSTED in named else named[-1]
    if isinstance(exc, (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)):
        is_reset = any(isinstance(one, (httpcore2.ReadError, httpcore2.WriteError)) for one in chain)
        is_closed = "disconnected" in str(exc) or "ConnectionTerminated" in str(exc)
        return failures.NO_ANSWER if is_closed else failures.RESET if is_reset else failures.MALFORMED
    return failures.CONNECT


_KINDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (asyncio.CancelledError, failures.CANCELLED),
    (httpx2.ConnectTimeout, failures.CONNECT_TIMEOUT),
    (httpx2.PoolTimeout, failures.NO_CONNECTION),
    ((httpx2.TimeoutException, TimeoutError), failures.TIMEOUT),
    (httpx2.TooManyRedirects, failures.REDIRECTS),
    (httpx2.ProxyError, failures.PROXY),
    (httpx2.DecodingError, failures.ENCODING),
    (httpx2.UnsupportedProtocol, failures.NO_LOCATION),
    (h2.exceptions.H2Error, failures.MALFORMED),
)
"""The first that fits."""
