"""What every sink keeps: its books close, its deadlines hold, its faults are its own. All sinks run in one real exporter."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import sink_cases
from support.plans import generator_plan, plan_of
from support.sink_cases import SinkCase

from wasp_ray.sinks.base import SinkBooks, SinkRun
from wasp_ray.sinks.feed import MAX_BACKLOG_BYTES, SampleFeed
from wasp_ray.sinks.jsonl import SampleFile
from wasp_ray.sinks.rows import SLOT, FrameReader, record_frame, text_frame
from wasp_ray.sinks.serve import serve
from wasp_ray.stats.batch import Batch
from wasp_ray.wire.channel import Channel, channel_pair
from wasp_ray.wire.record import Flag

TEXTS = ["", "__other__", "search", "/items", "200"]


class Outside:
    """The node and the aggregator as an exporter knows them."""

    def __init__(self, folder: Path, sinks: Sequence[Mapping[str, Any]]) -> None:
        self.channel, theirs = channel_pair()
        mine, feed = socket.socketpair()
        self.feed = SampleFeed(mine)
        self.thread = threading.Thread(target=serve, args=(Channel(theirs), feed), daemon=True)
        self.thread.start()
        plan = plan_of(generator_plan("shop"), profile="p").to_data() | {"sinks": list(sinks)}
        self.tell("plan", plan=plan, run_id="r1", node=1, nodes=1, folder=str(folder))

    def tell(self, op: str, **message: Any) -> None:
        """One message."""
        self.channel.send({"op": op, **message})

    def hear(self, name: str, deadline_s: float = 20.0) -> Any:
        """The value of the first message that has it."""
        give_up = time.monotonic() + deadline_s
        while time.monotonic() < give_up:
            for message in self.channel.wait(0.1):
                if name in message:
                    return message["books"] if name == "closed" else message[name]
            assert not self.channel.closed, f"the exporter has ended without {name!r}"
        raise AssertionError(f"no {name!r} within {deadline_s} s")

    def load(self, samples: int, windows: int = 3) -> None:
        """A short load: samples, windows, totals, events."""
        self.hear("ready")
        self.tell("begin", start_ns=1_000, start_wall_ns=time.time_ns())
        self.tell("event", event={"event": "start", "at_ns": time.time_ns(), "text": "begins", "generator": ""})
        for _ in range(samples // 10):
            self.feed.add(0, batch_of(10), TEXTS)
        for at_s in range(windows):
            self.tell("windows", windows=[{"generator": "shop", "at_s": at_s, "calls": 10, "ok": 10}])
        self.tell("totals", generators={})
        while not self.feed.is_empty:
            self.feed.flush()
            time.sleep(0.001)

    def end(self, deadline_s: float = 5.0) -> dict[str, Any]:
        """The last books by sink."""
        self.feed.close()
        self.tell("finish", deadline_s=deadline_s)
        sinks: dict[str, Any] = self.hear("closed")["sinks"]
        return sinks

    def close(self) -> None:
        """Ends the exporter."""
        self.feed.close()
        self.channel.close()
        self.thread.join(10)
        assert not self.thread.is_alive()


def batch_of(number: int, flags: int = Flag.SAMPLED | Flag.IN_GROUP | Flag.ENDS_CALL) -> Batch:
    """Records of a millisecond each."""
    rows = np.zeros(number, SLOT)
    rows["flags"], rows["due"], rows["start"], rows["end"] = flags, 2_000, 3_000, 1_003_000
    group, path, status, error = (np.full(number, at, np.int32) for at in (2, 3, 4, 0))
    return Batch(rows, np.zeros(number, np.intp), group, path, status, error)


def spec(case: SinkCase, name: str = "sink") -> dict[str, Any]:
    """As a plan has it."""
    return {"kind": case.kind, "name": name, "needs": sorted(case.needs), "options": dict(case.options)}


def check_books(books: Mapping[str, Any], lines: int) -> None:
    """All that was handed in is accepted, and has come to one end."""
    assert books["accepted"] == lines == books["delivered"] + sum(books["not_delivered"].values()), books


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sinks of this suite can be named as if they were installed."""
    sink_cases.install(monkeypatch)


@pytest.fixture(params=sink_cases.ALL, ids=lambda case: case.kind)
def case(request: pytest.FixtureRequest) -> SinkCase:
    """Each sink there is, well and at fault."""
    found: SinkCase = request.param
    return found


@pytest.fixture
def outside(case: SinkCase, tmp_path: Path) -> Iterator[Outside]:
    """An exporter with the sink of the case and one that keeps everything."""
    made = Outside(tmp_path, [spec(case), spec(sink_cases.KEEPER, "keeper")])
    yield made
    made.close()


