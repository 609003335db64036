"""Typed plans for tests: those of a small load, with the fields changed that a test is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from support.loads import Quick
from wasp_ray import Generator, Profile, plain
from wasp_ray.load.build import make_plan
from wasp_ray.plan import GeneratorPlan, Plan, SegmentPlan

SECOND = 10**9


def generator_plan(name: str = "g", **changed: Any) -> GeneratorPlan:
    """Return the plan of a gun at 100/s for 10 s, with these fields changed."""
    return replace(Generator(name, gun=Quick, schedule=plain(100, "10s")).to_plan(1), **changed)


def plan_of(*generators: GeneratorPlan, **changed: Any) -> Plan:
    """Return the plan of these Generators, with these fields changed."""
    made = make_plan(Profile(Generator("g", gun=Quick, schedule=plain(100, "10s"))), {"seed": 1})
    return replace(made, generators=generators or made.generators, **changed)


def segment_plans(parts: Iterable[tuple[float, bool]], *calls: int) -> tuple[SegmentPlan, ...]:
    """Return segments of these lengths (s), each a warm-up or not, with so many planned calls each."""
    out: list[SegmentPlan] = []
    for index, (length_s, warmup) in enumerate(parts):
        from_ns = out[-1].to_ns if out else 0
        planned = calls[index] if calls else None
        out.append(SegmentPlan(
            index=index, name="", warmup=warmup, from_ns=from_ns, to_ns=from_ns + int(length_s * SECOND), planned_calls=planned,
            planned_peak=1.0,
        ))  # fmt: skip
    return tuple(out)
