"""The Prometheus sink: /metrics with the newest state of all totals. The only module that imports prometheus_client."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Any

from aiohttp import web
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from wasp_ray.errors import WaspError
from wasp_ray.sinks.base import SinkBooks, SinkRun
from wasp_ray.sinks.metrics import BOUNDS_S, Buckets, Measured, RunLabels, measured
from wasp_ray.sinks.rows import SampleRows

PATH = "/metrics"
UNITS = {"s": "seconds", "By": "bytes", "{call}/s": "per_second"}
LAST_ANSWERS_S = 0.5
_BOUNDS = tuple(map(floatToGoString, (*BOUNDS_S, float("inf"))))


class PrometheusSink:
    """Raises WaspError in `open` when it finds no free port."""

    def __init__(self, options: Mapping[str, Any], run: SinkRun) -> None:
        self.books = SinkBooks()
        self._host: str = options["host"]
        self._ports = range(options["port"], options["port"] + run.nodes)  # nodes of one machine share them
        self._labels = RunLabels(run)
        self._state: Mapping[str, Mapping[str, Any]] = {}
        self._scrapes = 0
        self._is_read = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Serves from now on, at first nothing."""
        app = web.Application()
        app.router.add_get(PATH, self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=LAST_ANSWERS_S)
        await self._runner.setup()
        for port in self._ports:
            try:
                await web.TCPSite(self._runner, self._host, port).start()
            except OSError as exc:
                if exc.errno != errno.EADDRINUSE:
                    raise
            else:
                return
        taken = f"port {self._ports[0]}" + (f" to {self._ports[-1]}" if len(self._ports) > 1 else "")
        raise WaspError(f"{taken} of {self._host} is taken: name a free one by Prometheus(port=...)")

    def samples(self, samples: SampleRows) -> None:
        """None: the totals hold them all."""

    def windows(self, windows: Sequence[Mapping[str, Any]]) -> None:
        """None: the totals hold them all."""

    def totals(self, generators: Mapping[str, Mapping[str, Any]]) -> None:
        """Takes the place of the one before."""
        self.books.accepted += 1
        self._state = generators
        self._is_read.clear()

    def event(self, event: Mapping[str, Any]) -> None:
        """None."""

    async def _answer(self, request: web.Request) -> web.Response:
        """In the format that the reader prefers; written from a thread, so that other sinks go on meanwhile."""
        state, accepted = self._state, self.books.accepted
        write, content_type = choose_encoder(",".join(request.headers.getall("Accept", [])))
        body = await asyncio.to_thread(lambda: write(Page(measured(state), self._labels)))
        answer = web.Response(body=body, headers={"Content-Type": content_type})
        answer.enable_compression()
        await answer.prepare(request)
        await answer.write_eof()
        self._read(accepted)
        return answer

    def _read(self, accepted: int) -> None:
        """A state that is read says all that those before it did."""
        books = self.books
        self._scrapes += 1
        books.delivered = max(books.delivered, accepted)
        if not books.open:
            self._is_read.set()

    async def close(self, deadline_s: float) -> None:
        """Where somebody reads, the last state waits to be read as well."""
        if self._scrapes and self.books.open:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_read.wait(), deadline_s)
        if self.books.open:
            self.books.tell(
                "the last numbers were not read: scrape more often than every 30 s" if self._scrapes
                else f"{PATH} was never read: check the target of the scrape, and that its interval is shorter than the load"
            )  # fmt: skip
        self.books.give_up("not_scraped")
        if self._runner is not None:
            await self._runner.cleanup()


class Page(Collector):
    """One state, as prometheus_client writes it."""

    def __init__(self, found: Measured, labels: RunLabels) -> None:
        self._found, self._labels = found, labels

    def collect(self) -> Iterator[Family]:
        """All metrics."""
        for metric, points in self._found.items():
            family = Family(metric.name.replace(".", "_"), metric.text, metric.kind, UNITS.get(metric.unit, ""))
            for values, value in points.items():
                labels = self._labels.of(metric, values)
                if isinstance(value, Buckets):
                    _add_buckets(family, labels, value)
                else:
                    family.add_sample(family.name + ("_total" if metric.kind == "counter" else ""), labels, value)
            yield family


def _add_buckets(family: Family, labels: dict[str, str], value: Buckets) -> None:
    for bound, number in zip(_BOUNDS, accumulate(value.counts), strict=True):
        family.add_sample(f"{family.name}_bucket", {**labels, "le": bound}, number)
    family.add_sample(f"{family.name}_count", labels, value.count)
    family.add_sample(f"{family.name}_sum", labels, value.sum_ns / 1e9)
