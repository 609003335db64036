"""The books of one Generator: ledger columns, groups, segments, errors, windows.

Fed with batches, bounded in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wasp_ray.aggregator.drain import SLOT, Strings
from wasp_ray.aggregator.slow_seconds import SlowSeconds
from wasp_ray.aggregator.windows import Windows
from wasp_ray.plan import GeneratorPlan
from wasp_ray.stats.bank import HistogramBank
from wasp_ray.stats.batch import Batch
from wasp_ray.stats.histogram import bucket_of
from wasp_ray.wire.record import OTHER, Flag, Outcome

MAX_GROUPS = 1000
MAX_ERRORS = 100
MAX_STATUSES = 200
MAX_COUNTERS = 200
LATE_NS = 10_000_000
COLUMNS = ("ok", "failed", "timeout", "killed", "interrupted")
Mask = NDArray[np.bool_]


class GroupBook:
    """Counts of one group beside its histograms."""

    def __init__(self) -> None:
        self.count = self.failed = self.timeout = self.bytes_in = self.bytes_out = 0
        self.status: dict[str, int] = {}


class GeneratorBook:
    """Everything a summary says of one Generator, except what its workers' headers hold."""

    def __init__(self, plan: GeneratorPlan, rings: int, strings: Strings) -> None:
        self.plan = plan
        self.name = plan.name
        self.is_rate = plan.kind == "rate"
        self._timeout_ns = plan.call_timeout_ns
        self._strings = strings
        self.outcomes = np.zeros(len(COLUMNS), np.int64)
        self.ended = np.zeros(rings, np.int64)  # by ring, of its present worker
        self.late = 0
        self.call_time_ns = 0
        self.last_end_ns = 0
        self.first_start_ns: int | None = None  # of the first call, and how long it was due by then
        self.first_delay_ns = 0
        self.counters: dict[str, int] = {}
        self.errors: dict[tuple[str, str], dict[str, Any]] = {}
        self._groups: list[GroupBook] = []
        self._group_names: list[str] = []
        self._row_of = np.full(64, -1, np.intp)  # string number -> row of its group
        self._group_service, self._group_response = HistogramBank(), HistogramBank()
        self._calls = HistogramBank(3)  # service, response, start delay
        segments = plan.segments
        self._warmup = np.array([s.warmup for s in segments] or [False], bool)
        self._segment_service, self._segment_response = (
            HistogramBank(len(self._warmup)),
            HistogramBank(len(self._warmup)),
        )
        self._segment_calls = np.zeros(len(self._warmup), np.int64)
        self._segment_failed = np.zeros(len(self._warmup), np.int64)
        self._segment_timeout = np.zeros(len(self._warmup), np.int64)
        self._ends = np.array([s.to_ns for s in segments] or [0], np.int64)  # set to absolute times at the start
        self._start_ns = 0
        self.windows = Windows()
        self.slow_seconds = SlowSeconds()

    def begin(self, start_ns: int, ends_ns: Sequence[int]) -> None:
        """t = 0 and the monotonic ends of the segments; again after each pause, with later ends."""
        self._start_ns = start_ns
        self.windows.begin(start_ns)
        self.slow_seconds.begin(start_ns)
        self._ends = np.array(list(ends_ns) or [0], np.int64)

    # -- batches

    def add(self, batch: Batch) -> None:
        """Books a batch of records."""
        for name, number in batch.counters:
            key = name if name in self.counters or len(self.counters) < MAX_COUNTERS else OTHER
            self.counters[key] = self.counters.get(key, 0) + number
        rows = batch.rows
        if not len(rows):
            return
        flags, outcome = rows["flags"], rows["outcome"]
        due, start, end = rows["due"], rows["start"], rows["end"]
        service = np.maximum(end - start, 0)
        response = service if np.array_equal(due, start) else np.maximum(end - due, 0)
        service_at = bucket_of(service)
        response_at = service_at if response is service else bucket_of(response)
        ends = (flags & Flag.ENDS_CALL) != 0
        counted = outcome <= Outcome.TIMEOUT  # killed and interrupted calls are in the ledger only
        segment = np.minimum(np.searchsorted(self._ends, due, side="right"), len(self._warmup) - 1)
        measured = counted if not self._warmup.any() else counted & ~self._warmup[segment]
        free = self._add_delays(rows, flags, ends)
        self._add_calls(batch, ends, counted, measured, segment, service, response, service_at, response_at, free)
        grouped = measured & ((flags & Flag.IN_GROUP) != 0)
        if grouped.all():
            self._add_groups(batch, slice(None), service, response, service_at, response_at)
        elif grouped.any():
            self._add_groups(batch, np.flatnonzero(grouped), service, response, service_at, response_at)
        if batch.error.any():
            self._add_errors(batch, np.flatnonzero(batch.error))

    def _add_delays(self, rows: NDArray[np.void], flags: NDArray[np.uint16], ends: Mask) -> NDArray[np.intp]:
        """Counts late starts by due second, dropped ticks included; returns the indices of the calls that had a free slot.

        Warm-up counts as well: it is a part of the load that was specified.
        """
        if not self.is_rate:
            return np.empty(0, np.intp)
        is_free = (flags & Flag.WAITED) == 0
        free = np.flatnonzero(ends & is_free)
        dropped = (flags & Flag.DROPPED) != 0
        judged = np.flatnonzero((ends & is_free) | dropped) if dropped.any() else free
        due, start = rows["due"], rows["start"]
        if len(judged) < len(rows):
            due, start = due[judged], start[judged]
        self.slow_seconds.add(due, start - due)
        return free

    def _add_calls(
        self, batch: Batch, ends: Mask, counted: Mask, measured: Mask, segment: NDArray[np.intp],
        service: NDArray[np.int64], response: NDArray[np.int64], service_at: NDArray[np.intp], response_at:
        NDArray[np.intp], free: NDArray[np.intp],
    ) -> None:  # fmt: skip
        if not ends.any():
            return
        rows = batch.rows
        outcome = rows["outcome"]
        every = bool(ends.all())
        self.outcomes += np.bincount(outcome if every else outcome[ends], minlength=len(COLUMNS))[: len(COLUMNS)]
        self.ended += np.bincount(batch.ring if every else batch.ring[ends], minlength=len(self.ended))
        self.last_end_ns = max(self.last_end_ns, int(rows["end"][ends].max()))
        delay = np.maximum(rows["start"] - rows["due"], 0)
        if self.first_start_ns is None:
            first = int(rows["start"].argmin())
            self.first_start_ns = int(rows["start"][first])
            self.first_delay_ns = self.first_start_ns - int(rows["due"][first])
        self.windows.add(rows, ends, counted, service, response, service_at, response_at, delay, free)
        self.call_time_ns += int(service[ends].sum())
        if self.is_rate:
            self.late += int((delay[ends] > LATE_NS).sum())
            self._calls.add_to(2, bucket_of(delay[ends]), delay[ends])
        pick: Any = slice(None) if every and bool(measured.all()) else np.flatnonzero(ends & measured)
        self._calls.add_to(0, service_at[pick], service[pick])
        self._calls.add_to(1, response_at[pick], response[pick])
        pick = slice(None) if every and bool(counted.all()) else np.flatnonzero(ends & counted)
        at = segment[pick]
        self._segment_calls += np.bincount(at, minlength=len(self._warmup))
        for counts, column in ((self._segment_failed, Outcome.FAILED), (self._segment_timeout, Outcome.TIMEOUT)):
            mine = outcome[pick] == column
            if mine.any():
                counts += np.bincount(at[mine], minlength=len(self._warmup))
        self._segment_service.add(at, service_at[pick], service[pick])
        self._segment_response.add(at, response_at[pick], response[pick])

    def _add_groups(
        self, batch: Batch, pick: Any, service: NDArray[np.int64], response: NDArray[np.int64],
        service_at: NDArray[np.intp], response_at: NDArray[np.intp],
    ) -> None:  # fmt: skip
        rows = batch.rows
        row = self._rows_of(batch.group[pick])
        self._group_service.ensure(len(self._groups))
        self._group_response.ensure(len(self._groups))
        self._group_service.add(row, service_at[pick], service[pick])
        self._group_response.add(row, response_at[pick], response[pick])
        status, outcome = batch.status[pick], rows["outcome"][pick]
        bytes_in, bytes_out = rows["bytes_in"][pick], rows["bytes_out"][pick]
        first = int(row[0])
        present = [first] if (row == first).all() else np.unique(row).tolist()
        for number in present:
            book = self._groups[number]
            mine: Any = slice(None) if len(present) == 1 else row == number
            count = len(row) if len(present) == 1 else int(np.count_nonzero(mine))
            book.count += count
            book.failed += int(np.count_nonzero(outcome[mine] == Outcome.FAILED))
            book.timeout += int(np.count_nonzero(outcome[mine] == Outcome.TIMEOUT))
            book.bytes_in += int(bytes_in[mine].sum())
            book.bytes_out += int(bytes_out[mine].sum())
            self._add_statuses(book, status[mine])

    def _add_statuses(self, book: GroupBook, status: NDArray[np.int32]) -> None:
        first = int(status[0])
        if (status == first).all():
            found: Any = [(first, len(status))]
        else:
            numbers, counts = np.unique(status, return_counts=True)
            found = zip(numbers.tolist(), counts.tolist(), strict=True)
        for number, count in found:
            if number:
                text = self._strings.texts[number]
                key = text if text in book.status or len(book.status) < MAX_STATUSES else OTHER
                book.status[key] = book.status.get(key, 0) + count

    def _rows_of(self, numbers: NDArray[np.int32]) -> NDArray[np.intp]:
        """Rows of the groups with these string numbers, new ones included; beyond 1,000 they share `__other__`."""
        highest = int(numbers.max())
        if highest >= len(self._row_of):
            wider = np.full(max(highest + 1, 2 * len(self._row_of)), -1, np.intp)
            wider[: len(self._row_of)] = self._row_of
            self._row_of = wider
        row = self._row_of[numbers]
        if (row < 0).any():
            for number in np.unique(numbers[row < 0]).tolist():
                name = self._strings.texts[number]
                if len(self._groups) >= MAX_GROUPS:
                    name = OTHER
                if name not in self._group_names:
                    self._group_names.append(name)
                    self._groups.append(GroupBook())
                self._row_of[number] = self._group_names.index(name)
            row = self._row_of[numbers]
        return row

    def _add_errors(self, batch: Batch, found: NDArray[np.intp]) -> None:
        pairs = batch.error[found].astype(np.int64) << 32 | batch.group[found]
        keys, firsts, counts = np.unique(pairs, return_index=True, return_counts=True)
        texts = self._strings.texts
        for key, first, count in zip(keys.tolist(), firsts.tolist(), counts.tolist(), strict=True):
            error, group = texts[key >> 32], texts[key & 0xFFFFFFFF]
            at = int(found[first])
            self._add_error(error, group, count, int(batch.rows["end"][at]), texts[int(batch.path[at])])

    def _add_error(self, error: str, group: str, count: int, at_ns: int, example: str) -> None:
        key = (error, group)
        if key not in self.errors and len(self.errors) >= MAX_ERRORS:
            key = (OTHER, OTHER)
        at_s = max(0.0, (at_ns - self._start_ns) / 1e9)
        entry = self.errors.setdefault(key, {"count": 0, "first_at_s": at_s, "example": example})
        entry["count"] += count
        entry["first_at_s"] = min(entry["first_at_s"], at_s)

    # -- what never ended by itself

    def end_unfinished(
        self, ring: int, in_flight: list[tuple[int, int, int, int]], unfinished: int, as_: str, at_ns: int
    ) -> None:
        """Counts the calls that a worker left when it died at `at_ns`: `timeout` those whose call_timeout had passed by
        then (with the time until it), `as_` ("killed" or "interrupted") the others, whatever it was killed for.

        The headers' count is the truth; entries beyond it are calls that were recorded already, the oldest ones.
        """
        entries = sorted(in_flight, key=lambda entry: entry[2])[max(0, len(in_flight) - unfinished) :]
        timeout = self._timeout_ns
        late = [e for e in entries if timeout is not None and e[2] + timeout <= at_ns]
        if late and timeout is not None:
            rows = np.zeros(len(late), SLOT)
            rows["outcome"] = Outcome.TIMEOUT
            rows["flags"] = Flag.ENDS_CALL | Flag.IN_GROUP | Flag.WAITED  # entries do not say it: never held against us
            rows["due"] = [e[1] for e in late]
            rows["start"] = [e[2] for e in late]
            rows["end"] = rows["start"] + timeout
            rows["user"] = [e[3] for e in late]
            zeros = np.zeros(len(late), np.int32)
            group = np.full(len(late), self._strings.number(self.name), np.int32)
            self.add(Batch(rows, np.full(len(late), ring, np.intp), group, zeros, zeros, zeros))
        rest = unfinished - len(late)
        if rest > 0:
            column = COLUMNS.index(as_)
            self.outcomes[column] += rest
            self.windows.add_unfinished(column, rest)

    def forget(self, ring: int) -> None:
        """The ring's next worker starts at zero."""
        self.ended[ring] = 0

    # -- results

    def to_data(self) -> dict[str, Any]:
        """The Generator's part of NodeTotals, but for what the headers and the fleet know."""
        groups = {}
        for row, (name, book) in enumerate(zip(self._group_names, self._groups, strict=True)):
            groups[name] = {
                "count": book.count, "failed": book.failed, "timeout": book.timeout, "status": dict(book.status),
                "bytes_in": book.bytes_in, "bytes_out": book.bytes_out,
                "service": self._group_service.to_data(row), "response": self._group_response.to_data(row),
            }  # fmt: skip
        segments = [
            {
                "calls": int(self._segment_calls[at]), "failed": int(self._segment_failed[at]),
                "timeout": int(self._segment_timeout[at]),
                "service": self._segment_service.to_data(at), "response": self._segment_response.to_data(at),
            }
            for at in range(len(self.plan.segments))
        ]  # fmt: skip
        errors = [{"error": e, "group": g, **entry} for (e, g), entry in self.errors.items()]
        return {
            "kind": self.plan.kind,
            "ledger": {name: int(n) for name, n in zip(COLUMNS, self.outcomes, strict=True)},
            "counters": dict(self.counters), "late": self.late, "start_delay": self._calls.to_data(2),
            "call": {"service": self._calls.to_data(0), "response": self._calls.to_data(1)},
            "groups": groups, "segments": segments, "errors": errors, "call_time_s": self.call_time_ns / 1e9,
        }  # fmt: skip
