"""An aiohttp.ClientSession whose requests are recorded. See docs/http.md and docs/decisions/0016-aiohttp-without-traces.md.

A request ends when its body has come in, or when user code releases or closes the response. No other module imports
aiohttp for clients; user code does get its exceptions, since it asked for its session.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import warnings
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError, LineTooLong, TransferEncodingError
from yarl import URL

from wasp_ray.clock import now_ns
from wasp_ray.http import failures
from wasp_ray.http.answer import MAX_HEAD_BYTES
from wasp_ray.http.failures import name_of
from wasp_ray.http.foreign import Desk, Exchange, SessionRecorder, causes, read_naming
from wasp_ray.http.options import Options, read_options
from wasp_ray.http.shared import share_of
from wasp_ray.wire.control import NEVER

OPTIONS = frozenset({
    "auth", "cert", "connect_timeout", "connections", "cookies", "decompress", "dns_ttl", "expect", "headers", "idle", "phases",
    "proxy", "timeout", "unix", "verify",
})  # fmt: skip
SWITCHED = 101


class AioDesk(Desk):
    """And the deadlines of a session: one timer of the loop looks after all, where aiohttp makes two objects and a timer for
    each request, which take a tenth of its time.
    """

    timeout_ns: int

    def sweep(self, now: int) -> None:
        """See LoopShare."""
        for exchange in [late for late in self.open if late.deadline <= now]:
            exchange.expire()


class AioExchange(Exchange):
    """And the task that waits for the head of the answer, or the answer whose body is to come."""

    __slots__ = ("_cancelling", "_is_late", "_task", "deadline", "response")

    def __init__(self, desk: AioDesk, asked: dict[str, Any] | None, *, has_timeout: bool) -> None:
        super().__init__(desk, asked)
        self.deadline = NEVER if has_timeout else self.start + desk.timeout_ns
        self.response: aiohttp.ClientResponse | None = None
        self._is_late = False
        self._task: asyncio.Task[Any] | None = None

    def waits(self) -> None:
        """From here on, the running task does."""
        task = self._task = asyncio.current_task()
        self._cancelling = task.cancelling() if task is not None else 0
        self.desk.open.add(self)

    def expire(self) -> None:
        """The deadline has passed."""
        self.deadline = NEVER
        if self.response is not None:
            self.response.content.set_exception(TimeoutError())
            self.response.close()
        elif self._task is not None:
            self._is_late = True
            self._task.cancel()

    def was_late(self) -> bool:
        """Whether the wait that has ended now was cut short by `expire`, and by nobody else; asyncio.timeout does the same."""
        task, self._task = self._task, None
        if not self._is_late or task is None:
            return False
        self._is_late = False
        return task.uncancel() <= self._cancelling


def open_session(
    recorder: SessionRecorder | None, base_url: str | None = None, *, group: Any = None, **options: Any
) -> RecordedSession:
    """In a running event loop. Raises BadInput with all that is wrong with the options."""
    made = read_options(base_url or "http://localhost", options, client="aiohttp", only=OPTIONS)
    desk = AioDesk(recorder, made.expect, read_naming("aiohttp", group), made.phases)
    desk.timeout_ns = made.timeout_ns
    share_of(asyncio.get_running_loop()).watch(desk, made.timeout_ns)
    headers = dict(made.headers)
    if made.authorization:
        headers["Authorization"] = made.authorization
    base = URL(base_url) if base_url else None
    if base is not None and not base.path.endswith("/"):
        base = base.with_path(base.path + "/")
    jar = aiohttp.CookieJar(unsafe=True)  # also of hosts that are addresses
    jar.update_cookies(made.cookies, base or URL())
    proxy = options.get("proxy")
    session = RecordedSession(
        base,
        connector=_connector(made),
        cookie_jar=jar,
        headers=headers,
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=made.connect_timeout_ns / 1e9
        ),  # the total is the desk's
        auto_decompress=made.decompress,
        max_line_size=MAX_HEAD_BYTES,
        max_field_size=MAX_HEAD_BYTES,
        trace_configs=[_phases()] if made.phases else None,
        proxy=URL(proxy) if proxy is not None else None,
    )
    session.desk = desk
    return session


def _connector(made: Options) -> aiohttp.BaseConnector:
    idle_s = made.idle_ns / 1e9
    if made.unix is not None:
        return aiohttp.UnixConnector(path=made.unix, limit=made.connections, keepalive_timeout=idle_s)
    tls: ssl.SSLContext | bool = True
    if made.tls != (True, None):
        tls = made.ssl_context()
    return aiohttp.TCPConnector(
        limit=made.connections, keepalive_timeout=idle_s, ttl_dns_cache=int(made.dns_ttl_ns / 1e9) or 1, ssl=tls
    )


# -- recording

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it discourages heirs; the decision page says why there is one

    class RecordedSession(aiohttp.ClientSession):
        """`trace_request_ctx={"group": ..., "expect": ...}` names or judges one request. Websockets come through `request`."""

        ATTRS = aiohttp.ClientSession.ATTRS | {"desk"}
        desk: AioDesk

        def request(self, method: str, url: Any, **asked: Any) -> Any:
            """See aiohttp, as for all of these."""
            return Pending(self, partial(super().request, method), method.upper(), url, asked)

        def get(self, url: Any, **asked: Any) -> Any:
            """GET."""
            return Pending(self, super().get, "GET", url, asked)

        def options(self, url: Any, **asked: Any) -> Any:
            """OPTIONS."""
            return Pending(self, super().options, "OPTIONS", url, asked)

        def head(self, url: Any, **asked: Any) -> Any:
            """HEAD."""
            return Pending(self, super().head, "HEAD", url, asked)

        def post(self, url: Any, **asked: Any) -> Any:
            """POST."""
            return Pending(self, super().post, "POST", url, asked)

        def put(self, url: Any, **asked: Any) -> Any:
            """PUT."""
            return Pending(self, super().put, "PUT", url, asked)

        def patch(self, url: Any, **asked: Any) -> Any:
            """PATCH."""
            return Pending(self, super().patch, "PATCH", url, asked)

        def delete(self, url: Any, **asked: Any) -> Any:
            """DELETE."""
            return Pending(self, super().delete, "DELETE", url, asked)

        async def close(self) -> None:
            """See aiohttp; what nobody read or released is recorded."""
            await super().close()
            self.desk.close()


class Pending(Coroutine[Any, Any, aiohttp.ClientResponse]):
    """A request to be awaited or entered, as aiohttp's own is. Entering it costs no frame more than aiohttp's does."""

    __slots__ = ("_exchange", "_inner", "_method", "_response", "_running", "_url")

    def __init__(
        self, session: RecordedSession, ask: Callable[..., Any], method: str, url: Any, asked: dict[str, Any]
    ) -> None:
        own = asked.pop("trace_request_ctx", None) if asked else None
        self._exchange = exchange = AioExchange(session.desk, own, has_timeout="timeout" in asked)
        if session.desk.phases:
            asked["trace_request_ctx"] = exchange
        self._method, self._url = method, url
        self._inner = ask(url, **asked)
        self._running: Coroutine[Any, Any, aiohttp.ClientResponse] | None = None

    async def __aenter__(self) -> aiohttp.ClientResponse:
        self._exchange.waits()
        try:
            response = self._response = await self._inner
        except BaseException as exc:
            self._raised(exc)
            raise
        _answered(self._exchange, response)
        return await response.__aenter__()  # type: ignore[no-any-return]

    async def __aexit__(self, *exc: Any) -> None:
        await self._response.__aexit__(*exc)

    async def _run(self) -> aiohttp.ClientResponse:
        self._exchange.waits()
        try:
            response: aiohttp.ClientResponse = await self._inner
        except BaseException as exc:
            self._raised(exc)
            raise
        _answered(self._exchange, response)
        return response

    def _raised(self, exc: BaseException) -> None:
        """Raises TimeoutError instead of the CancelledError that `expire` has caused."""
        exchange = self._exchange
        if exchange.was_late() and isinstance(exc, asyncio.CancelledError):
            late = TimeoutError()
            self._failed(failures.TIMEOUT, late)
            raise late from exc
        error = error_of(exc)
        if error:
            if isinstance(exc, aiohttp.ClientResponseError) and error.startswith("HTTP "):
                exchange.status = exc.status
            self._failed(error, exc)
        else:  # never sent: the fault is in the call, which is told of it
            exchange.desk.open.discard(exchange)

    def _failed(self, error: str, exc: BaseException) -> None:
        url = URL(self._url)
        self._exchange.named(self._method, url, url.raw_path)
        self._exchange.failed(error, exc)

    def __await__(self) -> Any:
        return self._run().__await__()

    def send(self, value: Any) -> Any:
        """Of a coroutine, for those who make a task of it."""
        if self._running is None:
            self._running = self._run()
        return self._running.send(value)

    def throw(self, *exc: Any) -> Any:
        """As `send`."""
        if self._running is None:
            self._running = self._run()
        return self._running.throw(*exc)

    def close(self) -> None:
        """As `send`."""
        (self._inner if self._running is None else self._running).close()


def _answered(exchange: AioExchange, response: aiohttp.ClientResponse) -> None:
    """The head of the last answer is there."""
    exchange.was_late()
    history = response.history
    first = history[0] if history else response
    exchange.named(first.method, first.url, first.url.raw_path)
    exchange.answered(response.status, response)
    for one in history:
        _count_heads(exchange, one)
    _count_heads(exchange, response)
    content = response.content
    if content.is_eof() or response.status == SWITCHED:
        _complete(exchange, content)
    else:
        exchange.response = response
        content.on_eof(partial(_complete, exchange, content))
        for name in ("close", "release"):  # of this one alone: most answers are complete by now
            setattr(response, name, partial(_left, response, exchange, getattr(response, name)))


def _complete(exchange: Exchange, content: aiohttp.StreamReader) -> None:
    if not exchange.is_done:
        exchange.bytes_in += content.total_bytes
        exchange.end(now_ns())


def _left(response: aiohttp.ClientResponse, exchange: Exchange, leave: Callable[[], Any]) -> Any:
    """User code, or aiohttp for it, is done with an answer: maybe before all of it has come."""
    if exchange.is_done:
        return leave()
    exc = response.content.exception() or sys.exc_info()[1]
    error = error_of(exc) if exc is not None else ""
    exchange.bytes_in += response.content.total_bytes
    if exc is not None and error:
        exchange.failed(error, exc)
    else:
        exchange.end(now_ns())
    return leave()


def _count_heads(exchange: Exchange, response: aiohttp.ClientResponse) -> None:
    """Of one request and its answer, as they were on the wire; and the request's body, when its length was told."""
    heads = response.raw_headers
    exchange.bytes_in += len(b"".join([part for line in heads for part in line])) + 4 * len(heads) + 19
    sent = response.request_info
    exchange.bytes_out += len(sent.method) + len(sent.url.raw_path_qs)
    lines = sent.headers
    exchange.bytes_out += len("".join([part for line in lines.items() for part in line])) + 4 * len(lines) + 13
    exchange.bytes_out += int(lines.get("Content-Length", 0))


