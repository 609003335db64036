"""The barrier counts who is there and compares what they have."""

from __future__ import annotations

from wasp_ray.cluster.barrier import Barrier


def test_it_is_full_when_every_node_is_ready() -> None:
    """Not before the last; what is missing is told by node."""
    barrier = Barrier(2)
    assert barrier.missing() == ["node 1: not there", "node 2: not there"]
    for node in (1, 2):
        barrier.seen(node, f"u{node}", f"pod-{node}")
        barrier.planned(node, f"u{node}", "1", "abc")
    barrier.ready(1, "u1")
    assert not barrier.full and barrier.missing() == ["node 2: setting up"]
    barrier.ready(2, "u2")
    assert barrier.full and barrier.different_plans() == barrier.different_versions() == ""


def test_a_successor_has_said_nothing_yet() -> None:
    """What an earlier pod of the same node said does not count for the next one."""
    barrier = Barrier(1)
    assert not barrier.seen(1, "a")
    barrier.ready(1, "a")
    assert barrier.seen(1, "b")
    barrier.ready(1, "a")
    assert not barrier.full
    barrier.gone(1, "a")
    assert barrier.is_member(1, "b")


def test_differences_name_nodes_and_pods() -> None:
    """Who has what."""
    barrier = Barrier(3)
    for node, plan in ((1, "aaa"), (2, "bbb"), (3, "aaa")):
        barrier.seen(node, "u", f"pod-{node}")
        barrier.planned(node, "u", "1.0", plan)
    assert barrier.different_plans() == "aaa on node 1 (pod-1), 3 (pod-3); bbb on node 2 (pod-2)"


def test_trouble_is_told_until_the_node_is_ready() -> None:
    """As the reason why it is missing."""
    barrier = Barrier(1)
    barrier.trouble(1, "ImagePullBackOff")
    assert barrier.missing() == ["node 1: ImagePullBackOff"]
    barrier.seen(1, "u")
    barrier.ready(1, "u")
    assert barrier.full
