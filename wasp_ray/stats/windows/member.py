"""One member of windows.bin: some seconds, or sums of several, of all Generators; it can be read without any other. Pure.

A member is a head of fixed size, a directory and blocks. The directory is JSON, compressed by zlib: for each block its part, its
Generator, what else names it, and where it lies. Each block is compressed by itself, so one group is read without the others:

- `cells`: calls (group null) or requests of a group; columns at_s, one for each outcome, bytes in and out, service, response.
- `load`: columns at_s, those of LOAD_COUNTS, planned, users and in flight in millionths, one for each cause of a drop, start delay.
- `errors`: columns at_s, index of (error, group) in the directory, count.

Rows with the same at_s add up: a node that reports late makes a member of its own. `node` is null for all nodes together.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wasp_ray.stats.outcomes import OUTCOMES
from wasp_ray.stats.seconds import GAUGES, LOAD_COUNTS, CellKey, Origin, Second, SecondsByOrigin
from wasp_ray.stats.tallies import Cell
from wasp_ray.stats.windows.columns import Columns, Histograms, pack_ints

Ints = NDArray[np.int64]
Part = Literal["cells", "load", "errors"]

MAGIC = b"WSPW"
VERSION = 1
HEAD = struct.Struct("<4sHHIIIII")
"""Magic, version, step, first second, end, bytes of the directory, bytes of the blocks, CRC-32 of both."""
MILLION = 1_000_000


class Key(NamedTuple):
    """What a block holds. `node`: None for all nodes together."""

    part: Part
    generator: str
    group: str | None = None
    warmup: bool = False
    node: int | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """A member's head: the length of its rows in seconds, and the seconds [from_s, to_s) in which they begin."""

    step_s: int
    from_s: int
    to_s: int
    directory_bytes: int
    body_bytes: int
    crc: int

    @property
    def size(self) -> int:
        """Bytes behind the head."""
        return self.directory_bytes + self.body_bytes

    @classmethod
    def read(cls, data: bytes) -> Head:
        """Raises ValueError when it is none, or of a version that this wasp_ray does not know."""
        try:
            magic, version, *rest = HEAD.unpack(data)
        except struct.error as exc:
            raise ValueError("the head of a member ends early") from exc
        if magic != MAGIC:
            raise ValueError("no member begins here")
        if version != VERSION:
            raise ValueError(f"its format is version {version}, and this wasp_ray reads version {VERSION}")
        return cls(*rest)


@dataclass(frozen=True, slots=True)
class CellRows:
    """Rows of one cell: `at_s` int64[n], `outcomes` int64[n, 5], `sent` int64[n, 2] (bytes in and out), two times n histograms."""

    at_s: Ints
    outcomes: Ints
    sent: Ints
    service: Histograms
    response: Histograms

    @classmethod
    def unpack(cls, data: bytes) -> CellRows:
        """The reverse of pack. Raises ValueError."""
        columns = Columns(data)
        at_s = columns.ints()
        outcomes = np.stack([columns.ints() for _ in OUTCOMES], axis=1)
        sent = np.stack([columns.ints() for _ in range(2)], axis=1)
        service = columns.histograms()
        response = service if columns.ints()[0] else columns.histograms()
        if {len(outcomes), len(sent), len(service), len(response)} != {len(at_s)}:
            raise ValueError("columns of different lengths")
        return cls(at_s, outcomes, sent, service, response)


@dataclass(frozen=True, slots=True)
class LoadRows:
    """Rows of the load: `at_s` int64[n], counts and gauges by name, drops by cause, n histograms of start delays."""

    at_s: Ints
    counts: Mapping[str, Ints]
    gauges: Mapping[str, NDArray[np.float64]]
    dropped_by: Mapping[str, Ints]
    start_delay: Histograms

    @classmethod
    def unpack(cls, data: bytes, causes: Sequence[str]) -> LoadRows:
        """The reverse of pack. Raises ValueError."""
        columns = Columns(data)
        at_s = columns.ints()
        counts = {name: columns.ints() for name in LOAD_COUNTS}
        gauges = {name: columns.ints() / MILLION for name in GAUGES}
        dropped_by = {cause: columns.ints() for cause in causes}
        found = cls(at_s, counts, gauges, dropped_by, columns.histograms())
        if {len(found.start_delay), *map(len, counts.values()), *map(len, dropped_by.values())} != {len(at_s)}:
            raise ValueError("columns of different lengths")
        return found


class Block(NamedTuple):
    """An entry of a directory: bytes [at, at + size) of the body. `names`: causes of drops, or [error, group] pairs."""

    key: Key
    at: int
    size: int
    names: Sequence[Any]


def pack_member(step_s: int, seconds: SecondsByOrigin) -> bytes:
    """Return a member of rows of `step_s` seconds each. Raises ValueError without any."""
    blocks: list[Block] = []
    body = bytearray()
    for (node, name), some in seconds.items():
        for key, names, raw in _parts(name, node, some):
            packed = zlib.compress(raw)
            blocks.append(Block(key, len(body), len(packed), names))
            body += packed
    rows = [second.at_s for some in seconds.values() for second in some]
    directory = zlib.compress(json.dumps(blocks, separators=(",", ":")).encode())
    crc = zlib.crc32(body, zlib.crc32(directory))
    head = HEAD.pack(MAGIC, VERSION, step_s, min(rows), max(rows) + step_s, len(directory), len(body), crc)
    return head + directory + bytes(body)


