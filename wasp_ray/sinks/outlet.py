"""One sink as the exporter runs it: guarded, given what it needs, its books always at hand. It must not know any sink."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from wasp_ray.plan import SinkPlan
from wasp_ray.sinks.base import SINK_FAILED, Sink, SinkBooks, SinkRun
from wasp_ray.sinks.registry import make_sink
from wasp_ray.sinks.rows import SampleRows

OPEN_TIMEOUT_S = 10.0
CLOSE_GRACE_S = 2.0


class Outlet:
    """`name` is unique among the sinks of a run."""

    def __init__(self, sink: SinkPlan, run: SinkRun) -> None:
        self.name = sink.name
        self.needs = frozenset(sink.needs)
        self.run = replace(run, name=self.name)
        self._sink: Sink = make_sink(sink.kind, sink.options, self.run)
        self.books: SinkBooks = self._sink.books
        self._failed = False

    async def open(self) -> None:
        """Raises WaspError, TimeoutError, or what the sink raised."""
        await asyncio.wait_for(self._sink.open(), OPEN_TIMEOUT_S)

    def samples(self, samples: SampleRows) -> None:
        """A batch."""
        if "samples" in self.needs:
            self._hand(self._sink.samples, samples, len(samples))

    def windows(self, windows: Sequence[Mapping[str, Any]]) -> None:
        """Those of all Generators of a second."""
        if "windows" in self.needs:
            self._hand(self._sink.windows, windows, len(windows))

    def totals(self, generators: Mapping[str, Any]) -> None:
        """One state."""
        if "totals" in self.needs:
            self._hand(self._sink.totals, generators, 1)

    def event(self, event: Mapping[str, Any]) -> None:
        """One."""
        if "events" in self.needs:
            self._hand(self._sink.event, event, 1)

    def _hand(self, method: Any, what: Any, lines: int) -> None:
        if self._failed:
            self.books.accepted += lines
            self.books.not_delivered[SINK_FAILED] += lines
            return
        before = self.books.accepted
        try:
            method(what)
        except Exception as exc:
            self._fail(exc)
            left_out = max(0, lines - (self.books.accepted - before))
            self.books.accepted += left_out
            self.books.not_delivered[SINK_FAILED] += left_out

    def _fail(self, exc: BaseException) -> None:
        self._failed = True
        self.books.errors += 1
        self.books.tell(f"it failed and takes nothing more: {type(exc).__name__}: {exc}")
        self.books.give_up(SINK_FAILED)

    async def close(self, deadline_s: float) -> None:
        """By the deadline, whatever the sink does; what it left open then is booked."""
        try:
            await asyncio.wait_for(self._sink.close(deadline_s), deadline_s + CLOSE_GRACE_S)
        except TimeoutError:
            self.books.tell(f"it did not end within {deadline_s:g} s")
        except Exception as exc:
            self._fail(exc)
        self.books.give_up("deadline")
