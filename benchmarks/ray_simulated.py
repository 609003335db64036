"""Nodes of a Ray run that are simulated: what an actor holds is no process, but what a real node had said.

It is played back at the same moments, under each one's own number and clock; all else is as in a real run.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wasp_ray._version import __version__
from wasp_ray.cluster import ray_actor, ray_driver
from wasp_ray.cluster.backend import Happening, Line
from wasp_ray.cluster.execution import node_orders
from wasp_ray.cluster.lifecycle import Ended, Seen
from wasp_ray.cluster.local import LocalNodes
from wasp_ray.cluster.snapshot import Decoder, Encoder, Told
from wasp_ray.execution import Settings

HEARTBEAT_S = 1.0
Saying = tuple[float, str, dict[str, Any]]
"""Seconds, from a node's beginning or from the common start, and a message."""


@dataclass
class Recorded:
    """What a real node said before the start and after it."""

    before: list[Saying]
    after: list[Saying]


def record(settings: Settings) -> Recorded:
    """Node 1 of a run of `settings.nodes`, played alone."""
    found = Recorded([], [])
    nodes, decoder = LocalNodes(node_orders(settings, None)[:1]), Decoder(settings.run_id)
    began_s, start_s, saying = time.time(), 0.0, found.before
    nodes.deploy()
    while True:
        for event in nodes.events(0.05):
            if isinstance(event, Ended):
                nodes.clean()
                return found
            told = decoder.read(event.text) if isinstance(event, Line) and not event.is_error else None
            if not isinstance(told, Told):
                continue
            saying.append((time.time() - (start_s or began_s), told.kind, told.data))
            if told.kind == "ready":
                start_s, saying = nodes.release(), found.after


class SimulatedNode:
    """What LocalNodes is to an actor. `events` from one thread, `send` from another."""

    def __init__(self, number: int, order: Mapping[str, Any], recorded: Recorded) -> None:
        self._number, self._uid, self._after = number, str(order["uid"]), recorded.after
        self._encoder = Encoder(str(order["run_id"]), number, self._uid)
        self._changed = threading.Condition()
        now = time.time()
        self._due = deque((now + at_s, kind, data) for at_s, kind, data in recorded.before)
        self._waiting: dict[str, Any] = next(data for _, kind, data in recorded.before if kind == "state")
        self._out: list[Happening] = [Seen(number, self._uid)]
        self._released = False

    def events(self, timeout_s: float) -> list[Happening]:
        """What is due, waiting for it."""
        give_up = time.time() + timeout_s
        with self._changed:
            while not self._out and time.time() < give_up:
                due_s = self._due[0][0] if self._due else give_up
                self._changed.wait(max(0.0, min(due_s, give_up) - time.time()))
                self._say()
            out, self._out = self._out, []
        return out

    def _say(self) -> None:
        now = time.time()
        while self._due and self._due[0][0] <= now:
            _, kind, data = self._due.popleft()
            mine: dict[str, Any] = {"at": now} if "at" in data else {}
            if kind == "result":
                mine = {"totals": {**data["totals"], "node": self._number, "host": f"simulated-{self._number}"}}
            lines = self._encoder.lines(kind, {**data, **mine})
            self._out += [Line(self._number, self._uid, text) for text in lines]
            if kind == "result":
                self._out.append(Ended(self._number, self._uid, "its process ended with exit code 0"))
            if not self._due and not self._released:
                self._due.append((now + HEARTBEAT_S, "state", self._waiting))

    def send(self, order: Mapping[str, Any]) -> None:
        """The start; it knows no stop."""
        if order["op"] != "start":
            return
        with self._changed:
            self._released = True
            self._due = deque((order["at"] + at_s, kind, data) for at_s, kind, data in self._after)
            self._changed.notify()

    def clean(self) -> None:
        """It has no processes."""


class SimulatedActor(ray_actor.NodeActor):
    """A NodeActor that starts no node."""

    def plan(self, order: dict[str, Any], wanted: str) -> dict[str, Any]:
        """What a real node had read."""
        found = Recorded(**json.loads(Path(order["recorded"]).read_text()))
        plan = next(data["plan"] for _, kind, data in found.before if kind == "plan")
        return {"version": __version__, "host": "simulated", "plan": plan}

    def start(
        self, number: int, order: dict[str, Any], wanted: str, group: Any, users: dict[str, Any]
    ) -> dict[str, Any]:
        """As a host with the wanted version."""
        found = json.loads(Path(order["recorded"]).read_text())
        self._nodes = SimulatedNode(number, order, Recorded(**found))
        return {"version": __version__, "host": f"simulated-{number}", "kernel": ray_actor.boot_id()}


def main() -> int:
    """The process that is Ray's driver, but for its actors' class."""
    ray_actor.NodeActor = SimulatedActor  # type: ignore[misc]
    return ray_driver.main()