def _parts(name: str, node: int | None, seconds: Sequence[Second]) -> Iterable[tuple[Key, Sequence[Any], bytes]]:
    cells: dict[CellKey, list[tuple[int, Cell]]] = {}
    for second in seconds:
        for key, cell in second.cells.items():
            cells.setdefault(key, []).append((second.at_s, cell))
    for warmup in (False, True):
        load = [second for second in seconds if second.is_warmup is warmup]
        causes = sorted({cause for second in load for cause in second.dropped_by})
        if load:
            yield Key("load", name, None, warmup, node), causes, _pack_load(load, causes)
    for key, rows in cells.items():
        yield Key("cells", name, *key, node), (), _pack_cells(rows)
    errors = sorted({error for second in seconds for error in second.errors})
    if errors:
        yield Key("errors", name, node=node), errors, _pack_errors(seconds, errors)


def _ints(values: Iterable[int]) -> bytes:
    return pack_ints(np.array([*values], np.int64))


def _pack_cells(rows: Sequence[tuple[int, Cell]]) -> bytes:
    cells = [cell for _, cell in rows]
    is_same = all(cell.response is cell.service or cell.response == cell.service for cell in cells)
    return b"".join([
        _ints(at_s for at_s, _ in rows), *(_ints(getattr(cell, name) for cell in cells) for name in OUTCOMES),
        _ints(cell.bytes_in for cell in cells), _ints(cell.bytes_out for cell in cells),
        Histograms.of([cell.service for cell in cells]).pack(), _ints([is_same]),
        b"" if is_same else Histograms.of([cell.response for cell in cells]).pack(),
    ])  # fmt: skip


def _pack_load(seconds: Sequence[Second], causes: Sequence[str]) -> bytes:
    return b"".join([
        _ints(second.at_s for second in seconds),
        *(_ints(getattr(second, name) for second in seconds) for name in LOAD_COUNTS),
        *(_ints(round(getattr(second, name) * MILLION) for second in seconds) for name in GAUGES),
        *(_ints(second.dropped_by.get(cause, 0) for second in seconds) for cause in causes),
        Histograms.of([second.start_delay for second in seconds]).pack(),
    ])  # fmt: skip


def _pack_errors(seconds: Sequence[Second], errors: Sequence[tuple[str, str]]) -> bytes:
    number_of = {error: number for number, error in enumerate(errors)}
    found = [(s.at_s, number_of[error], count) for s in seconds for error, count in s.errors.items()]
    return b"".join(_ints(column) for column in zip(*found, strict=True))


class Member:
    """A member that was read; its blocks are unpacked when asked for."""

    def __init__(self, head: Head, data: bytes) -> None:
        """`data`: what is behind the head. Raises ValueError when it is damaged."""
        if len(data) != head.size or zlib.crc32(data) != head.crc:
            raise ValueError("a member is damaged or ends early")
        self.head = head
        self._body = memoryview(data)[head.directory_bytes :]
        entries = json.loads(zlib.decompress(data[: head.directory_bytes]))
        self.blocks = {Key(*key): Block(Key(*key), at, size, names) for key, at, size, names in entries}

    def _raw(self, block: Block) -> bytes:
        return zlib.decompress(self._body[block.at : block.at + block.size])

    def cells(self, key: Key) -> CellRows | None:
        """Return the rows of a cell; None if it has none."""
        block = self.blocks.get(key)
        return None if block is None else CellRows.unpack(self._raw(block))

    def load(self, key: Key) -> LoadRows | None:
        """Return the rows of the load of a Generator; None if it has none."""
        block = self.blocks.get(key)
        return None if block is None else LoadRows.unpack(self._raw(block), block.names)

    def errors(self, key: Key) -> list[tuple[tuple[str, str], Ints, Ints]]:
        """Return each error text and its group with the seconds in which it came and how often."""
        block = self.blocks.get(key)
        if block is None:
            return []
        columns = Columns(self._raw(block))
        at_s, number, count = columns.ints(), columns.ints(), columns.ints()
        return [
            ((error, group), at_s[number == at], count[number == at]) for at, (error, group) in enumerate(block.names)
        ]

    def seconds(self) -> dict[Origin, list[Second]]:
        """Return its rows as seconds, in order of time; rows with the same at_s are one, but for warm-up."""
        found: dict[Origin, dict[tuple[int, bool], Second]] = {}
        for key in sorted(self.blocks, key=lambda key: key.part != "load"):
            of_origin = found.setdefault((key.node, key.generator), {})
            for row in self._rows(key):
                at = (row.at_s, row.is_warmup)
                if key.part != "load" and at not in of_origin:
                    at = (row.at_s, not row.is_warmup)
                of_origin.setdefault(at, Second(row.at_s, is_warmup=at[1])).merge(row)
        return {origin: [second for _, second in sorted(rows.items())] for origin, rows in found.items()}

    def _rows(self, key: Key) -> Iterable[Second]:
        if cells := self.cells(key) if key.part == "cells" else None:
            for row, (service, response) in enumerate(zip(cells.service.rows(), cells.response.rows(), strict=True)):
                cell = Cell.of(cells.outcomes[row].tolist(), cells.sent[row].tolist(), service, response)
                at_s = int(cells.at_s[row])
                yield Second(at_s, {CellKey(key.group, key.warmup): cell}, is_warmup=key.warmup)
        if load := self.load(key) if key.part == "load" else None:
            for row, start_delay in enumerate(load.start_delay.rows()):
                values = {name: column[row].item() for name, column in (*load.counts.items(), *load.gauges.items())}
                dropped_by = {cause: int(column[row]) for cause, column in load.dropped_by.items() if column[row]}
                yield Second(
                    int(load.at_s[row]), dropped_by=dropped_by, is_warmup=key.warmup, start_delay=start_delay, **values
                )
        for error, seconds, counts in self.errors(key) if key.part == "errors" else ():
            for second, number in zip(seconds.tolist(), counts.tolist(), strict=True):
                yield Second(second, errors={error: number})
