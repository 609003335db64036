"""Every problem of a Profile at once: one sentence each, with the Generator's name, what was found and the cure.

Starts nothing.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping
from typing import Any

from wasp_ray.alerts.check import AlertCheck
from wasp_ray.load.actors import Gun, VirtualUser
from wasp_ray.load.feeders import Feeder
from wasp_ray.load.generator import AUTO, Generator
from wasp_ray.load.placement import Placement
from wasp_ray.load.waits import as_wait
from wasp_ray.schedule import Schedule, parse_duration
from wasp_ray.stats.thresholds import Threshold

MAX_NAME = 100
MAX_GENERATORS = 200
_NEVER = object()
_DURATIONS = ("setup_timeout", "teardown_timeout", "graceful_stop", "rate_unit")
_RATE_ONLY = {
    "rate_unit": "1s",
    "arrivals": "constant",
    "max_in_flight": AUTO,
    "max_workers": 200,
}
_SYNC_ONLY, _ASYNC_ONLY = {"max_workers": "max_in_flight"}, {"max_in_flight": "max_workers"}
"""Options of one kind of gun, and the option of the other kind that does the same."""
_LOCUST = {
    "wait_time": "set the think time with Generator(think_time=between(1, 3))",
    "on_start": "rename it to setup()",
    "on_stop": "rename it to teardown()",
    "host": "give the URL to self.context.http(url) in setup(), or name the attribute otherwise",
    "weight": "give each class a Generator with its own schedule, or name the attribute otherwise",
}
"""Attributes that Locust reads from a user class; wasp_ray would ignore them without a word."""
_USERS_ONLY = {"users_per_process": 1, "think_time": 0, "pacing": None, "setup_concurrency": AUTO, "placement": None}


def problems_of(profile: Any) -> list[str]:
    """All problems; empty when it can run."""
    out: list[str] = []
    generators = list(profile.generators)
    if not generators:
        out.append("the Profile has no Generator: give it at least one")
    if len(generators) > MAX_GENERATORS:
        out.append(f"the Profile has {len(generators)} Generators: at most {MAX_GENERATORS} are possible")
    seen: set[str] = set()
    for at, generator in enumerate(generators):
        if not isinstance(generator, Generator):
            out.append(f"Profile argument {at + 1} {_not_a_generator(generator)}")
            continue
        out += [f"Generator {generator.name!r}: {problem}" for problem in _generator_problems(generator)]
        if isinstance(generator.name, str):
            if generator.name in seen:
                out.append(f"Generator {generator.name!r}: another one has the same name: give each its own")
            seen.add(generator.name)
    out += _profile_problems(profile, seen)
    return out


def limit_problems(profile: Any, nodes: int) -> list[str]:
    """Return limits on calls and workers that are lower than the number of nodes which share them."""
    return [
        f"Generator {g.name!r}: {name}={value} for {nodes} nodes that share it: must be >= {nodes}, or use fewer nodes or"
        " load='per-node'"
        for g in profile.generators
        if g.gun is not None
        for name in ("max_in_flight" if g.is_async else "max_workers",)
        if isinstance(value := getattr(g, name), int) and value < nodes and _is_given(g, name, _RATE_ONLY[name])
    ]


def _not_a_generator(found: Any) -> str:
    """Return what stands in a Generator's place, and what to write instead."""
    if isinstance(found, (list, tuple)):
        comma = "; if it is one Generator, remove the comma behind it" if isinstance(found, tuple) else ""
        return f"is a {type(found).__name__}: expected a Generator. Write Profile(*generators){comma}."
    if isinstance(found, type):
        option = "gun" if issubclass(found, Gun) else "user"
        return (
            f"is the class {found.__name__}: expected a Generator. Write"
            f" Profile(Generator('name', {option}={found.__name__}, schedule=plain(10, '1m')))."
        )
    return f"is a {type(found).__name__}: expected a Generator."


