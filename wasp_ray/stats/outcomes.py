"""How calls and requests end: names, order and meaning, defined once. Pure; imported by workers, so without numpy.

A new outcome is a member of Outcome and a field of OutcomeCounts: ledgers, groups, segments, windows, sinks, messages between
nodes and summary.json follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum


class Outcome(IntEnum):
    """How a call or request ended; the number is stored in its record."""

    OK = 0
    FAILED = 1
    TIMEOUT = 2
    KILLED = 3
    INTERRUPTED = 4


OUTCOMES = tuple(outcome.name.lower() for outcome in Outcome)
LAST_TIMED = Outcome.TIMEOUT
"""Outcomes up to this one have a duration that says something of the target: histograms hold them."""


@dataclass(slots=True)
class OutcomeCounts:
    """How many calls or requests ended in each way. The fields are OUTCOMES."""

    ok: int = 0
    failed: int = 0
    timeout: int = 0
    killed: int = 0
    interrupted: int = 0

    @property
    def count(self) -> int:
        """All of them."""
        return sum(self.outcomes().values())

    @property
    def answered(self) -> int:
        """Those that ended by themselves or at their deadline."""
        return sum(getattr(self, name) for name in OUTCOMES[: LAST_TIMED + 1])

    @property
    def errors(self) -> int:
        """All that did not succeed."""
        return self.count - self.ok

    def outcomes(self) -> dict[str, int]:
        """Return the counts by name, in order."""
        return {name: getattr(self, name) for name in OUTCOMES}

    def add_outcomes(self, counts: Iterable[int]) -> None:
        """Add counts in the order of Outcome."""
        for name, number in zip(OUTCOMES, counts, strict=True):
            setattr(self, name, getattr(self, name) + number)


def outcomes_of(data: Mapping[str, int]) -> dict[str, int]:
    """Return the outcomes of JSON data; a missing one is 0."""
    return {name: int(data.get(name, 0)) for name in OUTCOMES}
