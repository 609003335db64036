"""What a worker records of a call: its outcome, the groups it is in, and when its requests were due."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from support.bookkeeping import Worker

from wasp_ray.errors import CallFailed, StopUser
from wasp_ray.load.actors import Response
from wasp_ray.wire.arena import Header
from wasp_ray.wire.control import Ask
from wasp_ray.worker.booking import Booker

END, DUE = 10**15, 10
Ends = Callable[[Booker, Any], bool]


@pytest.fixture
def worker() -> Iterator[Worker]:
    """One whose call has begun."""
    with Worker() as made:
        made.begin(due=DUE)
        yield made


def returns(result: object) -> Ends:
    """A call that returns that."""
    return lambda booker, call: booker.returned(call, result, END, "u")


def raises(exc: Exception) -> Ends:
    """A call that raises that."""
    return lambda booker, call: booker.raised(call, exc, END, "u")


def ok(booker: Booker) -> None:
    """A request that succeeds."""
    booker.record("ok", 0.0, 200, "", 0, 0)


def bad(booker: Booker) -> None:
    """One that fails."""
    booker.record("bad", 0.0, 500, "HTTP 500", 0, 0)


OK, BAD = ("ok", "ok", "G"), ("bad", "failed", "G")


@pytest.mark.parametrize(
    ("requests", "ends", "is_ok", "records"),
    [
        # without a request the call is in its own group
        ([], returns(None), True, [("u", "ok", "GE")]),
        ([], raises(ValueError("no")), False, [("u", "failed", "GE")]),
        ([], raises(CallFailed("no")), False, [("u", "failed", "GE")]),
        ([], raises(StopUser()), True, [("u", "ok", "GE")]),
        ([], returns(7), False, [("u", "failed", "GE")]),
        # with one it is not
        ([ok], returns(None), True, [OK, ("u", "ok", "E")]),
        ([ok], raises(ValueError("no")), False, [OK, ("u", "failed", "E")]),
        ([ok], returns(7), False, [OK, ("u", "failed", "E")]),
        # a failed request makes it failed, whatever it returns
        ([bad], returns(None), False, [BAD, ("u", "failed", "E")]),
        ([ok, bad, ok], returns(None), False, [OK, BAD, OK, ("u", "failed", "E")]),
        ([bad], raises(StopUser()), False, [BAD, ("u", "failed", "E")]),
        # a Response decides, and is recorded under its group unless a client has done that
        ([], returns(Response()), True, [("u", "ok", "GE")]),
        ([], returns(Response("buy")), True, [("buy", "ok", "GE")]),
        ([], returns(Response("buy", failed=True)), False, [("buy", "failed", "GE")]),
        ([], returns(Response("buy", error="no")), False, [("buy", "failed", "GE")]),
        ([], returns(Response("buy", timeout=True)), False, [("buy", "timeout", "GE")]),
        ([ok], returns(Response("buy")), True, [OK, ("buy", "ok", "GE")]),
        ([bad], returns(Response("buy")), False, [BAD, ("buy", "ok", "G"), ("u", "failed", "E")]),
        ([bad], returns(Response("buy", timeout=True)), False, [BAD, ("buy", "timeout", "GE")]),
    ],
)
def test_the_outcome_of_a_call_and_the_groups_it_is_in(
    requests: list[Callable[[Booker], None]], ends: Ends, is_ok: bool, records: list[Any], worker: Worker
) -> None:
    """G: the record is in a group, E: it ends the call, which exactly one does."""
    for request in requests:
        request(worker.booker)
    assert ends(worker.booker, worker.call) == is_ok
    found = worker.read()
    assert [(r.group, r.outcome, "G" * r.in_group + "E" * r.ends_call) for r in found] == records
    assert {(r.user, r.call) for r in found} == {(7, 1)}


async def fetch() -> None:
    """Is never awaited here."""


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (
            lambda: 7,
            "call() returned int: expected a wasp_ray.Response or None; return nothing, requests record themselves",
        ),
        (lambda: SimpleNamespace(), "call() returned types.SimpleNamespace: expected"),
        (fetch, "fetch() was never awaited: write `await` before it"),
    ],
)
def test_what_a_call_must_not_return_is_its_error(make: Callable[[], Any], error: str, worker: Worker) -> None:
    """With its type, or what to write."""
    result = make()
    worker.booker.returned(worker.call, result, END, "u")
    (call,) = worker.read()
    assert call.error.startswith(error)
    if make is fetch:
        result.close()


def test_a_response_that_a_client_has_recorded_is_not_recorded_again(worker: Worker) -> None:
    """Its outcome is that of the call."""
    ok(worker.booker)
    response = Response("ok", failed=True)
    response.recorded = True
    assert not worker.booker.returned(worker.call, response, END, "u")
    assert [(r.group, r.outcome, r.in_group) for r in worker.read()] == [("ok", "ok", True), ("u", "failed", False)]


def test_the_first_request_of_a_call_is_due_with_it_and_later_ones_when_they_start(worker: Worker) -> None:
    """In groups, in groups inside of them, and in what user code timed itself."""
    with worker.booker.group("first"), worker.booker.group("inner"):
        pass
    ok(worker.booker)
    worker.booker.returned(worker.call, None, END, "u")
    worker.call.reset()
    worker.begin(due=DUE + 1)
    worker.booker.record("timed", 0.5, "", "", 0, 0)
    worker.booker.returned(worker.call, None, END, "u")
    inner, first, timed, call, timed_first, _ = worker.read()
    assert (first.group, first.due, inner.group) == ("first", DUE, "inner")
    assert inner.due == inner.start and timed.due == timed.start == timed.end
    assert (call.due, call.end) == (DUE, END)
    assert timed_first.due == DUE + 1 and timed_first.end - timed_first.start == 500_000_000


def test_a_timed_request_cannot_be_due_after_it_started(worker: Worker) -> None:
    """Nor last less than nothing."""
    worker.call.due = 10**16
    worker.booker.record("timed", -1.0, "", "", 0, 0)
    (timed,) = worker.read()
    assert timed.due == timed.start == timed.end


def test_an_exception_is_recorded_once_where_it_was_raised(worker: Worker) -> None:
    """In the group that it left first; the groups around it and the call fail without another text."""
    exc = ValueError("no")
    with pytest.raises(ValueError, match="no"), worker.booker.group("outer"), worker.booker.group("inner"):
        raise exc
    worker.booker.raised(worker.call, exc, END, "u")
    inner, outer, call = worker.read()
    assert [r.outcome for r in (inner, outer, call)] == ["failed"] * 3
    assert (inner.error, outer.error, call.error) == ("ValueError: no", "ValueError: no", "")
    assert worker.told == ["inner"]


def test_a_user_that_stops_in_a_group_fails_neither(worker: Worker) -> None:
    """It was asked to."""
    exc = StopUser()
    with pytest.raises(StopUser), worker.booker.group("step"):
        raise exc
    assert worker.booker.raised(worker.call, exc, END, "u")
    assert [r.outcome for r in worker.read()] == ["ok", "ok"]


def test_sizes_and_status_are_recorded_as_they_are_and_nonsense_as_nothing(worker: Worker) -> None:
    """A size is a whole number from 0; a status is any value, as a text."""
    for size in (5, 0, -5, 2**70, "7", None, 1.5):
        worker.booker.record("r", 0.0, size, "", size, size)  # type: ignore[arg-type]
    records = worker.read()
    assert [r.bytes_in for r in records] == [r.bytes_out for r in records] == [5, 0, 0, 2**63, 0, 0, 0]
    assert [r.status for r in records] == ["5", "0", "-5", str(2**70), "7", "None", "1.5"]


def test_records_without_room_are_counted_as_lost_calls_or_requests() -> None:
    """A call once, whichever path it takes to the ring."""
    with Worker(slots=8) as worker:
        worker.begin()
        while worker.booker.writer.publish(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0):
            pass
        ok(worker.booker)
        worker.booker.returned(worker.call, None, END, "u")
        assert (worker.header(Header.LOST), worker.header(Header.LOST_REQUESTS)) == (1, 1)
        worker.booker.raised(worker.call, ValueError(), END, "u")
        with worker.booker.group("g"):
            pass
        assert (worker.header(Header.LOST), worker.header(Header.LOST_REQUESTS)) == (2, 2)


@pytest.mark.parametrize(("ratio", "kept"), [(0.0, (0, 200)), (1.0, (200, 200)), (0.5, (70, 130))])
def test_samples_hold_every_failure_and_a_share_of_the_successes(ratio: float, kept: tuple[int, int]) -> None:
    """Calls and requests alike."""
    with Worker(slots=2048, sample=ratio, wants_raw=True) as worker:
        for _ in range(200):
            worker.begin()
            ok(worker.booker)
            bad(worker.booker)
            worker.booker.returned(worker.call, None, END, "u")
            worker.call.reset()
        for _ in range(200):
            worker.begin()
            worker.booker.returned(worker.call, None, END, "u")
        records = worker.read()
        failures = [r for r in records if r.outcome == "failed"]
        assert len(failures) == 400 and all(r.is_sampled for r in failures)
        for group in ("ok", "u"):
            found = sum(r.is_sampled for r in records if r.group == group and r.outcome == "ok")
            assert kept[0] <= found <= kept[1], group


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        ({"a": [1, 2]}, b'{"a":[1,2]}'),
        (SimpleNamespace(), b'"namespace()"'),  # what JSON does not know is a text
        ({(1, 2): 3}, b'"(not JSON)"'),
        ("x" * 4094, b'"' + b"x" * 4094 + b'"'),
        ("x" * 4095, b'"(4097 bytes, the limit is 4096)"'),
    ],
)
def test_the_data_of_a_response_goes_to_its_sample_as_json_of_4_kib_at_most(data: object, kept: bytes) -> None:
    """And nowhere without samples."""
    for wants_raw, expected in ((True, kept), (False, None)):
        with Worker(wants_raw=wants_raw) as worker:
            worker.begin()
            worker.booker.returned(worker.call, Response(data=data), END, "u")
            (record,) = worker.read()
            assert record.data == expected


def test_a_begun_call_is_counted_and_in_its_entry_before_user_code_runs(worker: Worker) -> None:
    """The ledger's `started` is what the header says."""
    assert worker.header(Header.BEGUN) == 1
    (entry,) = worker.arena.entries(0, 0)
    assert (entry.number, entry.due, entry.start, entry.user) == (1, DUE, worker.call.start, 7)
    worker.booker.free_entry(worker.call)
    assert worker.arena.entries(0, 0) == []
    worker.begin()
    assert worker.header(Header.BEGUN) == 2 and worker.call.number == 2


