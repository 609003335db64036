"""Rates and ends of Generators that end before their schedule does: calls become due until then, and no longer."""

from __future__ import annotations

from typing import Any

import pytest
from support import loads
from support.books import check_books, wait_for_start, wait_until

from wasp_ray import Generator, Profile, RunResult, plain, rows


def figures(result: RunResult) -> dict[str, Any]:
    """Of the Generator g; the books close."""
    check_books(result)
    found: dict[str, Any] = result.summary["generators"]["g"]
    return found


def test_a_stop_ends_the_time_of_the_rates_and_the_drain_is_none_of_it() -> None:
    """30/s that are stopped while calls of 3 s are in flight were asked for at 30/s, however long those last."""
    going = Profile(
        Generator("g", gun=loads.Sleepy, schedule=plain(30, "60s"), params={"s": 3}, max_in_flight=500)
    ).start()
    wait_for_start(going)
    wait_until(lambda: (going.elapsed_s or 0) > 1.05)
    going.stop()
    found = figures(going.wait(60))
    assert found["planned_rate"] == pytest.approx(30, rel=0.05)
    assert found["delivered_rate"] == pytest.approx(30, rel=0.05)
    assert found["ended_by"] == "run_stopped" and 0.9 < found["scheduled_s"] < 60


def test_max_calls_end_the_time_of_the_rates() -> None:
    """Ten calls at 20/s take half a second of a schedule of 2 s, and the rate is 20/s."""
    found = figures(Profile(Generator("g", gun=loads.Quick, schedule=plain(20, "2s"), max_calls=10)).run())
    assert (found["planned_rate"], found["scheduled_s"], found["ended_by"]) == (20.0, 0.5, "max_calls")
    assert found["delivered_rate"] == 20.0


def test_used_up_rows_end_the_time_of_the_rates() -> None:
    """The rate until then is the schedule's, and the summary says what ended it."""
    people = rows([{"name": str(number)} for number in range(20)])
    found = figures(
        Profile(Generator("g", gun=loads.FeedsGun, schedule=plain(40, "20s"), feeders={"people": people})).run()
    )
    assert found["planned_rate"] == pytest.approx(40, rel=0.05)
    assert found["ended_by"] == "rows_used_up" and found["scheduled_s"] < 20


def test_users_that_use_up_their_calls_or_leave_have_the_time_until_then() -> None:
    """And a Generator that ends with its schedule has all of it, and no reason, also if one of its users left."""
    result = Profile(
        Generator("g", user=loads.Looper, schedule=plain(1, "30s"), max_calls=3),
        Generator("left", user=loads.StopsItself, schedule=plain(2, "30s")),
        Generator("whole", user=loads.FirstLeaves, schedule=plain(2, "500ms")),
    ).run()
    found, left, whole = figures(result), *(result.summary["generators"][name] for name in ("left", "whole"))
    assert found["ended_by"] == "max_calls" and 0 < found["scheduled_s"] < 30
    assert left["ended_by"] == "users_left" and 0 < left["scheduled_s"] < 30
    assert (whole["ended_by"], whole["scheduled_s"]) == (None, 0.5)