def test_the_books_of_every_sink_close(case: SinkCase, outside: Outside) -> None:
    """Whatever becomes of its lines; the sink beside it has all of its own."""
    outside.load(samples=500)
    books = outside.end()
    check_books(books["sink"], case.lines(samples=500, windows=3, events=1, totals=1))
    assert set(books["sink"]["not_delivered"]) == case.reasons
    assert books["sink"]["maybe_double"] == 0
    assert books["keeper"]["delivered"] == 505 and not books["keeper"]["not_delivered"]


def test_every_sink_ends_by_its_deadline(case: SinkCase, outside: Outside) -> None:
    """Also one whose close never returns: the exporter has answered before the test gives up on it."""
    outside.load(samples=10)
    books = outside.end(deadline_s=0.2)
    check_books(books["sink"], case.lines(samples=10, windows=3, events=1, totals=1))


def test_a_run_that_never_began_has_its_setups(case: SinkCase, outside: Outside) -> None:
    """Samples that came before t = 0 are handed on at the end."""
    outside.hear("ready")
    outside.feed.add(0, batch_of(10), TEXTS)
    books = outside.end()
    check_books(books["sink"], case.lines(samples=10))
    assert books["keeper"]["delivered"] == 10


@pytest.mark.parametrize("why", ["raises", "no factory"])
def test_a_sink_that_cannot_open_is_refused_before_the_load(why: str, tmp_path: Path) -> None:
    """By its name, with what it says."""
    wrong = sink_cases.REFUSING if why == "raises" else SinkCase("nowhere", frozenset({"samples"}))
    made = Outside(tmp_path, [spec(sink_cases.KEEPER, "keeper"), spec(wrong, "second")])
    refused = made.hear("refused")
    assert refused.startswith("sink second: ") and ("token" in refused or "not installed" in refused)
    made.close()


def test_the_aggregator_never_waits_for_an_exporter_that_stands_still() -> None:
    """What has no room is dropped and counted; what was sent arrives whole."""
    mine, theirs = socket.socketpair()
    feed, number = SampleFeed(mine), 2_000
    while not feed.dropped:
        feed.add(0, batch_of(number), TEXTS)
        assert feed.sent * 84 < MAX_BACKLOG_BYTES + 2**23
    reader, received = FrameReader(["shop"]), 0
    theirs.settimeout(0.05)
    while not feed.is_empty:
        feed.flush()
        for samples in reader.read(theirs.recv(1 << 16)):
            received += len(samples)
            assert samples.texts[int(samples.names["group"][0])] == "search"
    feed.close()
    while chunk := theirs.recv(1 << 16):
        received += sum(map(len, reader.read(chunk)))
    theirs.close()
    assert received == feed.sent and feed.dropped == number


def test_only_what_is_sampled_is_sent(tmp_path: Path) -> None:
    """A record without the mark never leaves the aggregator."""
    made = Outside(tmp_path, [spec(sink_cases.KEEPER, "keeper")])
    made.hear("ready")
    made.tell("begin", start_ns=1_000, start_wall_ns=time.time_ns())
    made.feed.add(0, batch_of(10, Flag.IN_GROUP), TEXTS)
    made.feed.add(0, batch_of(5), TEXTS)
    assert made.end()["keeper"]["delivered"] == 5
    made.close()


def test_books_that_are_given_up_close() -> None:
    """What is open ends under the reason; nothing does twice."""
    books = SinkBooks(accepted=10, delivered=3)
    books.give_up("deadline")
    books.give_up("again")
    assert dict(books.not_delivered) == {"deadline": 7} and books.open == 0


def test_sinks_of_other_packages_are_given_the_plan_as_plain_data() -> None:
    """With the keys of plan.json, before and after the exporter has named the sink."""
    plan = plan_of(generator_plan("shop"), labels={"branch": "main"})
    run = replace(SinkRun("r", plan, 1, 1, None), name="own")
    assert run.plan == plan.to_data() and run.plan["generators"][0]["name"] == "shop"
    assert json.loads(json.dumps(run.plan)) == run.plan


def test_a_sample_file_without_a_bundle_counts_what_it_cannot_keep() -> None:
    """A library run has no folder."""
    sink = SampleFile({}, SinkRun("r", plan_of(), 1, 1, None))
    asyncio.run(sink.open())
    reader = FrameReader(["shop"])
    frame, _ = record_frame(0, batch_of(4))
    for samples in reader.read(text_frame(0, TEXTS) + frame):
        sink.samples(samples)
    asyncio.run(sink.close(1.0))
    assert dict(sink.books.not_delivered) == {"no_bundle": 4} and sink.books.open == 0
