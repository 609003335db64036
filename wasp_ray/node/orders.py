"""What a running node is told from outside, and what that does to its load. Told from any thread or signal handler, obeyed in
the node's loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wasp_ray.clock import now_ns
from wasp_ray.wire.control import publish_ahead

if TYPE_CHECKING:
    from wasp_ray.node.run import Node

STOP_GENERATOR = "stop generator "


@dataclass(slots=True)
class Stop:
    """Whether the end was asked for, `again`: at once, and by which signal first."""

    signal: str | None = None
    asked: bool = False
    again: bool = False

    def ask(self, signal: str | None) -> None:
        """Once more."""
        self.again = self.again or self.asked
        self.asked = True
        self.signal = self.signal or signal


class Orders:
    """Of one node. `commands`: "pause", "resume", or STOP_GENERATOR and a name."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.stop = Stop()
        self.commands: list[str] = []
        self._paused_at = 0
        self._hurried = False

    def begins_paused(self, start_ns: int) -> bool:
        """Return what the pauses and resumes that came before t = 0 come to; called once, when that is known."""
        is_paused, rest = False, []
        for _ in range(len(self.commands)):  # others may add to it meanwhile
            command = self.commands.pop(0)
            if command in ("pause", "resume"):
                is_paused = command == "pause"
            else:
                rest.append(command)
        self.commands[:0] = rest
        self._paused_at = start_ns
        return is_paused

    def obey(self, now: int) -> None:
        """Stops and pauses asked for, and the reasons to stop that the node found itself."""
        node = self._node
        while self.commands:
            self._command(self.commands.pop(0), now)
        for generator in node.generators:
            if self.stop.asked or node.errors:
                generator.stop()
        if (self.stop.again or node.lost_engine()) and not self._hurried:
            self._hurried = True
            for generator in node.generators:
                generator.hurry(now)

    def _command(self, command: str, now: int) -> None:
        node, control = self._node, self._node.control
        for generator in node.generators:
            if command == f"{STOP_GENERATOR}{generator.name}":
                generator.stop()
        if command == "pause" and not control.paused:
            at = publish_ahead(control.pause)
            self._paused_at = max(at, control.start_ns)
            for generator in node.generators:
                generator.paused(at)
        elif command == "resume" and control.paused:
            control.resume(max(0, now_ns() - self._paused_at))
            ends = [[control.absolute_ns(s.to_ns) for s in part.segments] for part in node.plan.generators]
            node.links.tell_aggregator({"op": "bounds", "ends_ns": ends})
            for generator in node.generators:
                generator.resumed()
