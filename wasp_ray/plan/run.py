"""The plan of a run: its Generators, thresholds, alert checks and sinks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from wasp_ray.plan.data import DataError, list_of, one_of, read, write
from wasp_ray.plan.generator import GeneratorPlan

SCHEMA = "wasp-ray/plan/1"
Load = Literal["total", "per-node"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkPlan:
    """One sink of a run. A recorded plan has only its kind and name: options may hold what not everybody should read."""

    kind: str
    """The entry point that makes it."""
    name: str
    """Unique in the run."""
    needs: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_data(cls, data: Any) -> SinkPlan:
        """The reverse of to_data. Raises DataError."""
        return read(cls, data, "a sink of the plan")

    def to_data(self) -> dict[str, Any]:
        """Return JSON data."""
        return write(self) if self.needs or self.options else write(self, "needs", "options")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPlan:
    """One AlertCheck of a run. Its kind is checked where it is used: the plan may come from an image."""

    kind: str
    url: str
    labels: Mapping[str, str]
    dashboard_uid: str
    tenant_id: str

    @classmethod
    def from_data(cls, data: Any) -> AlertPlan:
        """The reverse of to_data. Raises DataError."""
        return read(cls, data, "an alert check of the plan")

    def to_data(self) -> dict[str, Any]:
        """Return JSON data."""
        return write(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run is going to do: everything that nodes and their processes know of its Profile."""

    profile: str
    labels: Mapping[str, str]
    seed: int | None
    """None only in an unknown plan."""
    nodes: int
    load: Load = field(metadata={"reader": one_of("total", "per-node")})
    """Whether nodes share each schedule or each does all of it."""
    thresholds: tuple[str, ...]
    alerts: tuple[AlertPlan, ...] = field(metadata={"reader": list_of(AlertPlan.from_data)})
    duration_ns: int
    """Of the longest schedule."""
    generators: tuple[GeneratorPlan, ...] = field(metadata={"reader": list_of(GeneratorPlan.from_data)})
    sinks: tuple[SinkPlan, ...] = field(metadata={"reader": list_of(SinkPlan.from_data)})
    once: bool
    has_teardown: bool
    """Whether the Profile has a teardown of its own."""
    breaker: bool
    """Whether a Generator of which every call fails ends the load."""

    @classmethod
    def unknown(cls, profile: str = "run") -> Plan:
        """Return the plan of a run that came to none."""
        return cls(
            profile=profile, labels={}, seed=None, nodes=1, load="total", thresholds=(), alerts=(), duration_ns=0, generators=(),
            sinks=(), once=False, has_teardown=False, breaker=False,
        )  # fmt: skip

    @property
    def is_known(self) -> bool:
        """Whether it came from a Profile, which has at least one Generator."""
        return bool(self.generators)

    @property
    def by_name(self) -> dict[str, GeneratorPlan]:
        """Generators by name, in their order."""
        return {generator.name: generator for generator in self.generators}

    @property
    def times(self) -> int:
        """How many times the load of each schedule is done: once by all nodes together, or once by each."""
        return self.nodes if self.load == "per-node" else 1

    def seeded(self, offset: int | None) -> Plan:
        """Return a copy whose arrivals have seeds that are `offset` above those of their Generators; None: not set."""
        seeds = [None if offset is None else generator.seed + offset for generator in self.generators]
        generators = [replace(one, arrival_seed=seed) for one, seed in zip(self.generators, seeds, strict=True)]
        return replace(self, generators=tuple(generators))

    @classmethod
    def from_data(cls, data: Any) -> Plan:
        """The reverse of to_data. Raises DataError for what is missing or has the wrong type."""
        found = data.get("schema") if isinstance(data, Mapping) else SCHEMA
        if found != SCHEMA:
            raise DataError(f"'schema' of the plan is {found!r}: expected {SCHEMA!r}")
        return read(cls, data, "the plan")

    def to_data(self) -> dict[str, Any]:
        """Return JSON data, the content of plan.json."""
        return {"schema": SCHEMA, **write(self)}
