"""Blocks of event loops: what they are to a Generator's calls, and the sentences about them. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

MAX_SHARE = 0.1
"""Blocks that cover more of a Generator's call time make the run invalid."""


@dataclass(slots=True)
class LoopBlocks:
    """Steps of tasks that blocked the event loop of their worker. `call_s`: the time of calls in flight that they cover; `max_in`:
    the method of the actor in which the longest one was.
    """

    count: int = 0
    call_s: float = 0.0
    max_s: float = 0.0
    max_in: str = ""

    def merge(self, other: LoopBlocks) -> None:
        """Add those of another node."""
        self.count += other.count
        self.call_s += other.call_s
        if other.max_s > self.max_s:
            self.max_s, self.max_in = other.max_s, other.max_in

    def to_data(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    def are_too_many(self, call_time_s: float) -> bool:
        """Return whether the times of calls are those of the blocks; one block alone is only worth a warning."""
        return self.count > 1 and self.call_s > MAX_SHARE * call_time_s

    def sentence(self, actor_name: str) -> str:
        """Say which method blocked its loop, and how to avoid it. There is at least one."""
        actor = actor_name.rpartition("<locals>.")[2]
        cure = "use `def call`, or an async client" if self.max_in == "call" else "use an async client in it"
        return f"{self.max_in}() of {actor} blocked its event loop for up to {1e3 * self.max_s:,.0f} ms: {cure}"
