"""The client of sync actors: blocking sockets, the same requests, parser and judgement as the async one.

Deadlines are the sockets' own timeouts (SO_RCVTIMEO), so that waiting costs one system call.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from wasp_ray.clock import now_ns
from wasp_ray.http import failures
from wasp_ray.http.answer import AnswerReader
from wasp_ray.http.dial import READ_BYTES, connect_request
from wasp_ray.http.dns import Address, addresses
from wasp_ray.http.failures import RequestFailed, name_of
from wasp_ray.http.methods import Client
from wasp_ray.http.options import Origin
from wasp_ray.http.recorder import Recorder
from wasp_ray.http.request import Request
from wasp_ray.http.response import Response
from wasp_ray.http.talk import Talk

_TIMEVAL = struct.Struct("@ll")
_WAITED = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What a blocking socket says whose timeout has run out."""


class _Connection:
    """One socket with its reader; `ended_ns`: since when it is idle."""

    __slots__ = ("_timeout_ns", "ended_ns", "first_ns", "raw", "reader", "sock")

    def __init__(self, raw: socket.socket, sock: socket.socket, reader: AnswerReader) -> None:
        self.raw, self.sock, self.reader = raw, sock, reader
        self.ended_ns = self.first_ns = self._timeout_ns = 0

    def wait_until(self, deadline: int) -> None:
        """Sets how long the next call may block; a change of less than a millisecond is not worth a system call."""
        left = deadline - now_ns()
        if left <= 0:
            raise RequestFailed(failures.TIMEOUT)
        if not -1_000_000 < left - self._timeout_ns < 1_000_000:
            self._timeout_ns = left
            value = _TIMEVAL.pack(left // 1_000_000_000, max(1, left % 1_000_000_000 // 1000))
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)

    def close(self) -> None:
        """At once."""
        with suppress(OSError):
            self.sock.close()


