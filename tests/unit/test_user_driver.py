"""The limits that users look at, and the instants from which users are held back or have to leave."""

from __future__ import annotations

from wasp_ray import Generator, VirtualUser, plain
from wasp_ray.node.drivers import UserDriver, WorkerSet
from wasp_ray.node.drivers.users import LEAD_NS
from wasp_ray.runtime.fleet import Fleet
from wasp_ray.wire.arena import Arena, Header, lay_out
from wasp_ray.wire.control import NEVER, Ask, Control, Word

SECOND = 10**9
START = 1000 * SECOND


class Waits(VirtualUser):
    """Never called."""

    async def call(self) -> None:
        return None


class Load:
    """A Generator of users in packs of two with four rings, at t = 0."""

    def __init__(self) -> None:
        schedule = plain(4, "10s") + plain(1, "10s") + plain(4, "10s")
        generator = Generator("u", user=Waits, schedule=schedule, users_per_process=2)
        self.arena = Arena.create(lay_out([(4, 64, 2)]), shared=False)
        self.control = Control(self.arena)
        self.control.initialise(1)
        self.fleet = Fleet(4, 10)
        self.workers = WorkerSet(0, generator.to_plan(1), self.arena, self.control, self.fleet, 2, 0, 1)
        self.driver = UserDriver(self.workers)
        self.driver.prepare()
        self.fleet.step(0, 0)
        self.control.start(START)

    def follow(self, t_s: float, *, stopped: bool = False) -> int:
        """At this instant of the schedule; returns the monotonic instant."""
        now = START + int(t_s * SECOND)
        self.workers.wakes.clear()
        self.workers.stop_cut_ns = now - START if stopped else NEVER
        self.driver.follow(now)
        return now

    def end(self, now: int) -> None:
        """The load ends at this instant."""
        self.workers.cut_ns = now
        self.driver.end()

    def words(self, worker: int) -> tuple[int, int]:
        """(held since, released at) of a worker."""
        ring = self.fleet.live[worker].ring
        return self.arena.read(0, ring, Header.HELD_NS), self.arena.read(0, ring, Header.RELEASED_NS)


def test_a_worker_is_told_since_when_all_its_users_are_held_or_one_is_released() -> None:
    """Two packs of two: one user stays at work in the first when the schedule wants one, none in the second."""
    load = Load()
    begun = load.follow(0)
    assert load.words(0) == load.words(1) == (0, begun) and load.workers.wakes == {0, 1}
    fewer = load.follow(10)
    assert load.words(0) == (0, begun) and load.words(1) == (fewer, begun) and load.workers.wakes == {0, 1}
    more = load.follow(20)
    assert load.words(0) == (0, begun) and load.words(1) == (fewer, more)
    stop = load.follow(25, stopped=True)
    assert load.words(0) == (stop, begun) and load.words(1) == (stop, more)


def test_a_worker_that_asked_for_the_end_and_closed_the_limit_itself_is_told_of_the_end() -> None:
    """Its own paces are due until then."""
    load = Load()
    begun = load.follow(0)
    load.control.set(0, Ask.STOP, 1)
    load.control.set(0, Word.RUN_LIMIT, 0)
    load.end(begun + 5)
    assert load.words(0) == (begun + 5, begun)
    assert load.control.get(0, Word.KEEP_LIMIT) == load.fleet.wanted == 0


def test_users_leave_when_the_schedule_does_not_want_them_within_the_lead() -> None:
    """They are kept by number and instant until they are wanted again; the end of the load does not add to them."""
    load = Load()
    load.follow(0)
    assert load.driver.leaving == {}
    left = load.follow(10)
    assert load.driver.leaving == dict.fromkeys([1, 2, 3], left)
    load.follow(20 - LEAD_NS / SECOND)
    assert load.driver.leaving == {}
    load.end(load.follow(30))
    assert load.driver.leaving == {}


def test_the_time_of_users_is_measured_against_the_schedule() -> None:
    """Four users are wanted in seconds 0 to 10: one that is being replaced counts for 5 s, in setup() is the target's time."""
    load = Load()
    load.driver.measure(load.follow(0), 0, 0)
    load.driver.measure(load.follow(1), 4, 0)  # all there for a second
    load.driver.measure(load.follow(2), 3, 0)  # one is lost, and within its 5 s
    load.driver.measure(load.follow(8), 3, 0)  # and is not back after that
    load.driver.measure(load.follow(9), 0, 2)  # the others leave; both packs are in setup()
    time = load.driver.time
    assert load.driver.active_max == 4
    assert (time.scheduled, time.delivered, time.in_setup) == (36 * SECOND, (4 + 4 + 6 * 3 + 3) * SECOND, SECOND)


def test_time_of_pauses_and_after_a_stop_is_not_scheduled() -> None:
    """Nobody can be there then."""
    load = Load()
    load.driver.measure(load.follow(0), 4, 0)
    load.control.pause(load.follow(1))
    load.driver.measure(load.follow(1), 4, 0)
    load.driver.measure(load.follow(5, stopped=True), 4, 0)
    assert load.driver.time.scheduled == 0
