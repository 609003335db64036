"""Opens connections of the async client: name, TCP, proxy, TLS, each timed. It sends no request of the user."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

from wasp_ray.clock import now_ns
from wasp_ray.http import failures
from wasp_ray.http.answer import READ_BYTES, AnswerReader
from wasp_ray.http.connection import Connection
from wasp_ray.http.dns import Address, addresses
from wasp_ray.http.failures import RequestFailed, name_of
from wasp_ray.http.options import Options
from wasp_ray.http.parts import Origin
from wasp_ray.http.request import connect_request
from wasp_ray.http.talk import Talk

AFTER_DEADLINE_S = 60.0  # the loop's own limit of a handshake, whose error has another name: it must not come first


class Dialer:
    """Of one client. `dial` raises RequestFailed."""

    def __init__(self, options: Options, lost: Callable[[Connection], None]) -> None:
        self._options, self._lost = options, lost

    async def dial(self, origin: Origin, talk: Talk) -> Connection:
        """Within the client's connect_timeout and the request's own."""
        began = now_ns()
        deadline = min(talk.deadline, began + self._options.connect_timeout_ns)
        late = failures.TIMEOUT if deadline == talk.deadline else failures.CONNECT_TIMEOUT
        try:
            async with asyncio.timeout((deadline - began) / 1e9):
                return await self._dial(origin, talk, deadline)
        except TimeoutError:
            raise RequestFailed(late) from None
        except (OSError, RequestFailed, ValueError) as exc:
            raise RequestFailed(name_of(exc)) from None

    async def _dial(self, origin: Origin, talk: Talk, deadline: int) -> Connection:
        loop, options = asyncio.get_running_loop(), self._options
        sock = await self._socket(origin, talk, deadline)
        try:
            if options.proxy is not None and origin.scheme == "https" and options.unix is None:
                await _through_proxy(sock, options, origin)
            began = now_ns()
            protocol = Connection(options.max_body, self._lost)
            if origin.scheme == "https":
                await self._secured(protocol, sock, options.server_name or origin.host, deadline)
                talk.took("tls", now_ns() - began)
            else:
                await loop.create_connection(lambda: protocol, sock=sock)
        except BaseException:
            sock.close()
            raise
        return protocol

    async def _secured(self, protocol: Connection, sock: socket.socket, name: str, deadline: int) -> None:
        limit_s = (deadline - now_ns()) / 1e9 + AFTER_DEADLINE_S
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: protocol,
                sock=sock,
                ssl=self._options.ssl_context(),
                server_hostname=name,
                ssl_handshake_timeout=limit_s,
            )
        except (ssl.SSLError, TimeoutError):
            raise
        except (OSError, ValueError):  # the server hung up, or it is a name that no certificate can have
            raise RequestFailed(failures.TLS) from None

    async def _socket(self, origin: Origin, talk: Talk, deadline: int) -> socket.socket:
        options = self._options
        if options.unix is not None:
            began = now_ns()
            sock = await _connected(socket.AF_UNIX, options.unix)
            talk.took("connect", now_ns() - began)
            return sock
        host, port = (origin.host, origin.port) if options.proxy is None else options.proxy[:2]
        found = await self._resolve(host, port, talk)
        began, error = now_ns(), OSError()
        for number, (family, address) in enumerate(found):
            others = len(found) - number
            try:
                if others > 1:  # one that is silent must not take it all
                    async with asyncio.timeout((deadline - now_ns()) / 1e9 / others):
                        sock = await _connected(family, address)
                else:
                    sock = await _connected(family, address)
            except OSError as exc:
                error = exc
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            talk.took("connect", now_ns() - began)
            return sock
        addresses.forget(host, port)
        raise error

    async def _resolve(self, host: str, port: int, talk: Talk) -> list[Address]:
        known = addresses.known(host, port)
        if known is not None:
            return known
        began = now_ns()
        found = await asyncio.wrap_future(addresses.look_up(host, port, self._options.dns_ttl_ns))
        talk.took("dns", now_ns() - began)
        return found


async def _connected(family: int, address: str | tuple[str, int]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def _through_proxy(sock: socket.socket, options: Options, origin: Origin) -> None:
    loop = asyncio.get_running_loop()
    reader = AnswerReader(options.max_body)
    reader.expect(head_only=True)
    await loop.sock_sendall(sock, connect_request(options, origin))
    while not reader.complete:
        data = await loop.sock_recv(sock, READ_BYTES)
        if not data:
            raise RequestFailed(failures.PROXY)
        with suppress(RequestFailed):
            reader.feed(data)
            continue
        break
    if not 200 <= reader.status < 300 or reader.surplus:
        raise RequestFailed(failures.PROXY)
