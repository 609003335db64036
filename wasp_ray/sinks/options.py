"""Checks that the configurations of sinks share."""

from __future__ import annotations

from wasp_ray.sinks.base import ON_SINK_ERROR


def on_sink_error_problems(value: object) -> list[str]:
    """Of `on_sink_error=`."""
    if value in ON_SINK_ERROR:
        return []
    return [f"on_sink_error={value!r}: expected one of {', '.join(map(repr, ON_SINK_ERROR))}"]
