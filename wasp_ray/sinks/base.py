"""The contract of a sink: a destination for samples, one-second windows, totals and events of a run.

A sink has two halves. What a Profile says of it is a `SinkConfig`: light, plain data, since load files import it. What does
the work is a `Sink`, made from that data by the factory that the entry point group `wasp_ray.sinks` names for its kind, in a
process of its own beside the load (the exporter), in which all sinks of a node share one asyncio loop.

What a sink must keep, and the contract suite checks:

- **Never slow the load.** `samples`, `windows`, `totals`, `event` return at once: they neither wait nor await. What has no
  room is dropped and counted.
- **Books.** Each line (a sample, a window, an event, a state of totals) that a sink takes is `accepted` and ends as `delivered`
  or, by reason, as `not_delivered`: after `close` the sums are equal. What may have arrived twice is counted in `maybe_double`.
  A state of totals says all that those before it said: with it they are delivered as well, so a sink may send only the newest,
  and the last one of a run is what summary.json says.
- **Deadlines.** `open` returns within 10 s and does not need its destination to be there. `close` returns by its deadline,
  whatever the destination does.
- **Own fault, own trouble.** An exception out of a sink ends that sink: what it took and did not deliver is counted as
  `sink_failed`, the load and the other sinks go on.
- **No secrets.** Options travel with the plan and are written to the bundle: a token is read from the environment by name.
- **Forks.** A sink is made after all forks of its process; it may start threads and open connections from `open` on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from wasp_ray.plan import Plan

if TYPE_CHECKING:
    from wasp_ray.sinks.rows import SampleRows  # which needs numpy: load files import this module

Need = Literal["samples", "windows", "totals", "events"]
OnSinkError = Literal["warn", "invalid", "fail"]
ON_SINK_ERROR: tuple[OnSinkError, ...] = ("warn", "invalid", "fail")
SINK_FAILED = "sink_failed"


class SinkConfig(Protocol):
    """What `Profile(sinks=[...])` holds. `kind` names the entry point; `needs` is what it wants to be given."""

    kind: ClassVar[str]
    needs: ClassVar[frozenset[Need]]

    def options(self) -> dict[str, Any]:
        """JSON-able, without secrets; the factory is given the same. `on_sink_error` in it: what a loss does to the verdict."""

    def problems(self) -> list[str]:
        """What is wrong with the options, a sentence each with the cure."""


@dataclass(slots=True)
class SinkRun:
    """The run that a sink serves. `start_ns` and `wall_offset_ns` are known from `begin` on."""

    run_id: str
    typed_plan: Plan
    node: int
    """From 1."""
    nodes: int
    folder: Path | None
    """The bundle's, of this node; None when the run has none."""
    name: str = ""
    """Of the sink, unique among those of the run."""
    start_ns: int = 0
    """t = 0, CLOCK_MONOTONIC."""
    wall_offset_ns: int = 0
    """Added to a monotonic instant it gives the time since 1970."""

    @property
    def plan(self) -> Mapping[str, Any]:
        """The plan as plain data, with the keys of plan.json: for sinks of other packages."""
        return self.typed_plan.to_data()

    def begin(self, start_ns: int, start_wall_ns: int) -> None:
        """t = 0 on both clocks."""
        self.start_ns, self.wall_offset_ns = start_ns, start_wall_ns - start_ns


@dataclass(slots=True)
class SinkBooks:
    """Lines of one sink. `errors`: refused or failed attempts to deliver; `problems`: sentences for the user, bounded."""

    accepted: int = 0
    delivered: int = 0
    not_delivered: Counter[str] = field(default_factory=Counter)
    maybe_double: int = 0
    errors: int = 0
    problems: list[str] = field(default_factory=list)

    MAX_PROBLEMS: ClassVar[int] = 20

    @property
    def open(self) -> int:
        """Accepted and not ended yet."""
        return self.accepted - self.delivered - sum(self.not_delivered.values())

    def tell(self, problem: str) -> None:
        """Keeps a sentence, each one once."""
        if problem not in self.problems and len(self.problems) < self.MAX_PROBLEMS:
            self.problems.append(problem)

    def give_up(self, reason: str) -> None:
        """What is open is not going to be delivered."""
        if self.open > 0:
            self.not_delivered[reason] += self.open

    def to_data(self) -> dict[str, Any]:
        """For messages and summary.json."""
        return {
            "accepted": self.accepted, "delivered": self.delivered, "not_delivered": dict(self.not_delivered),
            "maybe_double": self.maybe_double, "errors": self.errors, "problems": list(self.problems),
        }  # fmt: skip


class Sink(Protocol):
    """See the module's text. Called from one event loop, never two methods at once."""

    books: SinkBooks

    async def open(self) -> None:
        """Before the load. Raises WaspError when it can never work: then the run is not started."""

    def samples(self, samples: SampleRows) -> None:
        """Sampled requests and call ends of one Generator, each a line."""

    def windows(self, windows: Sequence[Mapping[str, Any]]) -> None:
        """Closed windows of one second, each a line: those of series.jsonl with `generator`, `planned`, `users`, `in_flight`."""

    def totals(self, generators: Mapping[str, Mapping[str, Any]]) -> None:
        """All since the start, a line: by Generator what stats.totals.GeneratorTotals.from_data takes, and with `now` the
        `planned`, `users` and `in_flight` of this moment. Once a second, or less often, and at the end.
        """

    def event(self, event: Mapping[str, Any]) -> None:
        """A line: `event` (start, end, error, ...), `at_ns` (since 1970), `text`, perhaps `generator`."""

    async def close(self, deadline_s: float) -> None:
        """Delivers what is left, or books why not, in so many seconds."""


def on_sink_error_problems(value: object) -> list[str]:
    """Of an option `on_sink_error=`."""
    if value in ON_SINK_ERROR:
        return []
    return [f"on_sink_error={value!r}: expected one of {', '.join(map(repr, ON_SINK_ERROR))}"]


SinkFactory = Callable[[Mapping[str, Any], SinkRun], Sink]
"""(options, run) -> Sink. Raises WaspError for options that cannot work here, such as a missing token."""
