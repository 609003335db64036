"""The Loki sink: lines become batches by size and age, batches go to the spool, and from there to the server."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wasp_ray.sinks.base import SinkBooks, SinkRun
from wasp_ray.sinks.loki_courier import Courier
from wasp_ray.sinks.loki_lines import LokiLines
from wasp_ray.sinks.loki_server import LokiServer, root_of
from wasp_ray.sinks.loki_spool import Spool
from wasp_ray.sinks.rows import SampleRows

SPOOL = "spool"


class LokiSink:
    """Raises WaspError when the URL is missing, the credentials are ambiguous, or there are too many labels or streams."""

    def __init__(self, options: Mapping[str, Any], run: SinkRun) -> None:
        self.books = SinkBooks()
        self._options = options
        self._lines = LokiLines(run)
        target = {name: options[name] for name in ("headers", "ca_file", "cert_file", "key_file", "in_flight")}
        target |= {
            "url": root_of(options["url"]),
            "tenant_id": options["tenant_id"] or os.environ.get("LOKI_TENANT_ID", ""),
            "batches": self._lines.batches,
        }
        self._spool = Spool(run.folder and run.folder / SPOOL / run.name, json.dumps(target))
        self._courier = Courier(
            LokiServer(target), self._spool, self.books, options["in_flight"], options["max_errors"]
        )
        self._cutting: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """The server need not be there."""
        self._courier.start()
        self._cutting = asyncio.create_task(self._cut_by_age())

    def samples(self, samples: SampleRows) -> None:
        """Kind `responses`."""
        self._take(len(samples), self._lines.samples, samples)

    def windows(self, windows: Sequence[Mapping[str, Any]]) -> None:
        """Kind `stats`."""
        self._take(len(windows), self._lines.windows, windows)

    def totals(self, generators: Mapping[str, Mapping[str, Any]]) -> None:
        """None: the windows say it."""

    def event(self, event: Mapping[str, Any]) -> None:
        """Kind `events`."""
        self._take(1, self._lines.event, event)

    def _take(self, number: int, add: Callable[[Any], None], what: Any) -> None:
        add(what)
        self.books.accepted += number
        if self._lines.size >= self._options["batch_bytes"]:
            self._cut()

    def _cut(self) -> None:
        """What was gathered is a batch now."""
        if self._lines.lines:
            self._courier.take(*self._lines.take())

    async def _cut_by_age(self) -> None:
        while True:
            await asyncio.sleep(self._options["batch_wait"])
            self._cut()

    async def close(self, deadline_s: float) -> None:
        """Pushes what is left until the deadline; the rest is booked with what the server said last, and stays in the spool."""
        if self._cutting is not None:
            self._cutting.cancel()
        self._cut()
        await self._courier.finish(deadline_s)
        if self._spool.folder is not None and len(self._spool):
            self.books.tell(
                f"{self._spool.lines:,} lines wait in the bundle: `wasp push {self._spool.folder.parent.parent}`"
            )
        self.books.give_up(self._courier.reason)
        self._spool.close()
