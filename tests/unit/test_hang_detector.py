"""Which workers have exceeded a limit, by the words of their headers and in-flight tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from support.plans import generator_plan

from wasp_ray.node.hang_detector import ASYNC_LOOK_NS, CANCEL_GRACE_NS, PLACED_START_NS, HangDetector, Look, Overdue
from wasp_ray.node.headers import entries_of, headers_of
from wasp_ray.node.sums import read_sums, sum_of
from wasp_ray.runtime.fleet import Member
from wasp_ray.wire.arena import Arena, Header, State, lay_out

SECOND = 10**9
NOW = 10_000 * SECOND
LIVE = {4: Member(0, 0, NOW - 90 * SECOND), 7: Member(2, 0, NOW - 90 * SECOND)}
PLAN = generator_plan(
    is_async=False, call_timeout_ns=5 * SECOND, setup_timeout_ns=60 * SECOND, teardown_timeout_ns=10 * SECOND
)  # fmt: skip


@pytest.fixture
def arena() -> Iterator[Arena]:
    """Three rings with four in-flight entries each; both live workers have been running for 90 s."""
    arena = Arena.create(lay_out([(3, 8, 4)]), shared=True)
    for member in LIVE.values():
        put(arena, member.ring, State.RUNNING, NOW - 90 * SECOND)
    yield arena
    arena.close()


def put(arena: Arena, ring: int, state: int, since: int) -> None:
    """Stores what a worker would."""
    arena.write(0, ring, Header.STATE, state)
    arena.write(0, ring, Header.STATE_SINCE, since)


def call(arena: Arena, ring: int, entry: int, started_ns: int, number: int = 1) -> None:
    """A call in flight."""
    at = arena.slabs[0].entry_word(ring, entry)
    arena.words[at + 2], arena.words[at] = started_ns, number


def detector(arena: Arena, **changed: Any) -> HangDetector:
    """For sync workers with call_timeout 5 s, unless told otherwise."""
    return HangDetector(0, replace(PLAN, **changed), arena)


def test_calls_within_their_timeout_and_free_entries_are_left_alone(arena: Arena) -> None:
    """Also those of rings without a live worker."""
    call(arena, 0, 3, NOW - 5 * SECOND)
    call(arena, 1, 0, NOW - 50 * SECOND)
    call(arena, 2, 0, NOW - 50 * SECOND, number=0)
    assert detector(arena).look(LIVE, NOW) == Look(overdue=[])


def test_a_call_past_its_timeout_is_overdue_in_any_entry(arena: Arena) -> None:
    """The worker that has it, and no other."""
    call(arena, 2, 3, NOW - 5 * SECOND - 1)
    assert detector(arena).look(LIVE, NOW) == Look(overdue=[Overdue(7, "timeout")])
    assert detector(arena, call_timeout_ns=None).look(LIVE, NOW) == Look(overdue=[])


def test_async_workers_have_a_second_of_grace_and_are_looked_at_less_often(arena: Arena) -> None:
    """A tenth of a second, of the second that a cancelled call has."""
    hangs = detector(arena, is_async=True)
    call(arena, 0, 1, NOW - 5 * SECOND - CANCEL_GRACE_NS)
    assert hangs.look(LIVE, NOW) == Look(overdue=[])
    assert hangs.look(LIVE, NOW + 1) == Look(overdue=[])
    assert hangs.look(LIVE, NOW + ASYNC_LOOK_NS) == Look(overdue=[Overdue(4, "timeout")])


def test_setups_are_counted_and_overdue_after_their_timeout(arena: Arena) -> None:
    """From the spawn when the process has not written anything yet."""
    put(arena, 0, State.SETUP, NOW - 90 * SECOND)
    arena.write(0, 0, Header.SETUP_SINCE, NOW - 60 * SECOND)
    put(arena, 2, State.EMPTY, 0)
    late = Overdue(7, "setup", "setup took longer than setup_timeout, 60 s")
    assert detector(arena).look(LIVE, NOW) == Look(starting=2, in_setup=1, overdue=[late])


def test_active_users_are_those_of_living_workers(arena: Arena) -> None:
    """Of packs as many as their header says."""
    for ring, users in enumerate((3, 50, 4)):
        arena.write(0, ring, Header.ACTIVE_USERS, users)
    assert detector(arena).look(LIVE, NOW).active_users == 7


def test_a_setup_of_a_pack_at_work_has_its_timeout_and_the_time_between_two_setups_has_none(arena: Arena) -> None:
    """A pack sets up users while others call, and waits between the retries of a failed setup."""
    put(arena, 0, State.SETUP, NOW - 90 * SECOND)
    arena.write(0, 2, Header.SETUP_SINCE, NOW - 60 * SECOND - CANCEL_GRACE_NS - 1)
    late = Overdue(7, "setup", "setup took longer than setup_timeout, 60 s")
    assert detector(arena, is_async=True).look(LIVE, NOW) == Look(starting=1, in_setup=1, overdue=[late])
    assert detector(arena, is_async=True).look(LIVE, NOW - 1) == Look(starting=1, in_setup=1, overdue=[])


def test_a_placed_process_has_another_minute_to_start(arena: Arena) -> None:
    """And is reported with both limits."""
    put(arena, 0, State.EMPTY, 0)
    hangs = detector(arena, placement={})
    assert hangs.look(LIVE, NOW).overdue == []
    (late,) = hangs.look(LIVE, NOW + PLACED_START_NS).overdue
    assert (late.worker, late.kill_as) == (4, "setup") and "did not start within 60 s" in late.why


def test_a_teardown_is_overdue_after_its_timeout(arena: Arena) -> None:
    """Whatever calls are still in the table."""
    put(arena, 0, State.TEARDOWN, NOW - 10 * SECOND - 1)
    put(arena, 2, State.TEARDOWN, NOW - 10 * SECOND)
    call(arena, 2, 0, NOW - 50 * SECOND)
    assert detector(arena).look(LIVE, NOW) == Look(overdue=[Overdue(4, "teardown")])


def test_sums_of_many_rings_are_those_of_each(arena: Arena) -> None:
    """Column by column, without the rings that were not asked for."""
    for ring in range(3):
        arena.write(0, ring, Header.BEGUN, 10 + ring)
        arena.write(0, ring, Header.DROPPED_BUSY, 100 * ring)
    total = sum_of(headers_of(arena, 0), [0, 2])
    assert (total.begun, total.dropped_busy, total.lost) == (22, 200, 0)
    assert total.begun == read_sums(arena, 0, 0).begun + read_sums(arena, 0, 2).begun
    assert sum_of(headers_of(arena, 0), []).begun == 0


def test_views_are_those_of_the_arena(arena: Arena) -> None:
    """Of a second Generator as well, whose slab lies behind the first."""
    two = Arena.create(lay_out([(3, 8, 4), (2, 8, 3)]), shared=False)
    two.write(1, 1, Header.BEGUN, 5)
    two.words[two.slabs[1].entry_word(1, 2)] = 9
    assert headers_of(two, 1)[1, Header.BEGUN] == 5 and headers_of(two, 1).sum() == 5
    assert entries_of(two, 1)[1, 2, 0] == 9 and entries_of(two, 1).sum() == 9
