"""How the calls of a worker that died are counted: by what had run out when it died, never in the future."""

from __future__ import annotations

import pytest
from support.plans import generator_plan, segment_plans

from wasp_ray.aggregator.book import GeneratorBook
from wasp_ray.aggregator.drain import Strings

SECOND = 10**9
START = 100 * SECOND
"""t = 0 of the run, monotonic."""


def book(timeout_s: float | None = 2.0) -> GeneratorBook:
    """The book of a gun whose load began at START."""
    timeout_ns = None if timeout_s is None else int(timeout_s * SECOND)
    plan = generator_plan(call_timeout_ns=timeout_ns, segments=segment_plans([(60, False)]))
    made = GeneratorBook(plan, 1, Strings())
    made.begin(START, [START + 60 * SECOND])
    return made


def calls(*began_s: float) -> list[tuple[int, int, int, int]]:
    """In-flight entries of calls that began so many seconds after t = 0."""
    return [
        (number, START + int(at * SECOND), START + int(at * SECOND), 0) for number, at in enumerate(began_s, start=1)
    ]


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
    made = book(timeout_s)
    made.end_unfinished(0, calls(1.0, 4.0, 4.5), 3, as_, START + int(died_s * SECOND))
    ledger = made.to_data()["ledger"]
    assert {column: number for column, number in ledger.items() if number} == ended


def test_a_dead_process_closes_no_window_of_the_future() -> None:
    """With a call_timeout of 60 s, a death at 8 s leaves the windows from 8 s on open, and no call ends after it."""
    made = book(60.0)
    died = START + 8 * SECOND
    made.end_unfinished(0, calls(7.0, 7.5), 2, "killed", died)
    assert made.last_end_ns <= died
    closed = made.windows.close(died)
    assert [window["at_s"] for window in closed] == [0, 1, 2, 3, 4, 5]
    assert sum(window["killed"] for window in closed + made.windows.close(None)) == 2


def test_calls_that_were_recorded_before_the_death_are_not_counted_again() -> None:
    """Three entries but two calls without a record: the oldest one was recorded at its deadline and hangs on."""
    made = book(2.0)
    made.end_unfinished(0, calls(1.0, 4.0, 4.5), 2, "killed", START + 5 * SECOND)
    assert made.to_data()["ledger"]["timeout"] == 0 and made.to_data()["ledger"]["killed"] == 2
