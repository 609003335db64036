"""What a run is asked for and what it comes to. Plain data; it must not do anything."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wasp_ray.clock import stamp
from wasp_ray.execution.outputs import Outputs
from wasp_ray.plan import Plan
from wasp_ray.report.redaction import secrets_of
from wasp_ray.stats.totals import NodeTotals
from wasp_ray.stats.verdict import Judgement


@dataclass(slots=True)
class Settings:
    """What a run is asked for beyond its load."""

    source: Mapping[str, Any]
    profile: Any = None
    seed: int | None = None
    thresholds: list[str] = field(default_factory=list)
    only: str | None = None
    once: bool = False
    breaker: bool = (
        True  # False: whatever the Profile says, a Generator of which every call fails does not end the load
    )
    runtime: str = "process"
    nodes: int = 1
    load: str = "total"
    user_dir: str = ""
    out: Path | None = None
    wants_bundle: bool = False
    outputs: Outputs = field(default_factory=Outputs)
    env: Mapping[str, str] = field(default_factory=dict)  # what nodes on other machines must be told of this one's
    address: str | None = None  # of the cluster, where the place has several
    image: str | None = None  # what the nodes run, where they are containers
    foreign_plan: bool = False  # the plan comes from an image, not from a load file of whoever runs this process
    run_id: str = field(default_factory=lambda: f"{stamp()}-{secrets.token_hex(3)}")
    warnings: list[str] = field(default_factory=list)
    secret_values: Sequence[str] = ()  # values that outputs for other people must not show

    def known_secrets(self) -> list[str]:
        """Return the values that outputs for other people must not show, as far as their names or the caller say so."""
        return [*self.secret_values, *secrets_of(self.env), *secrets_of(self.source.get("params") or {})]

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
