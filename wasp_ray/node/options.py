"""What a node is given and what it returns. Plain data; it must not do anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from wasp_ray.plan import Plan
from wasp_ray.stats.totals import NodeTotals


@dataclass(slots=True)
class NodeOptions:
    """One node of one run. `source`: file and params, or pickle, as the zygote's load message has them."""

    source: Mapping[str, Any]
    run_id: str
    seed: int | None = None
    node: int = 0
    nodes: int = 1
    load: str = "total"
    runtime: str = "process"
    thresholds: list[str] = field(default_factory=list)
    only: str | None = None
    once: bool = False
    bundle_dir: Path | None = None
    user_dir: str = ""
    profile: Any = None  # inline: the object itself
    places: bool = False
    """Whether workers with a placement can be had."""
    placer: tuple[int, int] | None = None
    """The sockets by which they are asked for and come: see runtime.placed."""

    @property
    def share(self) -> tuple[int, int]:
        """(share, shares) of each schedule that this node does: all of it with load="per-node"."""
        return (self.node, self.nodes) if self.load == "total" else (0, 1)


@dataclass(frozen=True, slots=True)
class Process:
    """A process of a run. In the inline runtime all its parts are threads, and `pid` is that of the process that runs it."""

    kind: Literal["zygote", "aggregator", "exporter", "alerts", "worker"]
    pid: int
    generator: str | None = None
    """Of a worker, as is `slot`."""
    slot: int | None = None
    """The worker's number in its Generator, which its replacement takes over. User ids begin at `slot * users_per_process`."""


@dataclass(slots=True)
class NodeResult:
    """How it ended. `errors` make the verdict error, `invalid` invalid, `failed` failed."""

    plan: Plan
    totals: NodeTotals
    duration_s: float
    started_wall_s: float
    interrupted: str | None = None
    stopped: bool = False
    stopped_generators: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def to_data(self) -> dict[str, Any]:
        """Return JSON data, as a node sends it to its controller; the plan went before it."""
        data = {name: getattr(self, name) for name in self.__slots__ if name not in ("plan", "totals")}
        return {**data, "totals": self.totals.to_data()}

    @classmethod
    def from_data(cls, data: Mapping[str, Any], plan: Plan) -> NodeResult:
        """The reverse. Raises KeyError, TypeError or ValueError when it is no such data."""
        return cls(plan=plan, **{**data, "totals": NodeTotals.from_data(data["totals"])})
