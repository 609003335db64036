"""The load of a node: its plan, the memory that it shares with its workers, and its Generators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wasp_ray.node.generator import GeneratorRun
from wasp_ray.node.shape import Estimate, Shape, estimate, shape_of
from wasp_ray.plan import Plan
from wasp_ray.report.listener import GeneratorState
from wasp_ray.stats.outcomes import outcomes_of
from wasp_ray.wire.arena import Arena, SlabLayout, lay_out
from wasp_ray.wire.control import NEVER, Control


@dataclass(frozen=True, slots=True)
class Layout:
    """The workers and rings of a plan on one node, and where they lie in memory."""

    shapes: Sequence[Shape]
    slabs: Sequence[SlabLayout]

    @classmethod
    def of(cls, plan: Plan, share: tuple[int, int], inline: bool) -> Layout:
        """Compute it for a node that does `share` (index, of how many) of each schedule."""
        shapes = [shape_of(generator, *share, inline) for generator in plan.generators]
        return cls(shapes, lay_out([(shape.rings, shape.slots, shape.entries) for shape in shapes]))

    @property
    def need(self) -> Estimate:
        """Processes and memory at the peak of the load, estimated."""
        return estimate(list(self.shapes), self.slabs[-1].end)


class Load:
    """Made when the plan is known. `close` it when all workers have exited."""

    def __init__(self, plan: Plan, layout: Layout, share: tuple[int, int], inline: bool) -> None:
        self.plan = plan
        self.arena = Arena.create(list(layout.slabs), shared=not inline)
        self.control = Control(self.arena)
        self.control.initialise(len(plan.generators))
        self.generators = [
            GeneratorRun(gen, generator, shape, self.arena, self.control, *share, inline)
            for gen, (generator, shape) in enumerate(zip(plan.generators, layout.shapes, strict=True))
        ]

    @property
    def slabs_data(self) -> list[dict[str, int]]:
        """The layout of the memory, as engine processes are sent it."""
        return [slab.to_data() for slab in self.arena.slabs]

    @property
    def has_begun(self) -> bool:
        """Whether t = 0 is known."""
        return self.control.start_ns != NEVER

    @property
    def is_over(self) -> bool:
        """Return whether every Generator has ended and its workers have exited."""
        return all(generator.over for generator in self.generators)

    def segment_ends_ns(self) -> list[list[int]]:
        """Return the monotonic end of each segment of each Generator, NEVER for those that a pause holds."""
        return [[self.control.absolute_ns(s.to_ns) for s in generator.segments] for generator in self.plan.generators]

    def states(self, t_ns: int, counted: Mapping[str, Any]) -> list[GeneratorState]:
        """Return the state of each Generator at the schedule's instant; `counted`: the aggregator's totals by name."""
        out = []
        for run in self.generators:
            sums = run.live_sums()
            planned = run.driver.planned_at(t_ns) if self.has_begun and not run.ended else 0.0
            ended = outcomes_of(counted[run.name]["ledger"]) if run.name in counted else {}
            out.append(GeneratorState(
                **ended, name=run.name, kind=run.kind, planned=planned, users_active=run.active_users(),
                in_flight=run.in_flight(), started=sums.begun, dropped=sums.dropped,
            ))  # fmt: skip
        return out

    def close(self) -> None:
        """Close descriptors and memory."""
        for generator in self.generators:
            generator.driver.close()
        self.arena.close()
