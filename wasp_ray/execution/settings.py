"""What a run is asked for, what it comes to, and who is shown it. Plain data; it must not do anything."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from wasp_ray.clock import stamp
from wasp_ray.plan import Plan
from wasp_ray.report.snapshot import Snapshot
from wasp_ray.stats.totals import NodeTotals
from wasp_ray.stats.verdict import Judgement


class View(Protocol):
    """What shows a run to a person; all calls come from the run's own thread."""

    def begin(self, plan: Plan, warnings: list[str]) -> None:
        """The load is known and about to start."""

    def update(self, snapshot: Snapshot) -> None:
        """A new state."""

    def note(self, text: str, *, limit: bool) -> None:
        """A line of user code (limit) or of the engine."""

    def close(self) -> None:
        """Nothing more comes."""


class NoView:
    """A library call prints nothing."""

    def begin(self, plan: Plan, warnings: list[str]) -> None:
        """Nothing."""

    def update(self, snapshot: Snapshot) -> None:
        """Nothing."""

    def note(self, text: str, *, limit: bool) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


@dataclass(slots=True)
class Settings:
    """What a run is asked for beyond its load."""

    source: Mapping[str, Any]
    profile: Any = None
    seed: int | None = None
    thresholds: list[str] = field(default_factory=list)
    only: str | None = None
    once: bool = False
    runtime: str = "process"
    nodes: int = 1
    load: str = "total"
    user_dir: str = ""
    out: Path | None = None
    wants_bundle: bool = False
    json_path: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)  # what nodes on other machines must be told of this one's
    address: str | None = None  # of the cluster, where the place has several
    image: str | None = None  # what the nodes run, where they are containers
    foreign_plan: bool = False  # the plan comes from an image, not from a load file of whoever runs this process
    run_id: str = field(default_factory=lambda: f"{stamp()}-{secrets.token_hex(3)}")
    warnings: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What the run is called before its plan is known."""
        if self.profile is not None:
            return str(self.profile.name or "run")
        return Path(str(self.source.get("file", "run")).split(":")[0]).stem


@dataclass(slots=True)
class Outcome:
    """What a run came to."""

    summary: dict[str, Any]
    plan: Plan
    judged: Judgement
    totals: NodeTotals | None
    path: Path | None
