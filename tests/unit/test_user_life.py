"""The state machine of a user: every order of steps, and what becomes of paces, think time and retries."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasp_ray import between, exponential
from wasp_ray.load.waits import Drawn
from wasp_ray.wire.arena import State
from wasp_ray.wire.control import NEVER, START, Control, Word
from wasp_ray.worker.user_life import Call, Leave, Paces, Setup, Step, Teardown, UserLife, Wait

MS = 1_000_000
SECOND = 1000 * MS
RUN, KEEP = Control.at(0, Word.RUN_LIMIT), Control.at(0, Word.KEEP_LIMIT)
BACKOFF = (1 * SECOND, 2 * SECOND, 4 * SECOND)


def constant(ns: int) -> Drawn:
    """A wait of this length."""
    return Drawn("constant", ns, 0)


def words(*, run: int = 1, keep: int = 1, start: int = 0) -> list[int]:
    """Control words in which user 0 may run."""
    out = [0] * 64
    out[RUN], out[KEEP], out[START] = run, keep, start
    return out


def ready(**options: object) -> UserLife:
    """A user that is set up."""
    life = UserLife(0, 0, **options)  # type: ignore[arg-type]
    assert life.next(1, words()) == Setup()
    life.set_up(random.Random(1))
    return life


# -- every sequence of events up to a length

EVENTS: dict[str, Callable[[World], None]] = {
    "fail": lambda world: world.report("fail"),
    "stop": lambda world: world.report("stop"),
    "restart": lambda world: world.report("restart"),
    "run": lambda world: world.limit(1, 1),
    "hold": lambda world: world.limit(0, 1),
    "leave": lambda world: world.limit(0, 0),
    "abandon": lambda world: world.abandon(),
}


@dataclass
class World:
    """Plays the performer: asks for steps, and reports what a script wants to happen next."""

    life: UserLife
    now: int = 1
    limits: list[int] = field(default_factory=words)
    next_report: str = ""
    steps: list[Step] = field(default_factory=list)

    def report(self, what: str) -> None:
        """The next setup or call ends like this."""
        self.next_report = what

    def limit(self, run: int, keep: int) -> None:
        """The generator changes its limits."""
        if self.limits[RUN] != run:
            if run:
                self.life.released_ns = self.now
            else:
                self.life.held_ns = self.now
        self.limits[RUN], self.limits[KEEP] = run, keep

    def abandon(self) -> None:
        """The process has to end."""
        self.life.is_abandoned = True

    def turn(self) -> None:
        """One step, performed."""
        self.now += 7 * MS
        step = self.life.next(self.now, self.limits)
        self.check(step)
        self.steps.append(step)
        what, life = self.next_report, self.life
        match step:
            case Wait(until):
                assert until > self.now, "a wait that is over would spin"
                self.now = self.now if until == NEVER else until
            case Setup():
                self.next_report = ""
                if what == "fail" or what == "restart":
                    life.setup_failed(self.now)
                elif what == "stop":
                    life.setup_stopped()
                else:
                    life.set_up(random.Random(1))
            case Call():
                self.next_report = ""
                self.now += 3 * MS
                (life.restarts if what == "restart" else life.stops if what == "stop" else life.called)(self.now)
            case Teardown():
                life.torn_down(self.now)
            case Leave():
                pass

    def check(self, step: Step) -> None:
        """Setup, calls and teardown in order; no call without leave to begin one; nothing after the end."""
        done = [each for each in self.steps if not isinstance(each, Wait)]
        last = done[-1] if done else Teardown()
        assert not isinstance(last, Leave)
        match step:
            case Setup():
                assert isinstance(last, (Teardown, Setup)), last
                assert self.limits[KEEP] and not self.life.is_abandoned
            case Call():
                assert isinstance(last, (Setup, Call)), last
                assert self.limits[RUN] and self.limits[KEEP] and not self.life.is_abandoned
            case Teardown():
                assert isinstance(last, (Setup, Call)), last
            case Leave():
                assert isinstance(last, (Teardown, Setup)), last
            case Wait():
                assert self.limits[KEEP] and not self.life.is_abandoned


@pytest.mark.parametrize("pacing", [None, constant(5 * MS)], ids=["unpaced", "paced"])
@pytest.mark.parametrize("think", [None, constant(4 * MS)], ids=["no-think", "think"])
@pytest.mark.parametrize("backoff", [(), BACKOFF], ids=["alone", "packed"])
def test_every_order_of_events_keeps_setup_calls_and_teardown_in_order(
    pacing: Drawn | None, think: Drawn | None, backoff: tuple[int, ...]
) -> None:
    """All sequences of four events with up to two steps between them, then the end of the load."""
    for script in itertools.product(EVENTS, repeat=4):
        for turns in (1, 2):
            world = World(UserLife(0, 0, think=think, pacing=pacing, setup_backoff_ns=backoff))
            for event in script:
                EVENTS[event](world)
                for _ in range(turns):
                    if not any(isinstance(step, Leave) for step in world.steps):
                        world.turn()
            world.limit(0, 0)
            for _ in range(6):
                if not any(isinstance(step, Leave) for step in world.steps):
                    world.turn()
            setups = sum(isinstance(step, Setup) for step in world.steps)
            assert isinstance(world.steps[-1], Leave), script
            assert world.life.is_settled and world.life.setups == setups


def test_a_steady_user_may_repeat_its_call_as_long_as_its_run_limit_is_open() -> None:
    """The promise that lets a performer leave the machine alone between calls."""
    life = ready()
    assert life.is_steady
    for now in range(2, 50):
        assert life.next(now, words()) == Call(0)
        life.called(now)
    assert life.next(50, words(run=0)) == Wait(NEVER)
    assert not ready(think=constant(1)).is_steady and not ready(pacing=constant(1)).is_steady


# -- waits


def test_no_call_begins_before_t_0_is_known_and_has_come() -> None:
    """First the word, then the instant."""
    life = ready()
    assert life.next(5, words(start=NEVER)) == Wait(NEVER)
    assert life.next(5, words(start=90)) == Wait(90)
    assert life.next(90, words(start=90)) == Call(0)


def test_think_time_begins_at_the_end_of_a_call_and_ends_with_a_pause() -> None:
    """A pause ends it, and so does leaving."""
    life = ready(think=constant(100))
    assert life.next(10, words()) == Call(0)
    life.called(20)
    assert life.next(30, words()) == Wait(120)
    assert life.next(40, words(run=0)) == Wait(NEVER)
    assert life.next(50, words()) == Call(0)
    life.called(60)
    assert life.next(70, words(run=0, keep=0)) == Teardown()


def test_a_restart_waits_for_a_back_off_that_doubles_up_to_10_s() -> None:
    """From 0.1 s on; a user that is not kept meanwhile leaves as the schedule wants it."""
    life, now, waits = ready(), 10, []
    for _ in range(9):
        assert isinstance(life.next(now, words()), Call)
        life.restarts(now)
        assert life.next(now, words()) == Teardown()
        life.torn_down(now)
        step = life.next(now, words())
        assert isinstance(step, Wait)
        waits.append((step.until - now) / SECOND)
        now = step.until
        assert life.next(now, words()) == Setup()
        life.set_up(random.Random(1))
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    life.restarts(now)
    life.next(now, words())
    life.torn_down(now)
    assert life.next(now, words(keep=0)) == Leave(State.DONE)


def test_a_failed_setup_is_retried_by_whoever_has_retries() -> None:
    """Packed: after 1, 2 and 4 s, then never again; alone: at once the end, and a setup in between starts the count anew."""
    life, now = UserLife(0, 0, setup_backoff_ns=BACKOFF), 1
    for succeeds in (True, False):
        for wait_ns in BACKOFF:
            assert life.next(now, words()) == Setup()
            life.setup_failed(now)
            assert life.next(now, words()) == Wait(now + wait_ns)
            now += wait_ns
        assert life.next(now, words()) == Setup()
        if succeeds:
            life.set_up(random.Random(1))
            life.restarts(now)
            life.next(now, words())
            life.torn_down(now)
            now += SECOND
    life.setup_failed(now)
    assert life.next(now, words()) == Leave(State.SETUP_FAILED) and life.is_settled
    alone = UserLife(0, 0)
    alone.next(1, words())
    alone.setup_failed(2)
    assert alone.next(3, words()) == Leave(State.SETUP_FAILED)


def test_a_user_that_stops_in_setup_or_call_or_without_a_call_left_has_stopped_itself() -> None:
    """With a teardown if it was set up."""
    life = UserLife(0, 0)
    life.next(1, words())
    life.setup_stopped()
    assert life.next(2, words()) == Leave(State.STOPPED_ITSELF)
    for end in (UserLife.exhausted, lambda life: life.stops(4)):
        life = ready()
        assert life.next(3, words()) == Call(0)
        end(life)
        assert life.next(5, words()) == Teardown()
        life.torn_down(6)
        assert life.next(7, words()) == Leave(State.STOPPED_ITSELF)


# -- paces


def test_late_paces_are_fired_one_after_the_other_and_the_rest_is_dropped_at_the_end() -> None:
    """Due at 10, 20, 30 ...: a call from 10 to 45 makes three late; those due until the limit closed are the target's fault."""
    life = ready(pacing=constant(10))
    assert life.next(10, words()) == Call(10)
    life.called(45)
    assert life.next(45, words()) == Call(20)
    life.called(61)
    life.held_ns = 58
    assert life.next(62, words(run=0, keep=0)) == Teardown()
    assert life.take_dropped() == (3, 0) and life.take_dropped() == (0, 0)  # 30, 40, 50


