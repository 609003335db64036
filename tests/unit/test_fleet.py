"""Which workers are started, replaced and given up: events in, instructions out."""

from __future__ import annotations

from typing import Any

from wasp_ray.runtime.fleet import Close, Fleet, GiveUp, Spawn, Warn, WorkerExit, describe_status
from wasp_ray.wire.arena import State

SECOND = 10**9


def running(workers: int = 1) -> Fleet:
    """A fleet whose workers were started."""
    fleet = Fleet(workers, setup_concurrency=10)
    fleet.wanted = workers
    fleet.step(0, 0)
    return fleet


def die(
    fleet: Fleet, worker: int, state: int = State.RUNNING, *, completed: bool = False, status: int = 9, at: int = 0
) -> list[object]:
    """A worker ends and its ring is closed."""
    ring = fleet.live[worker].ring
    out: list[Any] = list(fleet.exited(worker, WorkerExit(state, status, completed, at)))
    fleet.closed(ring)
    return out


def test_wanted_workers_are_started_a_few_at_a_time() -> None:
    """setup_concurrency bounds the setups under way."""
    fleet = Fleet(5, setup_concurrency=3)
    fleet.wanted = 5
    assert [order.worker for order in fleet.step(0, 0) if isinstance(order, Spawn)] == [0, 1, 2]
    assert [order.worker for order in fleet.step(0, 2) if isinstance(order, Spawn)] == [3]


def test_a_dead_worker_is_replaced_once_its_ring_is_closed() -> None:
    """Never two writers on a ring."""
    fleet = running()
    (close,) = fleet.exited(0, WorkerExit(State.RUNNING, 9, True, 5))
    assert close == Close(0, "killed", 5)
    assert fleet.step(6, 0) == []
    fleet.closed(0)
    assert fleet.step(7, 0) == [Spawn(0, 0, 1)]
    assert fleet.replaced == 1


def test_five_deaths_in_a_row_without_a_completed_call_are_a_crash_loop() -> None:
    """A completed call in between starts the count anew."""
    fleet = running()
    for completed in (False, False, True, False, False, False):
        assert not [o for o in die(fleet, 0, completed=completed) if isinstance(o, GiveUp)]
        fleet.step(0, 0)
    (give_up,) = [o for o in die(fleet, 0, status=11) if isinstance(o, GiveUp)]
    assert give_up.verdict == "invalid" and "SIGSEGV" in give_up.reason
    assert fleet.step(0, 0) == []


def test_kills_for_timeouts_do_not_count_as_crashes() -> None:
    """However many."""
    fleet = running()
    for _ in range(20):
        fleet.live[0].kill_as = "timeout"
        (close,) = die(fleet, 0)
        assert isinstance(close, Close) and close.as_ == "killed"  # of the others: the hung call's deadline is known
        assert fleet.step(0, 0)
    assert fleet.hung == fleet.deaths == 20


def test_a_failed_setup_is_retried_after_1_2_and_4_s_and_then_an_error() -> None:
    """With the last traceback."""
    fleet = running()
    fleet.last_error = "no login"
    now = 0
    for wait_s in (1, 2, 4):
        assert not [o for o in die(fleet, 0, State.SETUP_FAILED, at=now) if isinstance(o, GiveUp)]
        assert fleet.step(now + wait_s * SECOND - 1, 0) == []
        now += wait_s * SECOND
        assert len(fleet.step(now, 0)) == 1
    (give_up,) = [o for o in die(fleet, 0, State.SETUP_FAILED, at=now) if isinstance(o, GiveUp)]
    assert give_up.verdict == "error" and "no login" in give_up.reason
    assert fleet.setup_failed == 4


