"""What the calls of an async gun may rely on, though one task makes many of them: each finds nothing of another."""

from __future__ import annotations

from typing import Any

import pytest
from support import gun_loads, loads
from support.books import check_books

from wasp_ray import Generator, Gun, Profile, plain


@pytest.fixture(params=["process", "inline"])
def runtime(request: pytest.FixtureRequest) -> str:
    """Both runtimes."""
    return str(request.param)


def ledger_of(runtime: str, gun: type[Gun], rate: int, limit: int = 100, duration: str = "500ms") -> Any:
    """Of a short run."""
    result = Profile(Generator("g", gun=gun, schedule=plain(rate, duration), max_in_flight=limit)).run(runtime=runtime)
    check_books(result)
    assert result.verdict == "passed", result.reasons
    return result.generators["g"].ledger


@pytest.mark.parametrize("limit", [1, 100])
def test_each_call_has_context_variables_of_its_own(runtime: str, limit: int) -> None:
    """What one sets, no other sees."""
    assert ledger_of(runtime, gun_loads.Marking, 1000, limit).ok == 500


def test_a_call_has_a_task_for_timeouts_and_task_groups(runtime: str) -> None:
    """asyncio finds the task of the call, and it is as new each time."""
    assert ledger_of(runtime, gun_loads.Grouping, 200).ok == 100


@pytest.mark.parametrize("limit", [1, 100])
def test_a_call_that_cancels_its_own_task_is_failed_and_no_other(runtime: str, limit: int) -> None:
    """A cancellation that comes when the call is over hits nobody."""
    ledger = ledger_of(runtime, gun_loads.CancelledByItself, 400, limit)
    assert (ledger.ok, ledger.failed) == (150, 50)


def test_cancelling_the_task_of_a_call_that_is_over_costs_no_other_call(runtime: str) -> None:
    """Every tick is fired, also one that such a task was just given: 1,000 calls, one right behind the other."""
    assert ledger_of(runtime, gun_loads.CancellingOthers, 8000, duration="125ms").ok == 1000


def test_what_a_call_leaves_behind_fails_no_later_call(runtime: str) -> None:
    """A request of a task that outlives its call is counted in its group alone."""
    generator = Generator("g", gun=gun_loads.LeavingWork, schedule=plain(400, "500ms"))
    result = Profile(generator).run(runtime=runtime)
    check_books(result)
    found = result.generators["g"]
    assert found.ledger.ok == 200
    assert found.groups["late"].failed == found.groups["late"].count > 150


def test_ticks_that_a_blocked_loop_left_are_dropped_as_our_fault(runtime: str) -> None:
    """Slots were free, so the target did not hold them up: `generator`, not `in_flight_limit`."""
    generator = Generator(
        "g", gun=gun_loads.BlocksOnce, schedule=plain(400, "1s"), max_in_flight=100, on_late="drop", min_delivered=0
    )
    result = Profile(generator).run(runtime=runtime)
    check_books(result)
    dropped_by = result.summary["generators"]["g"]["dropped_by"]
    assert dropped_by.keys() == {"generator"} and dropped_by["generator"] > 30
    assert result.generators["g"].ledger.ok == 400 - dropped_by["generator"]


def test_calls_have_the_whole_grace_to_end(runtime: str) -> None:
    """A call of 3 s ends 0.65 s before graceful_stop does: a second less, and it would be cut."""
    generator = Generator("g", gun=loads.Sleepy, schedule=plain(5, "200ms"), params={"s": 3.0}, graceful_stop="3.45s")
    result = Profile(generator).run(runtime=runtime)
    check_books(result)
    assert (result.ledger.ok, result.ledger.interrupted) == (1, 0)