def test_a_user_with_on_late_drop_skips_what_is_more_than_10_ms_late() -> None:
    """The pace that is just late enough is fired."""
    life = ready(pacing=constant(5 * MS), drops_late=True)
    assert life.next(5 * MS, words()) == Call(5 * MS)
    life.called(31 * MS)
    assert life.next(31 * MS, words()) == Call(25 * MS)
    assert life.take_dropped() == (3, 0)  # 10, 15, 20


def test_paces_that_a_free_user_missed_are_ours() -> None:
    """Its process was held up: nothing of the target's."""
    life = ready(pacing=constant(10))
    assert life.next(10, words()) == Call(10)
    life.called(12)
    life.held_ns = 45
    assert life.next(90, words(run=0)) == Wait(NEVER)
    assert life.take_dropped() == (0, 3)  # 20, 30, 40


def test_a_pause_that_came_and_went_during_a_call_drops_its_paces_and_begins_anew() -> None:
    """Those due before it count; those in it never fell due; the next one was due when it was over."""
    life = ready(pacing=constant(10))
    assert life.next(10, words()) == Call(10)
    life.called(95)
    life.held_ns, life.released_ns = 35, 81
    assert life.next(96, words()) == Call(81)
    assert life.take_dropped() == (2, 0)  # 20, 30
    life.called(97)
    assert life.next(97, words()) == Call(91)
    assert life.take_dropped() == (0, 0)


