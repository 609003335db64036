"""The small countable things totals are made of: ledger, group, segment, error, users. It must not know of nodes.

Each is mergeable by addition and bounded; GeneratorTotals puts them together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from wasp_ray.stats.histogram import Histogram

OTHER = "__other__"
"""Where counts go whose own entry found no room."""
MAX_STATUSES = 200


def add_to(counts: dict[str, int], key: str, number: int, limit: int) -> None:
    """counts[key] += number; a new key beyond `limit` distinct ones is counted under `__other__`."""
    slot = key if key in counts or len(counts) < limit else OTHER
    counts[slot] = counts.get(slot, 0) + number


@dataclass(slots=True)
class Ledger:
    """Every scheduled call in exactly one column: scheduled = started + dropped, started = the sum of its six ends."""

    scheduled: int = 0
    dropped: int = 0
    started: int = 0
    ok: int = 0
    failed: int = 0
    timeout: int = 0
    killed: int = 0
    interrupted: int = 0
    lost: int = 0

    @property
    def ended(self) -> int:
        """Started calls that are accounted for in any way."""
        return self.answered + self.killed + self.interrupted + self.lost

    @property
    def answered(self) -> int:
        """Calls that ended by themselves or at their deadline: ok + failed + timeout."""
        return self.ok + self.failed + self.timeout

    def closes(self) -> bool:
        """Whether both equations hold."""
        return self.scheduled == self.started + self.dropped and self.started == self.ended

    def merge(self, other: Ledger) -> None:
        """Adds the columns of another ledger."""
        for name in LEDGER_COLUMNS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def to_data(self) -> dict[str, int]:
        """All nine columns in order."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, int]) -> Ledger:
        """The reverse of to_data; a missing column is 0."""
        return cls(**{name: int(data.get(name, 0)) for name in LEDGER_COLUMNS})


LEDGER_COLUMNS = tuple(column.name for column in fields(Ledger))


@dataclass(slots=True)
class GroupTotals:
    """Requests of one group. `count` = ok + failed + timeout; `failed` does not contain `timeout`."""

    count: int = 0
    failed: int = 0
    timeout: int = 0
    status: dict[str, int] = field(default_factory=dict)
    bytes_in: int = 0
    bytes_out: int = 0
    service: Histogram = field(default_factory=Histogram)
    response: Histogram = field(default_factory=Histogram)

    def add_status(self, status: str, number: int = 1) -> None:
        """Counts a status; at most MAX_STATUSES distinct ones."""
        add_to(self.status, status, number, MAX_STATUSES)

    def merge(self, other: GroupTotals) -> None:
        """Adds another group's counts and histograms."""
        self.count += other.count
        self.failed += other.failed
        self.timeout += other.timeout
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        for status, number in other.status.items():
            self.add_status(status, number)
        self.service.merge(other.service)
        self.response.merge(other.response)

    def to_data(self) -> dict[str, Any]:
        """JSON-able, histograms as Histogram.to_data."""
        return {
            "count": self.count,
            "failed": self.failed,
            "timeout": self.timeout,
            "status": dict(self.status),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "service": self.service.to_data(),
            "response": self.response.to_data(),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> GroupTotals:
        """The reverse of to_data."""
        return cls(
            data["count"],
            data["failed"],
            data.get("timeout", 0),
            dict(data["status"]),
            data["bytes_in"],
            data["bytes_out"],
            Histogram.from_data(data["service"]),
            Histogram.from_data(data["response"]),
        )


@dataclass(slots=True)
class SegmentTotals:
    """Calls of one segment of the schedule, warm-up or not. `calls` = ok + failed + timeout."""

    calls: int = 0
    failed: int = 0
    timeout: int = 0
    service: Histogram = field(default_factory=Histogram)
    response: Histogram = field(default_factory=Histogram)

    def merge(self, other: SegmentTotals) -> None:
        """Adds another node's calls of the same segment."""
        self.calls += other.calls
        self.failed += other.failed
        self.timeout += other.timeout
        self.service.merge(other.service)
        self.response.merge(other.response)

    def to_data(self) -> dict[str, Any]:
        """JSON-able, histograms as Histogram.to_data."""
        return {
            "calls": self.calls,
            "failed": self.failed,
            "timeout": self.timeout,
            "service": self.service.to_data(),
            "response": self.response.to_data(),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> SegmentTotals:
        """The reverse of to_data."""
        service, response = Histogram.from_data(data["service"]), Histogram.from_data(data["response"])
        return cls(data["calls"], data["failed"], data.get("timeout", 0), service, response)


@dataclass(slots=True)
class ErrorTotals:
    """One error text of one group: how often, when first (seconds since t = 0), and an example (traceback, body)."""

    count: int = 0
    first_at_s: float | None = None
    example: str = ""

    def merge(self, other: ErrorTotals) -> None:
        """Adds; the earlier one's example is kept."""
        self.count += other.count
        if other.first_at_s is not None and (self.first_at_s is None or other.first_at_s < self.first_at_s):
            self.first_at_s, self.example = other.first_at_s, other.example or self.example
        self.example = self.example or other.example


@dataclass(slots=True)
class CallTotals:
    """Durations of calls: service = end - start, response = end - due."""

    service: Histogram = field(default_factory=Histogram)
    response: Histogram = field(default_factory=Histogram)


@dataclass(slots=True)
class UserTotals:
    """Users of one generator; over nodes these add up. `planned_max` and `active_max` are peaks."""

    planned_max: int = 0
    active_max: int = 0
    setup_failed: int = 0
    replaced: int = 0
