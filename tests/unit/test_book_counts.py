"""What the aggregator counts of any batches is what somebody counts who looks at one record after the other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plans import generator_plan, segment_plans

from wasp_ray.aggregator.book import GeneratorBook
from wasp_ray.aggregator.drain import SLOT, Strings
from wasp_ray.stats.batch import Batch
from wasp_ray.stats.limits import MAX_GROUPS, OTHER
from wasp_ray.stats.outcomes import OUTCOMES, Outcome
from wasp_ray.wire.record import LATE_NS, Flag

SECOND, MS = 10**9, 10**6
START, RINGS = 1000 * SECOND, 3
TIMED = ("ok", "failed", "timeout")
WARM, PLAIN = ((2, True), (3, False), (1, True), (4, False)), ((4, False), (6, False))


@dataclass(frozen=True)
class Row:
    """A record; times in ns since t = 0."""

    due: int
    delay: int
    service: int
    outcome: Outcome
    flags: int
    group: str
    ring: int
    status: str = ""
    error: str = ""
    path: str = ""
    size: int = 0

    @property
    def ends_call(self) -> bool:
        """Whether it ends a call."""
        return bool(self.flags & Flag.ENDS_CALL)


delays = st.sampled_from([0, 1, LATE_NS, LATE_NS + 1, 60 * MS]) | st.integers(0, 3 * SECOND)
row = st.builds(
    Row,
    due=st.integers(0, 11 * SECOND)
    | st.sampled_from([2 * SECOND - 1, 2 * SECOND, 5 * SECOND, 6 * SECOND, 10 * SECOND]),
    delay=delays,
    service=st.integers(0, 2 * SECOND),
    outcome=st.sampled_from(list(Outcome)),
    flags=st.sampled_from([Flag.ENDS_CALL | Flag.IN_GROUP, Flag.ENDS_CALL, Flag.IN_GROUP]),
    group=st.sampled_from("abc"),
    ring=st.integers(0, RINGS - 1),
    status=st.sampled_from(["", "200", "500"]),
    error=st.sampled_from(["", "", "broken", "late"]),
    path=st.sampled_from(["", "/a", "/b"]),
    size=st.integers(0, 5000),
)
calls = row.map(lambda made: Row(**{**made.__dict__, "flags": Flag.ENDS_CALL | Flag.IN_GROUP, "group": "a"}))
batches = st.lists(st.lists(row, min_size=1, max_size=12) | st.lists(calls, min_size=1, max_size=12), max_size=5)


@dataclass
class Counted:
    """Counts of calls or of the requests of a group."""

    outcomes: Counter[str] = field(default_factory=Counter)
    service: list[int] = field(default_factory=list)
    response: list[int] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    size: int = 0

    def add(self, row: Row) -> None:
        """One more."""
        name = OUTCOMES[row.outcome]
        self.outcomes[name] += 1
        self.size += row.size
        if row.status:
            self.statuses[row.status] += 1
        self.add_times(row)

    def add_times(self, row: Row) -> None:
        """The times of what was answered."""
        if OUTCOMES[row.outcome] in TIMED:
            self.service.append(row.service)
            self.response.append(row.service + row.delay)

    def check(self, data: dict[str, Any]) -> None:
        """Against the book's."""
        assert {name: data[name] for name in OUTCOMES} == {name: self.outcomes[name] for name in OUTCOMES}
        self.check_times(data)

    def check_times(self, data: dict[str, Any]) -> None:
        """Counts, sums and extremes; percentiles are tested with the histograms."""
        for name, values in (("service", self.service), ("response", self.response)):
            found = [data[name][key] for key in ("count", "sum_ns", "min_ns", "max_ns")]
            assert found == [len(values), sum(values), min(values, default=None), max(values, default=None)], name


def batch_of(rows: list[Row], strings: Strings) -> Batch:
    """As a reader of rings gives it."""
    slots = np.zeros(len(rows), SLOT)
    for at, made in enumerate(rows):
        start = START + made.due + made.delay
        slots[at]["due"], slots[at]["start"], slots[at]["end"] = START + made.due, start, start + made.service
        slots[at]["outcome"], slots[at]["flags"] = made.outcome, made.flags
        slots[at]["bytes_in"], slots[at]["bytes_out"] = made.size, 2 * made.size

    def numbers(name: str) -> Any:
        return np.array([strings.number(getattr(made, name)) for made in rows], np.int32)

    ring = np.array([made.ring for made in rows], np.intp)
    return Batch(slots, ring, numbers("group"), numbers("path"), numbers("status"), numbers("error"))


