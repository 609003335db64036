"""Counts the records of one Generator: ledger, groups, segments, errors, windows. Fed with batches, bounded in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wasp_ray.aggregator.drain import OTHER_NUMBER, SLOT, Strings
from wasp_ray.aggregator.slow_seconds import SlowSeconds
from wasp_ray.aggregator.windows import CALLS, Places, Windows, pick
from wasp_ray.plan import GeneratorPlan
from wasp_ray.stats.bank import HistogramBank
from wasp_ray.stats.batch import Batch
from wasp_ray.stats.histogram import bucket_of
from wasp_ray.stats.limits import MAX_GROUPS, OTHER
from wasp_ray.stats.outcomes import LAST_TIMED, OUTCOMES, Outcome
from wasp_ray.stats.tallies import GroupTotals, SegmentTotals
from wasp_ray.stats.totals import GeneratorTotals
from wasp_ray.wire.arena import InFlight, Open
from wasp_ray.wire.record import LATE_NS, SETUP_GROUP, Flag

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]
Rows = NDArray[np.intp]
Times = tuple[Ints, Ints, Rows, Rows]
"""Of each record: service and response in ns, and the buckets of both."""


def _of(values: Any, some: Any) -> Any:
    """Return the wanted ones of an array; a single value stands for all."""
    return values[some] if isinstance(values, np.ndarray) else values


class _Ends:
    """Records that a dead worker owes."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int, int, int, int, int]] = []
        self._groups: list[int] = []
        self._paths: list[int] = []

    def add(
        self, entry: InFlight, due: int, start: int, end: int, outcome: Outcome, flags: int, group: int, path: int = 0
    ) -> None:  # fmt: skip
        """One record; its entry does not say whether a slot was free: it is never held against this machine."""
        self.rows.append((outcome, flags | Flag.WAITED, due, start, max(start, end), entry.user))
        self._groups.append(group)
        self._paths.append(path)

    def add_open(self, entry: InFlight, end: int, outcome: Outcome, names: NDArray[np.int32]) -> None:
        """The request that was open, if there was one."""
        bits = entry.requests
        if not bits & Open.IS_OPEN:
            return
        group, path = bits & Open.ID_MASK, bits >> Open.ROUTE_SHIFT & Open.ID_MASK
        due = entry.due if bits & Open.DUE_WITH_CALL else entry.open_start
        named = (int(names[at]) if at < len(names) else OTHER_NUMBER for at in (group, path))
        self.add(entry, due, entry.open_start, end, outcome, Flag.IN_GROUP, *named)

    def batch(self, ring: int) -> Batch:
        """All of them, as if the ring had held them."""
        rows = np.zeros(len(self.rows), SLOT)
        for at, name in enumerate(("outcome", "flags", "due", "start", "end", "user")):
            rows[name] = [row[at] for row in self.rows]
        nothing = np.zeros(len(rows), np.int32)
        groups, paths = np.array(self._groups, np.int32), np.array(self._paths, np.int32)
        return Batch(rows, np.full(len(rows), ring, np.intp), groups, paths, nothing, nothing)


