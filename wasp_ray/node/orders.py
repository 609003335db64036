"""Stops, pauses and resumes: asked for from any thread or signal handler, carried out in the node's loop."""

from __future__ import annotations

from dataclasses import dataclass

from wasp_ray.clock import now_ns
from wasp_ray.node.load import Load
from wasp_ray.wire.control import publish_ahead

STOP_GENERATOR = "stop generator "


@dataclass(slots=True)
class Stop:
    """Whether a stop was requested, whether it was requested again, which ends all at once, and by which signal first."""

    signal: str | None = None
    asked: bool = False
    again: bool = False

    def ask(self, signal: str | None) -> None:
        """Request a stop. Async-signal-safe."""
        self.again = self.again or self.asked
        self.asked = True
        self.signal = self.signal or signal


class Orders:
    """Commands and stops that one node was given. `commands`: "pause", "resume", or STOP_GENERATOR and a name."""

    def __init__(self) -> None:
        self.stop = Stop()
        self.commands: list[str] = []
        self._paused_at = 0
        self._has_aborted = False

    def begins_paused(self, start_ns: int) -> bool:
        """Return what the pauses and resumes before t = 0 come to; called once, when that is known."""
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

    def obey(self, load: Load, now: int, *, must_stop: bool = False, must_abort: bool = False) -> bool:
        """Carry out what was requested, and the node's own reasons to stop. Return whether segments end later than before."""
        has_resumed = False
        while self.commands:
            has_resumed |= self._command(load, self.commands.pop(0))
        if self.stop.asked or must_stop:
            for generator in load.generators:
                generator.stop()
        if (self.stop.again or must_abort) and not self._has_aborted:
            self._has_aborted = True
            for generator in load.generators:
                generator.abort(now)
        return has_resumed

    def _command(self, load: Load, command: str) -> bool:
        control = load.control
        for generator in load.generators:
            if command == f"{STOP_GENERATOR}{generator.name}":
                generator.stop()
        if command == "pause" and not control.paused:
            at = publish_ahead(control.pause)
            self._paused_at = max(at, control.start_ns)
            for generator in load.generators:
                generator.paused(at)
        elif command == "resume" and control.paused:
            control.resume(max(0, now_ns() - self._paused_at))
            for generator in load.generators:
                generator.resumed()
            return True
        return False
