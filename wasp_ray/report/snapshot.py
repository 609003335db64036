"""What a node tells the live view once in a while: plain values, no drawing, nothing imported that draws."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Phase = Literal["setting up", "running", "paused", "stopping", "draining"]


@dataclass(frozen=True, slots=True)
class GeneratorView:
    """One generator at one moment. Counts are since t = 0, `delivered_per_s` and percentiles of the last second."""

    name: str
    kind: Literal["rate", "users"]
    planned: float
    """Asked for now: calls per second (rate) or users."""
    delivered_per_s: float = 0.0
    users_active: int = 0
    in_flight: int = 0
    calls: int = 0
    ok: int = 0
    failed: int = 0
    timeout: int = 0
    dropped: int = 0
    p50_s: float | None = None
    """Service time; None: no call ended in the last second."""
    p99_s: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at one moment. `elapsed_s` is the schedule's clock (it stands still in a pause), 0 before t = 0."""

    elapsed_s: float
    total_s: float
    phase: Phase
    generators: list[GeneratorView] = field(default_factory=list)
