"""What the aggregator counts of a batch of records: windows by end, late starts by due time, warm-up apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.plans import generator_plan, segment_plans

from wasp_ray.aggregator.book import GeneratorBook
from wasp_ray.aggregator.drain import SLOT, Strings
from wasp_ray.stats.batch import Batch
from wasp_ray.stats.outcomes import Outcome
from wasp_ray.wire.arena import InFlight
from wasp_ray.wire.record import Flag

SECOND, MS = 10**9, 10**6
START = 1000 * SECOND
CALL = Flag.ENDS_CALL | Flag.IN_GROUP


def make_book(kind: str = "rate", warmup_s: int = 0, seconds: int = 20) -> GeneratorBook:
    """The book of one Generator `g`, begun; its first segment is a warm-up of that length."""
    bounds = [(0, warmup_s, True), (warmup_s, seconds, False)] if warmup_s else [(0, seconds, False)]
    segments = segment_plans((end - start, warm) for start, end, warm in bounds)
    book = GeneratorBook(generator_plan(kind=kind, call_timeout_ns=SECOND, segments=segments), 1, Strings())
    book.begin(START, [START + segment.to_ns for segment in segments])
    return book


def add(
    book: GeneratorBook, *calls: tuple[float, float, float], flags: int = CALL, outcome: Outcome = Outcome.OK
) -> None:
    """Adds records of (due, start, end), in s of the load, as one batch."""
    rows = np.zeros(len(calls), SLOT)
    for at, times in enumerate(calls):
        for name, seconds in zip(("due", "start", "end"), times, strict=True):
            rows[name][at] = START + round(seconds * SECOND)
    rows["flags"], rows["outcome"] = flags, outcome
    zeros = np.zeros(len(calls), np.int32)
    group = np.full(len(calls), book._strings.number("g"), np.int32)
    book.add(Batch(rows, np.zeros(len(calls), np.intp), group, zeros, zeros, zeros))


def windows(book: GeneratorBook) -> dict[int, int]:
    """Calls by window, of all that are closed at the end."""
    return {window.at_s: window.calls().count for window in book.windows.close(None)}


def late(*seconds: int) -> list[tuple[float, float, float]]:
    """A call due in each second that starts and ends when the workers run again."""
    return [(second + 0.5, 9.5, 9.6) for second in seconds]


# -- late starts


def test_calls_of_a_frozen_load_make_the_seconds_slow_in_which_they_were_due() -> None:
    """They all end in one window, which would be one slow second."""
    book = make_book()
    add(book, (0.1, 0.1, 0.2), *late(1, 2, 3, 4, 5, 6, 7), (10.1, 10.1, 10.2))
    assert book.slow_seconds.longest_row() == (1, 7)
    assert windows(book)[9] == 7


def test_calls_that_end_much_later_than_they_are_due_are_counted() -> None:
    """Windows have closed long since; on time or late, they count in their due second."""
    book = make_book()
    book.windows.close(START + 90 * SECOND)
    add(book, *[(second, second, 60 + second) for second in range(3)], *[(3 + n, 4.5 + n, 80 + n) for n in range(5)])
    assert book.slow_seconds.longest_row() == (3, 5)


@pytest.mark.parametrize(
    ("kind", "flags", "row"),
    [
        pytest.param("rate", CALL, (1, 5), id="a rate call with a free slot counts"),
        pytest.param("rate", CALL | Flag.WAITED, (0, 0), id="one that waited for the target does not"),
        pytest.param("rate", Flag.DROPPED, (1, 5), id="a dropped tick with a free slot counts"),
        pytest.param("rate", Flag.IN_GROUP, (0, 0), id="a request that ends no call does not"),
        pytest.param("users", CALL, (0, 0), id="a user's call does not"),
    ],
)
def test_only_rate_ticks_with_a_free_slot_are_judged(kind: str, flags: int, row: tuple[int, int]) -> None:
    """Late by seconds all of them."""
    book = make_book(kind)
    add(book, *late(1, 2, 3, 4, 5), flags=flags)
    assert book.slow_seconds.longest_row() == row


def test_late_calls_of_a_warm_up_count() -> None:
    """It is a part of the load that was specified."""
    book = make_book(warmup_s=8)
    add(book, *late(1, 2, 3, 4, 5))
    assert book.slow_seconds.longest_row() == (1, 5)


def test_a_dropped_tick_is_no_call() -> None:
    """Neither in the ledger nor in a window, a group or a histogram."""
    book = make_book()
    add(book, *late(1, 2), flags=Flag.DROPPED)
    data = book.to_data()
    assert sum(data["ledger"].values()) == data["late"] == data["start_delay"]["count"] == 0
    assert not data["groups"] and windows(book) == {}


def test_calls_that_a_killed_worker_left_are_not_judged() -> None:
    """Whether a slot was free when they were due is not known of them."""
    book = make_book()
    entries = [InFlight(number, START + number * SECOND, START + 8 * SECOND, 0, 0, 0, 0) for number in range(1, 6)]
    book.end_unfinished(0, entries, 5, "killed", START + 10 * SECOND, np.zeros(1, np.int32))
    assert book.to_data()["ledger"]["timeout"] == 5
    assert book.slow_seconds.longest_row() == (0, 0)


@pytest.mark.parametrize("as_", ["killed", "interrupted"])
def test_calls_that_a_dead_worker_left_without_an_entry_are_counted_by_its_header(as_: str) -> None:
    """In the ledger and in the first open window; nothing is known of their times."""
    book = make_book()
    book.end_unfinished(0, [], 3, as_, START + SECOND, np.zeros(1, np.int32))
    data = book.to_data()
    assert data["ledger"][as_] == 3 == sum(data["ledger"].values()) and data["call"]["service"]["count"] == 0
    assert windows(book) == {0: 3}


# -- windows


def test_a_call_belongs_to_the_window_of_its_end() -> None:
    """Whenever it was due; the last window closes with the run."""
    book = make_book()
    add(book, (0.1, 0.1, 0.2), (0.2, 0.2, 2.5), (0.3, 0.3, 2.999), (2.9, 2.9, 3.0))
    assert windows(book) == {0: 1, 1: 0, 2: 2, 3: 1}


def test_windows_close_in_order_two_seconds_after_their_end() -> None:
    """A call that comes later is counted in the next one that is open; none is lost."""
    book = make_book()
    add(book, (0.1, 0.1, 0.2), (1.1, 1.1, 1.2))
    assert book.windows.close(START + 3 * SECOND - 1) == []
    assert [window.at_s for window in book.windows.close(START + 4 * SECOND)] == [0, 1]
    add(book, (0.5, 0.5, 0.6))
    assert windows(book) == {2: 1}


def test_a_batch_wider_than_the_open_windows_loses_no_call() -> None:
    """An aggregator that stood still for a minute finds it all at once; what is older than its open windows goes to the first."""
    book = make_book()
    add(book, *[(second, second, second + 0.5) for second in range(60)])
    found = windows(book)
    assert list(found) == list(range(60))
    assert sum(found.values()) == 60 and [found[second] for second in range(45, 60)] == [1] * 15


def test_a_window_has_its_outcomes_and_times() -> None:
    """Killed and interrupted calls have no part in the times; start delays are of calls with a free slot."""
    book = make_book()
    add(book, (0.0, 0.02, 0.12))
    add(book, (0.1, 0.1, 0.5), outcome=Outcome.FAILED)
    add(book, (0.2, 0.2, 0.9), outcome=Outcome.INTERRUPTED)
    add(book, (0.1, 0.9, 0.95), flags=CALL | Flag.WAITED)
    book.windows.add_unfinished(Outcome.KILLED, 3)
    window = book.windows.close(None)[0].line()
    counts = {name: window[name] for name in ("calls", "ok", "failed", "timeout", "killed", "interrupted")}
    assert counts == {"calls": 7, "ok": 2, "failed": 1, "timeout": 0, "killed": 3, "interrupted": 1}
    assert window["service_s"]["max"] == pytest.approx(0.4) and window["response_s"]["max"] == pytest.approx(0.85)
    assert window["start_delay_p99_s"] == pytest.approx(0.02)


def test_each_window_has_its_own_counts_and_times_however_long_the_load_is() -> None:
    """Windows share 16 places: what an earlier one held is gone when its place is used again."""
    book, found = make_book(seconds=60), list[Any]()
    for second in range(50):
        lasts = 0.4 - second / 200  # the first ones are the slowest
        add(book, (second + lasts / 2, second + lasts, second + 2 * lasts))
        found += book.windows.close(START + second * SECOND)
    found = [window.line() for window in found + book.windows.close(None)]
    assert [window["at_s"] for window in found] == list(range(50)) and {window["calls"] for window in found} == {1}
    for second, window in enumerate(found):
        lasts = 0.4 - second / 200
        assert window["service_s"]["max"] == pytest.approx(lasts)
        assert window["response_s"]["max"] == pytest.approx(1.5 * lasts)
        assert window["start_delay_p99_s"] == pytest.approx(lasts / 2, rel=0.01)


# -- warm-up


def test_setups_before_t_0_are_in_their_group() -> None:
    """They belong to no segment, so to no warm-up either."""
    segments = segment_plans([(2, True), (8, False)])
    book = GeneratorBook(generator_plan(segments=segments), 1, Strings())
    add(book, (-3, -3, -2), (-3, -3, -1), flags=Flag.IN_GROUP)
    assert book.to_data()["groups"]["g"]["ok"] == 2 and not any(book.to_data()["ledger"].values())


def test_warm_up_is_in_the_ledger_and_the_segments_but_not_in_groups_and_percentiles() -> None:
    """By when a call was due, not by when it ended."""
    book = make_book(warmup_s=2)
    add(book, (0.5, 0.5, 1.5), (1.9, 1.9, 2.9))
    add(book, (2.0, 2.0, 2.1), (2.5, 2.5, 2.6), (3.5, 3.5, 3.6), outcome=Outcome.FAILED)
    data: dict[str, Any] = book.to_data()
    assert (data["ledger"]["ok"], data["ledger"]["failed"]) == (2, 3)
    assert [(segment["ok"], segment["failed"]) for segment in data["segments"]] == [(2, 0), (0, 3)]
    assert (data["groups"]["g"]["ok"], data["groups"]["g"]["failed"]) == (0, 3)
    for series in ("service", "response"):
        assert data["call"][series]["count"] == data["groups"]["g"][series]["count"] == 3
        assert data["call"][series]["max_ns"] == 100 * MS
        assert data["segments"][0][series]["max_ns"] == SECOND


def test_interrupted_calls_are_counted_and_have_no_time() -> None:
    """In the ledger, their group and their segment; how long they lasted says nothing of the target."""
    book = make_book()
    add(book, (0.5, 0.5, 1.5), outcome=Outcome.INTERRUPTED)
    data = book.to_data()
    for counts in (data["ledger"], data["groups"]["g"], data["segments"][0]):
        assert counts["interrupted"] == 1
    for times in (data["call"], data["groups"]["g"], data["segments"][0]):
        assert times["service"]["count"] == times["response"]["count"] == 0
