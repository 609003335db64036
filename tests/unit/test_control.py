"""The control block: the schedule's clock through a start, pauses and resumes in any order, and what workers ask for."""

from __future__ import annotations

from itertools import permutations

import pytest

from wasp_ray.wire.arena import Arena, lay_out
from wasp_ray.wire.control import NEVER, Ask, Control

START = 1_000


@pytest.fixture
def control() -> Control:
    """Of one Generator, before t = 0 is known."""
    made = Control(Arena.create(lay_out([(1, 64, 1)]), shared=False))
    made.initialise(1)
    return made


def test_a_clock_that_starts_paused_holds_the_first_tick(control: Control) -> None:
    """It stays before 0 until it is resumed; the schedule is later by the time that it was held after t = 0."""
    control.start(START, paused=True)
    assert control.paused and control.absolute_ns(0) == control.absolute_ns(50) == NEVER
    assert control.schedule_ns(START + 500) == -1
    control.resume(300)
    assert (control.absolute_ns(0), control.absolute_ns(50)) == (START + 300, START + 350)
    assert control.schedule_ns(START + 500) == 200


@pytest.mark.parametrize("at", [0, START - 1])
def test_a_pause_between_the_start_order_and_t_0_holds_the_first_tick(control: Control, at: int) -> None:
    """As nodes of one run have it, which are told of a common start ahead of it."""
    control.start(START)
    control.pause(at)
    assert control.absolute_ns(0) == NEVER and control.schedule_ns(START + 500) == -1
    control.resume(0)
    assert control.absolute_ns(0) == START


def test_a_pause_holds_what_is_due_after_it(control: Control) -> None:
    """What is due by its instant still fires; until then the clock runs, and afterwards it stands."""
    control.start(START)
    control.pause(START + 100)
    assert (control.absolute_ns(100), control.absolute_ns(101)) == (START + 100, NEVER)
    assert [control.schedule_ns(START + t) for t in (60, 100, 5_000)] == [60, 100, 100]
    control.resume(40)
    assert (control.absolute_ns(100), control.absolute_ns(101)) == (START + 100, START + 141)
    control.pause(START + 200)
    assert (control.absolute_ns(160), control.absolute_ns(161)) == (START + 200, NEVER)


@pytest.mark.parametrize("order", list(permutations((Ask.ROWS, Ask.STOP, Ask.FAIL))))
def test_the_strongest_reason_to_stop_is_kept(control: Control, order: tuple[int, ...]) -> None:
    """Workers write theirs at any time and read none before: context.stop() must not take back fail_on_error."""
    assert control.asked(0) == 0
    for end, why in enumerate(order, 1):
        control.set(0, why, 1)
        assert control.asked(0) == max(order[:end])
