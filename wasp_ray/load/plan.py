"""Describes a validated Profile as plain data, the plan: all that the generator process and other nodes ever see of it."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable
from typing import Any

from wasp_ray.alerts.check import AlertCheck
from wasp_ray.errors import BadInput
from wasp_ray.load.generator import AUTO, Generator
from wasp_ray.load.limits import raise_descriptor_limit
from wasp_ray.load.locate import split_spec
from wasp_ray.schedule import UserCurve, make_curve, plain

SCHEMA = "wasp-ray/plan/1"
LEAST_IN_FLIGHT = 1000
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
            raise BadInput(f"--only {only}: there is no such Generator; the load file has {', '.join(names)}")
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


def make_plan(profile: Any, message: dict[str, Any]) -> dict[str, Any]:
    """The plan of a profile without problems. JSON-able; times in ns."""
    seed = message.get("seed")
    if seed is None:
        seed = random.SystemRandom().getrandbits(32)
    parts = [_part(generator, seed) for generator in profile.generators]
    return {
        "schema": SCHEMA, "profile": profile.name or _file_name(message), "labels": dict(profile.labels), "seed": seed,
        "nodes": message.get("nodes", 1), "load": message.get("load", "total"),
        "thresholds": [str(t) for t in profile.thresholds if not isinstance(t, AlertCheck)],
        "alerts": [t.options() for t in profile.thresholds if isinstance(t, AlertCheck)],
        "duration_ns": max(p["duration_ns"] for p in parts),
        "generators": parts, "sinks": [] if message.get("once") else _sinks(profile.sinks),
        "once": bool(message.get("once")), "has_teardown": profile.teardown is not None,
    }  # fmt: skip


def _sinks(configs: Any) -> list[dict[str, Any]]:
    """As the exporter makes them; the second of a kind is called kind-2."""
    out: list[dict[str, Any]] = []
    for config in configs:
        same = sum(spec["kind"] == config.kind for spec in out)
        name = f"{config.kind}-{same + 1}" if same else config.kind
        out.append({"kind": config.kind, "name": name, "needs": sorted(config.needs), "options": config.options()})
    return out


def _file_name(message: dict[str, Any]) -> str:
    """A profile without a name is called as its file."""
    return split_spec(message["file"])[0].stem if message.get("file") else "run"


def _part(generator: Generator, run_seed: int) -> dict[str, Any]:
    kind, schedule = generator.kind, generator.schedule
    seed = generator.seed
    if seed is None:  # Generators with one seed would have calls due at the same instants
        seed = random.Random(f"{run_seed}/{generator.name}").getrandbits(32)
    curve = make_curve(schedule, generator.rate_unit_ns, generator.arrivals, seed) if kind == "rate" else None
    users = UserCurve(schedule) if kind == "users" else None
    peak = curve.peak_per_s if curve is not None else float(users.peak if users is not None else 0)
    calls = (
        None if curve is None else curve.count if generator.max_calls is None else min(curve.count, generator.max_calls)
    )
    auto_concurrency = generator.setup_concurrency is AUTO
    return {
        "name": generator.name, "kind": kind, "actor": generator.actor.__qualname__, "is_async": generator.is_async,
        "schedule": schedule.to_data(), "rate_unit_ns": generator.rate_unit_ns, "arrivals": generator.arrivals,
        "labels": dict(generator.labels), "seed": seed, "call_timeout_ns": generator.call_timeout_ns,
        "setup_timeout_ns": generator.setup_timeout_ns, "teardown_timeout_ns": generator.teardown_timeout_ns,
        "graceful_stop_ns": generator.graceful_stop_ns, "min_delivered": generator.min_delivered,
        "on_late": generator.on_late, "max_in_flight": _in_flight(generator, peak), "max_workers": generator.max_workers,
        "users_per_process": generator.users_per_process, "max_calls": generator.max_calls,
        "setup_concurrency": None if auto_concurrency else generator.setup_concurrency,
        "placement": None if generator.placement is None else generator.placement.to_data(),
        "fail_on_error": generator.fail_on_error, "calls": calls, "peak": peak, "duration_ns": schedule.duration_ns,
        "segments": _segments(schedule, curve, users),
    }  # fmt: skip


def _segments(schedule: Any, curve: Any, users: Any) -> list[dict[str, Any]]:
    out = []
    for index, (from_ns, to_ns, segment) in enumerate(schedule.bounds()):
        peak = max(float(segment.start), float(segment.end))
        out.append({
            "index": index, "name": segment.name, "warmup": segment.warmup, "from_ns": from_ns, "to_ns": to_ns,
            "planned_calls": curve.calls_between(from_ns, to_ns) if curve is not None else None, "planned_peak": peak,
        })  # fmt: skip
    return out


def _in_flight(generator: Generator, peak_per_s: float) -> int:
    """AUTO = max(1000, 2 x peak rate), at most half of the descriptors a process may have."""
    if generator.max_in_flight is not AUTO:
        return int(generator.max_in_flight)
    wanted = max(LEAST_IN_FLIGHT, int(2 * peak_per_s))
    limit = raise_descriptor_limit()
    return wanted if limit is None else min(wanted, limit // 2)
