"""The life of a run of several nodes, told as events; and that every sequence of events comes to its end."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wasp_ray.cluster.lifecycle import (
    Abort,
    Broken,
    Clean,
    Cleaned,
    Collect,
    Collected,
    Ended,
    Event,
    Finished,
    Instruction,
    Lifecycle,
    Phase,
    Planned,
    Ready,
    Refused,
    Release,
    Released,
    Seen,
    StopAsked,
    Terms,
    Trouble,
)


def made(nodes: int = 2, **terms: Any) -> Lifecycle:
    """A run that begins at 0 s."""
    made = Lifecycle(Terms(nodes, **terms))
    made.begin(0.0)
    return made


def up(run: Lifecycle, nodes: int = 2, now_s: float = 1.0) -> list[Instruction]:
    """All nodes come up with the same plan."""
    out: list[Instruction] = []
    for node in range(1, nodes + 1):
        uid = f"u{node}"
        for event in (Seen(node, uid), Planned(node, uid, "1", "plan"), Ready(node, uid)):
            out += run.step(event, now_s)
    return out


def kinds(instructions: list[Instruction]) -> list[str]:
    """Names alone."""
    return [type(i).__name__ for i in instructions]


def test_a_good_run_is_released_collected_and_cleaned() -> None:
    """Once each, in this order."""
    run = made()
    assert kinds(up(run)) == ["Release"]
    assert run.step(Finished(1, "u1"), 5) == []
    assert kinds(run.step(Finished(2, "u2"), 6)) == ["Collect"]
    assert kinds(run.step(Collected(), 7)) == ["Clean"]
    assert run.step(Cleaned(), 8) == [] and run.phase is Phase.DONE
    assert not (run.errors or run.invalid or run.problems or run.lost)


def test_nodes_that_do_not_come_up_are_named_after_the_deadline() -> None:
    """An error, with the reason that was last seen."""
    run = made(deploy_timeout_s=10)
    run.step(Trouble(2, "0/3 hosts have enough cpu"), 1)
    run.step(Seen(1, "u1"), 1)
    assert run.step(None, 9.9) == []
    assert kinds(run.step(None, 10)) == ["Abort"]
    assert "node 1: starting" in run.errors[0] and "0/3 hosts" in run.errors[0]
    assert kinds(run.step(None, 10 + run.terms.drain_s)) == ["Collect"]


def test_fatal_trouble_ends_the_wait_at_once() -> None:
    """What will not pass by itself is not waited for."""
    run = made()
    run.step(Seen(1, "u1"), 1)
    assert kinds(run.step(Trouble(2, "InvalidImageName", fatal=True), 2)) == ["Abort"]
    assert "InvalidImageName" in run.errors[0]


def test_bad_input_of_a_node_is_bad_input_of_the_run() -> None:
    """The same problem of many nodes is one; no error beside it."""
    run = made()
    for node in (1, 2):
        run.step(Seen(node, f"u{node}"), 1)
    assert kinds(run.step(Refused(1, "u1", ("no profile",)), 2)) == ["Abort"]
    run.step(Refused(2, "u2", ("no profile",)), 2)
    run.step(Ended(1, "u1", "exit code 0"), 3)
    assert kinds(run.step(Ended(2, "u2", "exit code 0"), 3)) == ["Collect"]
    assert run.problems == ["no profile"] and not run.errors


def test_different_plans_and_versions_never_start() -> None:
    """Bad input and an error."""
    for version, plan, what in (("1", "other", "problems"), ("2", "plan", "errors")):
        run = made()
        up(run, 1)
        for event in (Seen(2, "u2"), Planned(2, "u2", version, plan), Ready(2, "u2")):
            out = run.step(event, 2)
        assert kinds(out) == ["Abort"] and len(getattr(run, what)) == 1 and not run.released


def test_a_node_of_another_version_than_the_controllers_ends_the_wait_at_once() -> None:
    """An error with both versions, the image and both cures; nothing was released."""
    run = Lifecycle(Terms(2), "1.0", "shop:7")
    run.begin(0.0)
    run.step(Seen(1, "u1", "pod-1 on host-3"), 1)
    assert kinds(run.step(Planned(1, "u1", "2.0", "plan"), 1)) == ["Abort"]
    (error,) = run.errors
    assert error.startswith("node 1 (pod-1 on host-3) runs wasp_ray 2.0 and this controller 1.0: "), error
    assert "--tag shop:7 --push" in error and "pip install 'wasp-ray[cluster]==2.0'" in error
    assert run.step(Planned(2, "u2", "2.0", "plan"), 2) == [] and len(run.errors) == 1 and not run.released


def test_a_run_whose_plan_was_not_received_is_not_released() -> None:
    """A node that is ready though its plan was lost on the way: its thresholds would be lost with it."""
    run = made()
    up(run, 1)
    for event in (Seen(2, "u2", "pod-2"), Ready(2, "u2")):
        out = run.step(event, 2)
    assert kinds(out) == ["Abort"] and not run.released and not run.problems
    assert "the plan of node 2 (pod-2) could not be read" in run.errors[0]


def test_a_node_lost_in_the_run_makes_it_invalid_and_stops_it_or_not() -> None:
    """As asked."""
    for policy, expected in (("stop", ["Abort"]), ("continue", [])):
        run = made(on_lost_node=policy)
        up(run)
        assert kinds(run.step(Ended(1, "u1", "OOMKilled"), 5)) == expected
        assert "OOMKilled" in run.invalid[0]
        assert kinds(run.step(Finished(2, "u2"), 9)) == ["Collect"]


def test_a_node_that_ends_after_its_result_is_no_loss() -> None:
    """Exit after the last word."""
    run = made()
    up(run)
    run.step(Finished(1, "u1"), 5)
    assert run.step(Ended(1, "u1", "exit code 0"), 5) == [] and not run.invalid


def test_another_pod_before_the_start_replaces_and_after_it_is_fatal() -> None:
    """A barrier of members, not of counts."""
    run = made()
    run.step(Seen(1, "old"), 1)
    run.step(Ready(1, "old"), 1)
    assert kinds(up(run)) == ["Release"] and not run.errors
    assert kinds(run.step(Seen(1, "third"), 9)) == ["Abort"]
    assert "took its place" in run.invalid[0]


def test_a_timeout_is_an_error() -> None:
    """It never looks like success; it counts from the common start."""
    run = made(run_timeout_s=100)
    up(run, now_s=1.0)
    run.step(Released(5), 1.0)
    assert run.step(None, 105.9) == []
    assert kinds(run.step(None, 106)) == ["Abort"]
    assert "timeout" in run.errors[0]


def test_a_second_stop_is_at_once() -> None:
    """The first drains, the second does not wait."""
    run = made()
    up(run)
    assert run.step(StopAsked("SIGINT"), 5) == [Abort("SIGINT was asked for")]
    assert run.step(StopAsked("SIGINT"), 6) == [Abort("SIGINT was asked for", at_once=True)]
    assert kinds(run.step(None, 11)) == ["Collect"]
    assert run.interrupted == "SIGINT" and run.stopped


def test_a_node_that_others_ended_makes_the_run_invalid_and_stops_it_or_not() -> None:
    """Its result came whole, its load did not: a pod that is deleted, evicted, preempted."""
    for policy, expected in (("stop", ["Abort"]), ("continue", [])):
        run = made(on_lost_node=policy)
        up(run)
        assert kinds(run.step(Finished(1, "u1", signal="SIGTERM"), 5)) == expected
        assert "SIGTERM" in run.invalid[0] and not run.lost and run.interrupted is None
    run = made()
    run.step(Seen(1, "u1"), 1)
    assert kinds(run.step(Finished(1, "u1", signal="SIGTERM"), 2))[0] == "Abort"
    assert "before the start" in run.errors[0]


def test_a_node_that_ends_before_the_start_is_an_error() -> None:
    """Whatever it thinks of its own part."""
    run = made()
    run.step(Seen(1, "u1"), 1)
    assert kinds(run.step(Finished(1, "u1"), 2))[0] == "Abort" and "before the start" in run.errors[0]


def test_a_node_that_is_told_to_stop_and_hears_a_signal_is_no_finding() -> None:
    """Who drains is ended anyway."""
    run = made()
    up(run)
    run.step(StopAsked("SIGINT"), 5)
    run.step(Finished(1, "u1", signal="SIGTERM"), 6)
    assert not run.invalid


def test_a_node_whose_books_are_known_without_its_result_is_told_so() -> None:
    """Invalid all the same: its times are lost."""
    run = made()
    up(run)
    run.step(Ended(1, "u1", "exit code 0", counted=True), 5)
    assert "was not heard" in run.invalid[0] and "counts are those it left" in run.invalid[0]


def test_a_bad_end_after_the_result_is_a_warning() -> None:
    """The result is whole; what happened then may matter to somebody."""
    run = made()
    up(run)
    run.step(Finished(1, "u1"), 5)
    run.step(Ended(1, "u1", "exit code 137 (OOMKilled)", bad=True), 6)
    run.step(Ended(2, "u2", "exit code 0"), 6)
    assert len(run.warnings) == 1 and "OOMKilled" in run.warnings[0] and len(run.lost) == 1


def test_what_never_came_up_is_not_drained() -> None:
    """A pod that no host takes has nothing to end: 5 s, in case it has bad input to tell."""
    run = made(deploy_timeout_s=10)
    run.step(Seen(1, "u1"), 1)
    run.step(Trouble(1, "Unschedulable"), 1)
    assert kinds(run.step(None, 10)) == ["Abort"]
    assert run.step(None, 14.9) == []
    assert kinds(run.step(None, 15)) == ["Collect"]


def test_a_node_beside_those_of_the_run_is_no_member() -> None:
    """Old refusals of pods must not look like a node of another version."""
    run = made()
    run.step(Trouble(3, "exceeded quota"), 1)
    run.step(Trouble(2, "exceeded quota"), 1)
    assert kinds(up(run)) == ["Release"] and not run.errors


def test_the_same_trouble_is_told_once() -> None:
    """Two requests may fail for one cause."""
    run = made()
    run.step(Broken("the API server is gone"), 1)
    run.step(Broken("the API server is gone"), 2)
    assert run.errors == ["the API server is gone"]


EVENTS = st.one_of(
    st.builds(Seen, st.integers(1, 3), st.sampled_from("ab")),
    st.builds(Planned, st.integers(1, 3), st.sampled_from("ab"), st.sampled_from("12"), st.sampled_from("xy")),
    st.builds(Ready, st.integers(1, 3), st.sampled_from("ab")),
    st.builds(Refused, st.integers(1, 3), st.sampled_from("ab"), st.just(("bad",))),
    st.builds(Finished, st.integers(1, 3), st.sampled_from("ab"), st.booleans(), st.sampled_from([None, "SIGTERM"])),
    st.builds(Ended, st.integers(1, 3), st.sampled_from("ab"), st.just("gone"), st.booleans(), st.booleans()),
    st.builds(Trouble, st.integers(1, 4), st.just("why"), st.booleans()),
    st.builds(StopAsked, st.sampled_from(["SIGINT", None])),
    st.builds(Broken, st.just("api")),
    st.builds(Released, st.just(5.0)),
    st.just(Collected()),
    st.just(Cleaned()),
    st.none(),
)


@settings(max_examples=300)
@given(st.lists(st.tuples(EVENTS, st.floats(0, 30)), max_size=40))
def test_any_story_comes_to_its_end_and_says_everything_once(story: list[tuple[Event | None, float]]) -> None:
    """Release, Collect and Clean at most once, in this order; when time passes, the run is done."""
    run = made(3, deploy_timeout_s=60, run_timeout_s=120)
    now, said = 0.0, []
    for event, passed in story:
        now += passed
        said += run.step(event, now)
    for _ in range(12):
        now += 200
        said += run.step(None, now)
    assert run.phase is Phase.DONE
    once = [i for i in said if isinstance(i, (Release, Collect, Clean))]
    assert [type(i) for i in once] in ([Release, Collect, Clean], [Collect, Clean])
    assert all(isinstance(i, Abort) for i in said if i not in once)
    released = any(isinstance(i, Release) for i in said)
    assert released == run.released
    quiet = not (run.errors or run.invalid or run.problems or run.stopped)
    if quiet and not any(isinstance(e, Finished) and e.failed for e, _ in story):
        assert released and len(run.finished) == 3