def test_a_new_actor_has_new_paces() -> None:
    """RestartUser drops those that fell due in its last call, and none of the time in which it was away."""
    life = ready(pacing=constant(10))
    assert life.next(10, words()) == Call(10)
    life.restarts(35)
    assert life.next(36, words()) == Teardown()
    assert life.take_dropped() == (2, 0)
    life.torn_down(40)
    now = 40 + SECOND
    assert life.next(now, words()) == Setup()
    life.held_ns, life.released_ns = now + 1, now + 2  # during its setup
    life.set_up(random.Random(1))
    assert life.next(now + 77, words()) == Call(now + 77)
    life.called(now + 78)
    assert life.next(now + 79, words()) == Wait(now + 87)
    assert life.take_dropped() == (0, 0)


def test_max_calls_and_a_thread_that_is_given_up_drop_no_paces() -> None:
    """No more calls are due then, or the node accounts for them."""
    life = ready(pacing=constant(10))
    assert life.next(10, words()) == Call(10)
    life.called(95)
    assert life.next(96, words()) == Call(20)
    life.exhausted()
    assert life.next(97, words()) == Teardown() and life.take_dropped() == (0, 0)
    life = ready(pacing=constant(10))
    assert life.next(10, words()) == Call(10)
    life.called(95)
    life.is_abandoned = True
    assert life.next(96, words()) == Teardown() and life.take_dropped() == (0, 0)


