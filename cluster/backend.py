"""Who starts nodes and carries messages: the contract that this machine, Kubernetes and Ray keep alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from wasp_ray.cluster.lifecycle import Event


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a node's output: of its stdout, where the protocol is, or of its stderr (`is_error`).

    `arrived_s`: by this machine's wall clock; 0 where nodes share that clock.
    """

    node: int
    uid: str
    text: str
    is_error: bool = False
    arrived_s: float = 0.0


@dataclass(frozen=True, slots=True)
class LastWord:
    """A node's books as they are found without its output, told before its end; used when no result was heard."""

    node: int
    uid: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Note:
    """What a person should know of the way to the nodes; nothing depends on it."""

    text: str


Happening = Event | Line | LastWord | Note


class Keeper(Protocol):
    """A backend whose nodes outlive their controller: it keeps what another controller needs to finish the run."""

    def record(self, record: Mapping[str, Any]) -> None:
        """Keep values by the keys of wasp_ray.cluster.record: written together with the next release or order, else by the
        next call of `events`. Raises BadInput for a plan that is too large.
        """

    def conclude(self, verdict: str, reasons: Sequence[str]) -> None:
        """Keep the verdict, if anything of the run stays. Called once, after the last event; never raises."""

    def leave(self) -> str:
        """Let another controller take over at once and remove nothing; the sentence that says how. Called instead of `clean`."""


class Backend(Protocol):
    """Called from the controller's loop only. Every method may be called again and then does no harm.

    `deploy` may raise BadInput or NodeFailed, `events` BadInput in its place as long as it has told of no node, and NodeFailed
    when this controller cannot or may not go on; what else goes wrong is told as an event.
    """

    lead_s: float
    """From a release to the common start."""

    def deploy(self) -> None:
        """Starts the nodes. Raises BadInput when that cannot be, and leaves nothing then."""

    def events(self, timeout_s: float) -> Sequence[Happening]:
        """What has happened, in order, waiting for it at most so long."""

    def release(self) -> float:
        """Fixes the common start once and tells every node; the wall-clock instant by the backend's own clock."""

    def tell(self, order: str) -> None:
        """ "stop", "stop at once", "pause", "resume" or STOP_GENERATOR and a name, to every node; one that is gone is no
        error.
        """

    def collect(self) -> None:
        """Begins to fetch what nodes left behind; Collected comes as an event."""

    def clean(self) -> None:
        """Begins to remove everything of the run; Cleaned comes as an event."""
