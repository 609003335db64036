"""How sinks post over HTTP: what became of an attempt, in one shape for all of them, and what that means for the books."""

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
_DOUBTFUL = (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, aiohttp.ClientOSError, TimeoutError)
"""The request may have been taken before the connection ended."""


class Posted(NamedTuple):
    """`status`: of the answer, or NOT_SENT or NO_ANSWER, with the `error` that says why."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}
    error: Exception | None = None

    def said(self, address: str) -> str:
        """What the server said, or why it said nothing."""
        error = self.error
        if error is None:
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


def reason_of(status: int) -> str:
    """Why a line is not delivered whose last attempt ended so."""
    if status in (NOT_SENT, NO_ANSWER):
        return "unreachable"
    if status in (401, 403):
        return "unauthorized"
    if status == 429:
        return "rate_limited"
    return "server_error" if status >= 500 else REJECTED
