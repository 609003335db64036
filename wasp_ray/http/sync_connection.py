"""One blocking connection of the sync client: writes one request, reads its answer, is reused. It must not decide what an
answer means.

Deadlines are the socket's own timeouts (SO_RCVTIMEO), so that waiting costs one system call; with TLS they are Python's,
since its wrapper goes on waiting behind those.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress

from wasp_ray.clock import now_ns
from wasp_ray.http import failures
from wasp_ray.http.answer import READ_BYTES, AnswerReader
from wasp_ray.http.failures import RequestFailed
from wasp_ray.http.request import SENT_AT_ONCE, Request

UNSET_NS = -1_000_000
_TIMEVAL = struct.Struct("@ll")
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_WAITED = (*_NOT_NOW, TimeoutError)
"""What a socket says whose timeout has run out."""


class SyncConnection:
    """`exchange`, look at the reader. `ended_ns`: since when it is idle; `began_ns`: when the request was sent, 0 if nothing
    of it was.
    """

    __slots__ = ("_events", "_is_tls", "_poll", "_timeout_ns", "began_ns", "ended_ns", "first_ns", "reader", "sock")

    def __init__(self, sock: socket.socket, max_body: int) -> None:
        self.sock, self.reader = sock, AnswerReader(max_body)
        self._is_tls = isinstance(sock, ssl.SSLSocket)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._timeout_ns = UNSET_NS
        self.began_ns = self.ended_ns = self.first_ns = 0

    def exchange(self, request: Request, deadline: int, first_byte_timeout_ns: int | None) -> None:
        """Returns when the answer is complete; raises RequestFailed and OSError."""
        reader = self.reader
        reader.expect(request.head_only)
        self.began_ns = 0
        first_by = deadline
        try:
            self._send(request, deadline)
            if first_byte_timeout_ns is not None and not reader.received:
                first_by = min(deadline, now_ns() + first_byte_timeout_ns)
                self._wait_until(first_by)
            while not reader.complete:
                self._receive()
                if not reader.complete:
                    self._wait_until(deadline)
        except _WAITED:
            early = first_by < deadline and not reader.received
            raise RequestFailed(failures.FIRST_BYTE_TIMEOUT if early else failures.TIMEOUT) from None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            raise RequestFailed(failures.RESET) from None
        self.ended_ns = now_ns()

    @property
    def is_quiet(self) -> bool:
        """Whether nothing came while it was idle: neither its end nor what nobody asked for."""
        if not self._poll.poll(0):
            return True
        if not self._is_tls:
            return False
        try:
            self._do_not_wait()
            self.sock.recv(1)
        except _NOT_NOW:  # a word between the two ends of TLS
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        """At once."""
        with suppress(OSError):
            self.sock.close()

    # -- the two ways

    def _send(self, request: Request, deadline: int) -> None:
        self._wait_until(deadline)
        self.began_ns = now_ns()
        try:
            if len(request.data) > SENT_AT_ONCE:
                self._send_watching(request.data, deadline)
            else:
                sent = self.sock.send(request.data)
                if sent < len(request.data):
                    self._send_watching(request.data[sent:], deadline)
            if request.is_chunked:
                self._send_pieces(request, deadline)
        except (ConnectionResetError, BrokenPipeError):
            self._read_last_words()
        if len(request.data) > SENT_AT_ONCE or request.is_chunked:
            self._wait_until(deadline)

    def _send_pieces(self, request: Request, deadline: int) -> None:
        """A body that is not at hand as a whole."""
        assert isinstance(request.body, Iterable) and not isinstance(request.body, bytes)
        pieces: Iterator[bytes] | None = None
        while not self.reader.complete:
            try:
                pieces = iter(request.body) if pieces is None else pieces
                piece = next(pieces, None)
                data = b"0\r\n\r\n" if piece is None else b"%x\r\n%b\r\n" % (len(piece), piece)
            except Exception:
                raise RequestFailed(failures.BODY_SOURCE) from None
            if piece is None or piece:
                self._send_watching(data, deadline)
            if piece is None:
                return

    def _send_watching(self, data: bytes, deadline: int) -> None:
        """As much as is taken, until there is an answer already: then the connection is not used again."""
        rest, reader = memoryview(data), self.reader
        while rest:
            left = deadline - now_ns()
            if left <= 0:
                raise RequestFailed(failures.TIMEOUT)
            both = select.poll()
            both.register(self.sock, select.POLLIN | select.POLLOUT)
            events = dict(both.poll(left / 1e6 + 1)).get(self.sock.fileno(), 0)
            if events & select.POLLIN:
                self._receive_now()
                if reader.complete:
                    reader.keep_alive = False
                    return
            if events & ~select.POLLIN:
                rest = rest[self._send_now(rest) :]

    def _send_now(self, data: memoryview) -> int:
        try:
            if not self._is_tls:
                return self.sock.send(data, socket.MSG_DONTWAIT)
            self._do_not_wait()
            return self.sock.send(data[:SENT_AT_ONCE])
        except _NOT_NOW:
            return 0

    def _receive_now(self) -> None:
        with suppress(*_NOT_NOW):
            if self._is_tls:
                self._do_not_wait()
            self._receive(0 if self._is_tls else socket.MSG_DONTWAIT)

    def _do_not_wait(self) -> None:
        """Of TLS, whose calls take no flags."""
        self.sock.settimeout(0)
        self._timeout_ns = UNSET_NS

    def _receive(self, flags: int = 0) -> None:
        reader = self.reader
        try:
            data = self.sock.recv(READ_BYTES, flags)
        except ssl.SSLEOFError as exc:  # an end without a goodbye, as most servers do it, or a reset
            if exc.reason != "UNEXPECTED_EOF_WHILE_READING":
                raise RequestFailed(failures.RESET) from None
            data = b""
        if not reader.received:
            self.first_ns = now_ns()
        if data:
            reader.feed(data)
        else:
            reader.end()
            reader.keep_alive = False

    def _read_last_words(self) -> None:
        """The server hung up before it had all: what it said of it may be there. Raises RequestFailed if not."""
        reader = self.reader
        try:
            while not reader.complete:
                self._receive()
        except (OSError, RequestFailed):
            raise RequestFailed(failures.CUT if reader.received else failures.RESET) from None
        reader.keep_alive = False

    def _wait_until(self, deadline: int) -> None:
        """Sets how long the next call may block; a change of less than a millisecond is not worth a system call."""
        left = deadline - now_ns()
        if left <= 0:
            raise TimeoutError
        if not -1_000_000 < left - self._timeout_ns < 1_000_000:
            self._timeout_ns = left
            if self._is_tls:
                self.sock.settimeout(left / 1e9)
                return
            value = _TIMEVAL.pack(left // 1_000_000_000, max(1, left % 1_000_000_000 // 1000))
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)
