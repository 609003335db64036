"""Seeds: no two workers or Generators of a run share a random stream."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

from wasp_ray import Generator, Gun, Profile, plain
from wasp_ray.load.build import make_plan
from wasp_ray.stats.outcomes import Outcome
from wasp_ray.wire.arena import Arena, lay_out
from wasp_ray.wire.control import Control
from wasp_ray.wire.ring import RingWriter
from wasp_ray.worker.booking import Booker
from wasp_ray.worker.notes import Notes
from wasp_ray.worker.spec import WorkerSpec


class Idle(Gun):
    """Does nothing."""

    async def call(self) -> None:
        return None


def samples(name: str, worker: int, node: int, incarnation: int, nodes: int = 3) -> tuple[bool, ...]:
    """Which of 64 successful calls a worker samples at sample=0.5."""
    arena = Arena.create(lay_out([(4, 64, 1)]), shared=False)
    part: Any = SimpleNamespace(is_async=False, index=0, name=name, sample=0.5)
    spec = WorkerSpec(
        arena=arena, control=Control(arena), part=part, ring=worker, worker=worker, workers=4, incarnation=incarnation,
        first_user=worker, users=1, node=node, nodes=nodes, share=node, shares=nodes, seed=7, run_id="r", user_dir="",
        wake_fd=-1, notes_fd=-1, ticks_fd=-1, wants_raw=True, verbose=False,
    )  # fmt: skip
    booker = Booker(spec, RingWriter(arena, 0, worker), Notes(-1, 0, 0))
    return tuple(booker.sampled(Outcome.OK) for _ in range(64))


def test_each_worker_samples_other_calls_and_equal_seeds_sample_the_same() -> None:
    """Two Generators with two workers each on three nodes, each worker replaced once."""
    workers = list(itertools.product(("a", "b"), range(2), range(3), range(2)))
    first = [samples(*worker) for worker in workers]
    assert len(set(first)) == len(workers) == 24
    assert first == [samples(*worker) for worker in workers]


def test_generators_of_a_profile_have_seeds_of_their_own() -> None:
    """Two of equal Poisson arrivals would fire at the same instants; a seed that the user gives is kept."""
    schedule = plain(20, "10s")
    generators = [Generator(name, gun=Idle, schedule=schedule, arrivals="poisson") for name in "abc"]
    generators.append(Generator("d", gun=Idle, schedule=schedule, arrivals="poisson", seed=5))
    plans = [make_plan(Profile(*generators), {"seed": seed}).generators for seed in (7, 7, 8)]
    assert len({part.seed for part in plans[0]}) == 4
    assert [part.seed for part in plans[0]] == [part.seed for part in plans[1]]
    assert plans[0][0].seed != plans[2][0].seed and plans[0][3].seed == plans[2][3].seed == 5
