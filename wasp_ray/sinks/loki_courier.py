"""Brings batches from a spool to a Loki, several at a time, oldest first, patient with whatever the server does.

At least once, with counters: a batch leaves the spool when the server has taken it or has refused its content (400, or 413 of a
single line). After any other refusal it is sent again until the deadline, then it stays for `wasp push`. A batch whose answer was
lost is looked for before it is sent again; when the server does not say, its lines are counted as maybe double.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from wasp_ray.sinks.base import SinkBooks
from wasp_ray.sinks.loki_batch import Part, halves
from wasp_ray.sinks.loki_server import LokiServer, ignored_lines
from wasp_ray.sinks.loki_spool import Spool, SpoolFull
from wasp_ray.sinks.posting import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    MAX_TOLD_CHARS,
    REJECTED,
    UNAUTHORIZED,
    described,
    is_final,
    reason_of,
    stored_nothing,
)

MAX_QUESTIONS, QUESTION_PAUSE_S = 3, 0.5
"""For a batch whose answer was lost, before it is sent again in the dark."""
SPOOL_FULL, DISK = "spool_full", "disk"


class Courier:
    """`max_errors`: attempts that may fail before it gives up, None: all. `made_ready`: what is sent instead of a body."""

    def __init__(
        self, server: LokiServer, spool: Spool, books: SinkBooks, in_flight: int, max_errors: int | None = None,
        made_ready: Callable[[bytes], bytes] = bytes,
    ) -> None:  # fmt: skip
        self._server, self._spool, self._books = server, spool, books
        self._in_flight, self._max_errors, self._made_ready = in_flight, max_errors, made_ready
        self._queue: asyncio.PriorityQueue[Part] = asyncio.PriorityQueue()
        self._tasks: list[asyncio.Task[None]] = []
        self.reason = "deadline"
        """Why what is left has not been delivered."""

    def start(self) -> None:
        """In the loop that it works in; what is in the spool is on its way."""
        self._server.open()
        for part in self._spool:
            self._queue.put_nowait(part)
        self._tasks = [asyncio.create_task(self._deliver_all()) for _ in range(self._in_flight)]

    def take(self, part: Part, body: bytes) -> None:
        """A new batch."""
        try:
            self._spool.add(part, body)
        except SpoolFull:
            self._lose(part, SPOOL_FULL, "the spool is full: what came then was left out")
        except OSError as exc:
            self._lose(part, DISK, f"a batch could not be written ({exc.strerror or exc})")
        else:
            self._queue.put_nowait(part)

    async def finish(self, deadline_s: float) -> None:
        """Until all are delivered or the deadline."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._queue.join(), deadline_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.close()

    async def _deliver_all(self) -> None:
        while True:
            part = await self._queue.get()
            try:
                if not self._has_given_up():
                    await self._deliver(part)
            except OSError as exc:  # the spool, not the network
                self._lose(part, DISK, f"a batch could not be read again ({exc.strerror or exc})")
            finally:
                self._queue.task_done()

    def _has_given_up(self) -> bool:
        if self._max_errors is None or self._books.errors <= self._max_errors:
            return False
        self.reason = "max_errors"
        self._books.tell(f"more than max_errors={self._max_errors} attempts failed: no more are made")
        return True

    async def _deliver(self, part: Part) -> None:
        """Until the server took or refused it; a pause doubles with each attempt in a row that did neither."""
        body, pause_s = self._spool.read(part), FIRST_PAUSE_S
        while True:
            twice = 0
            if is_doubtful := self._spool.is_sent(part):
                there = await self._look_for(part, body)
                if there is not None and there >= part.lines:
                    self._end(part, part.lines, 0)
                    return
                twice = part.lines if there is None else there
            self._spool.mark(part, sent=True)
            status, text = await self._server.push(self._made_ready(body))
            if self._is_settled(part, status, text, twice):
                return
            if not is_doubtful and stored_nothing(status):
                self._spool.mark(part, sent=False)
            if status == 413:
                self._halve(part, body)
                return
            if self._has_given_up():
                return
            await asyncio.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    async def _look_for(self, part: Part, body: bytes) -> int | None:
        """How many lines of a batch whose answer was lost are there; None when the server does not say."""
        for _ in range(MAX_QUESTIONS):
            try:
                return await self._server.count(part, body)
            except OSError:
                await asyncio.sleep(QUESTION_PAUSE_S)
        return None

    def _halve(self, part: Part, body: bytes) -> None:
        """They wait as batches of their own: what becomes of one has nothing to do with the other."""
        parts = halves(part, body)
        if len(parts) < 2:
            self._end(part, 0, 0, "too_large", "a line is larger than Loki takes")
            return
        self._spool.split(part, parts)
        for half, _ in parts:
            self._queue.put_nowait(half)

    def _is_settled(self, part: Part, status: int, text: str, twice: int) -> bool:
        """Books an answer that is final; what is worth another attempt only counts as an error."""
        if 200 <= status < 300:
            self._end(part, part.lines, twice)
            return True
        self._books.errors += 1
        if status == 413:
            return False
        if not is_final(status):
            self.reason = reason_of(status)
            self._books.tell(_told(status, text.strip()[:MAX_TOLD_CHARS]))
            return False
        ignored = min(part.lines, ignored_lines(text) or part.lines)
        self._end(part, part.lines - ignored, twice, REJECTED, text)
        return True

    def _end(self, part: Part, delivered: int, twice: int, reason: str = "", text: str = "") -> None:
        """Of a batch; what was not delivered ends for a reason."""
        books = self._books
        books.delivered += delivered
        books.maybe_double += min(twice, delivered)
        if reason:
            books.not_delivered[reason] += part.lines - delivered
            books.tell(text.strip()[:MAX_TOLD_CHARS])
        with suppress(OSError):  # its file stays, as one that was sent: it is asked for before it is sent again
            self._spool.remove(part)

    def _lose(self, part: Part, reason: str, text: str) -> None:
        self._books.not_delivered[reason] += part.lines
        self._books.tell(text)


def _told(status: int, text: str) -> str:
    """With the cure, where there is one."""
    if status in UNAUTHORIZED:
        return f"{status}: the credentials were refused; check LOKI_TOKEN or LOKI_BASIC_AUTH"
    if status == 429:
        return f"429: {text}; lower sample= or raise the tenant's limit"
    return described(status, text)
