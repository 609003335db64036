"""The stop cuts the ticks of all workers at one instant, whichever process is held up for how long at whatever point."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.stage import Stage

from wasp_ray import Generator, Gun, Profile, plain
from wasp_ray.load.build import make_plan
from wasp_ray.node.drivers import StrideDriver
from wasp_ray.node.generator import GeneratorRun
from wasp_ray.node.orders import Orders
from wasp_ray.node.shape import Shape
from wasp_ray.node.sums import Sums
from wasp_ray.wire.arena import Arena, Header, lay_out
from wasp_ray.wire.control import Control
from wasp_ray.worker.async_gun import AsyncGun
from wasp_ray.worker.spec import WorkerSpec

SECOND = 10**9
START = 100 * SECOND
WORKERS = 2
DELAYS = (0, 1000, 20_000, 200_000, 1_000_000, 4_500_000, 5_500_000, 60_000_000, 1_200_000_000)
"""Of the stage's steps: 4.5 and 5.5 ms lie on both sides of what the stop is ahead, 1.2 s is later than late ticks may start."""


class Fires(Gun):
    """Never called."""

    async def call(self) -> None:
        return None


class Worker:
    """Half of the ticks, fired by the loop of a real worker; its event loop, timer and calls are replaced."""

    def __init__(self, stage: Stage, run: GeneratorRun, number: int) -> None:
        self._stage, self._due_calls = stage, list[Any]()
        part: Any = SimpleNamespace(
            index=0, name="g", curve=run.plan.curve, max_calls=None, on_late_drop=False, kind="rate", max_in_flight=8
        )
        spec = WorkerSpec(
            arena=run.workers.arena, control=run.control, part=part, ring=number, worker=number, workers=WORKERS, incarnation=0,
            first_user=number, users=1, node=0, nodes=1, share=0, shares=1, seed=1, run_id="r", user_dir="", wake_fd=-1,
            notes_fd=-1, ticks_fd=-1, wants_raw=False, verbose=False,
        )  # fmt: skip
        nothing: Any = None
        writer: Any = SimpleNamespace(publish=lambda *values: True)
        gun: Any = AsyncGun(spec, writer, nothing, nothing)
        self.is_over, self.fired = False, list[int]()
        gun._loop = SimpleNamespace(call_soon=self._due_calls.append)
        gun._finished = SimpleNamespace(done=lambda: self.is_over, set_result=self._finish)
        gun._ticker = SimpleNamespace(arm=lambda at_ns: None)
        gun._fire = self._fire
        self._gun = gun

    def _finish(self, result: None) -> None:
        self.is_over = True

    def _fire(self, due: int, *more: object) -> None:
        self.fired.append(self._gun._tick)
        self._gun._take_tick()

    def live(self) -> None:
        """Looks for due ticks, again and again, until none can come."""
        self._gun._load_ticks()
        while not self.is_over:
            self._gun._fire_due()
            while self._due_calls:
                self._due_calls.pop()()
            self._stage.pause()


class Load:
    """One Generator with two workers on a stage, and the node's orders."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        generator = Generator("g", gun=Fires, schedule=plain(1000, "200ms"))
        plan = make_plan(Profile(generator), {"seed": 1})
        arena: Any = Arena.create(lay_out([(WORKERS, 64, 4)]), shared=False)
        arena.words = stage.words(arena.words)
        control = Control(arena)
        control.initialise(1)
        self.run = GeneratorRun(0, plan.generators[0], Shape(WORKERS, WORKERS, 64, 4), arena, control, 0, 1, False)
        self.load: Any = SimpleNamespace(control=control, generators=[self.run])
        self.orders = Orders()
        self.workers = [Worker(stage, self.run, number) for number in range(WORKERS)]
        stage.clock_ns = START
        control.start(START)
        self.run.begin(START)

    def order(self, *orders: str) -> None:
        """The node's loop: it looks at the clock, is busy with other things, and obeys."""
        for order in orders:
            now = self.stage.now_ns()
            self.stage.pause()
            if order == "stop":
                self.orders.stop.ask(None)
            else:
                self.orders.commands.append(order)
            self.orders.obey(self.load, now)
        self.run.kills.clear()

    def check(self) -> None:
        """Exactly the first `scheduled` ticks were fired or dropped."""
        driver = self.run.driver
        assert isinstance(driver, StrideDriver)
        count = driver.scheduled(Sums())
        fired = sorted(tick for worker in self.workers for tick in worker.fired)
        for number in range(WORKERS):
            driver.next_ticks[number] = self.run.workers.arena.read(0, number, Header.NEXT_TICK)
        dropped = sum(
            self.run.workers.arena.read(0, number, word)
            for number in range(WORKERS)
            for word in (Header.DROPPED_GENERATOR, Header.DROPPED_STOPPED, Header.DROPPED_LIMIT)
        )
        assert len(fired) + dropped == count and not driver.dropped_by(Sums(), is_final=True)
        assert not fired or fired[-1] < count
        assert len(set(fired)) == len(fired)


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Stage]]:
    """The clock of all parties is that of the last stage in the list."""
    stages: list[Stage] = []
    for module in ("wire.control", "worker.async_gun", "node.generator", "node.orders"):
        monkeypatch.setattr(f"wasp_ray.{module}.now_ns", lambda: stages[-1].now_ns(), raising=False)
    yield stages


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    script=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(DELAYS)), max_size=120),
    orders=st.sampled_from([
        ("stop",), ("stop", "stop"), ("pause", "stop"), ("pause", "resume", "stop"), ("stop", "pause", "resume"),
        ("pause", "stop", "resume"), ("pause", "resume", "pause", "stop"), ("stop", "pause"),
    ]),
)  # fmt: skip
def test_every_tick_before_the_stop_and_none_behind_it_is_accounted_for(
    patched: list[Stage], script: list[tuple[int, int]], orders: tuple[str, ...]
) -> None:
    """Whatever order the accesses to shared memory come in, and however long each party is held up between two of them."""
    stage = Stage(script)
    patched.append(stage)
    load = Load(stage)
    stage.play(lambda: load.order(*orders), *(worker.live for worker in load.workers))
    assert load.run.stop_ns is not None
    load.check()


@pytest.mark.parametrize("accesses", range(12))
@pytest.mark.parametrize("delay_ns", [100_000, 10_000_000])
def test_a_generator_that_is_held_up_between_any_two_accesses_cuts_all_workers_alike(
    patched: list[Stage], accesses: int, delay_ns: int
) -> None:
    """Meanwhile one worker fires its ticks of 20 ms or of the whole schedule, then the other one does."""
    generator, first, second = 0, 1, 2
    stage = Stage([
        *[(generator, 0)] * accesses, *[(first, delay_ns)] * 200, *[(generator, 0)] * 3, *[(second, 0)] * 200,
    ])  # fmt: skip
    patched.append(stage)
    load = Load(stage)
    stage.play(lambda: load.order("stop"), *(worker.live for worker in load.workers))
    load.check()
