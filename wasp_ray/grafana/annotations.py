"""The Grafana sink: an annotation for the start, the end and each error of a run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import aiohttp

from wasp_ray.grafana.client import Connection, refused, unreachable
from wasp_ray.sinks.base import SinkBooks, SinkRun
from wasp_ray.sinks.posting import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    NO_ANSWER,
    is_final,
    is_redirect,
    post,
    reason_of,
)

if TYPE_CHECKING:
    from wasp_ray.sinks.rows import SampleRows

PATH = "/api/annotations"
MAX_QUEUE = 1_000
MAX_TEXT_CHARS = 2_000


class GrafanaSink:
    """Node 1 alone tells start and end, each node its own errors. Raises BadInput when the environment lacks something."""

    def __init__(self, options: Mapping[str, Any], run: SinkRun) -> None:
        self.books = SinkBooks()
        self._connection, self._run = Connection(), run
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._reason = "deadline"
        self._task: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Grafana need not be there."""
        self._session = self._connection.session()
        self._task = asyncio.create_task(self._send_all())

    def samples(self, samples: SampleRows) -> None:
        """None are asked for."""

    def windows(self, windows: Sequence[Mapping[str, Any]]) -> None:
        """None are asked for."""

    def totals(self, generators: Mapping[str, Mapping[str, Any]]) -> None:
        """None are asked for."""

    def event(self, event: Mapping[str, Any]) -> None:
        """An annotation; the end's reaches from the start, so that a dashboard shows the time under load."""
        if event["event"] != "error" and self._run.node != 1:
            return
        self.books.accepted += 1
        if self._queue.qsize() >= MAX_QUEUE:
            self.books.not_delivered["queue_full"] += 1
            return
        self._queue.put_nowait(self._annotation(event))

    def _annotation(self, event: Mapping[str, Any]) -> dict[str, Any]:
        run, at_ms = self._run, event["at_ns"] // 1_000_000
        tags = ["wasp_ray", run.typed_plan.profile, run.run_id, event["event"]]
        if event.get("generator"):
            tags.append(event["generator"])
        told = {"time": at_ms, "tags": tags, "text": event["text"][:MAX_TEXT_CHARS]}
        if event["event"] == "end" and run.start_ns:
            told |= {"time": (run.start_ns + run.wall_offset_ns) // 1_000_000, "timeEnd": at_ms}
        return told

    async def _send_all(self) -> None:
        while True:
            await self._deliver(await self._queue.get())
            self._queue.task_done()

    async def _deliver(self, annotation: dict[str, Any]) -> None:
        """Until Grafana took or refused it."""
        pause_s, doubtful = FIRST_PAUSE_S, False
        while True:
            status, told = await self._post(annotation)
            doubtful = doubtful or status == NO_ANSWER
            if 200 <= status < 300:
                self.books.delivered += 1
                self.books.maybe_double += doubtful
                return
            self.books.errors += 1
            self.books.tell(told)
            reason = reason_of(status)
            if is_final(status):
                self.books.not_delivered[reason] += 1
                return
            self._reason = reason
            await asyncio.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    async def _post(self, annotation: dict[str, Any]) -> tuple[int, str]:
        """Status, as posting.Posted has it, and what to tell of it."""
        assert self._session is not None
        posted = await post(self._session, self._connection.url + PATH, json=annotation)
        if posted.error is not None:
            return posted.status, unreachable(self._connection.url, posted.error)
        if is_redirect(posted.status):
            return posted.status, f"POST {PATH}: {posted.said(self._connection.url)}"
        data: Any = None
        with suppress(ValueError):
            data = json.loads(posted.body)
        return posted.status, refused(f"POST {PATH}", posted.status, data)

    async def close(self, deadline_s: float) -> None:
        """Tells what is left until the deadline; the rest is booked with the last reason."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._queue.join(), deadline_s)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.books.give_up(self._reason)
        if self._session is not None:
            await self._session.close()
