"""The OTLP sink: keeps the newest state of all totals and posts it every so often and at the end. It never gathers a queue."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import aiohttp

from wasp_ray.clock import wall_s
from wasp_ray.sinks.base import SinkBooks, SinkRun
from wasp_ray.sinks.metrics import Measured, measured, since
from wasp_ray.sinks.otlp_environment import address, headers, shown, variable
from wasp_ray.sinks.otlp_message import CONTENT_TYPE, Messages, rejected_points
from wasp_ray.sinks.posting import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    MAX_TOLD_CHARS,
    NO_ANSWER,
    REJECTED,
    UNAUTHORIZED,
    described,
    is_final,
    post,
    reason_of,
)
from wasp_ray.sinks.rows import SampleRows

POST_TIMEOUT_S = 10.0
TICK_NS = 1_000_000
"""Receivers as Prometheus keep instants in ms, and only one point of each."""


class Request(NamedTuple):
    """A message that covers `states` states of totals, up to `at_ns`."""

    body: bytes
    found: Measured
    at_ns: int
    states: int


class Answer(NamedTuple):
    """`status`: see posting.Posted. `rejected`: points that a success left out."""

    status: int
    text: str
    rejected: int = 0
    retry_after_s: float = 0.0

    @property
    def is_good(self) -> bool:
        """Taken, at least in part."""
        return 200 <= self.status < 300

    @property
    def is_final(self) -> bool:
        """Return whether no further attempt is worth its time: credentials do not change while the run waits for its end."""
        return self.rejected > 0 or is_final(self.status) or self.status in UNAUTHORIZED


class OtlpSink:
    """Raises WaspError when the endpoint is missing or the headers are none."""

    def __init__(self, options: Mapping[str, Any], run: SinkRun) -> None:
        self.books = SinkBooks()
        self._url = address(options["endpoint"])
        self._headers = {**headers(), "Content-Type": CONTENT_TYPE, "Content-Encoding": "gzip"}
        self._interval_s: float = options["interval"]
        self._delta = options["temporality"] == "delta"
        self._messages = Messages(run, self._delta)
        self._run = run
        self._state: Mapping[str, Mapping[str, Any]] = {}
        self._state_ns = 0
        self._before: Measured = {}  # what has arrived, and up to when: deltas begin there
        self._before_ns = self._asked_ns = 0
        self._doubtful: Request | None = None
        self._reason = "deadline"
        self._closing = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """The receiver need not be there."""
        certificate = variable("CERTIFICATE")
        tls = ssl.create_default_context(cafile=certificate) if certificate else True
        timeout = aiohttp.ClientTimeout(total=POST_TIMEOUT_S)
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls), timeout=timeout)
        self._work = asyncio.create_task(self._export_all())

    def samples(self, samples: SampleRows) -> None:
        """None: the totals hold them all."""

    def windows(self, windows: Sequence[Mapping[str, Any]]) -> None:
        """None: the totals hold them all."""

    def totals(self, generators: Mapping[str, Mapping[str, Any]]) -> None:
        """Takes the place of the one before."""
        self.books.accepted += 1
        self._state, self._state_ns = generators, int(wall_s() * 1e9)

    def event(self, event: Mapping[str, Any]) -> None:
        """None."""

    # -- what goes out

    async def _export_all(self) -> None:
        pause_s = self._interval_s
        while not await self._closes_within(pause_s):
            if self.books.open:
                pause_s = max(self._interval_s, (await self._export()).retry_after_s)
        pause_s = FIRST_PAUSE_S
        while before := self.books.open:
            answer = await self._export()
            if answer.is_final and self.books.open == before:
                return
            if not answer.is_good:
                await asyncio.sleep(max(pause_s, answer.retry_after_s))
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    async def _closes_within(self, pause_s: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), pause_s)
        return self._closing.is_set()

    async def _export(self) -> Answer:
        """One attempt: with the newest state, or once more with deltas that may have arrived."""
        request = self._doubtful or self._request()
        answer = await self._post(request.body)
        self._book(request, answer)
        return answer

    def _request(self) -> Request:
        """Its instant is behind t = 0, which the first state may come before, and behind that of the last request."""
        found, start_ns = measured(self._state), self._run.start_ns + self._run.wall_offset_ns
        told, from_ns = (since(found, self._before), self._before_ns or start_ns) if self._delta else (found, start_ns)
        self._asked_ns = max(self._state_ns, start_ns + TICK_NS, self._asked_ns + TICK_NS)
        return Request(self._messages.write(told, from_ns, self._asked_ns), found, self._asked_ns, self.books.open)

    async def _post(self, body: bytes) -> Answer:
        assert self._session is not None
        posted = await post(self._session, self._url, data=body, headers=self._headers)
        if 200 <= posted.status < 300 and posted.headers.get("Content-Type", "").partition(";")[0] == CONTENT_TYPE:
            rejected, text = rejected_points(posted.body)
            return Answer(posted.status, text, rejected)
        after = posted.headers.get("Retry-After", "")
        return Answer(
            posted.status, posted.said(shown(self._url)), retry_after_s=float(after) if after.isdigit() else 0.0
        )

    # -- books

    def _book(self, request: Request, answer: Answer) -> None:
        """A state that arrives says all that those before it did. What was left out of deltas is lost, of sums it comes again."""
        books, doubted = self.books, self._doubtful is not None
        if answer.is_good and not answer.rejected:
            books.delivered += request.states
            books.maybe_double += request.states if doubted else 0
            self._settle(request)
            return
        books.errors += 1
        self._tell(answer)
        if self._delta and (answer.is_good or (doubted and answer.is_final)):
            books.not_delivered[self._reason] += request.states
            self._settle(request)
        elif self._delta and answer.status == NO_ANSWER:
            self._doubtful = request

    def _settle(self, request: Request) -> None:
        self._before, self._before_ns, self._doubtful = request.found, request.at_ns, None

    def _tell(self, answer: Answer) -> None:
        text = re.sub(r"[^\x20-\x7e]+", " ", answer.text).strip()[:MAX_TOLD_CHARS]
        status = answer.status
        self._reason = REJECTED if answer.is_good else reason_of(status)
        if answer.is_good:
            told = f"{answer.rejected:,} points were rejected: {text}"
        elif status in UNAUTHORIZED:
            told = f"{status}: the credentials were refused; check OTEL_EXPORTER_OTLP_HEADERS"
        elif status == 429:
            told = f"429: {text}; a longer interval= asks for less"
        else:
            told = described(status, text)
        self.books.tell(told)

    async def close(self, deadline_s: float) -> None:
        """Posts the last state until it is taken, refused for good, or the deadline has come."""
        self._closing.set()
        if self._work is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._work, deadline_s)
        self.books.give_up(self._reason)
        if self._session is not None:
            await self._session.close()
