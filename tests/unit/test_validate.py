"""Every problem of a profile at once, with the Generator's name, what was found and the cure."""

from __future__ import annotations

from typing import Any

import pytest
from support import loads

from wasp_ray import BadInput, Generator, Placement, Profile, csv, pause, plain
from wasp_ray.load.build import make_plan
from wasp_ray.load.validate import limit_problems

BAD_LABELS: Any = {"a": 1}


def make(**options: Any) -> Generator:
    """A good Generator but for the given options."""
    return Generator(options.pop("name", "shop"), **{"schedule": plain(1, "1s"), "user": loads.Looper, **options})


BAD: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name"),
    ({"name": "a/b"}, "without spaces and `/`"),
    ({"user": None}, "neither of gun= and user="),
    ({"gun": loads.Quick}, "both of gun= and user="),
    ({"user": loads.Quick}, "expected a subclass of VirtualUser"),
    ({"user": loads.Looper()}, "expected a class, not an object"),
    ({"schedule": 5}, "schedule=5"),
    ({"schedule": pause("1s")}, "0 all the time"),
    ({"call_timeout": "soon"}, "'soon' is not a duration"),
    ({"setup_timeout": 0}, "setup_timeout=0"),
    ({"think_time": -1}, "-1 is negative"),
    ({"pacing": "x"}, "'x' is not a duration"),
    ({"sample": 2}, "sample=2: expected a number from 0 to 1"),
    ({"max_calls": 0}, "max_calls=0"),
    ({"users_per_process": 4}, "users_per_process=4 with a sync user"),
    ({"max_in_flight": 5}, "it is an option of gun="),
    ({"arrivals": "burst"}, "arrivals='burst'"),
    ({"on_late": "skip"}, "on_late='skip'"),
    ({"labels": {"a": 1}}, "labels="),
    ({"params": 3}, "params=3"),
    ({"feeders": {"x": "people.csv"}}, "feeder 'x' is a str"),
    ({"feeders": {"x": csv("p.csv", order="sorted")}}, "order='sorted'"),
    ({"seed": "a"}, "seed='a'"),
    ({"fail_on_error": 1}, "fail_on_error=1"),
    ({"placement": {"cpus": 1}}, "expected Placement(cpus=, gpus=, resources=)"),
    ({"placement": Placement(cpus=-1)}, "placement: cpus=-1: expected a number from 0"),
    ({"placement": Placement(gpus=1.5)}, "gpus=1.5: expected a fraction of one GPU, or a whole number"),
    ({"placement": Placement(resources={"disk": float("nan")})}, "expected amounts by name"),
    ({"placement": Placement(resources={"gpu": 1})}, "use cpus= and gpus= for CPU and GPU"),
    ({"user": None, "gun": loads.Quick, "placement": Placement()}, "it is an option of user="),
    (
        {"user": None, "gun": loads.Quick, "max_workers": 5},
        "whose call() is async: it is an option of sync guns: use max_in_flight=",
    ),
    ({"user": None, "gun": loads.Blocking, "max_in_flight": 5}, "it is an option of async guns: use max_workers="),
    ({"user": loads.of_locust(wait_time=1)}, "has the attribute `wait_time`, which Locust reads and wasp_ray does not"),
    (
        {"user": loads.of_locust(on_start=print)},
        "`on_start`, which Locust reads and wasp_ray does not: rename it to setup()",
    ),
    ({"user": loads.of_locust(on_stop=print)}, "rename it to teardown()"),
    ({"user": loads.of_locust(host="http://127.0.0.1")}, "give the URL to self.context.http(url) in setup()"),
    ({"user": loads.of_locust(weight=3)}, "give each class a Generator with its own schedule"),
]


MISPLACED: list[tuple[Any, str]] = [
    ([make()], "argument 1 is a list: expected a Generator. Write Profile(*generators)."),
    (
        (make(),),
        "argument 1 is a tuple: expected a Generator. Write Profile(*generators); if it is one Generator, remove",
    ),
    (
        loads.Looper,
        "argument 1 is the class Looper: expected a Generator. Write Profile(Generator('name', user=Looper,",
    ),
    (loads.Quick, "Write Profile(Generator('name', gun=Quick,"),
    ("shop", "argument 1 is a str: expected a Generator."),
    (None, "argument 1 is a NoneType: expected a Generator."),
]


@pytest.mark.parametrize(("argument", "told"), MISPLACED)
def test_what_stands_in_a_generators_place_is_bad_input(argument: Any, told: str) -> None:
    """The constructor takes it, validate() lists it with the cure, run() raises BadInput."""
    profile = Profile(argument)
    (problem,) = profile.validate()
    assert told in problem
    with pytest.raises(BadInput) as caught:
        profile.run()
    assert caught.value.problems == [problem]


@pytest.mark.parametrize(("options", "told"), BAD)
def test_a_bad_value_is_told_with_its_generator(options: dict[str, Any], told: str) -> None:
    """One bad value, at least one sentence that names it; constructors never raise."""
    problems = Profile(make(**options)).validate()
    assert any(told in problem for problem in problems), problems
    assert all(problem.startswith("Generator ") for problem in problems)


def test_all_problems_are_told_at_once() -> None:
    """Of every Generator and of the profile itself."""
    problems = Profile(
        make(sample=3),
        make(schedule=plain(-1, "x")),
        thresholds=["p99 of nobody < 3ms", "what"],
        labels=BAD_LABELS,
    ).validate()
    text = "\n".join(problems)
    for told in (
        "sample=3",
        "-1 is negative",
        "'x' is not a duration",
        "another one has the same name",
        "nobody",
        "^",
        "labels",
    ):
        assert told in text


def test_a_good_profile_has_no_problems() -> None:
    """And one without Generators has one."""
    assert Profile(make()).validate() == []
    assert Profile().validate() == ["the Profile has no Generator: give it at least one"]


def test_a_class_made_in_a_function_is_refused() -> None:
    """No fresh process could find it."""

    class Local(loads.Looper):
        pass

    (problem,) = Profile(make(user=Local)).validate()
    assert "made inside a function" in problem


def test_nodes_that_share_a_limit_need_one_slot_each() -> None:
    """A node without a slot could not start its part of the calls; the default limits grow with the nodes."""
    gun = {"user": None, "gun": loads.Quick}
    (problem,) = limit_problems(Profile(make(**gun, max_in_flight=3)), 4)
    assert problem.startswith("Generator 'shop': max_in_flight=3 for 4 nodes that share it: must be >= 4")
    (problem,) = limit_problems(Profile(make(user=None, gun=loads.Blocking, max_workers=1)), 2)
    assert "max_workers=1 for 2 nodes" in problem
    profile = Profile(
        make(**gun, max_in_flight=4), make(user=None, gun=loads.Blocking, name="other"), make(name="users")
    )
    assert limit_problems(profile, 4) == [] and limit_problems(Profile(make(user=None, gun=loads.Blocking)), 1000) == []
    many = make_plan(Profile(make(user=None, gun=loads.Blocking)), {"nodes": 1000}).generators[0]
    assert many.max_workers == 1000
