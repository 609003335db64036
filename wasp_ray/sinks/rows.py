"""Sampled records on their way from the aggregator to the exporter: columns in frames over a stream. No pickle.

A frame is 16 bytes of head (length of the body, kind, Generator, number of rows) and the body. Texts go before the first
record that names them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wasp_ray.stats.batch import Batch
from wasp_ray.wire.record import SLOT_FIELDS, Flag

HEAD = struct.Struct("<IIII")
RECORDS, TEXTS = 1, 2
SLOT = np.dtype(SLOT_FIELDS)
NAMES = np.dtype([("worker", "<u4"), ("group", "<u4"), ("path", "<u4"), ("status", "<u4"), ("error", "<u4")])
"""Beside each record: its worker, and the node-wide numbers of its texts."""


_OF_ROWS = ("due", "start", "end", "outcome", "flags", "user", "call", "bytes_in", "bytes_out")


class Sample(NamedTuple):
    """One record: `due`, `start`, `end` in ns (CLOCK_MONOTONIC), `outcome` and `flags` as wire.record has them, `data` raw JSON."""

    due: int
    start: int
    end: int
    outcome: int
    flags: int
    user: int
    call: int
    bytes_in: int
    bytes_out: int
    worker: int
    group: str
    path: str
    status: str
    error: str
    data: bytes | None


@dataclass(frozen=True, slots=True)
class SampleRows:
    """Sampled records of one Generator. `rows` has the fields of wire.record.SLOT_FIELDS (times in ns, CLOCK_MONOTONIC),
    `names` those of NAMES, `texts[number]` is the text of a number, `data` raw JSON by row.
    """

    generator: str
    rows: NDArray[np.void]
    names: NDArray[np.void]
    texts: list[str]
    data: dict[int, bytes]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Sample]:
        """One by one, as plain Python values."""
        return map(Sample._make, self.tuples())

    def tuples(self) -> Iterator[tuple[Any, ...]]:
        """The fields of a Sample each, in half the time."""
        rows, names, texts = self.rows, self.names, self.texts
        columns = (rows[name].tolist() for name in _OF_ROWS)
        told = ([texts[number] for number in names[name].tolist()] for name in ("group", "path", "status", "error"))
        data = map(self.data.get, range(len(rows))) if self.data else repeat(None)
        return zip(*columns, names["worker"].tolist(), *told, data, strict=False)


def text_frame(first: int, texts: list[str]) -> bytes:
    """Texts from number `first` on."""
    body = json.dumps([first, texts], separators=(",", ":")).encode()
    return HEAD.pack(len(body), TEXTS, 0, 0) + body


def record_frame(gen: int, batch: Batch) -> tuple[bytes, int]:
    """The sampled records of a batch and their number; empty when there are none."""
    picked = ((batch.rows["flags"] & Flag.SAMPLED) != 0).nonzero()[0]
    if not len(picked):
        return b"", 0
    names = np.empty(len(picked), NAMES)
    names["worker"] = batch.ring[picked]
    for name in ("group", "path", "status", "error"):
        names[name] = getattr(batch, name)[picked]
    data = b""
    if batch.data:
        found = {new: batch.data[old].decode() for new, old in enumerate(picked.tolist()) if old in batch.data}
        data = json.dumps(found, separators=(",", ":")).encode()
    body = batch.rows[picked].tobytes() + names.tobytes() + data
    return HEAD.pack(len(body), RECORDS, gen, len(picked)) + body, len(picked)


class FrameReader:
    """Puts frames together from whatever pieces a stream hands out. `generators`: their names by number."""

    def __init__(self, generators: list[str]) -> None:
        self._generators = generators
        self._buffer = bytearray()
        self.texts: list[str] = []

    def read(self, chunk: bytes) -> Iterator[SampleRows]:
        """The batches that are whole with this chunk."""
        self._buffer += chunk
        at = 0
        while len(self._buffer) - at >= HEAD.size:
            length, kind, gen, number = HEAD.unpack_from(self._buffer, at)
            if len(self._buffer) - at < HEAD.size + length:
                break
            body = bytes(memoryview(self._buffer)[at + HEAD.size : at + HEAD.size + length])
            at += HEAD.size + length
            if kind == TEXTS:
                first, texts = json.loads(body)
                self.texts[first:] = texts
            else:
                yield self._records(body, gen, number)
        del self._buffer[:at]

    def _records(self, body: bytes, gen: int, number: int) -> SampleRows:
        rows = np.frombuffer(body, SLOT, number)
        names = np.frombuffer(body, NAMES, number, rows.nbytes)
        rest = body[rows.nbytes + names.nbytes :]
        data = {int(at): text.encode() for at, text in json.loads(rest).items()} if rest else {}
        return SampleRows(self._generators[gen], rows, names, self.texts, data)
