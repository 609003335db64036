"""What nodes ask of hosts for themselves and for their users, and what is said when there is no such place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import loads

from wasp_ray import Generator, Placement, Profile, plain
from wasp_ray.cluster.ray_places import no_place, places_of, user_amounts
from wasp_ray.load.build import make_plan
from wasp_ray.plan import Plan

EACH = {"CPU": 1.0}


def plan_of(*generators: Generator) -> Plan:
    """As a node reads it."""
    return make_plan(Profile(*generators), {"seed": 1})


def users(number: int, placement: Placement | None, **options: Any) -> Generator:
    """So many at their peak."""
    return Generator("u", user=loads.AsyncLooper, schedule=plain(number, "1s"), placement=placement, **options)


def test_a_place_has_room_for_the_users_at_their_peak() -> None:
    """Split over the nodes as users are, with what is asked for by no user left alone."""
    plan = plan_of(
        users(5, Placement(cpus=0.5, gpus=1, resources={"disk": 2})),
        Generator("g", gun=loads.Quick, schedule=plain(9, 1)),
    )
    assert places_of(plan, 2, "total", EACH) == [
        {"CPU": 2.5, "GPU": 3.0, "disk": 6.0},
        {"CPU": 2.0, "GPU": 2.0, "disk": 4.0},
    ]
    assert places_of(plan, 2, "per-node", EACH) == [{"CPU": 3.5, "GPU": 5.0, "disk": 10.0}] * 2
    assert user_amounts(plan) == {"0": {"CPU": 0.5, "GPU": 1.0, "disk": 2.0}}


def test_packs_are_placed_as_one() -> None:
    """Five users of two a process are three."""
    plan = plan_of(users(5, Placement(gpus=1), users_per_process=2))
    assert places_of(plan, 1, "total", EACH) == [{"CPU": 4.0, "GPU": 3.0}]


def test_forked_users_ask_for_nothing() -> None:
    """As guns do."""
    assert places_of(plan_of(users(50, None)), 2, "total", {"CPU": 2.0, "rack": 1.0}) == [{"CPU": 2.0, "rack": 1.0}] * 2


@given(st.integers(0, 200), st.integers(1, 7))
def test_the_places_of_all_nodes_hold_all_users(number: int, nodes: int) -> None:
    """None twice."""
    plan = plan_of(users(max(1, number), Placement(cpus=0, gpus=1)))
    places = places_of(plan, nodes, "total", EACH)
    assert sum(place.get("GPU", 0) for place in places) == max(1, number)


@pytest.mark.parametrize(
    ("places", "hosts", "strict", "told"),
    [
        ([{"CPU": 1}] * 4, [{"CPU": 2, "memory": 9}] * 3, True,
         "asked were 4 places with CPU 1, each on a host of its own; the cluster has 3 hosts with CPU 2, of which CPU 0 is free:"
         ' ask for fewer nodes, add hosts, or let several share one: RayConfig(strategy="SPREAD")'),
        ([{"CPU": 2, "GPU": 1}, {"CPU": 1}], [{"CPU": 2}, {"CPU": 4, "GPU": 1}], True,
         "asked were 1 place with CPU 2, GPU 1; 1 place with CPU 1, each on a host of its own; the cluster has 1 host with CPU 2,"
         " GPU 0; 1 host with CPU 4, GPU 1, of which"),
        ([{"CPU": 1}], [], False, "the cluster has no host"),
        ([{"CPU": 1}], [{"CPU": float(n)} for n in range(25)], False, "; 5 others, of which"),
    ],
)  # fmt: skip
def test_what_was_asked_and_what_there_is_are_told(
    places: list[dict[str, float]], hosts: list[dict[str, float]], strict: bool, told: str
) -> None:
    """In one sentence, however many hosts there are, with the cure."""
    assert told in no_place(places, hosts, {}, strict), no_place(places, hosts, {}, strict)
