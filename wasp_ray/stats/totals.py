"""What one node counted in a run, mergeable by addition and bounded in size. It must not judge, print or read a clock.

Calls and requests of warm-up segments are in the ledger, in `segments` and `errors`, not in `call` and `groups`.
Everything here is mutable: one owner (the aggregator) fills it, others get data by `to_data`. What the aggregator cannot know
(calls begun and dropped, users, CPU) the node adds by `with_worker_sums`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from wasp_ray.stats.histogram import Histogram
from wasp_ray.stats.limits import MAX_COUNTERS, MAX_ERRORS, MAX_GROUPS, OTHER, add_to
from wasp_ray.stats.loop_blocks import LoopBlocks
from wasp_ray.stats.tallies import CallTotals, ErrorTotals, GroupTotals, Ledger, SegmentTotals, UserTotals

_OTHER_ERRORS = (OTHER, "")


@dataclass(slots=True)
class GeneratorTotals:
    """What one generator did. `late`: calls started over 10 ms after due; `delivered`: started by the end + 1 s; `scheduled_s`: how
    much of its schedule was done, None where no node reported it; `ended_by`: what ended it before its schedule, "" for nothing.
    """

    kind: str
    ledger: Ledger = field(default_factory=Ledger)
    dropped_by: dict[str, int] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    late: int = 0
    delivered: int = 0
    start_delay: Histogram = field(default_factory=Histogram)
    call: CallTotals = field(default_factory=CallTotals)
    groups: dict[str, GroupTotals] = field(default_factory=dict)
    segments: list[SegmentTotals] = field(default_factory=list)
    errors: dict[tuple[str, str], ErrorTotals] = field(default_factory=dict)
    users: UserTotals = field(default_factory=UserTotals)
    cpu_s: float = 0.0
    cpu_wait_s: float = 0.0
    call_time_s: float = 0.0
    scheduled_s: float | None = None
    ended_by: str = ""
    loop_blocks: LoopBlocks = field(default_factory=LoopBlocks)

    def group(self, name: str) -> GroupTotals:
        """The group of that name, made when needed; a new one beyond MAX_GROUPS is `__other__`."""
        if name not in self.groups and len(self.groups) >= MAX_GROUPS:
            name = OTHER
        return self.groups.setdefault(name, GroupTotals())

    def segment(self, index: int) -> SegmentTotals:
        """The segment of that index, made when needed with those before it."""
        while len(self.segments) <= index:
            self.segments.append(SegmentTotals())
        return self.segments[index]

    def add_counter(self, name: str, number: int = 1) -> None:
        """Counts a user's counter; at most MAX_COUNTERS distinct ones."""
        add_to(self.counters, name, number, MAX_COUNTERS)

    def add_error(self, error: str, group: str, number: int, at_s: float | None, example: str = "") -> tuple[str, str]:
        """Count an error text; a new one beyond MAX_ERRORS is counted as `__other__`. Return the key of its entry."""
        found = ErrorTotals(number, at_s, example)
        key = _error_key(error, group)
        if key not in self.errors and len(self.errors) >= MAX_ERRORS:
            key, found.example = _OTHER_ERRORS, example or error
        self.errors.setdefault(key, ErrorTotals()).merge(found)
        return key

    def merge(self, other: GeneratorTotals) -> None:
        """Adds what the same generator did on another node."""
        self.ledger.merge(other.ledger)
        for cause, number in other.dropped_by.items():
            self.dropped_by[cause] = self.dropped_by.get(cause, 0) + number
        for counter, number in other.counters.items():
            self.add_counter(counter, number)
        for name in ("late", "delivered", "cpu_s", "cpu_wait_s", "call_time_s"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.scheduled_s = _larger(self.scheduled_s, other.scheduled_s)
        self.ended_by = self.ended_by or other.ended_by
        self.loop_blocks.merge(other.loop_blocks)
        self.start_delay.merge(other.start_delay)
        self.call.service.merge(other.call.service)
        self.call.response.merge(other.call.response)
        for group, totals in other.groups.items():
            self.group(group).add(totals)
        for index, segment in enumerate(other.segments):
            self.segment(index).merge(segment)
        for column in fields(UserTotals):
            setattr(self.users, column.name, getattr(self.users, column.name) + getattr(other.users, column.name))
        self._merge_errors(other)

    def _merge_errors(self, other: GeneratorTotals) -> None:
        """Both lists together, of which the most frequent MAX_ERRORS keep their own entry."""
        for key, found in other.errors.items():
            self.errors.setdefault(key, ErrorTotals()).merge(found)
        named = sorted((key for key in self.errors if key != _OTHER_ERRORS), key=lambda key: -self.errors[key].count)
        for key in named[MAX_ERRORS:]:
            self.errors.setdefault(_OTHER_ERRORS, ErrorTotals()).merge(self.errors.pop(key))

    def error_list(self) -> list[dict[str, Any]]:
        """The errors as JSON-able entries, most frequent first."""
        return [
            {"error": error, "group": group, **asdict(found)}
            for (error, group), found in sorted(self.errors.items(), key=lambda item: -item[1].count)
        ]

    def to_data(self) -> dict[str, Any]:
        """JSON-able, histograms as Histogram.to_data."""
        return {
            "kind": self.kind,
            "ledger": self.ledger.to_data(),
            "dropped_by": dict(self.dropped_by),
            "counters": dict(self.counters),
            "late": self.late,
            "delivered": self.delivered,
            "start_delay": self.start_delay.to_data(),
            "call": {"service": self.call.service.to_data(), "response": self.call.response.to_data()},
            "groups": {name: group.to_data() for name, group in self.groups.items()},
            "segments": [segment.to_data() for segment in self.segments],
            "errors": self.error_list(),
            "users": asdict(self.users),
            "cpu_s": self.cpu_s,
            "cpu_wait_s": self.cpu_wait_s,
            "call_time_s": self.call_time_s,
            "scheduled_s": self.scheduled_s,
            "ended_by": self.ended_by,
            "loop_blocks": self.loop_blocks.to_data(),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> GeneratorTotals:
        """The reverse of to_data."""
        call = data["call"]
        return cls(
            kind=data["kind"],
            ledger=Ledger.from_data(data["ledger"]),
            dropped_by=dict(data["dropped_by"]),
            counters=dict(data["counters"]),
            late=data["late"],
            delivered=data["delivered"],
            start_delay=Histogram.from_data(data["start_delay"]),
            call=CallTotals(Histogram.from_data(call["service"]), Histogram.from_data(call["response"])),
            groups={name: GroupTotals.from_data(group) for name, group in data["groups"].items()},
            segments=[SegmentTotals.from_data(segment) for segment in data["segments"]],
            errors={_error_key(e["error"], e["group"]): _error(e) for e in data["errors"]},
            users=UserTotals(**data["users"]),
            cpu_s=data["cpu_s"],
            cpu_wait_s=data["cpu_wait_s"],
            call_time_s=data["call_time_s"],
            scheduled_s=data["scheduled_s"],
            ended_by=data["ended_by"],
            loop_blocks=LoopBlocks(**data["loop_blocks"]),
        )


@dataclass(slots=True)
class WorkerSums:
    """What a node knows of one Generator without its records: from the headers of the rings, the fleet and the kernel."""

    scheduled: int
    started: int
    lost: int
    dropped_by: dict[str, int]
    users: UserTotals
    cpu_s: float
    cpu_wait_s: float
    scheduled_s: float
    ended_by: str
    loop_blocks: LoopBlocks


def with_worker_sums(data: Mapping[str, Any], sums: WorkerSums) -> dict[str, Any]:
    """Return the data of GeneratorTotals completed by the node; histograms are not read for it, since it is done each second."""
    dropped_by = {cause: number for cause, number in sums.dropped_by.items() if number}
    known = {
        "scheduled": sums.scheduled, "dropped": sum(dropped_by.values()), "started": sums.started, "lost": sums.lost,
    }  # fmt: skip
    return {
        **data, "ledger": {**data["ledger"], **known}, "dropped_by": dropped_by, "delivered": sums.started,
        "users": asdict(sums.users), "cpu_s": sums.cpu_s, "cpu_wait_s": sums.cpu_wait_s, "scheduled_s": sums.scheduled_s,
        "ended_by": sums.ended_by, "loop_blocks": sums.loop_blocks.to_data(),
    }  # fmt: skip


def _error_key(error: str, group: str) -> tuple[str, str]:
    """What found no entry of its own belongs to no group."""
    return _OTHER_ERRORS if error == OTHER else (error, group)


def _error(data: Mapping[str, Any]) -> ErrorTotals:
    return ErrorTotals(data["count"], data["first_at_s"], data["example"])


@dataclass(slots=True)
class NodeTotals:
    """Everything one node counted. `cpu_s` is that of all its processes in the `cpu_over_s` seconds from t = 0 to the end of the
    last worker, `peak_rss_bytes` None when not measured.
    """

    node: int = 0
    host: str = ""
    start_skew_s: float | None = None
    cpu_s: float = 0.0
    peak_rss_bytes: int | None = None
    generators: dict[str, GeneratorTotals] = field(default_factory=dict)
    sinks: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By sink: accepted, delivered, not_delivered (by reason), maybe_double, errors, problems."""
    cpu_over_s: float = 0.0

    @property
    def ledger(self) -> Ledger:
        """The sum over all generators (a new object)."""
        total = Ledger()
        for generator in self.generators.values():
            total.merge(generator.ledger)
        return total

    def generator(self, name: str, kind: str) -> GeneratorTotals:
        """The totals of a generator, made when needed."""
        return self.generators.setdefault(name, GeneratorTotals(kind))

    def merge(self, other: NodeTotals) -> None:
        """Adds another node: counts, CPU time and the time over which it was measured add up, memory and start skew are those of
        the worst node.
        """
        self.start_skew_s = _larger(self.start_skew_s, other.start_skew_s)
        peak = _larger(self.peak_rss_bytes, other.peak_rss_bytes)
        self.peak_rss_bytes = None if peak is None else int(peak)
        self.cpu_s += other.cpu_s
        self.cpu_over_s += other.cpu_over_s
        for name, totals in other.generators.items():
            self.generator(name, totals.kind).merge(totals)
        for name, books in other.sinks.items():
            self.sinks[name] = _added_books(self.sinks.get(name), books)

    def to_data(self) -> dict[str, Any]:
        """JSON-able, as one node sends it to the controller."""
        return {
            "node": self.node,
            "host": self.host,
            "start_skew_s": self.start_skew_s,
            "cpu_s": self.cpu_s,
            "peak_rss_bytes": self.peak_rss_bytes,
            "generators": {name: totals.to_data() for name, totals in self.generators.items()},
            "sinks": self.sinks,
            "cpu_over_s": self.cpu_over_s,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> NodeTotals:
        """The reverse of to_data; ValueError or KeyError when it is not such data."""
        return cls(
            data["node"],
            data["host"],
            data["start_skew_s"],
            data["cpu_s"],
            data["peak_rss_bytes"],
            {name: GeneratorTotals.from_data(totals) for name, totals in data["generators"].items()},
            dict(data["sinks"]),
            data["cpu_over_s"],
        )


def merge_nodes(nodes: Iterable[NodeTotals]) -> NodeTotals:
    """One NodeTotals that holds the sum of all (node 0, no host); the nodes themselves stay as they are."""
    total = NodeTotals()
    for node in nodes:
        total.merge(node)
    return total


def _added_books(mine: Mapping[str, Any] | None, other: Mapping[str, Any]) -> dict[str, Any]:
    """The books of one sink on two nodes; problems once each."""
    if mine is None:
        return {**other, "not_delivered": dict(other["not_delivered"]), "problems": list(other["problems"])}
    lost = Counter(mine["not_delivered"])
    lost.update(other["not_delivered"])
    added = {name: mine[name] + other[name] for name in ("accepted", "delivered", "maybe_double", "errors")}
    return {
        **added,
        "not_delivered": dict(lost),
        "problems": list(dict.fromkeys([*mine["problems"], *other["problems"]])),
    }


def _larger(a: float | None, b: float | None) -> float | None:
    known = [value for value in (a, b) if value is not None]
    return max(known) if known else None