def test_entries_are_given_out_once_each_and_what_finds_none_gets_one_that_nobody_reads() -> None:
    """Freed ones are given out again, empty."""
    with Worker(entries=2) as worker:
        first, second, third = (worker.booker.take_entry() for _ in range(3))
        assert {first, second} == {worker.arena.slabs[0].entry_word(0, number) for number in range(2)}
        assert third == worker.booker.nowhere
        for word in range(7):
            worker.arena.words[second + word] = 5
        for entry in (third, second):
            worker.booker.give_entry(entry)
        assert worker.arena.left(0, 0) == [] and worker.booker.take_entry() == second
        assert worker.booker.take_entry() == worker.booker.nowhere


@pytest.mark.parametrize(("fail_on_error", "asked"), [(True, [Ask.FAIL]), (False, [])])
def test_a_failed_call_ends_the_generator_only_where_that_was_asked_for(fail_on_error: bool, asked: list[int]) -> None:
    """By fail_on_error=True."""
    with Worker(fail_on_error=fail_on_error) as worker:
        worker.booker.failed_call()
        assert worker.asked == asked


def test_counters_add_up_by_name(worker: Worker) -> None:
    """In the order in which they come."""
    worker.booker.count("a", 2)
    worker.booker.count("b", -1)
    worker.booker.count("a", 3)
    assert worker.read() == [] and worker.counters == [("a", 2), ("b", -1), ("a", 3)]


def test_a_verbose_worker_prints_each_request_and_call(capsys: pytest.CaptureFixture[str]) -> None:
    """With what is known of it; the call counts as it does otherwise."""
    with Worker(verbose=True) as worker:
        worker.begin()
        worker.booker.record("buy", 0.0, 500, "HTTP 500", 0, 0)
        assert not worker.booker.returned(worker.call, None, worker.call.start + 2_500_000, "u")
        worker.call.reset()
        worker.begin()
        assert worker.booker.returned(worker.call, None, worker.call.start + 1_000_000, "u")
        assert capsys.readouterr().out.splitlines() == [
            "request u/buy 500 failed 0.00 ms: HTTP 500",
            "call u failed 2.50 ms",
            "call u ok 1.00 ms",
        ]