def test_a_failed_setup_beside_workers_that_do_the_same_is_a_warning() -> None:
    """One for all, and none of them is tried again; without others it is the end, said once as well."""
    fleet = running(4)
    fleet.last_error = "no login\nTraceback"
    for _ in range(3):
        for worker in (1, 2):
            assert len(fail(fleet, worker, has_others=True)) == 1
        fleet.step(100 * SECOND, 0)
    _, warning = fail(fleet, 1, has_others=True)
    assert isinstance(warning, Warn) and "4 times" in warning.reason and warning.reason.endswith(": no login")
    assert len(fail(fleet, 2, has_others=True)) == 1
    assert fleet.step(200 * SECOND, 0) == [] and fleet.settled
    for worker in (0, 3):
        fleet._tries[worker] = 3
    assert isinstance(fail(fleet, 0, has_others=False)[1], GiveUp)
    assert len(fail(fleet, 3, has_others=False)) == 1


def test_a_user_of_a_pack_whose_setup_failed_for_good_ends_the_generator_once() -> None:
    """The pack has retried it: its process lives on, and other packs may report the same."""
    fleet = running(2)
    fleet.last_error = "no login"
    (give_up,) = fleet.setup_gave_up()
    assert give_up == GiveUp("error", "setup failed 4 times: no login")
    assert fleet.setup_gave_up() == [] and fleet.step(0, 0) == []


def test_a_setup_that_is_killed_again_and_again_beside_working_users_ends_the_generator() -> None:
    """Calls of its pack that were completed meanwhile say nothing about it."""
    fleet, now = running(), 0
    for _ in range(3):
        fleet.live[0].kill_as = "setup"
        assert not [o for o in die(fleet, 0, State.RUNNING, completed=True, at=now) if isinstance(o, GiveUp)]
        now += 10 * SECOND
        fleet.step(now, 0)
    fleet.live[0].kill_as = "setup"
    assert [o for o in die(fleet, 0, State.RUNNING, completed=True, at=now) if isinstance(o, GiveUp)]


def fail(fleet: Fleet, worker: int, *, has_others: bool) -> list[Any]:
    """Its setup fails and its ring is closed."""
    ring = fleet.live[worker].ring
    out: list[Any] = list(fleet.exited(worker, WorkerExit(State.SETUP_FAILED, 0, False, 0, has_others)))
    fleet.closed(ring)
    return out


def test_failed_setups_count_from_the_last_successful_one() -> None:
    """A worker that is killed every hour and then fails one setup never ends its Generator."""
    fleet, now = running(), 0
    for _ in range(10):
        die(fleet, 0, State.RUNNING, completed=True, at=now)
        fleet.step(now, 0)
        assert not [o for o in die(fleet, 0, State.SETUP_FAILED, at=now) if isinstance(o, GiveUp)]
        now += 3600 * SECOND
        assert len(fleet.step(now, 0)) == 1


def test_a_setup_that_fails_after_a_restart_is_no_death_and_counts_from_the_setup_before_it() -> None:
    """A user that restarts itself and then fails one setup, again and again, has no crash loop and no four failures."""
    fleet, now = running(), 0
    for _ in range(10):
        assert not [o for o in die(fleet, 0, State.SETUP_FAILED, completed=True, at=now) if isinstance(o, GiveUp)]
        now += SECOND
        assert len(fleet.step(now, 0)) == 1
    assert fleet.setup_failed == 10 and fleet.deaths == 0


def test_workers_that_leave_by_themselves_are_not_replaced() -> None:
    """StopUser, used-up rows."""
    fleet = running(2)
    die(fleet, 0, State.STOPPED_ITSELF, status=0)
    assert fleet.step(0, 0) == [] and fleet.settled and not fleet.empty


def test_a_ring_whose_thread_may_live_on_is_never_used_again() -> None:
    """Until there is none left."""
    fleet = Fleet(2, setup_concurrency=5, reuse_rings=False)
    fleet.wanted = 1
    rings = []
    for _ in range(2):
        (spawn,) = fleet.step(0, 0)
        assert isinstance(spawn, Spawn)
        rings.append(spawn.ring)
        fleet.live[0].kill_as = "timeout"
        die(fleet, 0)
    assert rings == [0, 1]
    (give_up,) = fleet.step(0, 0)
    assert isinstance(give_up, GiveUp) and give_up.verdict == "invalid"


def test_how_a_process_ended_in_words() -> None:
    """Signals by name."""
    assert describe_status(9) == "SIGKILL" and describe_status(3 << 8) == "exit code 3"
