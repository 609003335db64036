"""What every run of several nodes keeps to, wherever its nodes are: written once, played at each place for real.

A test file gives the fixture `place` and a class of these. Who waits for what is decided by a gate (lifecycle_gate.py), never
by the clock: a node is killed while its user waits in the very step that is meant.
"""

from __future__ import annotations

import re
from typing import Any

from support.lifecycle_place import Going, Place

BOTH_SETUPS = [("setup", 1), ("setup", 2)]
BOTH_GOING = [("going", 1), ("going", 2)]
BOTH_TEARDOWNS = [("teardown", 1), ("teardown", 2)]


def reason(summary: dict[str, Any], pattern: str) -> None:
    """One of the run's reasons has it."""
    assert any(re.search(pattern, text) for text in summary["reasons"]), (pattern, summary["reasons"])


def calls(summary: dict[str, Any]) -> int:
    """Of the rate that went well."""
    return int(summary["generators"]["quick"]["ledger"]["ok"])


def never_started(run: Going) -> dict[str, Any]:
    """The summary of a run without a call."""
    summary = run.summary()
    assert summary["verdict"] == "error" and summary["ledger"]["scheduled"] == 0, summary
    assert not run.gate.asked("going")
    return summary


class Contract:
    """The cases of the life cycle."""

    def test_a_run_is_split_exactly_and_starts_as_one(self, place: Place) -> None:
        """Nodes 1 .. N, each call and user once over all of them, every node's start measured by one clock."""
        with Going(place, nodes=3, params={"users": 3, "seconds": 1}) as run:
            run.until("teardown")
            run.process.wait()
            said = run.ends(run.process.returncode)
            summary = run.summary()
        assert (summary["verdict"], summary["reasons"], run.process.returncode) == ("passed", [], 0), said
        assert [node["node"] for node in summary["nodes"]] == [1, 2, 3]
        assert calls(summary) == 50 and summary["ledger"]["ok"] == summary["ledger"]["scheduled"]
        assert sorted(step.user for step in run.gate.asked("setup")) == [0, 1, 2]
        assert summary["start_skew_s"]["max"] == max(node["start_skew_s"] for node in summary["nodes"])
        assert summary["start_skew_s"]["spread"] >= 0

    def test_a_load_file_with_problems_is_bad_input(self, place: Place) -> None:
        """All of them are told once, nothing was started, there is no bundle."""
        with Going(place, "wrong") as run:
            said = run.ends(2)
            assert said.count("call_timeout") == 1 and said.count("quick") == 1, said
            assert not run.gate.asked("setup") and not (place.folder / "out").exists()

    def test_a_setup_that_fails_everywhere_is_an_error(self, place: Place) -> None:
        """With what it raised, and no call."""
        with Going(place, "broken") as run:
            run.ends(4)
            reason(never_started(run), "no login for you")

    def test_a_stop_while_nodes_come_up_ends_them(self, place: Place) -> None:
        """Interrupted, and no call was made; what hangs in setup is not waited for."""
        with Going(place, held=BOTH_SETUPS) as run:
            run.until("setup")
            run.interrupt()
            run.ends(130)
            assert not run.gate.asked("going")

    def test_a_stop_in_the_load_keeps_every_result(self, place: Place) -> None:
        """Interrupted; calls in flight come to their end, users are torn down, no call is lost."""
        with Going(place) as run:
            run.until("going")
            run.interrupt()
            run.ends(130)
            summary = run.summary()
        assert summary["verdict"] == "interrupted" and calls(summary) > 0
        assert summary["ledger"]["ok"] == summary["ledger"]["started"]
        assert sorted(step.user for step in run.gate.asked("teardown")) == [0, 1]

    def test_a_second_stop_is_at_once(self, place: Place) -> None:
        """It does not wait for a call that hangs, which the first one does; the call is in the books."""
        with Going(place, held=BOTH_GOING) as run:
            run.until("going")
            run.interrupt()
            run.until_phase("draining")
            run.interrupt()
            run.ends(130)
            ledger = run.summary()["ledger"]
        assert ledger["killed"] + ledger["interrupted"] >= 2 and ledger["lost"] == 0, ledger

    def test_a_node_killed_while_deploying_is_an_error(self, place: Place) -> None:
        """Told with its number; the other one is not waited for."""
        with Going(place, held=BOTH_SETUPS) as run:
            run.until("setup")
            run.kill(1)
            run.ends(4)
            reason(never_started(run), f"node 1 ended before the start: .*({place.death})")

    def test_a_node_killed_at_the_barrier_is_an_error(self, place: Place) -> None:
        """It was ready, the other one was not: nothing begins."""
        with Going(place, held=[("setup", 2)]) as run:
            run.until_missing(2)
            run.kill(1)
            run.ends(4)
            reason(never_started(run), f"node 1 ended before the start: .*({place.death})")

    def test_a_node_killed_in_the_load_stops_the_others(self, place: Place) -> None:
        """Invalid; what the others did is kept, and the lost one counts to its last word."""
        with Going(place, held=[("going", 1)]) as run:
            run.until("going")
            run.kill(1)
            run.ends(3)
            summary = run.summary()
        assert summary["verdict"] == "invalid" and len(summary["nodes"]) == 2
        reason(summary, f"node 1 was lost: .*({place.death})")
        assert 0 < calls(summary) < 50 * 60 and len(run.gate.asked("teardown")) == 1

    def test_a_node_killed_in_the_load_leaves_the_others_going_when_asked(self, place: Place) -> None:
        """Invalid as well, with the whole part of the other one."""
        with Going(place, held=[("going", 1)], params={"seconds": 3}, on_lost_node="continue") as run:
            run.until("going")
            run.kill(1)
            run.ends(3)
            summary = run.summary()
        assert summary["verdict"] == "invalid" and summary["duration_s"] >= 3
        reason(summary, f"node 1 was lost: .*({place.death})")
        assert 75 <= calls(summary) < 150 and len(run.gate.asked("teardown")) == 1

    def test_a_node_killed_while_draining_makes_the_run_invalid(self, place: Place) -> None:
        """After Ctrl-C, while its user is torn down: the other one's result is awaited and kept."""
        with Going(place, held=BOTH_TEARDOWNS) as run:
            run.until("going")
            run.interrupt()
            run.until("teardown")
            run.kill(1)
            run.until_phase("draining")
            run.gate.let()
            run.ends(3)
            summary = run.summary()
        assert summary["verdict"] == "invalid" and calls(summary) > 0
        reason(summary, f"node 1 was lost: .*({place.death})")

    def test_nodes_that_do_not_come_up_in_time_are_named(self, place: Place) -> None:
        """The deploy deadline is an error, with what is known of each missing node."""
        with Going(place, held=[("setup", 2)], deploy_timeout="3s") as run:
            run.ends(4)
            reason(never_started(run), "of 2 nodes were not ready within 3 s: .*node 2: ")

    def test_a_run_that_takes_too_long_is_an_error(self, place: Place) -> None:
        """Never a success; its results are kept."""
        with Going(place, timeout="2s") as run:
            run.ends(4)
            summary = run.summary()
        reason(summary, "not over within its timeout, 2 s")
        assert summary["verdict"] == "error" and calls(summary) > 0
