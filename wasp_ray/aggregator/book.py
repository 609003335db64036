"""Counts the records of one Generator: ledger, groups, segments, errors, windows. Fed with batches, bounded in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wasp_ray.aggregator.drain import OTHER_NUMBER, SLOT, Strings
from wasp_ray.aggregator.slow_seconds import SlowSeconds
from wasp_ray.aggregator.windows import Windows
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
_CALLS_SERVICE, _CALLS_RESPONSE, _START_DELAY = 0, 1, 2


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
    """Fills the GeneratorTotals of one Generator; its histograms are rows of banks until they are handed out."""

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
        self._groups: list[GroupTotals] = []  # by row of their banks
        self._row_of = np.full(64, -1, np.intp)  # string number -> row of its group
        self._group_service, self._group_response = HistogramBank(), HistogramBank()
        self._calls = HistogramBank(3)
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
        has_warmup = bool(self._warmup.any())
        measured = counted if not has_warmup else counted & ~self._warmup[segment]
        free = self._add_delays(rows, flags, ends)
        self._add_calls(batch, ends, counted, measured, segment, service, response, service_at, response_at, free)
        grouped = (flags & Flag.IN_GROUP) != 0
        if has_warmup:
            grouped &= ~self._warmup[segment]
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
        counts = np.bincount(outcome if every else outcome[ends], minlength=len(OUTCOMES))
        self.totals.ledger.add_outcomes(counts.tolist())
        self.ended += np.bincount(batch.ring if every else batch.ring[ends], minlength=len(self.ended))
        self.last_end_ns = max(self.last_end_ns, int(rows["end"][ends].max()))
        delay = np.maximum(rows["start"] - rows["due"], 0)
        if self.first_start_ns is None:
            first = int(rows["start"].argmin())
            self.first_start_ns = int(rows["start"][first])
            self.first_delay_ns = self.first_start_ns - int(rows["due"][first])
        self.windows.add(rows, ends, counted, service, response, service_at, response_at, delay, free)
        self._call_time_ns += int(service[ends].sum())
        if self.is_rate:
            self.totals.late += int((delay[ends] > LATE_NS).sum())
            self._calls.add_to(_START_DELAY, bucket_of(delay[ends]), delay[ends])
        pick: Any = slice(None) if every and bool(measured.all()) else np.flatnonzero(ends & measured)
        self._calls.add_to(_CALLS_SERVICE, service_at[pick], service[pick])
        self._calls.add_to(_CALLS_RESPONSE, response_at[pick], response[pick])
        of_call: Any = slice(None) if every else ends
        cells = segment[of_call] * len(OUTCOMES) + outcome[of_call]
        self._segment_outcomes += np.bincount(cells, minlength=self._segment_outcomes.size).reshape(-1, len(OUTCOMES))
        pick = slice(None) if every and bool(counted.all()) else np.flatnonzero(ends & counted)
        at = segment[pick]
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
        outcome = rows["outcome"][pick]
        self._add_times(pick, row, outcome, service, response, service_at, response_at)
        status = batch.status[pick]
        bytes_in, bytes_out = rows["bytes_in"][pick], rows["bytes_out"][pick]
        first = int(row[0])
        present = [first] if (row == first).all() else np.unique(row).tolist()
        for number in present:
            group = self._groups[number]
            mine: Any = slice(None) if len(present) == 1 else row == number
            group.add_outcomes(np.bincount(outcome[mine], minlength=len(OUTCOMES)).tolist())
            group.bytes_in += int(bytes_in[mine].sum())
            group.bytes_out += int(bytes_out[mine].sum())
            self._add_statuses(group, status[mine])

    def _add_times(
        self, pick: Any, row: NDArray[np.intp], outcome: NDArray[np.uint8], service: Ints, response: Ints,
        service_at: NDArray[np.intp], response_at: NDArray[np.intp],
    ) -> None:  # fmt: skip
        """Adds the durations of a selection of records to the histograms of their groups, `row`."""
        timed = outcome <= LAST_TIMED
        if not timed.all():
            row = row[timed]
            pick = np.flatnonzero(timed) if isinstance(pick, slice) else pick[timed]
        self._group_service.add(row, service_at[pick], service[pick])
        self._group_response.add(row, response_at[pick], response[pick])

    def _add_statuses(self, group: GroupTotals, status: NDArray[np.int32]) -> None:
        first = int(status[0])
        if (status == first).all():
            found: Any = [(first, len(status))]
        else:
            numbers, counts = np.unique(status, return_counts=True)
            found = zip(numbers.tolist(), counts.tolist(), strict=True)
        for number, count in found:
            if number:
                group.add_status(self._strings.texts[number], count)

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
                name, known = self._strings.texts[number], self.totals.groups
                if name not in known and len(known) >= MAX_GROUPS:
                    name = OTHER
                if name not in known:
                    self._groups.append(self.totals.group(name))
                self._row_of[number] = list(known).index(name)
            row = self._row_of[numbers]
        return row

    def _add_errors(self, batch: Batch, found: NDArray[np.intp]) -> None:
        pairs = batch.error[found].astype(np.int64) << 32 | batch.group[found]
        keys, firsts, counts = np.unique(pairs, return_index=True, return_counts=True)
        texts = self._strings.texts
        for key, first, count in zip(keys.tolist(), firsts.tolist(), counts.tolist(), strict=True):
            error, group = texts[key >> 32], texts[key & 0xFFFFFFFF]
            at = int(found[first])
            at_s = (
                max(0.0, (int(batch.rows["end"][at]) - self._start_ns) / 1e9) if self._start_ns else 0.0
            )  # of a setup
            self.totals.add_error(error, group, count, at_s, texts[int(batch.path[at])])

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
        totals, calls = self.totals, self._calls
        totals.call_time_s = self._call_time_ns / 1e9
        totals.start_delay = calls.histogram(_START_DELAY)
        totals.call.service, totals.call.response = calls.histogram(_CALLS_SERVICE), calls.histogram(_CALLS_RESPONSE)
        for row, group in enumerate(self._groups):
            group.service, group.response = self._group_service.histogram(row), self._group_response.histogram(row)
        totals.segments = [
            SegmentTotals(
                **dict(zip(OUTCOMES, self._segment_outcomes[at].tolist(), strict=True)),
                service=self._segment_service.histogram(at),
                response=self._segment_response.histogram(at),
            )
            for at in range(len(self.plan.segments))
        ]
        return totals.to_data()
