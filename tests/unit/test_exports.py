"""The node's side of the exporter: what it passes on, what it does not wait for, and how it accounts for every line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.plans import plan_of

from wasp_ray.errors import BadInput, NodeFailed
from wasp_ray.node import exports as module
from wasp_ray.node.engines import Engine
from wasp_ray.node.exports import Exports
from wasp_ray.plan import SinkPlan
from wasp_ray.report.listener import GeneratorState
from wasp_ray.stats.seconds import Second
from wasp_ray.wire.channel import Channel, Message, channel_pair

SECOND = 10**9
ALL = SinkPlan(kind="loki", name="loki", needs=("samples", "windows", "events", "totals"))
SOME = SinkPlan(kind="otlp", name="otlp", needs=("totals",))


class Played:
    """Exports whose exporter is played by the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        channel, theirs = channel_pair()
        self.exporter = Channel(theirs)
        self.now = 100 * SECOND
        monkeypatch.setattr(module, "start_exporter", lambda inline, feed: Engine(channel, None, None))
        monkeypatch.setattr(module, "now_ns", lambda: self.now)
        monkeypatch.setattr(module, "wall_s", lambda: 1000.0)
        self.exports = Exports(inline=True)

    def start(self, *sinks: SinkPlan, nodes: int = 1, node: int = 1) -> None:
        """With these sinks, ready and begun."""
        self.exports.start(plan_of(sinks=sinks), {"run_id": "r", "node": node, "nodes": nodes, "folder": None})
        self.say({"ready": True})
        self.exports.wait_ready(lambda: False)
        self.exports.begin(self.now)
        self.heard()

    def say(self, *messages: Message) -> None:
        """By the exporter; the node looks at it in its next turn."""
        for message in messages:
            self.exporter.send(message)

    def heard(self) -> list[Message]:
        """What the exporter was told since the last time."""
        return self.exporter.receive()

    def books(self, received: int, heard: dict[str, int], **sinks: Any) -> None:
        """The exporter reports, and the node has read it."""
        self.say({"books": {"sinks": sinks, "received": received, "heard": heard}})
        self.exports.turn()


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Iterator[Played]:
    """One."""
    made = Played(monkeypatch)
    yield made
    made.exports.close()
    made.exporter.close()


def state(planned: float, kind: Any = "rate", users: int = 3) -> GeneratorState:
    """Generator g right now."""
    return GeneratorState(name="g", kind=kind, planned=planned, users_active=users, in_flight=2)


def line(delivered: int, **not_delivered: int) -> dict[str, Any]:
    """What a sink has counted."""
    return {"accepted": delivered + sum(not_delivered.values()), "delivered": delivered, "not_delivered": not_delivered}


def test_without_sinks_there_is_no_exporter() -> None:
    """And nothing is waited for, told or lost."""
    exports = Exports(inline=True)
    exports.start(plan_of(), {})
    exports.wait_ready(lambda: False)
    exports.event("start", "x")
    exports.finish(lambda: pytest.fail("waited"), lambda: False, at_once=False)
    assert (exports.pid, exports.fds, exports.wants_samples, exports.wants_totals) == (None, [], False, False)
    assert exports.results(5, 5) == {} and exports.judge({}) == {"warn": [], "invalid": [], "fail": []}


