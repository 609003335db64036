"""What may happen to a run of several nodes, and what may have to be done then: plain values, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass

# -- events


@dataclass(frozen=True, slots=True)
class Seen:
    """A process or pod that is to be a node was found."""

    node: int
    uid: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """A node has read its load."""

    node: int
    uid: str
    version: str
    plan_hash: str


@dataclass(frozen=True, slots=True)
class Ready:
    """A node's first users are set up."""

    node: int
    uid: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A node found its input bad."""

    node: int
    uid: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """A node's result has come. `failed`: it could not do its part. `signal`: by which somebody else ended it."""

    node: int
    uid: str
    failed: bool = False
    signal: str | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A node's process or container is no more. `counted`: it left its books where they were found without its output;
    `bad`: it did not end as a node ends that has told its result.
    """

    node: int
    uid: str
    why: str
    counted: bool = False
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something keeps a node from coming up; `fatal`: it will not pass by itself."""

    node: int
    why: str
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class StopAsked:
    """By a signal, or by a handle (None). A second one means at once."""

    signal: str | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """The controller itself cannot go on: its cluster refuses it, its disk is gone."""

    why: str


@dataclass(frozen=True, slots=True)
class Released:
    """All nodes are told the common start, which is so far away."""

    lead_s: float


@dataclass(frozen=True, slots=True)
class Collected:
    """Logs, events and results are here."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Nothing of the run is left where it ran."""


Event = (
    Seen | Planned | Ready | Refused | Finished | Ended | Trouble | StopAsked | Broken | Released | Collected | Cleaned
)


# -- instructions


@dataclass(frozen=True, slots=True)
class Release:
    """Fix the common start and tell all nodes."""


@dataclass(frozen=True, slots=True)
class Abort:
    """Tell all nodes to stop: with their grace, or at once."""

    why: str
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Collect:
    """Fetch what is left to fetch."""


@dataclass(frozen=True, slots=True)
class Clean:
    """Remove everything of the run."""


Instruction = Release | Abort | Collect | Clean