@settings(max_examples=150)
@given(batches, st.sampled_from([WARM, PLAIN]), st.sampled_from(["rate", "users"]))
def test_a_book_counts_as_if_it_took_one_record_after_the_other(
    given_batches: list[list[Row]], parts: tuple[tuple[float, bool], ...], kind: str
) -> None:
    """Ledger, segments, groups, statuses, sizes, errors, lateness and times; a warm-up is in the first two alone."""
    segments, strings = segment_plans(parts), Strings()
    book = GeneratorBook(generator_plan(kind=kind, segments=segments), RINGS, strings)
    book.begin(START, [START + segment.to_ns for segment in segments])
    ledger, measured, of_segments = Counted(), Counted(), [Counted() for _ in segments]
    groups: dict[str, Counted] = {}
    errors: dict[tuple[str, str], list[Row]] = {}
    for rows in given_batches:
        book.add(batch_of(rows, strings))
        for made in rows:
            at = min(sum(segment.to_ns <= made.due for segment in segments), len(segments) - 1)
            if made.ends_call:
                ledger.add(made)
                of_segments[at].add(made)
                if not segments[at].warmup:
                    measured.add_times(made)
            if made.flags & Flag.IN_GROUP and not segments[at].warmup:
                groups.setdefault(made.group, Counted()).add(made)
            if made.error:
                errors.setdefault((made.error, made.group), []).append(made)
    data: dict[str, Any] = book.to_data()
    ended = [made for rows in given_batches for made in rows if made.ends_call]
    assert {name: data["ledger"][name] for name in OUTCOMES} == {name: ledger.outcomes[name] for name in OUTCOMES}
    assert book.ended.tolist() == [sum(made.ring == ring for made in ended) for ring in range(RINGS)]
    assert data["late"] == (sum(made.delay > LATE_NS for made in ended) if kind == "rate" else 0)
    assert data["start_delay"]["count"] == (len(ended) if kind == "rate" else 0)
    assert data["call_time_s"] == sum(made.service for made in ended) / 1e9
    assert book.last_end_ns == max((START + made.due + made.delay + made.service for made in ended), default=0)
    measured.check_times(data["call"])
    for segment, expected in zip(data["segments"], of_segments, strict=True):
        expected.check(segment)
    assert data["groups"].keys() == groups.keys()
    for name, expected in groups.items():
        found = data["groups"][name]
        expected.check(found)
        assert found["status"] == expected.statuses
        assert (found["bytes_in"], found["bytes_out"]) == (expected.size, 2 * expected.size)
    check_errors(book, errors)


def check_errors(book: GeneratorBook, errors: dict[tuple[str, str], list[Row]]) -> None:
    """Each is counted with its group, its first time and an example."""
    found = {(error["error"], error["group"]): error for error in book.totals.error_list()}
    assert {key: error["count"] for key, error in found.items()} == {key: len(rows) for key, rows in errors.items()}
    for key, rows in errors.items():
        times = [(made.due + made.delay + made.service) / 1e9 for made in rows]
        assert found[key]["first_at_s"] in times
        assert found[key]["example"] in {made.path for made in rows}


def test_groups_beyond_the_limit_share_one() -> None:
    """None is lost; those that were known before keep their own."""
    strings = Strings()
    book = GeneratorBook(generator_plan(segments=segment_plans(PLAIN)), 1, strings)
    book.begin(START, [START + 10 * SECOND] * 2)
    names = [f"g{number}" for number in range(MAX_GROUPS + 50)]
    for part in (names[:10], names[10 : MAX_GROUPS - 1], names[MAX_GROUPS - 1 :], names):
        rows = [Row(0, 0, MS, Outcome.OK, Flag.IN_GROUP, name, 0) for name in part]
        book.add(batch_of(rows, strings))
    groups = book.to_data()["groups"]
    assert len(groups) == MAX_GROUPS + 1 and groups[OTHER]["ok"] == 100
    assert {groups[name]["ok"] for name in names[:MAX_GROUPS]} == {2}
    assert all(group["service"]["count"] == group["ok"] for group in groups.values())


def test_the_first_call_shows_how_late_the_load_began() -> None:
    """By its start; later batches change nothing."""
    strings = Strings()
    book = GeneratorBook(generator_plan(segments=segment_plans(PLAIN)), 1, strings)
    book.begin(START, [START + 10 * SECOND] * 2)
    end = Flag.ENDS_CALL
    book.add(batch_of([Row(5, 9, 1, Outcome.OK, end, "a", 0), Row(7, 3, 1, Outcome.OK, end, "a", 0)], strings))
    book.add(batch_of([Row(0, 0, 1, Outcome.OK, end, "a", 0)], strings))
    assert (book.first_start_ns, book.first_delay_ns) == (START + 10, 3)
