"""What a run reports while it lasts: the one interface of nodes to views, bundles, pages and controllers.

Plain values and no drawing, so that nodes can import it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from wasp_ray.plan import Kind, Plan
from wasp_ray.stats.outcomes import OutcomeCounts

if TYPE_CHECKING:
    from wasp_ray.stats.seconds import Seconds  # numpy would make `wasp --help` slow

Phase = Literal["setting up", "running", "paused", "stopping", "draining"]


@dataclass(slots=True)
class GeneratorState(OutcomeCounts):
    """One Generator at one moment. Counts are since t = 0; outcomes come from records, a moment after the starts."""

    name: str = ""
    kind: Kind = "rate"
    planned: float = 0.0
    """Asked for now: calls per second (rate) or users."""
    users_active: int = 0
    in_flight: int = 0
    started: int = 0
    dropped: int = 0


COUNTS = tuple(field.name for field in fields(GeneratorState) if field.name not in ("name", "kind", "planned"))
"""The fields of a GeneratorState that add up over nodes."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at one moment. `elapsed_s` is the schedule's clock (it stands still in a pause), 0 before t = 0."""

    elapsed_s: float
    total_s: float
    phase: Phase
    generators: Sequence[GeneratorState] = ()

    def to_data(self) -> dict[str, Any]:
        """Return JSON-able data."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Snapshot:
        """The reverse. Raises KeyError or TypeError when it is no such data."""
        states = [GeneratorState(**part) for part in data["generators"]]
        return cls(data["elapsed_s"], data["total_s"], data["phase"], states)


class Listener:
    """Called in the run's own thread; must not block. This one does nothing: a library call prints nothing."""

    def begin(self, plan: Plan, warnings: Sequence[str]) -> None:
        """The load was described and checked; the next thing is its start."""

    def update(self, snapshot: Snapshot) -> None:
        """About five times a second."""

    def windows(self, closed: Seconds) -> None:
        """Closed one-second windows, by Generator."""

    def note(self, text: str) -> None:
        """A message of the engine for the user: first exceptions, warnings."""

    def output(self, line: str) -> None:
        """A line that user code printed."""

    def close(self) -> None:
        """Nothing more comes."""