@given(
    step=st.integers(1, 40),
    lasts=st.lists(st.integers(0, 90), min_size=1, max_size=12),
    drops=st.booleans(),
    late=st.integers(0, 10),
)
def test_every_pace_until_the_end_is_started_or_dropped_once(
    step: int, lasts: list[int], drops: bool, late: int
) -> None:
    """Constant pacing: due at first + k * step, whatever the calls do and however late the performer is."""
    life, now, started = ready(pacing=constant(step * MS), drops_late=drops), 5 * MS, list[int]()
    dropped = 0
    for last in lasts:
        while isinstance(todo := life.next(now, words()), Wait):
            now = todo.until + late * MS
        dropped += sum(life.take_dropped())
        assert isinstance(todo, Call) and todo.due <= now
        started.append(todo.due)
        now += last * MS
        life.called(now)
    assert life.next(now, words(run=0, keep=0)) == Teardown()
    dropped += sum(life.take_dropped())
    assert started == sorted(set(started))
    assert {(due - 5 * MS) % (step * MS) for due in started} == {0}
    assert len(started) + dropped == (now - 5 * MS) // (step * MS) + 1


@pytest.mark.parametrize("wait", [between("1ms", "9ms"), exponential("5ms")], ids=["between", "exponential"])
def test_drawn_paces_are_dropped_one_by_one(wait: object) -> None:
    """As many as fall into the span: the stream of draws is that of the user."""
    drawn = wait.resolved()  # type: ignore[attr-defined]
    paces, alike = Paces(drawn, random.Random(3)), random.Random(3)
    paces.due = 1
    due, number = 1, 0
    while due <= SECOND:
        due += drawn.draw_ns(alike)
        number += 1
    assert paces.drop(SECOND) == number and paces.due == due
    assert paces.drop(SECOND) == 0


def test_a_minute_of_paces_a_nanosecond_apart_is_dropped_at_once() -> None:
    """Constant paces are counted, not stepped through; paces without a distance are never late."""
    paces = Paces(constant(1), random.Random(1))
    paces.due = 1
    assert paces.drop(60 * SECOND) == 60 * SECOND and paces.due == 60 * SECOND + 1
    paces = Paces(constant(0), random.Random(1))
    paces.due = 1
    assert paces.drop(SECOND) == 0


def test_a_user_is_settled_once_it_was_set_up_or_never_will_be() -> None:
    """Its process is ready only then."""
    life = UserLife(0, 0, setup_backoff_ns=BACKOFF[:1])
    assert not life.is_settled
    for now in (1, 2 * SECOND):
        assert life.next(now, words()) == Setup() and not life.is_settled
        life.setup_failed(now)
    assert life.is_settled and life.has_failed
    assert ready().is_settled
    life = UserLife(0, 0)
    assert life.next(1, words(keep=0)) == Leave(State.DONE) and life.is_settled
    life = UserLife(0, 0)
    life.setup_stopped()
    assert life.is_settled and not life.has_failed
