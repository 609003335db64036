"""Builds the Plan of a validated Profile: all that the generator process and other nodes ever see of it."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from wasp_ray.alerts.check import AlertCheck
from wasp_ray.errors import BadInput
from wasp_ray.load.generator import Generator
from wasp_ray.load.locate import split_spec
from wasp_ray.plan import GeneratorPlan, Plan, SinkPlan
from wasp_ray.schedule import plain

ONCE_S = "10m"


def apply_options(profile: Any, message: dict[str, Any]) -> Any:
    """A copy of the profile with --only, --threshold and --once applied. Raises BadInput for an unknown Generator.

    What is no Generator, or no list of thresholds, is left as it is: validation reports it.
    """
    profile = copy.copy(profile)
    if not all(isinstance(g, Generator) for g in profile.generators):
        return profile
    only = message.get("only")
    if only is not None:
        names = [str(g.name) for g in profile.generators]
        profile.generators = tuple(g for g in profile.generators if g.name == only)
        if not profile.generators:
            raise BadInput(f"--only {only}: no such Generator; the load file defines {', '.join(names)}")
    if message.get("thresholds") and _is_list(profile.thresholds):
        profile.thresholds = [*profile.thresholds, *message["thresholds"]]
    if message.get("once"):
        profile.generators = tuple(_once(g) for g in profile.generators)
        profile.thresholds = []
    return profile


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes))


def _once(generator: Generator) -> Generator:
    """One user or one tick, one call."""
    single = copy.copy(generator)
    single.max_calls = 1
    if generator.gun is not None:
        single.schedule, single.rate_unit, single.arrivals = plain(1, "1s"), "1s", "constant"
    else:
        single.schedule, single.think_time, single.pacing, single.users_per_process = plain(1, ONCE_S), 0, None, 1
    return single


def make_plan(profile: Any, message: dict[str, Any]) -> Plan:
    """The plan of a profile without problems. `message`: the load message of its node."""
    seed = message.get("seed")
    if seed is None:
        seed = random.SystemRandom().getrandbits(32)
    sharing = message.get("nodes", 1) if message.get("load") != "per-node" else 1
    generators = tuple(_for_nodes(generator.to_plan(seed), sharing) for generator in profile.generators)
    once = bool(message.get("once"))
    return Plan(
        profile=profile.name or _file_name(message), labels=dict(profile.labels), seed=seed, nodes=message.get("nodes", 1),
        load=message.get("load", "total"),
        thresholds=tuple(str(t) for t in profile.thresholds if not isinstance(t, AlertCheck)),
        alerts=tuple(t.to_plan() for t in profile.thresholds if isinstance(t, AlertCheck)),
        duration_ns=max(generator.duration_ns for generator in generators), generators=generators,
        sinks=() if once else _sinks(profile.sinks), once=once, has_teardown=profile.teardown is not None,
        breaker=profile.breaker and not once,
    )  # fmt: skip


def _for_nodes(plan: GeneratorPlan, nodes: int) -> GeneratorPlan:
    """Return a plan whose default limits leave each of many nodes at least one call or worker."""
    return replace(plan, max_in_flight=max(plan.max_in_flight, nodes), max_workers=max(plan.max_workers, nodes))


def _sinks(configs: Iterable[Any]) -> tuple[SinkPlan, ...]:
    """Return the plans of the sinks, in the order in which the exporter makes them; the second of a kind is named kind-2."""
    out: list[SinkPlan] = []
    for config in configs:
        same = sum(sink.kind == config.kind for sink in out)
        name = f"{config.kind}-{same + 1}" if same else config.kind
        needs, options = tuple(sorted(config.needs)), config.options()
        out.append(SinkPlan(kind=config.kind, name=name, needs=needs, options=options))
    return tuple(out)


def _file_name(message: dict[str, Any]) -> str:
    """A profile without a name is called as its file."""
    return split_spec(message["file"])[0].stem if message.get("file") else "run"
