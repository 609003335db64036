"""Where the nodes of a run live, by name: this process' own node, or a place that an entry point names.

The entry point group is `wasp_ray.places`: a callable (Settings, Listener) -> Running, as Execution is.
"""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from typing import Protocol

from wasp_ray.errors import BadInput
from wasp_ray.execution.settings import Outcome, Settings
from wasp_ray.execution.single import Execution
from wasp_ray.node.options import Process
from wasp_ray.report.listener import Listener

GROUP = "wasp_ray.places"
POD = "pod"


class Running(Protocol):
    """A run that was made and waits for `run`."""

    def run(self) -> Outcome:
        """To the verdict. Raises BadInput when nothing was started."""

    def stop(self) -> None:
        """Ends the load with its grace; a second time: at once."""

    def command(self, name: str) -> None:
        """ "pause" or "resume"."""

    @property
    def elapsed_s(self) -> float | None:
        """Seconds since t = 0, None before it."""

    def processes(self) -> list[Process]:
        """Return the run's processes that are not known to have ended; from any thread."""


def in_pod() -> bool:
    """Whether this process is a node of a run that somebody else controls."""
    return bool(os.environ.get("WASP_SYNC"))


def execution_of(settings: Settings, view: Listener, place: str = "local") -> Running:
    """The run as asked for; in a pod of a run it is that pod's node. Raises BadInput for a place that is not there."""
    if in_pod():
        place = POD
    if settings.nodes == 1 and place == "local":
        return Execution(settings, view)
    found = {point.name: point for point in entry_points(group=GROUP)}
    if place not in found or (place == POD and not in_pod()):
        known = ", ".join(sorted(found.keys() - {POD})) or "none: wasp_ray is not installed"
        raise BadInput(f"--on {place}: expected one of {known}")
    try:
        make = found[place].load()
    except ImportError as exc:
        raise BadInput(f"--on {place} needs more than is installed ({exc}): pip install 'wasp-ray[{place}]'") from exc
    running: Running = make(settings, view)
    return running
