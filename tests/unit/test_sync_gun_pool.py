"""When a blocking gun gets more workers: ticks wait, and every worker there is or will be in a moment has a call."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from wasp_ray import Generator, Gun, plain
from wasp_ray.node.drivers import TickPipeDriver
from wasp_ray.node.generator import GeneratorRun
from wasp_ray.node.shape import Shape
from wasp_ray.runtime.fleet import Spawn
from wasp_ray.wire.arena import Arena, Header, State, lay_out
from wasp_ray.wire.control import Control
from wasp_ray.worker.sync_gun import TICK

MS = 1_000_000
START = 100_000 * MS
FIRST, MOST = 7, 20
"""Workers of a gun at 100/s at the start, and at the most."""


class Blocks(Gun):
    """Never called."""

    def call(self) -> None:
        return None


class Pool:
    """A blocking gun at 100/s, the clock, and its workers, who do as they are told."""

    def __init__(self) -> None:
        plan = Generator("g", gun=Blocks, schedule=plain(100, "10s")).to_plan(1)
        self.arena = Arena.create(lay_out([(MOST, 64, 1)]), shared=False)
        control = Control(self.arena)
        control.initialise(1)
        self.run = GeneratorRun(0, plan, Shape(MOST, MOST, 64, 1), self.arena, control, 0, 1, False)
        assert isinstance(self.run.driver, TickPipeDriver)
        self.driver = self.run.driver
        self.clock_ns = START
        self.run.prepare()
        self.start_workers()
        control.start(START)
        self.run.begin(START)

    def start_workers(self) -> None:
        """Those that are wanted are set up."""
        for order in self.run.instructions(self.clock_ns, 0):
            assert isinstance(order, Spawn)
            self.arena.write(0, order.ring, Header.STATE, State.READY)

    def after(self, ms: float) -> int:
        """The generator's turn so much later: how many workers it wants then."""
        self.clock_ns += int(ms * MS)
        self.run.advance(self.clock_ns)
        return self.run.fleet.wanted

    def take(self, number: int = 1) -> None:
        """Idle workers take so many ticks and are in their calls."""
        slab = self.arena.slabs[0]
        entries = [slab.entry_word(member.ring, 0) for member in self.run.fleet.live.values()]
        for entry in [at for at in entries if not self.arena.words[at]][:number]:
            assert os.read(self.driver.pipe.read_fd, TICK.size)
            self.arena.words[entry] = 1


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    """With a clock of its own."""
    monkeypatch.setattr("wasp_ray.node.drivers.tick_pipe.now_ns", lambda: made.clock_ns if made is not None else START)
    made: Pool | None = None
    made = Pool()
    yield made
    made.run.driver.close()


def test_a_tick_that_was_just_written_is_no_reason(pool: Pool) -> None:
    """At each look one is unread, but never the same one: each is taken 1 ms later."""
    for _ in range(100):
        assert pool.after(9) == FIRST
        pool.after(1)
        assert pool.driver.pipe.unread()
        os.read(pool.driver.pipe.read_fd, TICK.size)


def test_a_tick_that_idle_workers_leave_waits_for_the_cpu(pool: Pool) -> None:
    """A busy machine: nobody takes seven ticks for 60 ms, and another process would not either."""
    assert pool.after(60) == FIRST
    assert pool.after(5) == FIRST


def test_each_tick_that_waits_for_busy_workers_gets_one(pool: Pool) -> None:
    """Calls that never end: the eighth tick, due at 70 ms, has a new worker 3 ms later, and so has each after it."""
    pool.after(60)
    pool.take(FIRST)
    assert pool.after(10) == FIRST
    assert pool.after(2) == FIRST
    assert pool.after(2) == FIRST + 1
    assert pool.after(2) == FIRST + 1  # it is on its way
    assert pool.after(4) == FIRST + 1
    assert pool.after(4) == FIRST + 2
    pool.start_workers()
    pool.take(2)
    assert pool.after(5) == FIRST + 2


def test_workers_are_added_by_half_of_those_there_are_at_most(pool: Pool) -> None:
    """After a standstill of 200 ms, twenty ticks wait; and never more than max_workers."""
    pool.after(60)
    pool.take(FIRST)
    pool.after(200)
    assert pool.after(5) == FIRST + FIRST // 2
    for _ in range(10):
        pool.start_workers()
        pool.take(MOST)
        pool.after(100)
    assert pool.after(5) == MOST