def test_an_exporter_that_refuses_is_bad_input_and_one_that_dies_a_failed_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what a sink found wrong."""
    for says, error in (({"refused": ["no URL"]}, BadInput), (None, NodeFailed)):
        played = Played(monkeypatch)
        played.exports.start(plan_of(sinks=(ALL,)), {"node": 1, "nodes": 1})
        if says:
            played.say(says)
        else:
            played.exporter.close()
        with pytest.raises(error):
            played.exports.wait_ready(lambda: False)
        played.exports.close()
        played.exporter.close()


def test_samples_and_totals_are_wanted_where_a_sink_needs_them(played: Played) -> None:
    """A sink of totals alone needs no connection from the aggregator."""
    played.start(SOME)
    assert not played.exports.wants_samples and played.exports.feed is None and played.exports.wants_totals


def test_lines_that_all_arrived_are_accounted_for_as_the_sinks_counted_them(played: Played) -> None:
    """Nothing is added."""
    played.start(ALL)
    assert played.exports.wants_samples and played.exports.feed is not None
    played.exports.windows({"g": [Second(0), Second(1)]})
    played.exports.event("start", "x")
    played.exports.totals({"g": {}})
    assert [message["op"] for message in played.heard()] == ["windows", "event", "totals"]
    played.books(7, {"windows": 2, "events": 1, "totals": 1}, loki=line(10, rejected=2))
    played.say({"closed": True})
    played.exports.turn()
    (books,) = played.exports.results(sent=7, dropped=0).values()
    assert (books["accepted"], books["delivered"], books["not_delivered"]) == (12, 10, {"rejected": 2})
    assert books["problems"] == []


def test_what_a_dead_exporter_had_not_heard_or_not_delivered_is_lost(played: Played) -> None:
    """Samples that it never received, lines that it was told, lines that it had in hand."""
    played.start(ALL)
    played.exports.windows({"g": [Second(0), Second(1), Second(2)]})
    played.exports.event("start", "x")
    played.exports.totals({"g": {}})
    played.books(4, {"windows": 1}, loki={**line(3), "accepted": 5})
    (books,) = played.exports.results(sent=10, dropped=20).values()
    assert books["not_delivered"] == {"exporter_slow": 20, "exporter_died": 6 + 2 + 1 + 1 + 2}
    assert books["accepted"] == books["delivered"] + sum(books["not_delivered"].values()) == 3 + 20 + 12
    assert books["problems"] == [
        "the exporter process did not shut down cleanly: its last reported delivery counters are used"
    ]


def test_a_sink_answers_only_for_what_it_needs(played: Played) -> None:
    """Lost samples and windows are none of a sink of totals."""
    played.start(ALL, SOME)
    played.exports.windows({"g": [Second(0)]})
    played.books(0, {}, loki=line(0), otlp=line(4))
    results = played.exports.results(sent=10, dropped=20)
    assert results["otlp"]["not_delivered"] == {} and results["otlp"]["accepted"] == 4
    assert results["loki"]["not_delivered"] == {"exporter_slow": 20, "exporter_died": 11}


def test_what_finds_no_room_is_left_out_and_counted(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter that does not read holds nobody up; the last totals are told all the same."""
    played.start(ALL)
    monkeypatch.setattr(module, "MAX_BACKLOG_BYTES", 1000)
    text = "x" * 500_000
    for _ in range(20):
        played.exports.event("note", text)
    told = 0
    while messages := played.heard():
        told += len(messages)
        played.exports.turn()
    assert 2 <= told < 20
    played.books(0, {"events": told}, loki=line(told))
    assert played.exports.results(0, 0)["loki"]["not_delivered"] == {"exporter_slow": 20 - told}


def test_windows_are_sent_as_lines_of_series_jsonl(played: Played) -> None:
    """With their Generator in front."""
    played.start(ALL)
    played.exports.windows({"g": [Second(3, planned=2.5, users=1)]})
    (message,) = (message for message in played.heard() if message["op"] == "windows")
    assert message["windows"] == [{"generator": "g", **Second(3, planned=2.5, users=1).line()}]


@pytest.mark.parametrize(("at_once", "deadline_s"), [(False, 30.0), (True, 1.0)])
def test_the_end_waits_for_the_sinks_until_they_are_closed_or_the_time_is_over(
    at_once: bool, deadline_s: float, played: Played
) -> None:
    """With little time after a second signal; whoever is in a hurry does not wait at all."""
    played.start(ALL)
    played.exports.finish(lambda: None, lambda: True, at_once=at_once)
    assert played.heard() == [{"op": "finish", "deadline_s": deadline_s}]
    turns = 0

    def wait() -> None:
        nonlocal turns
        turns += 1
        played.now += SECOND

    played.exports.finish(wait, lambda: False, at_once=at_once)
    assert turns == deadline_s + 15
    played.exports.finish(lambda: played.say({"closed": True}), lambda: False, at_once=at_once)
    played.exports.finish(lambda: pytest.fail("waited"), lambda: False, at_once=at_once)


@pytest.mark.parametrize(
    ("policy", "kind"), [(None, "warn"), ("warn", "warn"), ("invalid", "invalid"), ("fail", "fail")]
)
def test_losses_are_judged_as_the_sink_asks_and_problems_are_warnings(
    policy: str | None, kind: str, played: Played
) -> None:
    """One sentence a sink, with its causes."""
    played.start(
        SinkPlan(kind="loki", name="loki", needs=("events",), options={"on_sink_error": policy} if policy else {})
    )
    books = {**line(10, rejected=2000, exporter_died=1), "problems": ["slow"]}
    judged = played.exports.judge({"loki": books})
    text = "sink loki: 2,001 of 2,011 lines were not delivered (exporter_died 1, rejected 2,000)"
    expected: dict[str, list[str]] = {"warn": ["sink loki: slow"], "invalid": [], "fail": []}
    expected[kind].append(text)
    assert judged == expected
    assert played.exports.judge({"loki": {**line(5), "problems": []}}) == {"warn": [], "invalid": [], "fail": []}
