"""The small countable things totals are made of: ledger, group, segment, error, users. It must not know of nodes.

Each is mergeable by addition and bounded; GeneratorTotals puts them together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from wasp_ray.stats.histogram import Histogram
from wasp_ray.stats.limits import MAX_STATUSES, add_to
from wasp_ray.stats.outcomes import OUTCOMES, OutcomeCounts, outcomes_of

LEDGER_COLUMNS = ("scheduled", "dropped", "started", *OUTCOMES, "lost")


@dataclass(slots=True)
class Ledger(OutcomeCounts):
    """Every scheduled call in exactly one column: scheduled = started + dropped, started = the outcomes + lost."""

    scheduled: int = 0
    dropped: int = 0
    started: int = 0
    lost: int = 0

    @property
    def ended(self) -> int:
        """Started calls that are accounted for in any way."""
        return self.count + self.lost

    def closes(self) -> bool:
        """Whether both equations hold."""
        return self.scheduled == self.started + self.dropped and self.started == self.ended

    def merge(self, other: Ledger) -> None:
        """Adds the columns of another ledger."""
        for name in LEDGER_COLUMNS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def to_data(self) -> dict[str, int]:
        """All columns in order."""
        return {name: getattr(self, name) for name in LEDGER_COLUMNS}

    @classmethod
    def from_data(cls, data: Mapping[str, int]) -> Ledger:
        """The reverse of to_data; a missing column is 0."""
        return cls(**{name: int(data.get(name, 0)) for name in LEDGER_COLUMNS})


@dataclass(slots=True)
class Cell(OutcomeCounts):
    """Calls, or requests of one group, of a second or a run. The histograms hold those up to LAST_TIMED; where every call began
    when it was due, both are one object.
    """

    bytes_in: int = 0
    bytes_out: int = 0
    service: Histogram = field(default_factory=Histogram)
    response: Histogram = field(default_factory=Histogram)

    @classmethod
    def of(cls, outcomes: Iterable[int], sent: Iterable[int], service: Histogram, response: Histogram) -> Self:
        """Return a cell of these counts, in the order of Outcome, these bytes, in and out, and histograms."""
        made = cls(service=service, response=response)
        made.add_outcomes(outcomes)
        made.bytes_in, made.bytes_out = sent
        return made

    def merge(self, other: Cell) -> None:
        """Add another cell; it stays as it is."""
        self.add_outcomes(other.outcomes().values())
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        if self.response is self.service and other.response is not other.service:
            self.response = self.service.copy()
        if self.response is not self.service:
            self.response.merge(other.response)
        self.service.merge(other.service)

    def set_requests(self, other: Cell) -> None:
        """Hold what another cell holds, whose histograms it shares from now on."""
        for name in (*OUTCOMES, "bytes_in", "bytes_out", "service", "response"):
            setattr(self, name, getattr(other, name))

    def to_list(self) -> list[Any]:
        """Return JSON-able data: outcomes, bytes, histograms; null for a response that equals the service."""
        response = None if self.response is self.service else self.response.to_data()
        return [list(self.outcomes().values()), self.bytes_in, self.bytes_out, self.service.to_data(), response]

    @classmethod
    def from_list(cls, data: list[Any]) -> Cell:
        """The reverse of to_list."""
        outcomes, bytes_in, bytes_out, service, response = data
        times = Histogram.from_data(service)
        return cls.of(
            outcomes, (bytes_in, bytes_out), times, times if response is None else Histogram.from_data(response)
        )


@dataclass(slots=True)
class GroupTotals(Cell):
    """All requests of one group in a run, warm-up excluded, with their statuses."""

    status: dict[str, int] = field(default_factory=dict)

    def add_status(self, status: str, number: int = 1) -> None:
        """Counts a status; at most MAX_STATUSES distinct ones."""
        add_to(self.status, status, number, MAX_STATUSES)

    def add(self, other: GroupTotals) -> None:
        """Add the same group of another node."""
        self.merge(other)
        for status, number in other.status.items():
            self.add_status(status, number)

    def to_data(self) -> dict[str, Any]:
        """JSON-able, histograms as Histogram.to_data."""
        return {
            **self.outcomes(),
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
            **outcomes_of(data),
            status=dict(data["status"]),
            bytes_in=data["bytes_in"],
            bytes_out=data["bytes_out"],
            service=Histogram.from_data(data["service"]),
            response=Histogram.from_data(data["response"]),
        )


@dataclass(slots=True)
class SegmentTotals(OutcomeCounts):
    """Calls of one segment of the schedule, warm-up or not."""

    service: Histogram = field(default_factory=Histogram)
    response: Histogram = field(default_factory=Histogram)

    def merge(self, other: SegmentTotals) -> None:
        """Adds another node's calls of the same segment."""
        self.add_outcomes(other.outcomes().values())
        self.service.merge(other.service)
        self.response.merge(other.response)

    def to_data(self) -> dict[str, Any]:
        """JSON-able, histograms as Histogram.to_data."""
        return {**self.outcomes(), "service": self.service.to_data(), "response": self.response.to_data()}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> SegmentTotals:
        """The reverse of to_data."""
        service, response = Histogram.from_data(data["service"]), Histogram.from_data(data["response"])
        return cls(**outcomes_of(data), service=service, response=response)


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
    """Users of one generator; over nodes these add up. `active_max` is a peak."""

    active_max: int = 0
    setup_failed: int = 0
    replaced: int = 0
    scheduled_s: float = 0.0
    """User-seconds of the schedule, without warm-up and pauses."""
    delivered_s: float = 0.0
    """Those of them in which the user was there, or was being replaced for at most 5 s."""
    in_setup_s: float = 0.0
    """Those of the missing ones in which the user was in setup()."""

    @property
    def delivered(self) -> float | None:
        """The share of the scheduled user-seconds that was delivered; None if none were scheduled."""
        return self.delivered_s / self.scheduled_s if self.scheduled_s else None
