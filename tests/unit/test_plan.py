"""A plan is read back as it was written; other data is refused with the key, the value and what is expected."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import loads
from support.plans import plan_of

from wasp_ray import AlertCheck, Generator, Placement, Profile, RawSamples, pause, plain, ramp, steps
from wasp_ray.load.build import make_plan
from wasp_ray.plan import DataError, GeneratorPlan, Plan

PROFILE = Profile(
    Generator("g", gun=loads.Quick, schedule=plain(0.1, "10s", warmup=True) + ramp(1, 33.3, "7s", name="up"), max_calls=100),
    Generator("p", gun=loads.Quick, schedule=steps(1, 2, 3, duration="10s"), arrivals="poisson", call_timeout=None),
    Generator("u", user=loads.AsyncLooper, schedule=plain(7, "3s") + pause(1), placement=Placement(gpus=1), on_late="drop"),
    name="shop", labels={"branch": "main"}, sinks=[RawSamples()],
    thresholds=["failed < 1%", AlertCheck(labels={"requirement_name": "baseline"})],
)  # fmt: skip
KEYS = [
    "name", "kind", "actor", "is_async", "schedule", "rate_unit_ns", "arrivals", "labels", "seed", "call_timeout_ns",
    "setup_timeout_ns", "teardown_timeout_ns", "graceful_stop_ns", "min_delivered", "on_late", "max_in_flight", "max_workers",
    "users_per_process", "max_calls", "setup_concurrency", "placement", "fail_on_error", "calls", "peak", "duration_ns",
    "segments",
]  # fmt: skip


def without(data: dict[str, Any], *path: Any) -> dict[str, Any]:
    """A copy of JSON data without the value at a path."""
    return changed(data, *path, to=None, remove=True)


def changed(data: dict[str, Any], *path: Any, to: Any, remove: bool = False) -> dict[str, Any]:
    """A copy of JSON data with another value at a path."""
    found = json.loads(json.dumps(data))
    inner = found
    for step in path[:-1]:
        inner = inner[step]
    if remove:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return dict(found)


@pytest.mark.parametrize("offset", [None, 0, 3])
def test_a_plan_is_read_back_as_it_was_written(offset: int | None) -> None:
    """With rates, users, every kind of segment, a placement, sinks and alert checks; before and after its arrivals are seeded."""
    assert PROFILE.validate() == []
    plan = make_plan(PROFILE, {"seed": 7, "nodes": 2, "load": "per-node"}).seeded(offset)
    assert Plan.from_data(json.loads(json.dumps(plan.to_data()))) == plan


def test_the_keys_of_plan_json_are_those_that_others_read() -> None:
    """In their order; the seed of arrivals is there once a node has set it, `schedule` unless it was left out."""
    plan = make_plan(PROFILE, {"seed": 7})
    data = plan.to_data()
    assert list(data) == [
        "schema", "profile", "labels", "seed", "nodes", "load", "thresholds", "alerts", "duration_ns", "generators", "sinks",
        "once", "has_teardown", "breaker",
    ]  # fmt: skip
    assert list(data["generators"][0]) == KEYS and data["generators"][0]["actor"] == "Quick"
    assert list(plan.seeded(0).to_data()["generators"][0]) == [*KEYS, "arrival_seed"]
    trimmed = Plan.from_data(without(data, "generators", 0, "schedule")).generators[0]
    assert list(trimmed.to_data()) == [key for key in KEYS if key != "schedule"]


def seeded(plan: GeneratorPlan, offset: int) -> GeneratorPlan:
    """As a node does it."""
    return plan_of(plan).seeded(offset).generators[0]


def test_arrivals_are_those_of_the_seed_that_a_node_has_set() -> None:
    """Nodes that each do the whole schedule have other due times; without a seed from the node it is the Generator's own."""
    plan = make_plan(PROFILE, {"seed": 7}).generators[1]
    due = [[curve.due_ns(call) for call in range(10)] for curve in (plan.curve(), seeded(plan, 0).curve())]
    assert due[0] == due[1]
    other = seeded(plan, 1).curve()
    assert [other.due_ns(call) for call in range(10)] != due[0]


DATA = plan_of().to_data()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ([], "the plan is []: expected an object"),
        (without(DATA, "schema"), "'schema' of the plan is None: expected 'wasp-ray/plan/1'"),
        (changed(DATA, "schema", to="wasp-ray/plan/2"), "'schema' of the plan is 'wasp-ray/plan/2': expected"),
        (without(DATA, "generators"), "'generators' of the plan is missing"),
        (changed(DATA, "generators", to={}), "'generators' of the plan is {}: expected a list"),
        (changed(DATA, "nodes", to="2"), "'nodes' of the plan is '2': expected an integer"),
        (changed(DATA, "nodes", to=True), "'nodes' of the plan is True: expected an integer"),
        (changed(DATA, "load", to="half"), "'load' of the plan is 'half': expected one of 'total', 'per-node'"),
        (changed(DATA, "thresholds", to=[1]), "'thresholds' of the plan is [1]: expected a string"),
        (changed(DATA, "alerts", to=[{}]), "'kind' of an alert check of the plan is missing"),
        (changed(DATA, "sinks", to=[{"kind": "loki"}]), "'name' of a sink of the plan is missing"),
        (changed(DATA, "generators", 0, to=7), "a Generator of the plan is 7: expected an object"),
        (without(DATA, "generators", 0, "peak"), "'peak' of Generator 'g' of the plan is missing"),
        (changed(DATA, "generators", 0, "peak", to=None), "'peak' of Generator 'g' of the plan is None: expected a number"),
        (changed(DATA, "generators", 0, "kind", to="x"), "'kind' of Generator 'g' of the plan is 'x': expected one of 'rate',"),
        (changed(DATA, "generators", 0, "calls", to=1.5), "'calls' of Generator 'g' of the plan is 1.5: expected an integer"),
        (changed(DATA, "generators", 0, "labels", to={"a": 1}), "expected a string"),
        (changed(DATA, "generators", 0, "placement", to={"CPU": "1"}), "expected a number"),
        (changed(DATA, "generators", 0, "schedule", to="fast"), "'schedule' of Generator 'g' of the plan is 'fast': expected"),
        (without(DATA, "generators", 0, "segments", 0, "to_ns"), "'to_ns' of a segment of the plan is missing"),
    ],
)  # fmt: skip
def test_data_that_is_no_plan_is_refused_with_one_clear_error(data: Any, problem: str) -> None:
    """Whatever is missing or of the wrong type, however deep it is."""
    with pytest.raises(DataError) as found:
        Plan.from_data(data)
    assert problem in str(found.value) and str(found.value).count("expected") <= 1


def test_the_plan_of_a_run_that_came_to_none_is_known_as_such() -> None:
    """It has no Generators, and is written and read as any other."""
    nothing = Plan.unknown("shop")
    assert not nothing.is_known and plan_of().is_known
    assert Plan.from_data(nothing.to_data()) == nothing


def test_a_new_option_needs_no_reader_of_its_own() -> None:
    """Every field of a Generator's plan is written and read by its declared type alone."""
    data = plan_of().seeded(5).generators[0].to_data()
    assert len(data) == len(GeneratorPlan.__dataclass_fields__)
