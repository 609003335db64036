"""What a Profile says to have its runs annotated in Grafana; light, since load files import it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from wasp_ray.sinks.base import Need, OnSinkError, on_sink_error_problems


@dataclass(frozen=True, slots=True)
class Grafana:
    """`Profile(sinks=[Grafana()])`: start, end and errors of a run become annotations, tagged wasp_ray, profile and run.

    Where Grafana is and its token come from GRAFANA_URL and GRAFANA_TOKEN of each node's environment only.
    """

    on_sink_error: OnSinkError = "warn"

    kind: ClassVar[str] = "grafana"
    needs: ClassVar[frozenset[Need]] = frozenset({"events"})

    def options(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def problems(self) -> list[str]:
        """Of its one option; what the environment lacks is told by the node."""
        return on_sink_error_problems(self.on_sink_error)
