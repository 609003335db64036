"""The node's side of the exporter: sends it what happens without waiting during the load, takes delivery counters at the end."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from wasp_ray.clock import now_ns, wall_s
from wasp_ray.errors import BadInput, NodeFailed
from wasp_ray.node.engines import Engine, start_exporter
from wasp_ray.node.load_counts import planned_share
from wasp_ray.plan import Plan, SinkPlan
from wasp_ray.report.listener import GeneratorState
from wasp_ray.stats.seconds import Seconds
from wasp_ray.stats.totals import GeneratorTotals
from wasp_ray.wire.channel import Message

READY_TIMEOUT_NS = 20_000_000_000
MAX_BACKLOG_BYTES = 16 * 2**20
FLUSH_S, ABORTED_S = 30.0, 1.0
"""What sinks have for their last lines; after a second signal."""
CLOSE_GRACE_S = 15.0
"""Beyond that, for the aggregator's last samples and the exporter's own end."""
TOTALS_SHARE = 100
"""Telling totals takes at most one part in so many of the node's time: 5 ms with 10 groups, 300 ms with 1,000."""
DIED = "exporter_died"


class Exports:
    """Nothing at all when the plan has no sinks."""

    def __init__(self, inline: bool) -> None:
        self._inline = inline
        self._engine: Engine | None = None
        self._sinks: tuple[SinkPlan, ...] = ()
        self._backlog = bytearray()
        self._share = (0, 1)
        self._states: dict[str, GeneratorState] = {}
        self._books: dict[str, dict[str, Any]] = {}
        self._received = 0
        self._sent: Counter[str] = Counter()  # lines by need, beside samples; and of these those that arrived
        self._heard: dict[str, int] = {}
        self._next_totals = 0
        self._ready = self._closed = False
        self._left_out = {"windows": 0, "events": 0}
        self.feed: socket.socket | None = None
        """The aggregator's end of the way for samples; None when no sink wants any."""

    @property
    def wants_samples(self) -> bool:
        """Whether workers are to mark what is sampled."""
        return any("samples" in sink.needs for sink in self._sinks)

    @property
    def wants_totals(self) -> bool:
        """Whether totals that came now would be sent."""
        is_time = not self._backlog and now_ns() >= self._next_totals
        return is_time and any("totals" in sink.needs for sink in self._sinks)

    # -- life

    def start(self, plan: Plan, message: Message) -> None:
        """Starts the exporter when the plan has sinks. `message`: run_id, node, nodes, folder."""
        self._sinks = plan.sinks
        if not self._sinks:
            return
        self._share = (message["node"] - 1, message["nodes"]) if plan.load == "total" else (0, 1)
        mine, theirs = socket.socketpair()
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        self._engine = start_exporter(self._inline, theirs)
        fds = [] if self._inline else [theirs.fileno()]
        self._engine.channel.send({"op": "plan", "plan": plan.to_data(), **message}, fds)
        if not self._inline:
            theirs.close()
        if self.wants_samples:
            self.feed = mine
        else:
            mine.close()

    def feed_given(self) -> None:
        """The aggregator has its end now."""
        if self.feed is not None and not self._inline:
            self.feed.close()

    def wait_ready(self, stopped: Callable[[], bool]) -> None:
        """Until all sinks are open or a stop was asked for. Raises BadInput with what a sink found wrong, NodeFailed."""
        give_up = now_ns() + READY_TIMEOUT_NS
        while self._engine is not None and not self._ready and not stopped():
            for message in self._engine.channel.wait(0.1):
                if "refused" in message:
                    raise BadInput(message["refused"])
                self._ready = self._ready or "ready" in message
            if not self._ready and (self._engine.channel.closed or now_ns() > give_up):
                raise NodeFailed("the exporter process did not come up; its messages are above")

    @property
    def pid(self) -> int | None:
        """The exporter's, None when there is none, or none any more."""
        engine = self._engine
        return engine.pid if engine is not None and not engine.channel.closed else None

    @property
    def fds(self) -> list[int]:
        """What wakes the node's loop."""
        return [self._engine.channel.fileno()] if self._engine is not None and not self._engine.channel.closed else []

    def turn(self) -> None:
        """Reads and writes what can be without waiting."""
        if self._engine is None or self._engine.channel.closed:
            return
        for message in self._engine.channel.receive():
            if "books" in message:
                self._books, self._received = message["books"]["sinks"], message["books"]["received"]
                self._heard = message["books"]["heard"]
            self._closed = self._closed or "closed" in message
        while self._backlog:
            try:
                sent = self._engine.channel.sock.send(self._backlog)
            except OSError:  # full, or gone, which is seen at the end
                return
            del self._backlog[:sent]

    # -- what happens

    def begin(self, start_ns: int) -> None:
        """t = 0 on both clocks."""
        start_wall_ns = int(wall_s() * 1e9) + start_ns - now_ns()
        self._send({"op": "begin", "start_ns": start_ns, "start_wall_ns": start_wall_ns})

    def states(self, states: Sequence[GeneratorState]) -> None:
        """Take the present states, which are sent with the totals."""
        self._states = {state.name: state for state in states}

    def windows(self, closed: Seconds) -> None:
        """Closed windows by Generator."""
        if not any("windows" in sink.needs for sink in self._sinks):
            return
        lines = [{"generator": name, **window.line()} for name, windows in closed.items() for window in windows]
        if lines and self._send({"op": "windows", "windows": lines}):
            self._sent["windows"] += len(lines)
        else:
            self._left_out["windows"] += len(lines)

    def _now(self, name: str) -> dict[str, Any]:
        """The present load of this node, so that those of all nodes add up."""
        state = self._states.get(name)
        if state is None:
            return {"planned": 0.0, "users": 0, "in_flight": 0}
        planned = planned_share(state.kind, state.planned, *self._share)
        return {"planned": planned, "users": state.users_active, "in_flight": state.in_flight}

    def totals(self, generators: Mapping[str, Mapping[str, Any]]) -> None:
        """All so far, by Generator. Those that come when it is not time (`wants_totals`) are skipped: the next ones say it all."""
        began = now_ns()
        totals = {name: {**data, "now": self._now(name)} for name, data in generators.items()}
        if self._send({"op": "totals", "generators": totals}):
            self._sent["totals"] += 1
        ended = now_ns()
        self._next_totals = ended + TOTALS_SHARE * (ended - began)

    def last_totals(self, generators: Mapping[str, GeneratorTotals]) -> None:
        """Those that summary.json is made of; they are never skipped."""
        if any("totals" in sink.needs for sink in self._sinks):
            self._states = {}
            totals = {name: {**item.to_data(), "now": self._now(name)} for name, item in generators.items()}
            self._sent["totals"] += 1
            self._send({"op": "totals", "generators": totals}, must=True)

    def event(self, event: str, text: str, generator: str = "") -> None:
        """Something that happened just now."""
        happened = {"event": event, "at_ns": int(wall_s() * 1e9), "text": text, "generator": generator}
        if self._send({"op": "event", "event": happened}):
            self._sent["events"] += 1
        else:
            self._left_out["events"] += 1

    def _send(self, message: Message, *, must: bool = False) -> bool:
        """Queue a message; return False if the backlog is full. `must` ignores its limit."""
        if self._engine is None:
            return True
        if len(self._backlog) > MAX_BACKLOG_BYTES and not must:
            return False
        self._backlog += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self.turn()
        return True

    # -- the end

    def finish(self, wait: Callable[[], None], aborted: Callable[[], bool], *, at_once: bool) -> None:
        """Let the sinks deliver the rest. `wait` takes at most a moment; when `aborted()`, the last reported counters are used."""
        if self._engine is None or not self._ready:
            return
        deadline_s = ABORTED_S if at_once else FLUSH_S
        self._send({"op": "finish", "deadline_s": deadline_s}, must=True)
        give_up = now_ns() + int((deadline_s + CLOSE_GRACE_S) * 1e9)
        while not self._closed and not self._engine.channel.closed and now_ns() < give_up and not aborted():
            wait()
            self.turn()

    def results(self, sent: int, dropped: int) -> dict[str, dict[str, Any]]:
        """The books of each sink, all lines accounted for. `sent`, `dropped`: samples as the aggregator counted them."""
        out: dict[str, dict[str, Any]] = {}
        for sink in self._sinks:
            empty = {"accepted": 0, "delivered": 0, "not_delivered": {}, "maybe_double": 0, "errors": 0, "problems": []}
            books = out[sink.name] = {**empty, **self._books.get(sink.name, {})}
            lost: dict[str, int] = dict(books["not_delivered"])
            if "samples" in sink.needs:
                _add(books, lost, "exporter_slow", dropped)
                _add(books, lost, DIED, max(0, sent - self._received))
            for need, number in self._left_out.items():
                if need in sink.needs:
                    _add(books, lost, "exporter_slow", number)
            for need, number in self._sent.items():
                if need in sink.needs and self._ready:
                    _add(books, lost, DIED, max(0, number - self._heard.get(need, 0)))
            still_open = books["accepted"] - books["delivered"] - sum(lost.values())
            if still_open > 0:
                lost[DIED] = lost.get(DIED, 0) + still_open
            if not self._closed and self._ready:
                books["problems"] = [
                    *books["problems"],
                    "the exporter process did not shut down cleanly: its last reported delivery counters are used",
                ]
            books["not_delivered"] = lost
        return out

    def judge(self, results: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
        """Sentences by what each sink's `on_sink_error` makes of its losses: warn, invalid, fail."""
        found: dict[str, list[str]] = {"warn": [], "invalid": [], "fail": []}
        for sink in self._sinks:
            books = results[sink.name]
            found["warn"] += [f"sink {sink.name}: {problem}" for problem in books["problems"]]
            lost = books["not_delivered"]
            if lost:
                causes = ", ".join(f"{reason} {number:,}" for reason, number in sorted(lost.items()))
                missing = f"{sum(lost.values()):,} of {books['accepted']:,} lines were not delivered ({causes})"
                found[sink.options.get("on_sink_error", "warn")].append(f"sink {sink.name}: {missing}")
        return found

    def close(self) -> None:
        """Ends the process."""
        if self.feed is not None and self._inline:
            with suppress(OSError):
                self.feed.close()
        if self._engine is not None:
            self._engine.end()


def _add(books: dict[str, Any], lost: dict[str, int], reason: str, number: int) -> None:
    if number:
        books["accepted"] += number
        lost[reason] = lost.get(reason, 0) + number
