"""Windows of one second of one Generator, and the sums of all that have closed. A call or request belongs to the window of its end;
one that comes too late, or ended before t = 0, to the next open one.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wasp_ray.stats.bank import HistogramBank
from wasp_ray.stats.histogram import bucket_of
from wasp_ray.stats.outcomes import LAST_TIMED, OUTCOMES
from wasp_ray.stats.seconds import CellKey, Second
from wasp_ray.stats.tallies import Cell

WINDOW_NS = 1_000_000_000
OPEN = 16
"""Windows that can be open at once."""
SETTLE_NS = 2_000_000_000
"""A window closes so long after its end."""
CALLS = 0
"""The column of the calls themselves; those of groups follow."""
NO_ROW = -1

Ints = NDArray[np.int64]
Rows = NDArray[np.intp]
Places = Rows | int
"""Of each record, or of all of them."""


def pick(wanted: NDArray[np.bool_]) -> Any:
    """Return what indexes the wanted records, without a copy where that is all of them."""
    return slice(None) if wanted.all() else np.flatnonzero(wanted)


class Cells:
    """Cells side by side: row r has outcomes, bytes and two histograms."""

    def __init__(self, rows: int, counts: type[np.signedinteger]) -> None:
        self.outcomes = np.zeros((rows, len(OUTCOMES)), np.int64)
        self.bytes = np.zeros((rows, 2), np.int64)
        self.service, self.response = HistogramBank(rows, counts), HistogramBank(rows, counts)

    def ensure(self, rows: int) -> None:
        """Grow to hold at least `rows` rows."""
        self.service.ensure(rows)
        self.response.ensure(rows)
        more = len(self.service.count) - len(self.outcomes)
        self.outcomes = np.concatenate([self.outcomes, np.zeros((more, len(OUTCOMES)), np.int64)])
        self.bytes = np.concatenate([self.bytes, np.zeros((more, 2), np.int64)])

    def add_row(self, row: int, other: Cells, other_row: int) -> None:
        """Add a row of another one."""
        self.outcomes[row] += other.outcomes[other_row]
        self.bytes[row] += other.bytes[other_row]
        self.service.add_row(row, other.service, other_row)
        self.response.add_row(row, other.response, other_row)

    def clear(self, row: int) -> None:
        """Empty a row."""
        self.outcomes[row] = self.bytes[row] = 0
        self.service.clear(row)
        self.response.clear(row)

    def cell(self, row: int) -> Cell:
        """Return a copy of a row."""
        service, response = self.service.sparse(row), self.response.sparse(row)
        return Cell.of(
            self.outcomes[row].tolist(), self.bytes[row].tolist(), service, service if response == service else response
        )


class Windows:
    """Open windows by cell; `close` hands them out in order. They judge nothing: see SlowSeconds.

    A cell is (window, column, warm-up or not). Only those that hold something take a row.
    """

    def __init__(self) -> None:
        self._start_ns: int | None = None
        self._next = 0  # the first window not closed
        self._names: list[str | None] = [None]  # by column
        self._row_of = np.full((OPEN, 8, 2), NO_ROW, np.intp)
        self._open, self._free = Cells(8, np.int32), list(range(8))
        self._sums = Cells(8, np.int64)  # of closed windows by column, without warm-up
        self._late = np.zeros(OPEN, np.int64)
        self._delay = HistogramBank(OPEN, np.int32)
        self._errors: list[Counter[tuple[str, str]]] = [Counter() for _ in range(OPEN)]
        self._closed: list[Second] = []

    def begin(self, start_ns: int) -> None:
        """t = 0, monotonic."""
        self._start_ns = start_ns

    def add_column(self, name: str) -> int:
        """Return the column of a new group."""
        self._names.append(name)
        have = self._row_of.shape[1]
        if len(self._names) > have:
            self._row_of = np.concatenate([self._row_of, np.full((OPEN, have, 2), NO_ROW, np.intp)], axis=1)
        self._sums.ensure(len(self._names))
        return len(self._names) - 1

    # -- batches

    def slots(self, end: Ints) -> Places:
        """Return the place of the window of each end; windows that it leaves behind are closed."""
        if self._start_ns is None:
            return 0
        first, last = ((int(at) - self._start_ns) // WINDOW_NS for at in (end.min(), end.max()))
        while last >= self._next + OPEN:
            self._close_one()
        if max(first, self._next) == max(last, self._next):
            return max(last, self._next) % OPEN
        window = np.maximum((end - self._start_ns) // WINDOW_NS, self._next)
        places: Rows = (window % OPEN).astype(np.intp)
        return places

    def add(
        self, slot: Places, column: Places, warmup: NDArray[np.bool_] | bool, outcome: NDArray[np.uint8],
        service: Ints, response: Ints, service_at: Rows, response_at: Rows,
    ) -> Places:  # fmt: skip
        """Count calls or requests; return the row of each, or of all where that is one. So may `slot` and `column` be of all."""
        rows, cells = self._rows(slot, column, warmup), self._open
        timed = outcome <= LAST_TIMED
        some = pick(timed)
        if isinstance(rows, int):
            cells.outcomes[rows] += np.bincount(outcome, minlength=len(OUTCOMES))
            cells.service.add_to(rows, service_at[some], service[some])
            cells.response.add_to(rows, response_at[some], response[some])
        else:
            np.add.at(cells.outcomes, (rows, outcome), 1)
            cells.service.add(rows[some], service_at[some], service[some])
            cells.response.add(rows[some], response_at[some], response[some])
        return rows

    def add_bytes(self, rows: Places, bytes_in: NDArray[np.uint32], bytes_out: NDArray[np.uint32]) -> None:
        """Add what the requests in these rows read and wrote."""
        for at, number in enumerate((bytes_in, bytes_out)):
            if isinstance(rows, int):
                self._open.bytes[rows, at] += int(number.sum())
            elif number.any():
                np.add.at(self._open.bytes[:, at], rows, number)

    def add_delays(self, slot: Places, delay: Ints) -> None:
        """Add how late calls began that found a free worker."""
        if isinstance(slot, int):
            self._delay.add_to(slot, bucket_of(delay), delay)
        else:
            self._delay.add(slot, bucket_of(delay), delay)

    def add_late(self, slot: Places, late: NDArray[np.bool_]) -> None:
        """Count calls that began too late; `late` is a mask."""
        if isinstance(slot, int):
            self._late[slot] += int(late.sum())
        else:
            self._late += np.bincount(slot[late], minlength=OPEN)

    def add_error(self, slot: int, error: tuple[str, str], number: int) -> None:
        """Count an error text of a group."""
        self._errors[slot][error] += number

    def add_unfinished(self, outcome: int, number: int) -> None:
        """Count calls that a death ended: in the first open window."""
        self._open.outcomes[self._rows(self._next % OPEN, CALLS, False), outcome] += number

    def _rows(self, slot: Places, column: Places, warmup: NDArray[np.bool_] | bool) -> Places:
        at: Any = (slot * self._row_of.shape[1] + column) * 2 + warmup
        table = self._row_of.reshape(-1)
        rows: Any = table[at]
        if np.min(rows) < 0:
            new = np.unique(np.asarray(at)[np.asarray(rows) < 0])
            while len(self._free) < len(new):
                have = len(self._open.outcomes)
                self._open.ensure(have + 1)
                self._free += range(have, len(self._open.outcomes))
            for cell in new.tolist():
                table[cell] = self._free.pop()
            rows = table[at]
        return rows if isinstance(rows, np.ndarray) else int(rows)

    # -- results

    def close(self, now_ns: int | None) -> list[Second]:
        """The windows that have settled by now (None: all that hold anything), oldest first; none before t = 0 is known."""
        if self._start_ns is not None:
            if now_ns is None:
                while any(self._holds(at % OPEN) for at in range(self._next, self._next + OPEN)):
                    self._close_one()
            else:
                while self._start_ns + (self._next + 1) * WINDOW_NS + SETTLE_NS <= now_ns:
                    self._close_one()
        closed, self._closed = self._closed, []
        return closed

    def _holds(self, slot: int) -> bool:
        return bool((self._row_of[slot] >= 0).any() or self._errors[slot])

    def _close_one(self) -> None:
        slot = self._next % OPEN
        second = Second(self._next, late=int(self._late[slot]), start_delay=self._delay.sparse(slot))
        second.errors = dict(self._errors[slot])
        for column, warmup in np.argwhere(self._row_of[slot] >= 0).tolist():
            row = int(self._row_of[slot, column, warmup])
            second.cells[CellKey(self._names[column], bool(warmup))] = self._open.cell(row)
            if not warmup:
                self._sums.add_row(column, self._open, row)
            self._open.clear(row)
            self._free.append(row)
        self._row_of[slot] = NO_ROW
        self._late[slot] = 0
        self._errors[slot].clear()
        self._delay.clear(slot)
        self._closed.append(second)
        self._next += 1

    def total(self, column: int) -> Cell:
        """Return all of a column so far but for warm-up; its histograms may share memory with this: read them at once."""
        sums, held = self._sums, self._open
        rows = [row for row in self._row_of[:, column, 0].tolist() if row != NO_ROW]
        return Cell.of(
            (sums.outcomes[column] + held.outcomes[rows].sum(axis=0)).tolist(),
            (sums.bytes[column] + held.bytes[rows].sum(axis=0)).tolist(),
            sums.service.summed(column, held.service, rows), sums.response.summed(column, held.response, rows),
        )  # fmt: skip
