"""Raw samples as gzipped JSON lines. Bounded; what finds no room is counted, an error stops it, never the load."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from wasp_ray.sinks.base import SinkBooks, SinkRun
from wasp_ray.sinks.rows import Sample, SampleRows
from wasp_ray.stats.outcomes import OUTCOMES
from wasp_ray.wire.record import Flag

FILE = "samples.jsonl.gz"
MAX_LINES = 5_000_000


class SampleFile:
    """samples.jsonl.gz: one line a sampled request or call end."""

    def __init__(self, options: Mapping[str, Any], run: SinkRun) -> None:
        self.books = SinkBooks()
        self._run = run
        self._file: Any = None

    async def open(self) -> None:
        """A run without a bundle has no place for it."""
        if self._run.folder is None:
            return
        try:
            self._run.folder.mkdir(parents=True, exist_ok=True)
            path = self._run.folder / FILE
            self._file = gzip.open(path, "wt", encoding="utf-8", compresslevel=1)  # noqa: SIM115 - open for the whole run
        except OSError as exc:
            self._fail(exc)

    def samples(self, samples: SampleRows) -> None:
        """Writes them."""
        self.books.accepted += len(samples)
        if self._file is None:
            self.books.not_delivered["disk" if self._run.folder is not None else "no_bundle"] += len(samples)
            return
        room = MAX_LINES - self.books.delivered
        if room < len(samples):
            self.books.not_delivered["no_room"] += len(samples) - room
            self.books.tell(f"{FILE} is full: it holds at most {MAX_LINES:,} lines")
        lines = [self._line(samples.generator, sample) for sample in islice(samples, room)]
        try:
            self._file.write("".join(lines))
        except OSError as exc:
            self._fail(exc)
            self.books.not_delivered["disk"] += len(lines)
        else:
            self.books.delivered += len(lines)

    def _line(self, generator: str, sample: Sample) -> str:
        line = {
            "generator": generator, "group": sample.group, "user": sample.user, "call": sample.call,
            "at_s": round((sample.end - self._run.start_ns) / 1e9, 6),
            "service_s": (sample.end - sample.start) / 1e9, "response_s": (sample.end - sample.due) / 1e9,
            "outcome": OUTCOMES[sample.outcome], "path": sample.path, "status": sample.status, "error": sample.error,
            "bytes_in": sample.bytes_in, "bytes_out": sample.bytes_out, "ends_call": bool(sample.flags & Flag.ENDS_CALL),
        }  # fmt: skip
        if sample.data is not None:
            line["data"] = json.loads(sample.data)
        return json.dumps(line, separators=(",", ":")) + "\n"

    def windows(self, windows: Sequence[Mapping[str, Any]]) -> None:
        """None: they are in series.jsonl."""

    def totals(self, generators: Mapping[str, Mapping[str, Any]]) -> None:
        """None."""

    def event(self, event: Mapping[str, Any]) -> None:
        """None."""

    def _fail(self, exc: OSError) -> None:
        self.books.errors += 1
        self.books.tell(f"{FILE}: {exc.strerror or exc}: raw samples end here, the run goes on")
        self._file = None

    async def close(self, deadline_s: float) -> None:
        """Ends the file; what was written stays readable."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError as exc:
                self._fail(exc)
            self._file = None