def _profile_problems(profile: Any, names: set[str]) -> list[str]:
    out = []
    if profile.name is not None and (not isinstance(profile.name, str) or not profile.name.strip()):
        out.append(f"Profile name {profile.name!r}: must be a string")
    out += [f"Profile {problem}" for problem in _text_map("labels", profile.labels)]
    for hook in ("setup", "teardown"):
        value = getattr(profile, hook)
        if value is not None and not _callable_without_arguments(value):
            out.append(f"Profile {hook}={value!r}: expected a function without arguments")
    if not isinstance(profile.breaker, bool):
        out.append(f"Profile breaker={profile.breaker!r}: expected True or False")
    if profile.import_sockets not in ("refuse", "warn"):
        out.append(f"Profile import_sockets={profile.import_sockets!r}: expected 'refuse' or 'warn'")
    if isinstance(profile.thresholds, (str, bytes)) or not isinstance(profile.thresholds, Iterable):
        out.append(f"Profile thresholds={profile.thresholds!r}: expected a list of strings and AlertChecks")
        return out
    for threshold in profile.thresholds:
        if isinstance(threshold, AlertCheck):
            out += [f"Profile AlertCheck: {problem}" for problem in threshold.problems()]
            continue
        out += Threshold(getattr(threshold, "expression", threshold)).problems(names)
    if not isinstance(profile.sinks, (list, tuple)):
        return [*out, f"Profile sinks={profile.sinks!r}: expected a list, as [RawSamples()]"]
    for sink in profile.sinks:
        if isinstance(sink, type) or not all(hasattr(sink, name) for name in ("kind", "needs", "options", "problems")):
            out.append(f"Profile sinks: {sink!r} is not a sink: expected one as RawSamples() or Loki()")
        else:
            out += [f"Profile sink {sink.kind}: {problem}" for problem in sink.problems()]
    return out


def _callable_without_arguments(value: Any) -> bool:
    try:
        inspect.signature(value).bind()
    except (TypeError, ValueError):
        return False
    return True


def _generator_problems(g: Generator) -> list[str]:
    out = _name_problems(g.name)
    out += _actor_problems(g)
    if isinstance(g.schedule, Schedule):
        out += g.schedule.problems()
    else:
        out.append(f"schedule={g.schedule!r}: expected plain(), ramp(), steps(), pause() or a sum of them")
    out += _number_problems(g)
    for name in _DURATIONS:
        out += _duration(name, getattr(g, name), zero=name == "graceful_stop")
    if g.call_timeout is not None:
        out += _duration("call_timeout", g.call_timeout)
    for name in ("think_time", "pacing"):
        value = getattr(g, name)
        if value is not None:
            out += [f"{name}={value!r}: {problem}" for problem in as_wait(value).problems()]
    if g.pacing is not None and not as_wait(g.pacing).problems() and as_wait(g.pacing).mean_ns == 0:
        out.append(f"pacing={g.pacing!r}: must be > 0, or None for no pacing")
    out += _text_map("labels", g.labels)
    if not isinstance(g.params, Mapping):
        out.append(f"params={g.params!r}: expected a dict")
    if isinstance(g.placement, Placement):
        out += g.placement.problems()
    elif g.placement is not None:
        out.append(f"placement={g.placement!r}: expected Placement(cpus=, gpus=, resources=)")
    out += _feeder_problems(g)
    out += _wrong_side(g)
    return out


def _name_problems(name: Any) -> list[str]:
    if not isinstance(name, str) or not name.strip():
        return ["its name: must be a string"]
    if len(name) > MAX_NAME or "/" in name or any(c.isspace() or not c.isprintable() for c in name):
        return [f"its name: expected at most {MAX_NAME} printable characters without spaces and `/`"]
    return []


def _actor_problems(g: Generator) -> list[str]:
    if (g.gun is None) == (g.user is None):
        found = "neither" if g.gun is None else "both"
        return [f"{found} of gun= and user= given: expected one of them, gun= for a rate, user= for users"]
    option, base = ("gun", Gun) if g.gun is not None else ("user", VirtualUser)
    actor = g.actor
    if not isinstance(actor, type):
        return [f"{option}={actor!r}: expected a class, not an object: pass the class itself"]
    if not issubclass(actor, base):
        return [f"{option}={actor.__name__}: expected a subclass of {base.__name__}"]
    if "<locals>" in actor.__qualname__:
        return [
            f"{option}={actor.__qualname__}: made inside a function, so no fresh process can find it: define it at the top level"
        ]
    if not callable(actor.call):
        return [f"{option}={actor.__name__}: its call is {actor.call!r}: expected a method"]
    methods = g.call_methods()
    if base is VirtualUser and methods[0] is not actor.call and actor.call is not base.call:
        return [f"{option}={actor.__name__} has call() and @task methods: expected one or the other"]
    if any(inspect.isgeneratorfunction(m) or inspect.isasyncgenfunction(m) for m in methods):
        return [f"{option}={actor.__name__}: its call() yields: expected a plain or async method"]
    if methods == [base.call]:
        also = " or methods marked @task" if base is VirtualUser else ""
        return [f"{option}={actor.__name__} has no call(){also}: define one"]
    out = [
        f"{option}={actor.__name__} has the attribute `{name}`, which Locust reads and wasp_ray does not: {cure}"
        for name, cure in _LOCUST.items()
        if hasattr(actor, name)
    ]
    kinds = {inspect.iscoroutinefunction(method) for method in methods}
    if len(kinds) > 1:
        out.append(f"{actor.__name__} mixes async and sync @task methods: make them all async or all sync")
    if not g.is_async:
        for hook in ("setup", "teardown"):
            if inspect.iscoroutinefunction(getattr(actor, hook)):
                out.append(f"{actor.__name__}.{hook}() is async but call() is not: make both async or both sync")
        if g.gun is None and isinstance(g.users_per_process, int) and g.users_per_process > 1:
            out.append(
                f"users_per_process={g.users_per_process} with a sync user: only async users can share a process"
            )
    return out


