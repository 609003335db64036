"""How the calls of a worker that died are counted: by what had run out when it died, never in the future."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.plans import generator_plan, segment_plans

from wasp_ray.aggregator.book import GeneratorBook
from wasp_ray.aggregator.drain import Strings
from wasp_ray.stats.outcomes import OUTCOMES
from wasp_ray.wire.arena import InFlight, Open

SECOND = 10**9
START = 100 * SECOND
"""t = 0 of the run, monotonic."""


def book(timeout_s: float | None = 2.0) -> GeneratorBook:
    """The book of a gun whose load began at START."""
    timeout_ns = None if timeout_s is None else int(timeout_s * SECOND)
    plan = generator_plan(
        call_timeout_ns=timeout_ns, setup_timeout_ns=3 * SECOND, segments=segment_plans([(60, False)])
    )
    made = GeneratorBook(plan, 1, Strings())
    made.begin(START, [START + 60 * SECOND])
    return made


def entry(
    number: int, began_s: float, bits: int = 0, open_s: float | None = None, setup_s: float | None = None
) -> InFlight:
    """An in-flight entry of user 3; times in seconds after t = 0, open_s by default that of the call."""
    due = START + int(began_s * SECOND)
    setup = 0 if setup_s is None else START + int(setup_s * SECOND)
    opened = due if open_s is None else START + int(open_s * SECOND)
    return InFlight(number, due, due, 3, bits, opened, setup)


def calls(*began_s: float) -> list[InFlight]:
    """In-flight entries of calls that began so many seconds after t = 0."""
    return [entry(number, at) for number, at in enumerate(began_s, start=1)]


def end(made: GeneratorBook, left: list[InFlight], unfinished: int, as_: str, died_s: float) -> dict[str, Any]:
    """The data of a book when its only worker has died and has left these entries; id 1 of its ring is "pay", id 2 "/pay"."""
    names = np.array([made._strings.number(text) for text in ("", "pay", "/pay")], np.int32)
    made.end_unfinished(0, left, unfinished, as_, START + int(died_s * SECOND), names)
    return made.to_data()


def counted(data: dict[str, Any]) -> dict[str, dict[str, int]]:
    """The outcomes of each group that are not 0."""
    return {
        name: {outcome: group[outcome] for outcome in OUTCOMES if group[outcome]}
        for name, group in data["groups"].items()
    }


@pytest.mark.parametrize(
    ("timeout_s", "as_", "died_s", "ended"),
    [
        (2.0, "killed", 5.0, {"timeout": 1, "killed": 2}),
        (2.0, "interrupted", 5.0, {"timeout": 1, "interrupted": 2}),
        (60.0, "killed", 5.0, {"killed": 3}),
        (None, "interrupted", 5.0, {"interrupted": 3}),
        (2.0, "killed", 60.0, {"timeout": 3}),
    ],
)
def test_a_call_that_died_with_its_process_is_a_timeout_only_past_its_deadline(
    timeout_s: float | None, as_: str, died_s: float, ended: dict[str, int]
) -> None:
    """Calls that began at 1, 4 and 4.5 s: the others of the process are killed, or interrupted after graceful_stop."""
    data = end(book(timeout_s), calls(1.0, 4.0, 4.5), 3, as_, died_s)
    assert {outcome: data["ledger"][outcome] for outcome in OUTCOMES if data["ledger"][outcome]} == ended
    assert counted(data) == {"g": ended}


def test_a_dead_process_closes_no_window_of_the_future() -> None:
    """With a call_timeout of 60 s, a death at 8 s leaves the windows from 8 s on open, and no call ends after it."""
    made = book(60.0)
    died = START + 8 * SECOND
    end(made, calls(7.0, 7.5), 2, "killed", 8.0)
    assert made.last_end_ns <= died
    closed = made.windows.close(died)
    assert [window.at_s for window in closed] == [0, 1, 2, 3, 4, 5]
    assert sum(window.calls().killed for window in closed + made.windows.close(None)) == 2


def test_calls_that_were_recorded_before_the_death_are_not_counted_again() -> None:
    """Three entries but two calls without a record: the oldest one was recorded at its deadline and hangs on."""
    made = book(2.0)
    data = end(made, calls(1.0, 4.0, 4.5), 2, "killed", 5.0)
    assert data["ledger"]["timeout"] == 0 and data["ledger"]["killed"] == 2


# -- requests

PAY = 2 << Open.ROUTE_SHIFT | 1 | Open.HAS_BEGUN | Open.IS_OPEN


def test_the_open_request_takes_the_outcome_of_its_call() -> None:
    """A timed-out one lasts until the deadline of the call, a killed one has no time; the call itself is in no group then."""
    data = end(book(2.0), [entry(1, 1.0, PAY, 1.5), entry(2, 4.0, PAY, 4.5)], 2, "killed", 5.0)
    assert counted(data) == {"pay": {"timeout": 1, "killed": 1}}
    pay = data["groups"]["pay"]
    assert (pay["service"]["count"], pay["service"]["max_ns"]) == (1, int(1.5 * SECOND))


def test_the_first_request_of_a_call_is_due_with_it() -> None:
    """Its response time holds what the call had to wait."""
    late = entry(1, 1.0, PAY | Open.DUE_WITH_CALL, 1.5)
    data = end(book(2.0), [late._replace(due=START)], 1, "killed", 5.0)
    assert data["groups"]["pay"]["response"]["max_ns"] == 3 * SECOND


def test_a_call_whose_requests_have_ended_is_in_no_group() -> None:
    """They are recorded already, and it is not without requests."""
    data = end(book(2.0), [entry(1, 4.0, Open.HAS_BEGUN)], 1, "killed", 5.0)
    assert data["ledger"]["killed"] == 1 and counted(data) == {}


def test_what_an_earlier_call_left_in_the_entry_is_not_of_this_one() -> None:
    """Its request began before this call did, so this call has none."""
    data = end(book(2.0), [entry(2, 4.0, PAY, 3.9)], 1, "killed", 5.0)
    assert counted(data) == {"g": {"killed": 1}}


def test_a_call_that_was_recorded_at_its_deadline_is_not_counted_when_its_process_dies() -> None:
    """Its task swallowed the cancellation; whatever is younger, it is this entry that is left out."""
    left = [entry(1, 4.5, Open.IS_BOOKED), entry(2, 4.0)]
    data = end(book(2.0), left, 1, "killed", 5.0)
    assert data["ledger"]["killed"] == 1 and counted(data) == {"g": {"killed": 1}}


@pytest.mark.parametrize(("died_s", "outcome"), [(2.0, "killed"), (5.0, "timeout")])
def test_a_setup_that_died_is_counted_with_its_open_request(died_s: float, outcome: str) -> None:
    """As a timeout once setup_timeout, 3 s, has passed; neither is a call."""
    data = end(book(), [entry(0, 0.0, PAY, 1.5, setup_s=1.0)], 0, "killed", died_s)
    assert counted(data) == {"setup": {outcome: 1}, "pay": {outcome: 1}}
    assert not any(data["ledger"].values())


def test_the_open_request_of_a_teardown_is_counted() -> None:
    """The teardown itself is no request."""
    assert counted(end(book(), [entry(0, 0.0, PAY, 1.5)], 0, "interrupted", 2.0)) == {"pay": {"interrupted": 1}}
