"""What a Profile says to have metrics scraped by a Prometheus; light, since load files import it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from wasp_ray.sinks.base import Need, OnSinkError, on_sink_error_problems


@dataclass(frozen=True, slots=True)
class Prometheus:
    """`Profile(sinks=[Prometheus()])`: each node serves counters and histograms of its calls and requests at /metrics.

    `port`: several nodes of one machine take the next ones as well. `host`: the address it listens at, by default for this
    machine alone; "0.0.0.0" is for everyone, without a password.
    """

    port: int = 9464
    host: str = "127.0.0.1"
    on_sink_error: OnSinkError = "warn"

    kind: ClassVar[str] = "prometheus"
    needs: ClassVar[frozenset[Need]] = frozenset({"totals"})

    def options(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def problems(self) -> list[str]:
        """Of the options; whether a port is free is told by the node."""
        out = on_sink_error_problems(self.on_sink_error)
        if isinstance(self.port, bool) or not isinstance(self.port, int) or not 1 <= self.port <= 65_535:
            out.append(f"port={self.port!r}: expected 1 to 65,535")
        if not isinstance(self.host, str) or not self.host:
            out.append(f"host={self.host!r}: expected an address to listen at, as '127.0.0.1' or '0.0.0.0'")
        return out
