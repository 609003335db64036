"""The requests: one look at a rules API, told to a watch. Whatever goes wrong is an answer too, in words with the cure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from wasp_ray.alerts.rules import alerts_of, rules_of
from wasp_ray.alerts.server import Server
from wasp_ray.alerts.watch import AlertWatch
from wasp_ray.plan import AlertPlan

REQUEST_S = 10.0
MAX_ANSWER_BYTES = 64 * 2**20
CLOCK_OFF_S = 1.5
"""A server's clock that is less off is taken for ours: the Date of its answers is cut to the second."""
_REFUSED = {
    401: "401: the credentials were refused; check {credentials}",
    403: "403: the credentials may not read alert rules (in Grafana: alert.rules:read and their folders); check {credentials}",
    404: "404: there is no rules API at this address; check the URL and kind={kind!r}",
}


class _NoAnswer(Exception):
    """Why there is none that can be read; `status` 0: no answer at all."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


def new_session() -> aiohttp.ClientSession:
    """For all checks of a run; cookies are not kept."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=REQUEST_S), cookie_jar=aiohttp.DummyCookieJar(), trust_env=True
    )


async def look(
    session: aiohttp.ClientSession, server: Server, check: AlertPlan, watch: AlertWatch, now_s: Callable[[], float]
) -> float:  # fmt: skip
    """One request, within 10 s; the instant at which it began."""
    sent_s = now_s()
    try:
        answer, date_s = await _get(session, server, server.rules_url, server.params)
        got_s = now_s()
        watch.polled(sent_s, got_s, rules_of(answer, check.labels, check.dashboard_uid), _ahead(date_s, sent_s, got_s))
    except _NoAnswer as exc:
        if exc.status == 404 and server.alerts_url:
            await _look_at_alerts(session, server, check, watch, now_s, sent_s)
        else:
            watch.failed(sent_s, str(exc))
    except ValueError as exc:
        watch.failed(sent_s, f"{server.rules_url}: {exc}")
    return sent_s


async def _look_at_alerts(
    session: aiohttp.ClientSession, server: Server, check: AlertPlan, watch: AlertWatch, now_s: Callable[[], float],
    sent_s: float,
) -> None:  # fmt: skip
    """What fires can be read from an Alertmanager; that nothing does says nothing, since a rule may not be there at all."""
    try:
        answer, date_s = await _get(session, server, server.alerts_url, {})
        got_s = now_s()
        why = "404: there is no rules API at this address; of its Alertmanager only what fires is known"
        alerts = alerts_of(answer, check.labels, check.dashboard_uid)
        watch.only_firing(sent_s, got_s, alerts, _ahead(date_s, sent_s, got_s), why)
    except (_NoAnswer, ValueError) as exc:
        watch.failed(sent_s, str(exc))


async def _get(
    session: aiohttp.ClientSession, server: Server, url: str, params: Mapping[str, str]
) -> tuple[Any, float | None]:
    """The JSON of a good answer, and its Date. Raises _NoAnswer."""
    try:
        async with session.get(url, params=params, headers=server.headers, allow_redirects=False) as answer:
            body = await _body(answer)
            _check(answer.status, body, server)
            return json.loads(body), _seconds(answer.headers.get("Date", ""))
    except TimeoutError:
        raise _NoAnswer(f"{url}: no answer within {REQUEST_S:g} s") from None
    except aiohttp.ClientConnectorError as exc:
        raise _NoAnswer(f"{url}: {exc.strerror or exc}") from exc
    except aiohttp.ClientError as exc:
        raise _NoAnswer(f"{url}: the connection ended before the answer ({type(exc).__name__})") from exc
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as exc:
        raise _NoAnswer(f"{url}: its answer is no JSON, as that of a login page or a proxy") from exc


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in answer.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise _NoAnswer(f"{answer.url.path}: its answer is larger than {MAX_ANSWER_BYTES >> 20} MiB")
    return b"".join(parts)


def _check(status: int, body: bytes, server: Server) -> None:
    if status == 200:
        return
    if status in _REFUSED:
        raise _NoAnswer(_REFUSED[status].format(credentials=server.credentials, kind=server.kind), status)
    if 300 <= status < 400:
        raise _NoAnswer(f"the server redirects (HTTP {status}), for example to a login page; set the final URL", status)
    secret = server.headers.get("Authorization", " ").partition(" ")[2]
    text = body[:200].decode("utf-8", "replace").strip()
    if secret and secret in text:
        text = "its answer repeats the credentials and is not shown"
    raise _NoAnswer(f"{status}: {text}" if text else str(status), status)


def _ahead(date_s: float | None, sent_s: float, got_s: float) -> float:
    """The server's clock minus ours."""
    if date_s is None:
        return 0.0
    ahead_s = date_s + 0.5 - (sent_s + got_s) / 2
    return ahead_s if abs(ahead_s) > CLOCK_OFF_S else 0.0


def _seconds(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
