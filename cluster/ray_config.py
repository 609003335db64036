"""The options of a run on a Ray cluster, as one checked value. It imports no ray."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wasp_ray.cluster.lifecycle import Terms
from wasp_ray.errors import BadInput
from wasp_ray.schedule import parse_duration

STRATEGIES = ("STRICT_SPREAD", "SPREAD")
LEAD_S = 1.0
"""From the release to the common start: many times what a call of an actor takes."""
LEFT_OUT = (".git", ".venv", "__pycache__", "wasp-runs")
"""Of the working_dir: never wanted on a node."""


@dataclass(frozen=True, kw_only=True)
class RayConfig:
    """Options of a run on Ray. Durations as "1h30m" or seconds. Raises BadInput with a sentence for each problem."""

    test: str
    """FILE[:NAME]; its folder travels as working_dir, unless runtime_env names another one that holds it."""
    nodes: int = 1
    address: str = ""
    """HOST:PORT of the cluster's head, "auto" for one that runs on this machine, "local" for one made for this run alone;
    empty: RAY_ADDRESS, else "auto"."""
    load: str = "total"
    """total: the schedule is the whole load, split exactly; per-node: each node does all of it."""
    strategy: str = "STRICT_SPREAD"
    """STRICT_SPREAD: each node on a host of its own; SPREAD: several on one where there are not enough."""
    cpus: float = 1
    """What Ray books for each node; it keeps other work away and limits nothing."""
    resources: Mapping[str, float] = field(default_factory=dict)
    """Custom resources that each node's host must have."""
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    """Passed to Ray: pip, uv, env_vars, excludes, working_dir, ..."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables of every node. Ray shows those of runtime_env in its dashboard, and these nowhere."""
    timeout: str | float | None = None
    """From the common start; a run that is not over then is an error. None: no limit."""
    deploy_timeout: str | float = "10m"
    """All nodes must be ready by then."""
    drain: str | float = "60s"
    """What nodes that are told to stop have for their results."""
    on_lost_node: str = "stop"
    """Or "continue"; a run that lost a node is invalid either way."""
    params: Mapping[str, str] = field(default_factory=dict)
    thresholds: Sequence[str] = ()
    only: str | None = None
    seed: int | None = None
    out: str | Path | None = None
    json_path: str | Path | None = None
    junit_path: str | Path | None = None
    markdown_path: str | Path | None = None

    def __post_init__(self) -> None:
        problems = [
            f"{name}={found!r}: expected {wanted}"
            for name, found, wanted, good in (
                ("test", self.test, "FILE[:NAME]", bool(self.test)),
                ("nodes", self.nodes, "a whole number from 1", type(self.nodes) is int and self.nodes >= 1),
                ("load", self.load, "'total' or 'per-node'", self.load in ("total", "per-node")),
                ("strategy", self.strategy, " or ".join(map(repr, STRATEGIES)), self.strategy in STRATEGIES),
                ("cpus", self.cpus, "a number above 0", isinstance(self.cpus, int | float) and self.cpus > 0),
                ("on_lost_node", self.on_lost_node, "'stop' or 'continue'", self.on_lost_node in ("stop", "continue")),
            )
            if not good
        ]
        for name in ("timeout", "deploy_timeout", "drain"):
            try:
                _seconds(getattr(self, name) or 0)
            except ValueError as exc:
                problems.append(f"{name}={getattr(self, name)!r}: {exc}")
        if problems:
            raise BadInput(problems)

    def where(self) -> str:
        """The address in effect."""
        return self.address or os.environ.get("RAY_ADDRESS", "") or "auto"

    def each(self) -> dict[str, float]:
        """What one node asks of its host."""
        return {"CPU": float(self.cpus), **{name: float(amount) for name, amount in self.resources.items()}}

    def terms(self) -> Terms:
        """What the life cycle holds the run to."""
        return Terms(
            nodes=self.nodes, deploy_timeout_s=_seconds(self.deploy_timeout),
            run_timeout_s=None if self.timeout is None else _seconds(self.timeout), drain_s=_seconds(self.drain),
            on_lost_node=self.on_lost_node,
        )  # fmt: skip


def _seconds(value: str | float) -> float:
    return parse_duration(value) / 1e9