class SyncClient(Client[Response]):
    """For one thread. Keeps one connection for each origin: a thread has one request at a time."""

    def __init__(self, base_url: str, recorder: Recorder | None = None, **options: Any) -> None:
        super().__init__(base_url, recorder, **options)
        self._kept: dict[Origin, _Connection] = {}

    def _run(self, request: Request) -> Response:
        start = now_ns()
        talk, judge = Talk(request, start, *self._recorder.request_begins(start)), self._judge
        while True:
            request = talk.request
            connection: _Connection | None = None
            is_kept = False
            try:
                connection = None if talk.repeated else self._take(request.origin)
                is_kept = connection is not None
                if connection is None:
                    connection = self._connect(request.origin, talk)
                self._exchange(connection, request, talk)
            except (RequestFailed, OSError) as exc:
                reader = connection.reader if connection is not None else None
                error = name_of(exc)
                if connection is not None:
                    connection.close()
                if reader is not None and reader.received and error == failures.RESET:
                    error = failures.CUT
                if is_kept and reader is not None and judge.may_repeat(talk, reader, error):
                    continue
                return judge.failed(talk, error, reader)
            except BaseException:
                if connection is not None:
                    connection.close()
                judge.cancelled(talk)
                raise
            reader = connection.reader
            response = judge.answered(talk, reader, connection.ended_ns)
            if reader.keep_alive and not reader.surplus:
                self._kept[request.origin] = connection
            else:
                connection.close()
            if response is not None:
                return response

    def close(self) -> None:
        """Ends all connections; a request after it opens new ones."""
        for connection in self._kept.values():
            connection.close()
        self._kept.clear()

    # -- one exchange

    def _take(self, origin: Origin) -> _Connection | None:
        connection = self._kept.pop(origin, None)
        if connection is not None and now_ns() - connection.ended_ns > self.settings.idle_ns:
            connection.close()
            return None
        return connection

    def _exchange(self, connection: _Connection, request: Request, talk: Talk) -> None:
        reader, sock = connection.reader, connection.sock
        reader.expect(request.head_only)
        first_by, deadline = None, talk.deadline
        connection.wait_until(deadline)
        try:
            sock.sendall(request.data)
            if request.is_chunked:
                self._feed(connection, request, deadline)
            sent = now_ns() if self.settings.phases else 0
            if self.settings.first_byte_timeout_ns is not None:
                first_by = min(deadline, now_ns() + self.settings.first_byte_timeout_ns)
                connection.wait_until(first_by)
            while not reader.complete:
                data = sock.recv(READ_BYTES)
                if not reader.received:
                    connection.first_ns = now_ns()
                    first_by = None
                    if sent:
                        talk.took("first byte", connection.first_ns - sent)
                if data:
                    reader.feed(data)
                else:
                    reader.end()
                    reader.keep_alive = False
                if not reader.complete:
                    connection.wait_until(deadline)
        except _WAITED:
            early = first_by is not None and first_by < deadline
            raise RequestFailed(failures.FIRST_BYTE_TIMEOUT if early else failures.TIMEOUT) from None
        connection.ended_ns = now_ns()

    def _feed(self, connection: _Connection, request: Request, deadline: int) -> None:
        """A body in pieces."""
        body, sock = request.body, connection.sock
        pieces = iter(body) if isinstance(body, Iterable) and not isinstance(body, bytes) else None
        while True:
            try:
                if pieces is None:
                    raise TypeError("an async iterable in a sync actor")
                piece = next(pieces, None)
            except Exception:
                raise RequestFailed(failures.BODY_SOURCE) from None
            if piece is None:
                break
            if piece:
                connection.wait_until(deadline)
                sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        sock.sendall(b"0\r\n\r\n")

    # -- connections

    def _connect(self, origin: Origin, talk: Talk) -> _Connection:
        settings = self.settings
        deadline = min(talk.deadline, now_ns() + settings.connect_timeout_ns)
        late = failures.TIMEOUT if deadline == talk.deadline else failures.CONNECT_TIMEOUT
        raw: socket.socket | None = None
        try:
            raw = sock = self._socket(origin, talk, deadline)
            if settings.proxy is not None and origin.scheme == "https" and settings.unix is None:
                self._through_proxy(raw, origin, deadline)
            if origin.scheme == "https":
                sock = self._secured(raw, origin, talk, deadline)
            sock.settimeout(None)
        except TimeoutError:
            error = late
        except (OSError, RequestFailed, ValueError) as exc:
            error = name_of(exc)
        else:
            return _Connection(raw, sock, AnswerReader(settings.max_body))
        if raw is not None:
            raw.close()
        raise RequestFailed(error)

    def _socket(self, origin: Origin, talk: Talk, deadline: int) -> socket.socket:
        settings = self.settings
        if settings.unix is not None:
            found: list[tuple[int, Any]] = [(socket.AF_UNIX, settings.unix)]
        else:
            host, port = (origin.host, origin.port) if settings.proxy is None else settings.proxy[:2]
            found = [*self._resolve(host, port, talk)]
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
            if family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            talk.took("connect", now_ns() - began)
            return sock
        if settings.unix is None:
            addresses.forget(host, port)
        raise error

    def _resolve(self, host: str, port: int, talk: Talk) -> list[Address]:
        known = addresses.known(host, port)
        if known is not None:
            return known
        began = now_ns()
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise RequestFailed(failures.DNS) from None
        talk.took("dns", now_ns() - began)
        return addresses.keep(host, port, found, self.settings.dns_ttl_ns)  # type: ignore[arg-type]

    def _through_proxy(self, sock: socket.socket, origin: Origin, deadline: int) -> None:
        reader = AnswerReader(self.settings.max_body)
        reader.expect(head_only=True)
        sock.settimeout(_left_s(deadline))
        sock.sendall(connect_request(self.settings, origin))
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

    def _secured(self, raw: socket.socket, origin: Origin, talk: Talk, deadline: int) -> ssl.SSLSocket:
        began = now_ns()
        raw.settimeout(_left_s(deadline))
        name = self.settings.server_name or origin.host
        sock = self.settings.ssl_context().wrap_socket(raw, server_hostname=name)
        talk.took("tls", now_ns() - began)
        return sock


def _left_s(deadline: int) -> float:
    left = deadline - now_ns()
    if left <= 0:
        raise TimeoutError
    return left / 1e9
