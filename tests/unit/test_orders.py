"""Stops, pauses and resumes: what was asked for, in which order, and what becomes of it in the node's loop."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from wasp_ray.node import orders as module
from wasp_ray.node.orders import STOP_GENERATOR, Orders, Stop

START, NOW, PAUSED_AT = 1000, 5000, 3000


class Node:
    """Notes what its orders do to two Generators and to the clock of the schedule."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.orders = Orders()
        self.control = SimpleNamespace(
            paused=False, start_ns=START, pause=self.pause, resume=lambda ns: self.clock("resume", ns)
        )
        self.load: Any = SimpleNamespace(control=self.control, generators=[self.generator(name) for name in "ab"])
        monkeypatch.setattr(module, "now_ns", lambda: NOW)
        monkeypatch.setattr(module, "publish_ahead", self.publish_ahead)

    def publish_ahead(self, put: Callable[[int], None]) -> int:
        """At an instant of the test's."""
        put(PAUSED_AT)
        return PAUSED_AT

    def pause(self, at_ns: int) -> None:
        """The control block is told."""
        self.clock("pause", at_ns)

    def clock(self, what: str, ns: int) -> None:
        """The schedule's clock stops or runs."""
        self.control.paused = what == "pause"
        self.done.append(f"{what} {ns}")

    def generator(self, name: str) -> Any:
        """One whose calls are noted."""
        return SimpleNamespace(
            name=name,
            stop=lambda: self.done.append(f"stop {name}"),
            abort=lambda now: self.done.append(f"abort {name} {now}"),
            paused=lambda at: self.done.append(f"paused {name} {at}"),
            resumed=lambda: self.done.append(f"resumed {name}"),
        )

    def obey(self, **reasons: bool) -> tuple[bool, list[str]]:
        """A turn of the loop: whether segments end later now, and what was done."""
        self.done.clear()
        return self.orders.obey(self.load, NOW, **reasons), list(self.done)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    """One."""
    return Node(monkeypatch)


BOTH_STOP, BOTH_ABORT = ["stop a", "stop b"], [f"abort a {NOW}", f"abort b {NOW}"]


def test_without_orders_nothing_is_done(node: Node) -> None:
    """Turn after turn."""
    assert node.obey() == (False, []) == node.obey()


def test_a_stop_stops_all_generators_and_a_second_one_aborts_them_once(node: Node) -> None:
    """The first signal is the one that counts."""
    node.orders.stop.ask("SIGTERM")
    assert node.obey() == (False, BOTH_STOP) and node.orders.stop == Stop("SIGTERM", asked=True, again=False)
    node.orders.stop.ask("SIGINT")
    assert node.obey() == (False, BOTH_STOP + BOTH_ABORT) and node.orders.stop == Stop("SIGTERM", True, True)
    assert node.obey() == (False, BOTH_STOP)


def test_a_stop_without_a_signal_leaves_the_signal_to_a_later_one() -> None:
    """From Python first, then by Ctrl-C."""
    stop = Stop()
    stop.ask(None)
    assert stop == Stop(None, True, False)
    stop.ask("SIGINT")
    assert stop == Stop("SIGINT", True, True)


def test_the_nodes_own_reasons_stop_and_abort_without_an_order(node: Node) -> None:
    """An error stops, the loss of an engine process aborts, once."""
    assert node.obey(must_stop=True) == (False, BOTH_STOP)
    assert node.obey(must_abort=True) == (False, BOTH_ABORT)
    assert node.obey(must_abort=True) == (False, [])
    assert not node.orders.stop.asked


def test_one_generator_is_stopped_by_its_name(node: Node) -> None:
    """And no other; an unknown name, as of a Generator of another node, is no error."""
    node.orders.commands += [f"{STOP_GENERATOR}b", f"{STOP_GENERATOR}nobody"]
    assert node.obey() == (False, ["stop b"]) and node.orders.commands == []


def test_a_pause_stops_the_clock_and_a_resume_adds_what_it_lasted(node: Node) -> None:
    """A second pause or resume changes nothing; after a resume segments end later."""
    node.orders.commands += ["pause", "pause"]
    assert node.obey() == (False, [f"pause {PAUSED_AT}", f"paused a {PAUSED_AT}", f"paused b {PAUSED_AT}"])
    node.orders.commands += ["resume"]
    assert node.obey() == (True, [f"resume {NOW - PAUSED_AT}", "resumed a", "resumed b"])
    node.orders.commands += ["resume"]
    assert node.obey() == (False, [])


def test_a_pause_that_is_ordered_before_t_0_lasts_from_t_0_on(node: Node) -> None:
    """Its time before that is none of the schedule's."""
    node.control.start_ns = PAUSED_AT + 500
    node.orders.commands += ["pause", "resume"]
    _, done = node.obey()
    assert done[1] == f"paused a {PAUSED_AT}" and f"resume {NOW - PAUSED_AT - 500}" in done
    node.control.start_ns = NOW + 500
    node.orders.commands += ["pause", "resume"]
    assert "resume 0" in node.obey()[1]


@pytest.mark.parametrize(
    ("commands", "is_paused", "rest"),
    [
        ([], False, []),
        (["pause"], True, []),
        (["pause", "resume"], False, []),
        (["resume", "pause", "pause"], True, []),
        ([f"{STOP_GENERATOR}a", "pause", f"{STOP_GENERATOR}b"], True, [f"{STOP_GENERATOR}a", f"{STOP_GENERATOR}b"]),
    ],
)
def test_orders_before_t_0_come_to_a_pause_or_none(
    commands: list[str], is_paused: bool, rest: list[str], node: Node
) -> None:
    """The last of them counts; others wait for the loop. A resume counts from t = 0."""
    node.orders.commands += commands
    assert node.orders.begins_paused(START) == is_paused and node.orders.commands == rest
    node.control.paused = True
    node.orders.commands[:] = ["resume"]
    assert f"resume {NOW - START}" in node.obey()[1]
