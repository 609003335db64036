"""Nodes in Ray actors, one a host: the same node, barrier and life cycle as on one machine. Ray places and ends them.

Each actor is always asked one question, what is new, which it answers when something is; orders go beside that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wasp_ray._version import __version__
from wasp_ray.clock import now_ns, wall_s
from wasp_ray.cluster.backend import Happening, Line, Note
from wasp_ray.cluster.lifecycle import Cleaned, Collected, Ended, Event, Refused, Seen, Trouble
from wasp_ray.cluster.ray_api import LINES, ORDERS, ActorAway, ActorGone, RayCluster, answer, ready
from wasp_ray.cluster.ray_config import LEAD_S, RayConfig
from wasp_ray.cluster.ray_places import no_place, places_of, user_amounts
from wasp_ray.plan import Plan

READ_S = 1.0
AWAY_S = 30.0
"""An actor that does not answer for so long is lost: Ray itself says sooner that one has died."""
AGAIN_S = 0.5
END_S = 10.0
PLACE_SAY_S = 2.0
CLOCK_OFF_S = 0.05
"""A difference of clocks beyond which a node is told the common start by its own."""


class _Node:
    """One actor as its driver sees it."""

    def __init__(self, number: int, uid: str) -> None:
        self.number, self.uid = number, uid
        self.host = ""
        self.started = self.over = False
        self.turn = 0
        self.ref: Any = None
        self.ask_at_ns = 0
        self.away_since_ns: int | None = None
        self.same_clock = True
        self.ahead_s: float | None = None
        """Its host's clock minus this one's, at most the shortest way too low."""


class RayNodes:
    """See Backend. `orders`: what each node is told first, by node 1 .. N; the load file's folder is in `runtime_env`."""

    lead_s = LEAD_S

    def __init__(
        self, config: RayConfig, orders: Sequence[Mapping[str, Any]], runtime_env: Mapping[str, Any], kernel: str
    ) -> None:
        """`kernel`: the boot id of this machine."""
        self._config, self._runtime_env, self._kernel = config, runtime_env, kernel
        self._orders = [dict(order) for order in orders]
        self._nodes: list[_Node] = []
        self._cluster: RayCluster | None = None
        self._planning: Any = None
        self._places: list[dict[str, float]] = []
        self._pending: list[Happening] = []
        self._start_s: float | None = None
        self._told: list[str] = []
        self._say_place_ns = 0

    @property
    def head(self) -> str:
        """HOST:PORT of the cluster's head, once it is connected."""
        return "" if self._cluster is None else self._cluster.head

    def deploy(self) -> None:
        """Connects and has the plan read there; what becomes of that, and the places for it, is told by events."""
        if self._cluster is not None:
            return
        cluster = self._cluster = RayCluster(self._config.where(), self._runtime_env)
        try:
            cluster.place_anywhere()
            self._planning = cluster.call(0, "plan", ORDERS, self._orders[0], __version__)
        except BaseException:
            cluster.leave()
            raise

    def events(self, timeout_s: float) -> Sequence[Happening]:
        """Answers of actors."""
        cluster = self._cluster
        out, self._pending = self._pending, []
        if cluster is None:
            return out
        if self._planning is not None and ready([self._planning], 0 if out else timeout_s):
            return [*out, *self._planned(cluster)]
        self._ask(cluster)
        waiting = {node.ref: node for node in self._nodes if node.ref is not None}
        if waiting:
            for ref in ready(waiting, 0 if out else timeout_s):
                out += self._hear(waiting[ref])
            self._ask(cluster)
        if self._places and now_ns() >= self._say_place_ns and not all(node.started for node in self._nodes):
            self._say_place_ns = now_ns() + int(PLACE_SAY_S * 1e9)
            out += self._troubles(cluster)
        return out

    def _planned(self, cluster: RayCluster) -> list[Happening]:
        """The plan says what is asked of hosts; without one nothing is placed."""
        ref, self._planning = self._planning, None
        uid = self._orders[0]["uid"]
        try:
            told = answer(ref)
        except (ActorGone, ActorAway) as exc:
            return [Trouble(1, f"its plan could not be read on the cluster: {exc}", fatal=True)]
        if why := _other_version(told["version"], told["host"]):
            return [Trouble(1, why, fatal=True)]
        if "problems" in told:
            return [Refused(1, uid, tuple(told["problems"]))]
        if "error" in told:
            return [Trouble(1, told["error"], fatal=True)]
        plan = Plan.from_data(told["plan"])
        each, users = self._config.each(), user_amounts(plan)
        self._places = places_of(plan, len(self._orders), self._config.load, each)
        cluster.place(self._places, each, self._config.strategy)
        for number, order in enumerate(self._orders, 1):
            node = _Node(number, order["uid"])
            node.ref = cluster.call(number - 1, "start", ORDERS, number, order, __version__, cluster.group, users)
            self._nodes.append(node)
        self._say_place_ns = now_ns() + int(PLACE_SAY_S * 1e9)
        return []

    def _ask(self, cluster: RayCluster) -> None:
        for node in self._nodes:
            if node.started and not node.over and node.ref is None and now_ns() >= node.ask_at_ns:
                node.ref = cluster.call(node.number - 1, "read", LINES, node.turn + 1, READ_S)

    def _hear(self, node: _Node) -> list[Happening]:
        ref, node.ref = node.ref, None
        try:
            told = answer(ref)
        except ActorAway as exc:
            return self._away(node, str(exc))
        except ActorGone as exc:
            return self._gone(node, str(exc))
        node.away_since_ns = None
        if not node.started:
            return self._started(node, told)
        node.turn += 1
        events, wall = told
        arrived_s = wall_s()
        node.ahead_s = max(wall - arrived_s, node.ahead_s if node.ahead_s is not None else float("-inf"))
        return [found for event in events for found in self._taken(node, event, arrived_s)]

    def _taken(self, node: _Node, event: Happening, arrived_s: float) -> list[Happening]:
        match event:
            case Seen():
                return []
            case Line() if not node.same_clock:
                return [Line(event.node, event.uid, event.text, event.is_error, arrived_s)]
            case Ended():
                node.over = True
        return [event]

    def _started(self, node: _Node, facts: Mapping[str, str]) -> list[Happening]:
        node.host, node.started = facts["host"], True
        node.same_clock = facts["kernel"] == self._kernel != ""
        seen = Seen(node.number, node.uid, f"host {node.host}")
        why = _other_version(facts["version"], node.host)
        if not why:
            for order in self._told:
                self._send(node, {"op": order})
            return [seen]
        node.over = True
        return [seen, Trouble(node.number, why, fatal=True)]

    def _away(self, node: _Node, why: str) -> list[Happening]:
        now = now_ns()
        node.away_since_ns = node.away_since_ns or now
        node.ask_at_ns = now + int(AGAIN_S * 1e9)
        if node.started and now < node.away_since_ns + AWAY_S * 1e9:
            return []
        waited = f" for {AWAY_S:g} s" if node.started else ""
        return self._gone(node, f"it did not answer{waited}: {why}")

    def _gone(self, node: _Node, why: str) -> list[Happening]:
        node.over = True
        where = f" on host {node.host}" if node.host else ""
        text = f"its Ray actor{where} is gone: {why}"
        if node.started:
            return [Ended(node.number, node.uid, text)]
        node.started = True
        return [Trouble(node.number, text, fatal=True)]

    def _troubles(self, cluster: RayCluster) -> list[Event]:
        """Why there is no node yet: all of the group get their places at once."""
        if not cluster.waits_for_place:
            return []
        why = no_place(self._places, *cluster.hosts(), self._config.strategy == "STRICT_SPREAD")
        return [
            Trouble(node.number, why if node.number == 1 else "as node 1") for node in self._nodes if not node.started
        ]

    def release(self) -> float:
        """By this machine's clock; nodes whose clock is another are told by theirs."""
        if self._start_s is None:
            self._start_s = wall_s() + LEAD_S
        for node in self._nodes:
            at_s, ahead_s = self._start_s, node.ahead_s or 0.0
            if not node.same_clock and abs(ahead_s) > CLOCK_OFF_S:
                at_s += ahead_s
                off = f"the clock of its host, {node.host}, is {ahead_s:+.2f} s off this machine's"
                self._pending.append(Note(f"node {node.number}: {off}: it is told the start by its own"))
            self._send(node, {"op": "start", "at": at_s})
        return self._start_s

    def tell(self, order: str) -> None:
        """By a call of each actor; one that has not begun its node yet is told when it has."""
        self._told.append(order)
        for node in self._nodes:
            self._send(node, {"op": order})

    def _send(self, node: _Node, order: Mapping[str, Any]) -> None:
        if self._cluster is not None and node.started and not node.over:
            self._cluster.call(node.number - 1, "send", ORDERS, dict(order))

    def collect(self) -> None:
        """All has come by the actors' answers."""
        self._pending.append(Collected())

    def clean(self) -> None:
        """Ends nodes that are left, then actors and group."""
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            left = {
                cluster.call(node.number - 1, "end", LINES) for node in self._nodes if node.started and not node.over
            }
            give_up = now_ns() + int(END_S * 1e9)
            while left and now_ns() < give_up:
                left -= set(ready(left, 0.2))
            cluster.leave()
        self._pending.append(Cleaned())


def _other_version(found: str, host: str) -> str:
    """What is wrong with the wasp_ray of a host; "" when it is this one."""
    if found == __version__:
        return ""
    there = f"wasp_ray {found} is" if found else "wasp_ray is not"
    return (
        f"{there} installed on host {host}, and {__version__} here: install wasp-ray=={__version__} on the hosts of the"
        f' cluster, or have Ray do it for the run: runtime_env={{"pip": ["wasp-ray=={__version__}"]}}'
    )
