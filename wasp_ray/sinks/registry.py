"""Which sinks there are: those of the entry point group `wasp_ray.sinks`, a SinkFactory each."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from wasp_ray.errors import NodeFailed
from wasp_ray.sinks.base import Sink, SinkRun

GROUP = "wasp_ray.sinks"
EXTRAS = {"otlp": "otel"}
"""Where an extra is not called like the sink."""


def make_sink(kind: str, options: Mapping[str, Any], run: SinkRun) -> Sink:
    """A sink of this node. Raises NodeFailed that names what is missing, WaspError as the factory does."""
    known = {point.name: point for point in entry_points(group=GROUP)}
    if kind not in known:
        raise NodeFailed(
            f"sink {kind!r}: expected one of {', '.join(sorted(known))}; the package that has it is not installed on this node"
        )
    try:
        factory = known[kind].load()
    except ImportError as exc:
        extra = EXTRAS.get(kind, kind)
        raise NodeFailed(
            f"sink {kind!r} needs more than is installed ({exc}): pip install 'wasp-ray[{extra}]'"
        ) from exc
    sink: Sink = factory(options, run)
    return sink