def error_of(exc: BaseException) -> str:
    """One of failures.ALL or `HTTP <status>`; empty for what is no failure of the network or the server."""
    for kinds, error in _KINDS:
        if isinstance(exc, kinds):
            return error
    if isinstance(exc, aiohttp.ClientResponseError):
        if not isinstance(exc.__cause__, HttpProcessingError):
            return f"HTTP {exc.status}"
        return failures.HEAD_SIZE if _has(exc, LineTooLong) else failures.MALFORMED
    if isinstance(exc, aiohttp.ClientPayloadError):
        if _has(exc, ContentEncodingError):
            return failures.ENCODING
        return (
            failures.MALFORMED
            if _has(exc, TransferEncodingError) and "Not enough data" not in str(exc)
            else failures.CUT
        )
    if isinstance(exc, (aiohttp.ClientConnectionError, OSError, ssl.SSLError)):
        return next((name_of(one) for one in causes(exc) if isinstance(one, OSError) and one.errno), failures.RESET)
    return ""


_KINDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (asyncio.CancelledError, failures.CANCELLED),
    (aiohttp.ClientConnectorCertificateError, failures.UNTRUSTED),
    (aiohttp.ClientSSLError, failures.TLS),
    (aiohttp.ClientConnectorDNSError, failures.DNS),
    (aiohttp.ConnectionTimeoutError, failures.CONNECT_TIMEOUT),
    (TimeoutError, failures.TIMEOUT),
    (aiohttp.ServerDisconnectedError, failures.NO_ANSWER),
    (aiohttp.TooManyRedirects, failures.REDIRECTS),
    (aiohttp.ClientHttpProxyError, failures.PROXY),
    ((aiohttp.InvalidUrlRedirectClientError, aiohttp.NonHttpUrlRedirectClientError), failures.NO_LOCATION),
)
"""The first that fits."""


def _has(exc: BaseException, kind: type[BaseException]) -> bool:
    return any(isinstance(one, kind) for one in causes(exc))


def _phases() -> aiohttp.TraceConfig:
    """`connect` is TCP and TLS; the first byte is that of the head's end, as aiohttp tells no other."""
    config = aiohttp.TraceConfig(trace_config_ctx_factory=_exchange_of)  # type: ignore[arg-type]
    config.on_dns_resolvehost_start.append(_begins("dns"))
    config.on_dns_resolvehost_end.append(_ends("dns"))
    config.on_connection_create_start.append(_begins("connect"))
    config.on_connection_create_end.append(_ends("connect"))
    config.on_request_headers_sent.append(_begins("first byte"))
    config.on_request_end.append(_ends("first byte"))
    return config


def _exchange_of(trace_request_ctx: Exchange) -> Exchange:
    return trace_request_ctx


def _begins(phase: str) -> Any:
    async def receiver(_session: Any, exchange: Exchange, _params: Any) -> None:
        exchange.phase_begins(phase)

    return receiver


def _ends(phase: str) -> Any:
    async def receiver(_session: Any, exchange: Exchange, _params: Any) -> None:
        exchange.phase_ends(phase)

    return receiver
