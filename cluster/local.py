"""Nodes as processes of this machine: the same node, barrier and life cycle as in a cluster, with none needed.

The end of the pipe of its orders is an order to stop at once, so that no node outlives its controller.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from typing import Any

from wasp_ray.clock import now_ns, wall_s
from wasp_ray.cluster.backend import Happening, Line
from wasp_ray.cluster.child_process import ChildProcess, heard
from wasp_ray.cluster.lifecycle import Cleaned, Collected, Ended, Seen

LEAD_S = 0.3
"""From the release to the common start: many times what a pipe takes."""
END_S = 5.0


class _Node(ChildProcess):
    """One process."""

    def __init__(self, number: int, order: Mapping[str, Any]) -> None:
        super().__init__("wasp_ray.cluster.local_node", order, order.get("placer", ()))
        self.number = number
        self.uid = str(order.get("uid") or self.process.pid)
        self.ended_told = False


class LocalNodes:
    """See Backend. `orders`: what each node is told first, by node `first`, ..."""

    lead_s = LEAD_S

    def __init__(self, orders: Sequence[Mapping[str, Any]], first: int = 1) -> None:
        self._orders, self._first = orders, first
        self._nodes: list[_Node] = []
        self._pending: list[Happening] = []
        self._start_s: float | None = None

    def deploy(self) -> None:
        """One process a node."""
        for number, order in enumerate(self._orders[len(self._nodes) :], self._first + len(self._nodes)):
            node = _Node(number, order)
            self._nodes.append(node)
            self._pending.append(Seen(number, node.uid, f"process {node.uid}"))

    def events(self, timeout_s: float) -> Sequence[Happening]:
        """Lines and ends of processes."""
        lines = heard(self._nodes, 0 if self._pending else timeout_s)
        out, self._pending = self._pending, []
        out += [Line(node.number, node.uid, text, is_error) for node, is_error, text in lines]
        for node in self._nodes:
            if node.over and not node.ended_told:
                node.ended_told = True
                out.append(Ended(node.number, node.uid, _how(node.process.returncode)))
        return out

    def release(self) -> float:
        """All nodes have the same clock here."""
        if self._start_s is None:
            self._start_s = wall_s() + LEAD_S
        self.send({"op": "start", "at": self._start_s})
        return self._start_s

    def tell(self, order: str) -> None:
        """Through the pipes."""
        self.send({"op": order})

    def send(self, order: Mapping[str, Any]) -> None:
        """The order itself, to every node."""
        for node in self._nodes:
            node.send(order)

    def collect(self) -> None:
        """All has come through the pipes."""
        self._pending.append(Collected())

    def clean(self) -> None:
        """Ends what is left."""
        for node in self._nodes:
            node.close_stdin()
        give_up_ns = now_ns() + int(END_S * 1e9)
        for node in self._nodes:
            node.end(give_up_ns)
        self._pending.append(Cleaned())


def _how(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    try:
        return f"its process was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"its process was ended by signal {-code}"
