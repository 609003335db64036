"""How sinks post over HTTP: the outcome of an attempt, in one shape for all of them, and what it means for their counters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import aiohttp

NOT_SENT, NO_ANSWER = -1, 0
"""Instead of a status: it never reached the server; whether it did is not known."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
"""Between attempts of which none was final: each pause is twice the one before."""
MAX_TOLD_CHARS = 200
REJECTED = "rejected"
FINAL = frozenset({400, 413})
"""Refusals of a request's content: the same request would be refused again. After any other status a later attempt may succeed:
a deployment ends, and URLs, credentials and limits are set right.
"""
UNAUTHORIZED, WRONG_URL = frozenset({401, 403}), frozenset({404, 405, 421})
_DOUBTFUL = (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, aiohttp.ClientOSError, TimeoutError)
"""The request may have been taken before the connection ended."""


class Posted(NamedTuple):
    """`status`: of the answer, or NOT_SENT or NO_ANSWER, with the `error` that says why."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}
    error: Exception | None = None

    def said(self, address: str) -> str:
        """Return the server's text, or why there is none."""
        error = self.error
        if error is None:
            if is_redirect(self.status):
                return f"the server redirects (HTTP {self.status}); set the final URL"
            return self.body.decode("utf-8", "replace")
        if isinstance(error, aiohttp.ClientConnectorError):
            return f"{address}: {error.strerror or error}"
        if self.status == NO_ANSWER:
            return f"{address}: the connection ended before the answer ({type(error).__name__})"
        return f"{address}: {type(error).__name__}"


async def post(session: aiohttp.ClientSession, url: str, **request: Any) -> Posted:
    """One attempt; redirects are not followed. It raises nothing of the network's."""
    try:
        async with session.post(url, allow_redirects=False, **request) as answer:
            return Posted(answer.status, await answer.read(), answer.headers)
    except aiohttp.ClientConnectorError as exc:
        return Posted(NOT_SENT, error=exc)
    except _DOUBTFUL as exc:
        return Posted(NO_ANSWER, error=exc)
    except aiohttp.ClientError as exc:
        return Posted(NOT_SENT, error=exc)


def is_redirect(status: int) -> bool:
    """Return whether a status is one of 3xx, none of which is followed: credentials would go along."""
    return 300 <= status < 400


def is_final(status: int) -> bool:
    """Return whether the same request would be refused again."""
    return status in FINAL


def stored_nothing(status: int) -> bool:
    """Return whether the server has certainly nothing of a request that ended so. 400 may store a part of it; a proxy may
    answer 408 while the server behind it has the whole.
    """
    return status == NOT_SENT or (300 <= status < 500 and status not in (400, 408))


def reason_of(status: int) -> str:
    """Return why a line was not delivered whose last attempt ended so."""
    if status in (NOT_SENT, NO_ANSWER):
        return "unreachable"
    if is_final(status):
        return REJECTED
    if status in UNAUTHORIZED:
        return "unauthorized"
    if status == 429:
        return "rate_limited"
    if is_redirect(status):
        return "redirected"
    return "server_error" if status >= 500 else "client_error"


def described(status: int, text: str) -> str:
    """Return what to report of a failed attempt, by its status and `Posted.said`."""
    if status <= 0 or is_redirect(status):
        return text
    if status in WRONG_URL:
        return f"{status}: check the URL" + (f" ({text})" if text else "")
    return f"{status}: {text or 'the answer has no text'}"
