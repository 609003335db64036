"""What an exception of aiohttp means, in the words of failures.py. It must not decide what is recorded."""

from __future__ import annotations

import asyncio
import ssl

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError, LineTooLong, TransferEncodingError

from wasp_ray.errors import causes
from wasp_ray.http import failures
from wasp_ray.http.failures import name_of


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
