"""The plan of one Generator: its options with every default and duration resolved, and its load by segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from wasp_ray.plan.data import list_of, one_of, read, write
from wasp_ray.schedule import PoissonCurve, RateCurve, Schedule, make_curve

Kind = Literal["rate", "users"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPlan:
    """One segment of a schedule: its bounds in ns from t = 0 and the load that is due in it."""

    index: int
    """Of all segments of the schedule; a recorded plan may hold some of them only."""
    name: str
    warmup: bool
    from_ns: int
    to_ns: int
    planned_calls: int | None
    """Calls that are due in it; None for users."""
    planned_peak: float
    """The highest rate (per rate unit) or number of users."""

    @classmethod
    def from_data(cls, data: Any) -> SegmentPlan:
        """The reverse of to_data. Raises DataError."""
        return read(cls, data, "a segment of the plan")

    def to_data(self) -> dict[str, Any]:
        """Return JSON data."""
        return write(self)


def _schedule(data: Any) -> Schedule:
    if not isinstance(data, Sequence):
        raise ValueError("a list of segments")
    try:
        return Schedule.from_data(data)
    except (KeyError, TypeError, ValueError):
        raise ValueError("a list of segments") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorPlan:
    """One Generator of a plan. Times in ns; numbers are those of the whole run, or of each node with load="per-node"."""

    name: str
    kind: Kind = field(metadata={"reader": one_of("rate", "users")})
    actor_name: str = field(metadata={"key": "actor"})
    """Qualified name of the Gun or VirtualUser class."""
    is_async: bool
    schedule: Schedule = field(default=Schedule(()), metadata={"reader": _schedule})
    """Empty in the record of a plan that is too large with it."""
    rate_unit_ns: int
    arrivals: str = field(metadata={"reader": one_of("constant", "poisson")})
    labels: Mapping[str, str]
    seed: int
    call_timeout_ns: int | None
    setup_timeout_ns: int
    teardown_timeout_ns: int
    graceful_stop_ns: int
    min_delivered: float
    on_late: str = field(metadata={"reader": one_of("fire", "drop")})
    max_in_flight: int
    max_workers: int
    users_per_process: int
    max_calls: int | None
    setup_concurrency: int | None
    """None: as many as the node finds right."""
    placement: Mapping[str, float] | None
    """What each user (or pack) needs of its host, by resource; None when users live on the node itself."""
    fail_on_error: bool
    calls: int | None
    """Calls that are due; None for users."""
    peak: float
    """The highest rate per second, or number of users."""
    duration_ns: int
    segments: tuple[SegmentPlan, ...] = field(metadata={"reader": list_of(SegmentPlan.from_data)})
    arrival_seed: int | None = None
    """Set by the node: nodes that each do the whole schedule must not draw the same arrivals."""

    @property
    def on_late_drop(self) -> bool:
        """Whether a call that is late is dropped instead of started."""
        return self.on_late == "drop"

    @property
    def is_placed(self) -> bool:
        """Whether another backend finds a host for each user."""
        return self.placement is not None

    def curve(self) -> RateCurve | PoissonCurve:
        """Compute the due times of a rate."""
        seed = self.seed if self.arrival_seed is None else self.arrival_seed
        return make_curve(self.schedule, self.rate_unit_ns, self.arrivals, seed)

    @classmethod
    def from_data(cls, data: Any) -> GeneratorPlan:
        """The reverse of to_data. Raises DataError for what is missing or has the wrong type."""
        name = data.get("name") if isinstance(data, Mapping) else None
        return read(cls, data, "a Generator of the plan" if name is None else f"Generator {name!r} of the plan")

    def to_data(self) -> dict[str, Any]:
        """Return JSON data."""
        unset = [("schedule", not self.schedule.segments), ("arrival_seed", self.arrival_seed is None)]
        return write(self, *(name for name, is_unset in unset if is_unset))
