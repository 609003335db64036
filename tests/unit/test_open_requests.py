"""Requests that are open when their call ends: who records them, once, and what shared memory says of them meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.bookkeeping import Worker

from wasp_ray.clock import now_ns
from wasp_ray.load.actors import Response
from wasp_ray.wire.arena import Open
from wasp_ray.worker.booking import RequestsOutside
from wasp_ray.worker.call_state import RowsUsedUp
from wasp_ray.worker.http_recorder import HttpRecorder


@pytest.fixture
def worker() -> Iterator[Worker]:
    """One."""
    with Worker() as made:
        yield made


def records(worker: Worker) -> list[tuple[str, str, bool]]:
    """(group, outcome, whether it ends the call) of the records that are new, in order."""
    return [(record.group, record.outcome, record.ends_call) for record in worker.read()]


def test_the_most_recently_opened_request_is_the_one_in_shared_memory(worker: Worker) -> None:
    """When an inner one ends it is the outer one again; without any it says that there were some."""
    worker.begin()
    with worker.booker.group("outer"):
        first = worker.left()
        assert worker.open_group() == "outer" and first.requests & Open.DUE_WITH_CALL
        with worker.booker.group("inner"):
            assert worker.open_group() == "inner" and not worker.left().requests & Open.DUE_WITH_CALL
        assert worker.open_group() == "outer" and worker.left().open_start == first.open_start
    assert worker.left().requests == Open.HAS_BEGUN
    worker.booker.returned(worker.call, None, now_ns(), "u")
    worker.call.reset()
    worker.begin()
    assert worker.left().requests == 0


def test_open_requests_take_the_outcome_of_their_call(worker: Worker) -> None:
    """All of them, and none is recorded again when its block ends; the call is in no group beside them."""
    worker.begin()
    with worker.booker.group("outer"), worker.booker.group("inner"):
        worker.booker.timed_out(worker.call, 500, "u")
        found = records(worker)
    assert found == [("outer", "timeout", False), ("inner", "timeout", False), ("u", "timeout", True)]
    assert records(worker) == []
    assert worker.left().requests == Open.IS_BOOKED


def test_a_request_that_ends_after_its_call_has_no_part_in_the_next(worker: Worker) -> None:
    """A task that outlives its call: its failure is neither recorded nor that of the call that runs by then."""
    worker.begin()
    late = worker.booker.group("late")
    late.__enter__()
    assert worker.booker.returned(worker.call, None, 500, "u")
    worker.call.reset()
    assert records(worker) == [("late", "ok", False), ("u", "ok", True)]
    worker.begin()
    late.__exit__(ValueError, ValueError("too late"), None)
    assert worker.booker.returned(worker.call, None, 600, "u")
    assert records(worker) == [("u", "ok", True)]


def test_an_open_request_that_has_failed_makes_its_call_failed(worker: Worker) -> None:
    """Its answer is known, though nobody has read it to the end."""
    worker.begin()
    group = worker.booker.group("stream")
    group.__enter__()
    group.fail("HTTP 500")
    assert not worker.booker.returned(worker.call, Response(), 500, "u")
    assert records(worker) == [("stream", "failed", False), ("u", "ok", False), ("u", "failed", True)]


def test_a_request_that_was_never_sent_is_none(worker: Worker) -> None:
    """The next one is still the first of the call, and the call without any is in its own group."""
    worker.begin()
    recorder = HttpRecorder(worker.spec, worker.writer, worker.booker)
    recorder.request_dropped(recorder.request_begins(now_ns(), "GET /", "/"))
    assert worker.left().requests == 0
    second = recorder.request_begins(now_ns(), "GET /", "/")
    assert second[1] == 10
    recorder.request_dropped(second)
    worker.booker.returned(worker.call, None, 99, "u")
    assert records(worker) == [("u", "ok", True)]


def test_a_call_without_a_row_is_interrupted_in_its_group_unless_it_made_requests(worker: Worker) -> None:
    """Requests that ended before keep their outcome."""
    worker.begin()
    worker.booker.raised(worker.call, RowsUsedUp("used up"), 99, "u")
    worker.booker.free_entry(worker.call)
    worker.call.reset()
    worker.begin()
    worker.booker.record("made", 0.0, "", "", 0, 0)
    worker.booker.raised(worker.call, RowsUsedUp("used up"), 99, "u")
    assert [(record.outcome, record.in_group) for record in worker.read()] == [
        ("interrupted", True),
        ("ok", True),
        ("interrupted", False),
    ]


def test_a_setup_is_in_shared_memory_as_long_as_it_runs(worker: Worker) -> None:
    """With the request that is open in it, which belongs to no call; what outlives it ends by itself."""
    with RequestsOutside(worker.booker, 7, is_setup=True):
        stream = worker.booker.group("stream")
        stream.__enter__()
        entry = worker.left()
        assert entry.number == 0 and entry.setup > 0 and worker.open_group() == "stream"
    assert worker.arena.left(0, 0) == []
    stream.__exit__(None, None, None)
    assert worker.arena.left(0, 0) == []
    assert records(worker) == [("setup", "ok", False), ("stream", "ok", False)]
