"""Raw samples as gzipped JSON lines. Bounded in lines and bytes; what finds no room is counted, an error stops it, never
the load.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from wasp_ray.stats.batch import Batch
from wasp_ray.wire.record import Flag, Outcome

MAX_LINES = 5_000_000
MAX_BATCH = 20_000
"""Lines of one batch: writing takes 5 us each, and the aggregator must get back to its rings."""


class SampleFile:
    """samples.jsonl.gz: one line a sampled request or call end."""

    def __init__(self, path: Path) -> None:
        self.dropped = 0
        self.problems: list[str] = []
        self._lines = 0
        self._file: Any = None
        try:
            self._file = gzip.open(path, "wt", encoding="utf-8", compresslevel=1)  # noqa: SIM115 - open for the whole run
        except OSError as exc:
            self._fail(exc)

    def add(self, generator: str, batch: Batch, texts: list[str], start_ns: int) -> None:
        """Writes the sampled records of a batch."""
        if self._file is None:
            return
        sampled = ((batch.rows["flags"] & Flag.SAMPLED) != 0).nonzero()[0]
        room = min(MAX_BATCH, MAX_LINES - self._lines)
        self.dropped += max(0, len(sampled) - room)
        lines = [self._line(generator, batch, at, texts, start_ns) for at in sampled[:room].tolist()]
        self._lines += len(lines)
        try:
            self._file.write("".join(lines))
        except OSError as exc:
            self._fail(exc)

    @staticmethod
    def _line(generator: str, batch: Batch, at: int, texts: list[str], start_ns: int) -> str:
        row = batch.rows[at]
        due, start, end = int(row["due"]), int(row["start"]), int(row["end"])
        line = {
            "generator": generator, "group": texts[batch.group[at]], "user": int(row["user"]), "call": int(row["call"]),
            "at_s": round((end - start_ns) / 1e9, 6), "service_s": (end - start) / 1e9, "response_s": (end - due) / 1e9,
            "outcome": Outcome(int(row["outcome"])).name.lower(), "path": texts[batch.path[at]],
            "status": texts[batch.status[at]], "error": texts[batch.error[at]],
            "bytes_in": int(row["bytes_in"]), "bytes_out": int(row["bytes_out"]),
            "ends_call": bool(row["flags"] & Flag.ENDS_CALL),
        }  # fmt: skip
        if at in batch.data:
            line["data"] = json.loads(batch.data[at])
        return json.dumps(line, separators=(",", ":")) + "\n"

    def _fail(self, exc: OSError) -> None:
        self.problems.append(f"samples.jsonl.gz: {exc.strerror or exc}: raw samples end here, the run goes on")
        self._file = None

    def close(self) -> None:
        """Ends the file; what was written stays readable."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError as exc:
                self._fail(exc)
            self._file = None
