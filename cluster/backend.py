"""Who starts nodes and carries messages: the contract that this machine, Kubernetes and Ray keep alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from wasp_ray.cluster.lifecycle import Event


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a node's output: of its stdout, where the protocol is, or of its stderr (`is_error`)."""

    node: int
    uid: str
    text: str
    is_error: bool = False


Happening = Event | Line


class Backend(Protocol):
    """Called from the controller's loop only. Every method may be called again and then does no harm.

    Only `deploy` may raise, BadInput or NodeFailed; what goes wrong later is told as an event.
    """

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
