"""Rows of test data: where they come from, in which order, whose they are.

Rows live as JSON bytes with an offset array.
"""

from __future__ import annotations

import csv as csv_module
import json
import os
import random
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wasp_ray.errors import BadInput

PER, ORDERS = ("call", "user"), ("once", "cycle", "random")


@dataclass(frozen=True, slots=True)
class Feeder:
    """A definition; nothing is read before the run is prepared. `kind` csv, jsonl or rows."""

    kind: str
    source: Any
    per: Any = "call"
    order: Any = "once"

    def problems(self) -> list[str]:
        """What is wrong with the definition, one sentence each."""
        out = []
        if self.per not in PER:
            out.append(f"per={self.per!r}: expected 'call' or 'user'")
        if self.order not in ORDERS:
            out.append(f"order={self.order!r}: expected 'once', 'cycle' or 'random'")
        if self.kind != "rows" and not isinstance(self.source, (str, Path)):
            out.append(f"{self.kind}({self.source!r}): expected a path")
        if self.kind == "rows" and not isinstance(self.source, Iterable):
            out.append(f"rows({type(self.source).__name__}): expected an iterable of dicts")
        return out


def csv(path: Any, *, per: str = "call", order: str = "once") -> Feeder:
    """Rows of a CSV file with a header line; values are texts. A relative path starts at the load file's folder."""
    return Feeder("csv", path, per, order)


def jsonl(path: Any, *, per: str = "call", order: str = "once") -> Feeder:
    """Rows of a file with one JSON object a line."""
    return Feeder("jsonl", path, per, order)


def rows(iterable: Any, *, per: str = "call", order: str = "once") -> Feeder:
    """Rows of any finite iterable of JSON-able dicts; read once, before the first worker."""
    source = list(iterable) if isinstance(iterable, Iterator) else iterable  # an iterator could be read only once
    return Feeder("rows", source, per, order)


def load_rows(feeder: Feeder, base_dir: str, name: str) -> Iterator[dict[str, Any]]:
    """Reads the rows. Raises BadInput for a file that is not there or a row that is no object."""
    if feeder.kind == "rows":
        for number, row in enumerate(feeder.source):
            yield _checked(row, f"feeder {name!r}: row {number + 1}")
        return
    path = Path(base_dir) / feeder.source
    try:
        with open(path, encoding="utf-8-sig", newline="" if feeder.kind == "csv" else None) as file:
            if feeder.kind == "csv":
                yield from _csv_rows(csv_module.reader(file), f"feeder {name!r}: {path}")
                return
            for number, line in enumerate(file):
                if line.strip():
                    yield _checked(json.loads(line), f"feeder {name!r}: {path}, line {number + 1}")
    except OSError as exc:
        raise BadInput(
            f"feeder {name!r}: {path} cannot be read ({exc.strerror or exc}): paths start at the load file's folder"
        ) from exc
    except (ValueError, csv_module.Error) as exc:
        raise BadInput(f"feeder {name!r}: {path} is not a valid {feeder.kind} file: {exc}") from exc


def _csv_rows(lines: Iterator[list[str]], where: str) -> Iterator[dict[str, Any]]:
    header = next(lines, [])
    for number, values in enumerate(lines):
        if values and len(values) != len(header):
            raise BadInput(f"{where}, row {number + 2} has {len(values)} values, the header has {len(header)}")
        if values:
            yield dict(zip(header, values, strict=True))


def _checked(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise BadInput(f"{where} is a {type(row).__name__}: expected an object with named values")
    return row


def pack_rows(found: Iterable[dict[str, Any]], name: str) -> list[bytes | bytearray]:
    """Rows as a RowTable reads them. Raises BadInput for none at all and for one that is no JSON."""
    offsets, blob = array("Q", [0]), bytearray()
    for row in found:
        try:
            blob += json.dumps(row, separators=(",", ":")).encode()
        except (TypeError, ValueError) as exc:
            raise BadInput(f"feeder {name!r}: row {len(offsets)} cannot be written as JSON: {exc}") from exc
        offsets.append(len(blob))
    if len(offsets) == 1:
        raise BadInput(f"feeder {name!r} has no rows: expected at least one")
    return [array("Q", [len(offsets) - 1]).tobytes(), offsets.tobytes(), blob]


class RowTable:
    """Rows in shared memory: their number, the offsets of their bounds, their JSON. No Python object of it is copied by a fork."""

    def __init__(self, packed: memoryview) -> None:
        self._count = int.from_bytes(packed[:8], sys.byteorder)
        start = 8 * (self._count + 2)
        self._offsets, self._blob = packed[8:start].cast("Q"), packed[start:]

    def __len__(self) -> int:
        return self._count

    def row(self, index: int) -> dict[str, Any]:
        """A new dict."""
        found: dict[str, Any] = json.loads(bytes(self._blob[self._offsets[index] : self._offsets[index + 1]]))
        return found


class RowOrder:
    """Which row is the n-th draw of this node: rows r with r % nodes == node are its own."""

    def __init__(self, order: str, count: int, seed: int, node: int, nodes: int) -> None:
        self._order, self._seed, self._node, self._nodes = order, seed, node, nodes
        self._count = count
        self._own = max(0, -(-(count - node) // nodes))

    def index(self, draw: int) -> int | None:
        """The row of a draw (0, 1, ...); None when the rows are used up."""
        if self._own == 0:  # more nodes than rows
            return self._node % self._count if self._count and self._order != "once" else None
        if self._order == "random":
            draw = random.Random(f"{self._seed}/{self._node}/{draw}").randrange(self._own)
        elif self._order == "cycle":
            draw %= self._own
        elif draw >= self._own:
            return None
        return self._node + self._nodes * draw


class SharedCounter:
    """Numbers 0, 1, ... handed out once each over all processes of a node: 8 bytes of a memfd under an fcntl record
    lock.

    The kernel frees the lock of a process that is killed. It keeps no threads of one process apart, which `guard` does.
    """

    def __init__(self, fd: int, index: int, guard: AbstractContextManager[Any]) -> None:
        self._fd, self._at, self._guard = fd, 8 * index, guard

    def next(self) -> int:
        """The next number; about 2 us."""
        import fcntl

        with self._guard:
            fcntl.lockf(self._fd, fcntl.LOCK_EX, 8, self._at)
            try:
                number = int.from_bytes(os.pread(self._fd, 8, self._at), "little")
                os.pwrite(self._fd, (number + 1).to_bytes(8, "little"), self._at)
            finally:
                fcntl.lockf(self._fd, fcntl.LOCK_UN, 8, self._at)
        return number


def row_source(
    feeder: Feeder, table: RowTable, order: RowOrder, counter: SharedCounter, kind: str, shares: int
) -> Callable[[int, int], dict[str, Any] | None]:
    """(tick or -1, local user) -> the next row or None: guns take the row of their tick, users the next of all."""

    def draw(tick: int, user: int) -> dict[str, Any] | None:
        if feeder.per == "user":
            number = user
        elif kind == "rate" and tick >= 0:
            number = tick // shares
        else:
            number = counter.next()
        index = order.index(number)
        return None if index is None else table.row(index)

    return draw