class GeneratorBook:
    """Fills the GeneratorTotals of one Generator; its histograms are sums of windows or rows of banks."""

    def __init__(self, plan: GeneratorPlan, rings: int, strings: Strings) -> None:
        self.plan = plan
        self.name = plan.name
        self.is_rate = plan.kind == "rate"
        self._timeout_ns = plan.call_timeout_ns
        self._strings = strings
        self.totals = GeneratorTotals(plan.kind)
        self.ended = np.zeros(rings, np.int64)  # by ring, of its present worker
        self._call_time_ns = 0
        self.last_end_ns = 0
        self.first_start_ns: int | None = None  # of the first call, and how long it was due by then
        self.first_delay_ns = 0
        self._groups: dict[str, int] = {}  # column of the windows
        self._group_names: list[str] = []
        self._column_of = np.full(64, -1, np.intp)  # string number -> column of its group
        self._start_delay = HistogramBank(1)
        segments = plan.segments
        self._warmup = np.array([s.warmup for s in segments] or [False], bool)
        many = len(self._warmup)
        self._segment_outcomes = np.zeros((many, len(OUTCOMES)), np.int64)
        self._segment_service, self._segment_response = HistogramBank(many), HistogramBank(many)
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
            self.totals.add_counter(name, number)
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
        counted = outcome <= LAST_TIMED
        segment = np.minimum(np.searchsorted(self._ends, due, side="right"), len(self._warmup) - 1)
        warmup = self._warmup[segment] if self._warmup.any() else False
        slot = self.windows.slots(end)
        free = self._add_delays(rows, flags, ends)
        times = (service, response, service_at, response_at)
        self._add_calls(batch, ends, counted, segment, warmup, slot, times, free)
        grouped = (flags & Flag.IN_GROUP) != 0
        if grouped.any():
            self._add_groups(batch, pick(grouped), slot, warmup, times)
        if batch.error.any():
            self._add_errors(batch, np.flatnonzero(batch.error), slot)

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
        self, batch: Batch, ends: Mask, counted: Mask, segment: Rows, warmup: Mask | bool, slot: Places, times: Times, free: Rows
    ) -> None:  # fmt: skip
        if not ends.any():
            return
        rows, (service, response, service_at, response_at) = batch.rows, times
        calls = pick(ends)
        outcome = rows["outcome"][calls]
        self.totals.ledger.add_outcomes(np.bincount(outcome, minlength=len(OUTCOMES)).tolist())
        self.ended += np.bincount(batch.ring[calls], minlength=len(self.ended))
        self.last_end_ns = max(self.last_end_ns, int(rows["end"][calls].max()))
        if self.first_start_ns is None:
            first = int(rows["start"].argmin())
            self.first_start_ns = int(rows["start"][first])
            self.first_delay_ns = self.first_start_ns - int(rows["due"][first])
        self.windows.add(_of(slot, calls), CALLS, _of(warmup, calls), outcome, *(values[calls] for values in times))
        self._call_time_ns += int(service[calls].sum())
        if self.is_rate:
            delay = np.maximum(rows["start"] - rows["due"], 0)
            self.windows.add_delays(_of(slot, free), delay[free])
            delay = delay[calls]
            late = delay > LATE_NS
            self.totals.late += int(late.sum())
            self.windows.add_late(_of(slot, calls), late)
            self._start_delay.add_to(0, bucket_of(delay), delay)
        cells = segment[calls] * len(OUTCOMES) + outcome
        self._segment_outcomes += np.bincount(cells, minlength=self._segment_outcomes.size).reshape(-1, len(OUTCOMES))
        timed = pick(ends & counted)
        at = segment[timed]
        self._segment_service.add(at, service_at[timed], service[timed])
        self._segment_response.add(at, response_at[timed], response[timed])

    def _add_groups(self, batch: Batch, some: Any, slot: Places, warmup: Mask | bool, times: Times) -> None:
        column, warmup, rows = self._columns_of(batch.group[some]), _of(warmup, some), batch.rows
        cells = self.windows.add(
            _of(slot, some), column, warmup, rows["outcome"][some], *(values[some] for values in times)
        )
        self.windows.add_bytes(cells, rows["bytes_in"][some], rows["bytes_out"][some])
        self._add_statuses(column, batch.status[some], warmup)

    def _add_statuses(self, column: Places, status: NDArray[np.int32], warmup: Mask | bool) -> None:
        if isinstance(column, int) and warmup is False and (status == status[0]).all():
            found = [(column, int(status[0]), len(status))]
        else:
            keys = (np.asarray(column, np.int64) << 32 | status)[... if warmup is False else ~np.asarray(warmup)]
            keys, counts = np.unique(keys, return_counts=True)
            found = [
                (key >> 32, key & 0xFFFFFFFF, count) for key, count in zip(keys.tolist(), counts.tolist(), strict=True)
            ]
        for at, number, count in found:
            if number:
                self._group(at).add_status(self._strings.texts[number], count)

    def _group(self, column: int) -> GroupTotals:
        """The totals of the group in a column of the windows."""
        return self.totals.group(self._group_names[column - 1])

    def _columns_of(self, numbers: NDArray[np.int32]) -> Places:
        """Columns of the groups with these string numbers, new ones included; beyond 1,000 they share `__other__`. One number is
        returned where it is that of all.
        """
        is_one = bool((numbers == numbers[0]).all())
        column = self._columns(numbers[:1] if is_one else numbers)
        return int(column[0]) if is_one else column

    def _columns(self, numbers: NDArray[np.int32]) -> Rows:
        highest = int(numbers.max())
        if highest >= len(self._column_of):
            wider = np.full(max(highest + 1, 2 * len(self._column_of)), -1, np.intp)
            wider[: len(self._column_of)] = self._column_of
            self._column_of = wider
        column: Rows = self._column_of[numbers]
        if (column < 0).any():
            for number in np.unique(numbers[column < 0]).tolist():
                name = self._strings.texts[number]
                if name not in self._groups and len(self._groups) >= MAX_GROUPS:
                    name = OTHER
                if name not in self._groups:
                    self._groups[name] = self.windows.add_column(name)
                    self._group_names.append(name)
                self._column_of[number] = self._groups[name]
            column = self._column_of[numbers]
        return column

    def _add_errors(self, batch: Batch, found: Rows, slot: Places) -> None:
        pairs = batch.error[found].astype(np.int64) << 32 | batch.group[found]
        texts = self._strings.texts
        for key in np.unique(pairs).tolist():
            mine = found[pairs == key]
            at = int(mine[0])
            at_s = (
                max(0.0, (int(batch.rows["end"][at]) - self._start_ns) / 1e9) if self._start_ns else 0.0
            )  # of a setup
            error = self.totals.add_error(
                texts[key >> 32], texts[key & 0xFFFFFFFF], len(mine), at_s, texts[int(batch.path[at])]
            )
            slots = np.full(len(mine), slot) if isinstance(slot, int) else slot[mine]
            for place, number in enumerate(np.bincount(slots).tolist()):
                if number:
                    self.windows.add_error(place, error, number)

    # -- what never ended by itself

    def end_unfinished(
        self, ring: int, left: Sequence[InFlight], unfinished: int, as_: str, at_ns: int, names: NDArray[np.int32]
    ) -> None:
        """Counts the calls and requests that a worker left when it died at `at_ns`: `timeout` those whose time had run out by then
        (with the time until it), `as_` ("killed" or "interrupted") the others, whatever it was killed for.

        The headers' count is the truth; entries beyond it are calls that were recorded already, the oldest ones. A request
        takes the outcome of its call, setup or teardown. `names`: node-wide string numbers by the ids of the ring.
        """
        calls = sorted((e for e in left if e.number and not e.requests & Open.IS_BOOKED), key=lambda entry: entry.start)
        calls = calls[max(0, len(calls) - unfinished) :] if unfinished > 0 else []
        default, ends = Outcome[as_.upper()], _Ends()
        for entry in calls:
            outcome, end = self._end_of(entry.start, self._timeout_ns, default, at_ns)
            flags = Flag.ENDS_CALL if entry.requests else Flag.ENDS_CALL | Flag.IN_GROUP
            ends.add(entry, entry.due, entry.start, end, outcome, flags, self._strings.number(self.name))
            ends.add_open(entry, end, outcome, names)
        for entry in left:
            if entry.number:
                continue
            outcome, end = default, at_ns
            if entry.setup:
                outcome, end = self._end_of(entry.setup, self.plan.setup_timeout_ns, default, at_ns)
                number = self._strings.number(SETUP_GROUP)
                ends.add(entry, entry.setup, entry.setup, end, outcome, Flag.IN_GROUP, number)
            ends.add_open(entry, end, outcome, names)
        if ends.rows:
            self.add(ends.batch(ring))
        rest = unfinished - len(calls)
        if rest > 0:
            setattr(self.totals.ledger, as_, getattr(self.totals.ledger, as_) + rest)
            self.windows.add_unfinished(default, rest)

    @staticmethod
    def _end_of(start: int, timeout_ns: int | None, default: Outcome, at_ns: int) -> tuple[Outcome, int]:
        """How and when something ended that its process, dead at `at_ns`, did not end itself."""
        if timeout_ns is not None and start + timeout_ns <= at_ns:
            return Outcome.TIMEOUT, start + timeout_ns
        return default, at_ns

    def forget(self, ring: int) -> None:
        """The ring's next worker starts at zero."""
        self.ended[ring] = 0

    # -- results

    def to_data(self) -> dict[str, Any]:
        """GeneratorTotals as data, but for what the headers and the fleet know."""
        totals = self.totals
        totals.call_time_s = self._call_time_ns / 1e9
        totals.start_delay = self._start_delay.histogram(0)
        calls = self.windows.total(CALLS)
        totals.call.service, totals.call.response = calls.service, calls.response
        for name, column in self._groups.items():
            measured = self.windows.total(column)
            if measured.count:
                totals.group(name).set_requests(measured)
        totals.segments = [
            SegmentTotals(
                **dict(zip(OUTCOMES, self._segment_outcomes[at].tolist(), strict=True)),
                service=self._segment_service.histogram(at),
                response=self._segment_response.histogram(at),
            )
            for at in range(len(self.plan.segments))
        ]
        return totals.to_data()
