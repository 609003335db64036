"""The names of what can go wrong with a request: short, stable, few. It maps exceptions to them and knows no connection."""

from __future__ import annotations

import errno
import socket
import ssl

DNS = "dns failed"
REFUSED = "connection refused"
CONNECT_TIMEOUT = "connect timeout"
RESET = "connection reset"
UNREACHABLE = "host unreachable"
NO_PORT = "no local port left"
NO_DESCRIPTOR = "no file descriptor left"
PROXY = "proxy refused"
CONNECT = "connect failed"
UNTRUSTED = "certificate not trusted"
TLS = "tls failed"
FIRST_BYTE_TIMEOUT = "first byte timeout"
TIMEOUT = "timeout"
NO_CONNECTION = "no connection free"
NO_ANSWER = "closed without an answer"
CUT = "answer cut short"
MALFORMED = "malformed answer"
HEAD_SIZE = "headers too large"
BODY_SIZE = "body too large"
ENCODING = "body cannot be decoded"
UPGRADE = "unexpected upgrade"
REDIRECTS = "too many redirects"
NO_LOCATION = "redirect without a place"
BODY_GONE = "body cannot be sent again"
BODY_SOURCE = "body could not be read"
CANCELLED = "cancelled"

ALL = frozenset({
    DNS, REFUSED, CONNECT_TIMEOUT, RESET, UNREACHABLE, NO_PORT, NO_DESCRIPTOR, PROXY, CONNECT, UNTRUSTED, TLS,
    FIRST_BYTE_TIMEOUT, TIMEOUT, NO_CONNECTION, NO_ANSWER, CUT, MALFORMED, HEAD_SIZE, BODY_SIZE, ENCODING, UPGRADE, REDIRECTS,
    NO_LOCATION, BODY_GONE, BODY_SOURCE, CANCELLED,
})  # fmt: skip
"""Beside these there are `HTTP <status>` and what a predicate of the user said."""

_BY_ERRNO = {
    errno.ECONNREFUSED: REFUSED,
    errno.ENOENT: REFUSED,  # of a unix socket
    errno.ETIMEDOUT: CONNECT_TIMEOUT,
    errno.ECONNRESET: RESET,
    errno.EPIPE: RESET,
    errno.ECONNABORTED: RESET,
    errno.EHOSTUNREACH: UNREACHABLE,
    errno.ENETUNREACH: UNREACHABLE,
    errno.EADDRNOTAVAIL: NO_PORT,
    errno.EMFILE: NO_DESCRIPTOR,
    errno.ENFILE: NO_DESCRIPTOR,
}


class RequestFailed(Exception):
    """Ends a request inside the client; never leaves it. `str(exc)` is one of ALL."""


def name_of(exc: BaseException) -> str:
    """The name of what an attempt to connect, to send or to receive raised."""
    if isinstance(exc, RequestFailed):
        return str(exc)
    if isinstance(exc, ssl.SSLCertVerificationError):
        return UNTRUSTED
    if isinstance(exc, ssl.SSLError):
        return TLS
    if isinstance(exc, socket.gaierror):
        return DNS
    if isinstance(exc, TimeoutError):
        return CONNECT_TIMEOUT
    if isinstance(exc, OSError):
        return _BY_ERRNO.get(exc.errno or 0, CONNECT)
    return CONNECT
