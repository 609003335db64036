"""A requests.Session whose requests are recorded. See docs/http.md.

A request ends when its body was read: at once, or with stream=True when user code has read or closed the response. No other
module imports requests for clients; user code does get its exceptions, since it asked for its session.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from typing import Any, cast

import requests
from requests import exceptions as wrong
from requests.adapters import HTTPAdapter
from urllib3 import exceptions as below

from wasp_ray.clock import now_ns
from wasp_ray.errors import causes
from wasp_ray.http import failures
from wasp_ray.http.cookies import cookie_domain
from wasp_ray.http.failures import name_of
from wasp_ray.http.foreign import Desk, Exchange, SessionRecorder, read_naming
from wasp_ray.http.options import Options, read_options

OPTIONS = frozenset({
    "auth", "cert", "connect_timeout", "connections", "cookies", "expect", "headers", "proxy", "timeout", "verify",
})  # fmt: skip


def open_session(
    recorder: SessionRecorder | None, base_url: str | None = None, *, group: Any = None, **options: Any
) -> RecordedSession:
    """Raises BadInput with all that is wrong with the options."""
    made = read_options(base_url or "http://localhost", options, client="requests", only=OPTIONS)
    desk = Desk(recorder, made.expect, read_naming("requests", group), phases=False)
    session = RecordedSession(desk, base_url or "", (made.connect_timeout_ns / 1e9, made.timeout_ns / 1e9))
    _apply(session, made, options.get("proxy"), has_base=bool(base_url))
    return session


def _apply(session: requests.Session, made: Options, proxy: str | None, *, has_base: bool) -> None:
    session.trust_env = False  # what is loaded, and with whose password, is not left to the environment
    session.headers["User-Agent"] = "wasp-ray"
    session.headers.update(made.headers)
    if made.authorization:
        session.headers["Authorization"] = made.authorization
    domain = cookie_domain(made.origin.host) if has_base else ""
    for name, value in made.cookies.items():
        session.cookies.set(name, value, domain=domain)
    verify, cert = made.tls
    session.verify = verify
    if cert is not None:
        session.cert = cert[0] if len(cert) == 1 else cert
    if proxy is not None:
        session.proxies = {"http": proxy, "https": proxy}
    adapter = HTTPAdapter(pool_connections=100, pool_maxsize=made.connections, pool_block=True)
    session.mount("http://", adapter)
    session.mount("https://", adapter)


class RecordedSession(requests.Session):
    """`group` and `expect` may be given to each request; a URL that begins with / is below the base URL."""

    def __init__(self, desk: Desk, base_url: str, timeout_s: tuple[float, float]) -> None:
        super().__init__()
        self.desk, self._base, self._timeout_s = desk, base_url.rstrip("/"), timeout_s
        self._asked: dict[str, Any] | None = None
        self._exchange: Exchange | None = None  # under way
        self._is_redirected = False

    def request(  # type: ignore[override]
        self, method: str, url: str, *args: Any, group: str | None = None, expect: Any = None, **asked: Any
    ) -> requests.Response:
        """See requests."""
        if self._base and not url.lower().startswith(("http://", "https://")):
            url = f"{self._base}/{url.lstrip('/')}"
        self._asked = {"group": group, "expect": expect} if group is not None or expect is not None else None
        try:
            return super().request(method, url, *args, **asked)
        finally:
            self._asked = None

    def send(self, request: requests.PreparedRequest, **asked: Any) -> requests.Response:
        """See requests; it calls this again for each redirect that it follows, which is the same request to us."""
        if asked.get("timeout") is None:
            asked["timeout"] = self._timeout_s
        if self._exchange is not None:
            self._is_redirected = True
            return super().send(request, **asked)
        url = request.url or ""
        exchange = self._exchange = Exchange(self.desk, self._asked)
        self._is_redirected = False
        exchange.named(request.method or "", url, request.path_url)
        exchange.begins()
        try:
            response = super().send(request, **asked)
        except BaseException as exc:
            error = error_of(exc, is_redirected=self._is_redirected)
            if error:
                exchange.failed(error, exc)
            else:
                exchange.never_sent()
            raise
        finally:
            self._exchange = None
        self._answered(exchange, response, is_streamed=bool(asked.get("stream")))
        return response

    def _answered(self, exchange: Exchange, response: requests.Response, *, is_streamed: bool) -> None:
        exchange.answered(response.status_code, response)
        for one in response.history:
            _count(exchange, one)
            exchange.bytes_in += one.raw.tell()
        _count(exchange, response)
        if is_streamed:
            response.__class__ = RecordedResponse
            cast(RecordedResponse, response).exchange = exchange
            self.desk.open.add(exchange)
        else:
            exchange.bytes_in += response.raw.tell()
            exchange.end(now_ns())

    def close(self) -> None:
        """See requests; what nobody read or closed is recorded."""
        super().close()
        self.desk.close()


class RecordedResponse(requests.Response):
    """One whose body is read by user code, piece by piece."""

    exchange: Exchange

    def iter_content(self, *args: Any, **asked: Any) -> Iterator[Any]:
        """See requests."""
        pieces = super().iter_content(*args, **asked)
        return self._watched(pieces)

    def _watched(self, pieces: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from pieces
        except Exception as exc:
            self._end(exc)
            raise
        self._end()

    def close(self) -> None:
        """See requests."""
        self._end()
        super().close()

    def _end(self, exc: Exception | None = None) -> None:
        exchange = self.exchange
        if exchange.is_done:
            return
        exchange.bytes_in += self.raw.tell()
        error = error_of(exc) if exc is not None else ""
        if exc is not None and error:
            exchange.failed(error, exc)
        else:
            exchange.end(now_ns())


def _count(exchange: Exchange, response: requests.Response) -> None:
    """Heads of one request and its answer, and the request's body when its length was told."""
    lines = [part for line in response.raw.headers.items() for part in line]
    exchange.bytes_in += len("".join(lines)) + 2 * len(lines) + len(response.reason or "") + 17
    sent = response.request
    lines = [str(part) for line in sent.headers.items() for part in line]
    exchange.bytes_out += len("".join(lines)) + 2 * len(lines) + len(sent.method or "") + len(sent.path_url) + 14
    exchange.bytes_out += int(sent.headers.get("Content-Length") or 0)


