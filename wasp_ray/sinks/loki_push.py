"""The Loki sink: batches by size and age, several pushes at a time, patient with whatever the server does."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import aiohttp

from wasp_ray.errors import WaspError
from wasp_ray.sinks.base import SinkBooks, SinkRun
from wasp_ray.sinks.loki_lines import Batch, LokiLines, halves
from wasp_ray.sinks.rows import SampleRows

PATH = "/loki/api/v1/push"
MAX_QUEUE_BYTES = 48 * 2**20
"""Compressed batches that wait for the server; what comes beyond is dropped and counted."""
PUSH_TIMEOUT_S = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
IGNORED, ALIKE = re.compile(r"total ignored: (\d+) out of"), re.compile(r"(\d+) errors like: ")
ONE_ENTRY = re.compile(r"max entry size|has timestamp too (old|new)")
MAX_TEXT_CHARS, MAX_TOLD_CHARS = 1 << 20, 200
_DOUBTFUL = (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, aiohttp.ClientOSError, TimeoutError)
"""The batch may have been written before the connection ended."""


class LokiSink:
    """Raises WaspError when the URL is missing or the credentials are ambiguous."""

    def __init__(self, options: Mapping[str, Any], run: SinkRun) -> None:
        self.books = SinkBooks()
        self._options = options
        self._url = (options["url"] or os.environ.get("LOKI_URL", "")).rstrip("/")
        if not self._url:
            raise WaspError("expected Loki(url=...) or LOKI_URL in the environment of this node, found neither")
        self._url = self._url.removesuffix(PATH) + PATH
        self._headers = {
            **options["headers"],
            **credentials(),
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
        }
        if tenant := options["tenant_id"] or os.environ.get("LOKI_TENANT_ID", ""):
            self._headers["X-Scope-OrgID"] = tenant
        self._lines = LokiLines(run)
        self._queue: asyncio.Queue[Batch] = asyncio.Queue()
        self._queued_bytes = 0
        self._reason = "deadline"
        self._tasks: list[asyncio.Task[None]] = []
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """The server need not be there."""
        tls: ssl.SSLContext | bool = True
        if self._options["ca_file"]:
            tls = ssl.create_default_context(cafile=self._options["ca_file"])
        timeout = aiohttp.ClientTimeout(total=PUSH_TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=self._options["in_flight"], ssl=tls)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        self._tasks = [asyncio.create_task(self._send_all()) for _ in range(self._options["in_flight"])]
        self._tasks.append(asyncio.create_task(self._cut_by_age()))

    # -- what comes in

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
        if not self._lines.lines:
            return
        batch = self._lines.take()
        if self._queued_bytes + len(batch.body) > MAX_QUEUE_BYTES:
            self.books.not_delivered["queue_full"] += batch.lines
            self.books.tell(f"more than {MAX_QUEUE_BYTES >> 20} MiB waited for Loki: what came then was left out")
            return
        self._queue.put_nowait(batch)
        self._queued_bytes += len(batch.body)

    async def _cut_by_age(self) -> None:
        while True:
            await asyncio.sleep(self._options["batch_wait"])
            self._cut()

    # -- what goes out

    async def _send_all(self) -> None:
        while True:
            batch = await self._queue.get()
            await self._deliver(batch)
            self._queued_bytes -= len(batch.body)
            self._queue.task_done()

    async def _deliver(self, batch: Batch) -> None:
        """Until the server took or refused it; a pause doubles with each attempt in a row that neither did."""
        pause_s, doubtful = FIRST_PAUSE_S, False
        while True:
            status, text = await self._push(batch)
            doubtful = doubtful or status == 0
            if self._is_settled(batch, status, text, doubtful):
                return
            if status == 413:
                parts = halves(batch)
                if len(parts) < 2:
                    self._refuse(batch.lines, "too_large", "a line is larger than Loki takes")
                    return
                for part in parts:
                    await self._deliver(part)
                return
            await asyncio.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    async def _push(self, batch: Batch) -> tuple[int, str]:
        """Status and text; -1: it never reached the server, 0: whether it did is not known."""
        assert self._session is not None
        try:
            async with self._session.post(
                self._url, data=batch.body, headers=self._headers, allow_redirects=False
            ) as answer:
                return answer.status, (await answer.text(errors="replace"))[:MAX_TEXT_CHARS]
        except aiohttp.ClientConnectorError as exc:
            return -1, f"{self._url}: {exc.strerror or exc}"
        except _DOUBTFUL as exc:
            return 0, f"{self._url}: the connection ended before the answer ({type(exc).__name__})"
        except aiohttp.ClientError as exc:
            return -1, f"{self._url}: {type(exc).__name__}"

    def _is_settled(self, batch: Batch, status: int, text: str, doubtful: bool) -> bool:
        """Books an answer that is final; what is worth another attempt only counts as an error."""
        books = self.books
        if 200 <= status < 300:
            books.delivered += batch.lines
            books.maybe_double += batch.lines if doubtful else 0
            return True
        books.errors += 1
        if status == 400:
            ignored = min(batch.lines, ignored_lines(text) or batch.lines)
            books.delivered += batch.lines - ignored
            self._refuse(ignored, "rejected", text)
            return True
        if status in (401, 403):
            self._reason = "unauthorized"
            books.tell(f"{status}: the credentials were refused; check LOKI_TOKEN or LOKI_BASIC_AUTH")
        elif status == 429:
            self._reason = "rate_limited"
            books.tell(f"429: {text.strip()[:MAX_TOLD_CHARS]}; lower sample= or raise the tenant's limit")
        elif status >= 500 or status <= 0:
            self._reason = "unreachable" if status <= 0 else "server_error"
            books.tell((text if status <= 0 else f"{status}: {text}").strip()[:MAX_TOLD_CHARS])
        elif status != 413:
            self._refuse(batch.lines, "rejected", f"{status}: {text}")
            return True
        return False

    def _refuse(self, lines: int, reason: str, text: str) -> None:
        self.books.not_delivered[reason] += lines
        self.books.tell(text.strip()[:MAX_TOLD_CHARS])

    async def close(self, deadline_s: float) -> None:
        """Pushes what is left until the deadline; the rest is booked with what the server said last."""
        self._cut()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._queue.join(), deadline_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.books.give_up(self._reason)
        if self._session is not None:
            await self._session.close()


def ignored_lines(text: str) -> int:
    """How many lines a 400 left out while it stored the others; 0 when its text does not tell, as of a batch it cannot read."""
    if found := IGNORED.search(text):
        return int(found[1])
    if alike := ALIKE.findall(text):
        return sum(map(int, alike))
    return 1 if ONE_ENTRY.search(text) else 0


def credentials() -> dict[str, str]:
    """The Authorization header from LOKI_TOKEN or LOKI_BASIC_AUTH. Raises WaspError for both."""
    token, basic = os.environ.get("LOKI_TOKEN", ""), os.environ.get("LOKI_BASIC_AUTH", "")
    if token and basic:
        raise WaspError("expected LOKI_TOKEN or LOKI_BASIC_AUTH, found both: leave one out")
    if any(not char.isprintable() for char in token + basic):
        raise WaspError("LOKI_TOKEN or LOKI_BASIC_AUTH holds a line end or another control character: remove it")
    if token:
        return {"Authorization": f"Bearer {token}"}
    return {"Authorization": f"Basic {b64encode(basic.encode()).decode()}"} if basic else {}
