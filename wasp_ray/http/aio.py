"""An aiohttp.ClientSession whose requests are recorded. See docs/http.md and docs/decisions/0017-sessions-of-aiohttp.md.

A request ends when its body has come in, or when user code releases or closes the response. No other module imports
aiohttp for clients; user code does get its exceptions, since it asked for its session.
"""

from __future__ import annotations

import asyncio
import ssl
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import aiohttp
from yarl import URL

from wasp_ray.http.aio_request import EXCHANGE, AioDesk, Pending
from wasp_ray.http.answer import MAX_HEAD_BYTES
from wasp_ray.http.foreign import Exchange, SessionRecorder, read_naming
from wasp_ray.http.options import Options, read_options
from wasp_ray.http.shared import share_of

OPTIONS = frozenset({
    "auth", "cert", "connect_timeout", "connections", "cookies", "decompress", "dns_ttl", "expect", "headers", "idle", "phases",
    "proxy", "timeout", "unix", "verify",
})  # fmt: skip


def open_session(
    recorder: SessionRecorder | None, base_url: str | None = None, *, group: Any = None, **options: Any
) -> RecordedSession:
    """In a running event loop. Raises BadInput with all that is wrong with the options."""
    made = read_options(base_url or "http://localhost", options, client="aiohttp", only=OPTIONS)
    desk = AioDesk(recorder, made.expect, read_naming("aiohttp", group), made.phases, made.timeout_ns)
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
    session.desk, desk.base = desk, base
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


with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it discourages heirs; the decision page says why there is one

    class RecordedSession(aiohttp.ClientSession):
        """`trace_request_ctx={"group": ..., "expect": ...}` names or judges one request. Websockets come through `request`."""

        ATTRS = aiohttp.ClientSession.ATTRS | {"desk"}
        desk: AioDesk

        def request(self, method: str, url: Any, **asked: Any) -> Any:
            """See aiohttp, as for all of these."""
            return Pending(self.desk, partial(super().request, method), method.upper(), url, asked)

        def get(self, url: Any, **asked: Any) -> Any:
            """GET."""
            return Pending(self.desk, super().get, "GET", url, asked)

        def options(self, url: Any, **asked: Any) -> Any:
            """OPTIONS."""
            return Pending(self.desk, super().options, "OPTIONS", url, asked)

        def head(self, url: Any, **asked: Any) -> Any:
            """HEAD."""
            return Pending(self.desk, super().head, "HEAD", url, asked)

        def post(self, url: Any, **asked: Any) -> Any:
            """POST."""
            return Pending(self.desk, super().post, "POST", url, asked)

        def put(self, url: Any, **asked: Any) -> Any:
            """PUT."""
            return Pending(self.desk, super().put, "PUT", url, asked)

        def patch(self, url: Any, **asked: Any) -> Any:
            """PATCH."""
            return Pending(self.desk, super().patch, "PATCH", url, asked)

        def delete(self, url: Any, **asked: Any) -> Any:
            """DELETE."""
            return Pending(self.desk, super().delete, "DELETE", url, asked)

        def describe_unawaited(self, _function: str, values: Mapping[str, Any]) -> str:
            """Name a request that was never awaited, by the arguments of aiohttp's `_request`."""
            return self.desk.describe_unawaited(values["method"], values["str_or_url"], values["trace_request_ctx"])

        async def close(self) -> None:
            """See aiohttp; what nobody read or released is recorded."""
            await super().close()
            self.desk.close()


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


def _exchange_of(trace_request_ctx: Mapping[str, Exchange]) -> Exchange:
    return trace_request_ctx[EXCHANGE]


def _begins(phase: str) -> Any:
    async def receiver(_session: Any, exchange: Exchange, _params: Any) -> None:
        exchange.phase_begins(phase)

    return receiver


def _ends(phase: str) -> Any:
    async def receiver(_session: Any, exchange: Exchange, _params: Any) -> None:
        exchange.phase_ends(phase)

    return receiver