def error_of(exc: BaseException, *, is_redirected: bool = False) -> str:
    """One of failures.ALL; empty for what is no failure of the network or the server."""
    if isinstance(exc, (wrong.InvalidURL, wrong.MissingSchema, wrong.InvalidSchema)):
        return failures.NO_LOCATION if is_redirected else ""
    if not isinstance(exc, (requests.RequestException, below.HTTPError, OSError)):
        return "" if isinstance(exc, Exception) else failures.CANCELLED
    if isinstance(exc, wrong.InvalidHeader):
        return ""
    chain = list(causes(exc))
    for kinds, error in _KINDS:
        if any(isinstance(one, kinds) for one in chain):
            return error
    return next((name_of(one) for one in reversed(chain) if isinstance(one, OSError) and one.errno), failures.CONNECT)


_KINDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (wrong.TooManyRedirects, failures.REDIRECTS),
    (wrong.ProxyError, failures.PROXY),
    (ssl.SSLCertVerificationError, failures.UNTRUSTED),
    ((ssl.SSLError, wrong.SSLError), failures.TLS),
    (wrong.ConnectTimeout, failures.CONNECT_TIMEOUT),
    ((wrong.ReadTimeout, below.ReadTimeoutError), failures.TIMEOUT),
    (below.NameResolutionError, failures.DNS),
    (http.client.RemoteDisconnected, failures.NO_ANSWER),
    (wrong.ContentDecodingError, failures.ENCODING),
    ((http.client.IncompleteRead, below.IncompleteRead, below.InvalidChunkLength), failures.CUT),
    (http.client.LineTooLong, failures.HEAD_SIZE),
    ((http.client.BadStatusLine, http.client.UnknownProtocol, below.HeaderParsingError), failures.MALFORMED),
    (http.client.HTTPException, failures.HEAD_SIZE),  # "got more than 100 headers" has no class of its own
)
"""The first that fits, of an exception or of one that it wraps."""
