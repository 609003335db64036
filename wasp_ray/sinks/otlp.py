"""What a Profile says to have metrics sent by OTLP; light, since load files import it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from wasp_ray.schedule.duration import parse_duration
from wasp_ray.sinks.base import Need, OnSinkError, on_sink_error_problems

SHORTEST_S = 1.0
"""Totals come once a second."""


@dataclass(frozen=True, slots=True)
class Otlp:
    """`Profile(sinks=[Otlp()])`: counters and histograms of all calls and requests go to an OTLP/HTTP receiver.

    `endpoint` is the receiver's root, to which /v1/metrics is added (default: OTEL_EXPORTER_OTLP_METRICS_ENDPOINT or
    OTEL_EXPORTER_OTLP_ENDPOINT of each node's environment). Credentials come from OTEL_EXPORTER_OTLP_HEADERS only. `temporality`
    "cumulative": each export holds all since the start; "delta": what is new since the last one that arrived. An export
    every `interval` (at least 1 s), and one at the end.
    """

    endpoint: str = ""
    temporality: Literal["cumulative", "delta"] = "cumulative"
    interval: str | float = "10s"
    on_sink_error: OnSinkError = "warn"

    kind: ClassVar[str] = "otlp"
    needs: ClassVar[frozenset[Need]] = frozenset({"totals"})

    def options(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"interval": parse_duration(self.interval) / 1e9}

    def problems(self) -> list[str]:
        """Of the options; what the environment lacks is told by the node."""
        out = on_sink_error_problems(self.on_sink_error)
        out += endpoint_problems("endpoint", self.endpoint) if self.endpoint else []
        if self.temporality not in ("cumulative", "delta"):
            out.append(f"temporality={self.temporality!r}: expected 'cumulative' or 'delta'")
        try:
            if parse_duration(self.interval) < SHORTEST_S * 1e9:
                out.append(f"interval={self.interval!r}: expected at least {SHORTEST_S:g} s")
        except ValueError as exc:
            out.append(f"interval={self.interval!r}: {exc}")
        return out


def endpoint_problems(name: str, endpoint: str) -> list[str]:
    """Of an endpoint that is called so; one with a password is not shown."""
    try:
        parts = urlsplit(endpoint)
    except ValueError as exc:
        return [f"{name}: {exc}"]
    if parts.username or parts.password:
        return [f"{name}: it holds a password; put credentials into OTEL_EXPORTER_OTLP_HEADERS"]
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return [f"{name}={endpoint!r}: expected the root of an OTLP/HTTP receiver, as 'http://collector.example:4318'"]
    return []
