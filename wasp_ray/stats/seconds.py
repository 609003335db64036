"""One second of one Generator: its calls and requests by group with their histograms, and the load that was there. Pure.

A call or request belongs to the second of its end; those of warm-up segments, by the time they were due, are kept apart. Seconds
of several nodes are added up by `merge`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from wasp_ray.stats.histogram import Histogram
from wasp_ray.stats.tallies import Cell

SHORT_KEYS = ("mean", "p50", "p95", "p99", "max")
GAUGES = ("planned", "users", "in_flight")
LOAD_COUNTS = ("scheduled", "started", "lost", "late")


class CellKey(NamedTuple):
    """A group, None for the calls themselves, and whether it was warm-up."""

    group: str | None
    warmup: bool


@dataclass(slots=True)
class Second:
    """One second of one Generator, or several seconds added up.

    `scheduled`, `started`, `lost` and `dropped_by` are what was added to the ledger's columns within it; `planned` is the target
    in its middle, in calls/s or users, and `is_warmup` whether that is warm-up; `users` and `in_flight` are those at its end.
    `start_delay` holds start - due of calls that found a free worker; `late` counts calls that began over 10 ms late.
    """

    at_s: int
    cells: dict[CellKey, Cell] = field(default_factory=dict)
    scheduled: int = 0
    started: int = 0
    lost: int = 0
    late: int = 0
    dropped_by: dict[str, int] = field(default_factory=dict)
    planned: float = 0.0
    users: float = 0.0
    in_flight: float = 0.0
    is_warmup: bool = False
    start_delay: Histogram = field(default_factory=Histogram)
    errors: dict[tuple[str, str], int] = field(default_factory=dict)
    """By error text and group."""

    def cell(self, group: str | None, *, warmup: bool) -> Cell:
        """Return the cell, made when needed."""
        return self.cells.setdefault(CellKey(group, warmup), Cell())

    @property
    def dropped(self) -> int:
        """Calls that were dropped."""
        return sum(self.dropped_by.values())

    def calls(self) -> Cell:
        """Return all calls of the second, warm-up or not."""
        cells = [cell for key, cell in self.cells.items() if key.group is None]
        if len(cells) == 1:
            return cells[0]
        total = Cell()
        for cell in cells:
            total.merge(cell)
        return total

    def of_calls(self) -> Second:
        """Return the second without groups and errors; both share their histograms."""
        cells = {key: cell for key, cell in self.cells.items() if key.group is None}
        return replace(self, cells=cells, errors={})

    def merge(self, other: Second) -> None:
        """Add the same second of another node, or a part of it that came late; the other stays as it is."""
        for key, cell in other.cells.items():
            self.cells.setdefault(key, Cell()).merge(cell)
        for name in (*LOAD_COUNTS, *GAUGES):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for cause, number in other.dropped_by.items():
            self.dropped_by[cause] = self.dropped_by.get(cause, 0) + number
        for error, number in other.errors.items():
            self.errors[error] = self.errors.get(error, 0) + number
        self.is_warmup = self.is_warmup or other.is_warmup
        self.start_delay.merge(other.start_delay)

    def __add__(self, other: Second) -> Second:
        """Return the sum of two; both stay as they are."""
        total = Second(self.at_s)
        total.merge(self)
        total.merge(other)
        total.compact()
        return total

    def thinned(self, steps: int) -> Second:
        """Return the second with histograms of `steps` buckets to an octave, and the same counts."""
        cells = {}
        for key, cell in self.cells.items():
            service = cell.service.thinned(steps)
            response = service if cell.response is cell.service else cell.response.thinned(steps)
            cells[key] = replace(cell, service=service, response=response)
        return replace(self, cells=cells, start_delay=self.start_delay.thinned(steps))

    def compact(self) -> None:
        """Keep only the buckets of its histograms that are not empty: a second takes much less memory then."""
        self.start_delay.compact()
        for cell in self.cells.values():
            cell.service.compact()
            cell.response.compact()

    def line(self) -> dict[str, Any]:
        """Return the figures that series.jsonl has of it."""
        calls = self.calls()
        delay_ns = self.start_delay.percentile(99)
        return {
            "at_s": self.at_s, "planned": self.planned, "users": self.users, "in_flight": self.in_flight,
            "scheduled": self.scheduled, "started": self.started, "dropped": self.dropped, "late": self.late,
            "calls": calls.count, **calls.outcomes(), "service_s": short(calls.service), "response_s": short(calls.response),
            "start_delay_p99_s": None if delay_ns is None else delay_ns / 1e9,
        }  # fmt: skip

    def to_data(self) -> dict[str, Any]:
        """Return JSON-able data."""
        return {
            "at_s": self.at_s,
            "cells": [[key.group, key.warmup, cell.to_list()] for key, cell in self.cells.items()],
            **{name: getattr(self, name) for name in LOAD_COUNTS},
            "dropped_by": self.dropped_by, "planned": self.planned, "users": self.users, "in_flight": self.in_flight,
            "is_warmup": self.is_warmup, "start_delay": self.start_delay.to_data(),
            "errors": [[error, group, number] for (error, group), number in self.errors.items()],
        }  # fmt: skip

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Second:
        """The reverse of to_data. Raises KeyError, TypeError or ValueError when it is no such data."""
        return cls(**{
            **data,
            "cells": {CellKey(group, warmup): Cell.from_list(cell) for group, warmup, cell in data["cells"]},
            "dropped_by": dict(data["dropped_by"]),
            "start_delay": Histogram.from_data(data["start_delay"]),
            "errors": {(error, group): number for error, group, number in data["errors"]},
        })  # fmt: skip


Seconds = Mapping[str, list[Second]]
"""By Generator, in order of time."""
Origin = tuple[int | None, str]
"""A node, None for all together, and a Generator."""
SecondsByOrigin = Mapping[Origin, Sequence[Second]]


def folded(seconds: Iterable[Second], step_s: int) -> list[Second]:
    """Return sums of `step_s` seconds each, in order of time, with the means of planned, users and in flight; warm-up is kept
    apart. `at_s` is the first second of the step. Seconds of which parts came late count once in a mean.
    """
    sums: dict[tuple[int, bool], Second] = {}
    present: dict[tuple[int, bool], set[int]] = {}
    for second in seconds:
        key = second.at_s - second.at_s % step_s, second.is_warmup
        sums.setdefault(key, Second(key[0], is_warmup=second.is_warmup)).merge(second)
        present.setdefault(key, set()).add(second.at_s)
    for key, total in sums.items():
        for name in GAUGES:
            setattr(total, name, getattr(total, name) / len(present[key]))
    return [total for _, total in sorted(sums.items())]


def short(histogram: Histogram) -> dict[str, float | None]:
    """Return the figures that a chart needs, in seconds."""
    whole = histogram.summary_s()
    return {name: whole[name] for name in SHORT_KEYS}
