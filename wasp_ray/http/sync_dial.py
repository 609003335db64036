"""Opens connections of the sync client: name, TCP, proxy, TLS, each timed. It sends no request of the user."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from wasp_ray.clock import now_ns
from wasp_ray.http import failures
from wasp_ray.http.answer import READ_BYTES, AnswerReader
from wasp_ray.http.dns import Address, addresses
from wasp_ray.http.failures import RequestFailed, name_of
from wasp_ray.http.options import Options
from wasp_ray.http.parts import Origin
from wasp_ray.http.request import connect_request
from wasp_ray.http.sync_connection import SyncConnection
from wasp_ray.http.talk import Talk


class SyncDialer:
    """Of one client. `dial` raises RequestFailed."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def dial(self, origin: Origin, talk: Talk) -> SyncConnection:
        """Within the client's connect_timeout and the request's own."""
        options = self._options
        deadline = min(talk.deadline, now_ns() + options.connect_timeout_ns)
        late = failures.TIMEOUT if deadline == talk.deadline else failures.CONNECT_TIMEOUT
        sock: socket.socket | None = None
        try:
            sock = self._socket(origin, talk, deadline)
            if options.proxy is not None and origin.scheme == "https" and options.unix is None:
                self._through_proxy(sock, origin, deadline)
            if origin.scheme == "https":
                sock = self._secured(sock, origin, talk, deadline)
            sock.settimeout(None)
        except TimeoutError:
            error = late
        except (OSError, RequestFailed, ValueError) as exc:
            error = name_of(exc)
        except BaseException:
            if sock is not None:
                sock.close()
            raise
        else:
            return SyncConnection(sock, options.max_body)
        if sock is not None:
            sock.close()
        raise RequestFailed(error)

    def _socket(self, origin: Origin, talk: Talk, deadline: int) -> socket.socket:
        options = self._options
        if options.unix is not None:
            found: list[tuple[int, Any]] = [(socket.AF_UNIX, options.unix)]
        else:
            host, port = (origin.host, origin.port) if options.proxy is None else options.proxy[:2]
            found = [*self._resolve(host, port, talk, deadline)]
        began, error = now_ns(), OSError()
        for number, (family, address) in enumerate(found):
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.settimeout(_left_s(deadline) / (len(found) - number))
                sock.connect(address)
            except OSError as exc:
                sock.close()
                error = exc
                continue
            except BaseException:
                sock.close()
                raise
            if family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            talk.took("connect", now_ns() - began)
            return sock
        if options.unix is None:
            addresses.forget(host, port)
        raise error

    def _resolve(self, host: str, port: int, talk: Talk, deadline: int) -> list[Address]:
        known = addresses.known(host, port)
        if known is not None:
            return known
        began = now_ns()
        found = addresses.look_up(host, port, self._options.dns_ttl_ns).result(_left_s(deadline))
        talk.took("dns", now_ns() - began)
        return found

    def _through_proxy(self, sock: socket.socket, origin: Origin, deadline: int) -> None:
        reader = AnswerReader(self._options.max_body)
        reader.expect(head_only=True)
        sock.settimeout(_left_s(deadline))
        sock.sendall(connect_request(self._options, origin))
        try:
            while not reader.complete:
                sock.settimeout(_left_s(deadline))
                data = sock.recv(READ_BYTES)
                if not data:
                    break
                reader.feed(data)
        except RequestFailed:
            pass
        if not 200 <= reader.status < 300 or reader.surplus:
            raise RequestFailed(failures.PROXY)

    def _secured(self, raw: socket.socket, origin: Origin, talk: Talk, deadline: int) -> socket.socket:
        began = now_ns()
        raw.settimeout(_left_s(deadline))
        name = self._options.server_name or origin.host
        try:
            context = self._options.ssl_context()
            sock = context.wrap_socket(raw, server_hostname=name, suppress_ragged_eofs=False)
        except (ssl.SSLError, TimeoutError):
            raise
        except (OSError, ValueError):  # the server hung up, or it is a name that no certificate can have
            raise RequestFailed(failures.TLS) from None
        talk.took("tls", now_ns() - began)
        return sock


def _left_s(deadline: int) -> float:
    left = deadline - now_ns()
    if left <= 0:
        raise TimeoutError
    return left / 1e9