def _number_problems(g: Generator) -> list[str]:
    out = []
    for name in ("sample", "min_delivered"):
        value = getattr(g, name)
        if name == "min_delivered" and value is AUTO:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            out.append(f"{name}={value!r}: expected a number from 0 to 1")
    for name, optional in (
        ("max_calls", None),
        ("max_in_flight", AUTO),
        ("max_workers", _NEVER),
        ("users_per_process", _NEVER),
        ("setup_concurrency", AUTO),
    ):
        value = getattr(g, name)
        if value is optional:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            out.append(f"{name}={value!r}: expected a whole number from 1")
    if g.seed is not None and (isinstance(g.seed, bool) or not isinstance(g.seed, int)):
        out.append(f"seed={g.seed!r}: expected a whole number")
    if g.arrivals not in ("constant", "poisson"):
        out.append(f"arrivals={g.arrivals!r}: expected 'constant' or 'poisson'")
    if g.on_late not in ("fire", "drop"):
        out.append(f"on_late={g.on_late!r}: expected 'fire' or 'drop'")
    if not isinstance(g.fail_on_error, bool):
        out.append(f"fail_on_error={g.fail_on_error!r}: expected True or False")
    return out


def _duration(name: str, value: Any, *, zero: bool = False) -> list[str]:
    try:
        if parse_duration(value) == 0 and not zero:
            return [f"{name}={value!r}: must be > 0"]
    except ValueError as exc:
        return [f"{name}: {exc}"]
    return []


def _text_map(name: str, value: Any) -> list[str]:
    if not isinstance(value, Mapping) or any(
        not isinstance(k, str) or not isinstance(v, str) for k, v in value.items()
    ):
        return [f"{name}={value!r}: expected strings by name, as {{'branch': 'main'}}"]
    return []


def _feeder_problems(g: Generator) -> list[str]:
    if not isinstance(g.feeders, Mapping):
        return [f"feeders={g.feeders!r}: expected feeders by name, as {{'people': csv('people.csv')}}"]
    out = []
    for name, feeder in g.feeders.items():
        if not isinstance(feeder, Feeder):
            out.append(f"feeder {name!r} is a {type(feeder).__name__}: expected csv(), jsonl() or rows()")
            continue
        out += [f"feeder {name!r}: {problem}" for problem in feeder.problems()]
        if feeder.per == "user" and g.gun is not None:
            out.append(f"feeder {name!r}: per='user' with gun=: a gun has no users; use per='call'")
    if g.shared_data is not None and not isinstance(g.shared_data, (bytes, bytearray, memoryview, str)):
        try:
            json.dumps(g.shared_data)
        except (TypeError, ValueError):
            out.append(f"shared_data is a {type(g.shared_data).__name__}: expected bytes, a string or JSON data")
    return out


def _wrong_side(g: Generator) -> list[str]:
    """Options of guns given with user=, and the reverse."""
    if (g.gun is None) == (g.user is None):
        return []
    foreign, given, needed = (_USERS_ONLY, "gun=", "user=") if g.gun is not None else (_RATE_ONLY, "user=", "gun=")
    out = [
        f"{name}={getattr(g, name)!r} with {given}: it is an option of {needed}: leave it out"
        for name, default in foreign.items()
        if _is_given(g, name, default)
    ]
    if g.gun is not None and isinstance(g.actor, type):
        kind, other, options = ("async", "sync", _SYNC_ONLY) if g.is_async else ("sync", "async", _ASYNC_ONLY)
        out += [
            f"{name}={getattr(g, name)!r} with {g.actor.__name__}, whose call() is {kind}: it is an option of {other} guns:"
            f" use {instead}="
            for name, instead in options.items()
            if _is_given(g, name, _RATE_ONLY[name])
        ]
    return out


def _is_given(g: Generator, name: str, default: Any) -> bool:
    value = getattr(g, name)
    return value is not default and value != default
