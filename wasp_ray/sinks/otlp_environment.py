"""Where OTLP goes to and with which headers: the standard variables of OpenTelemetry. No value of a header is ever in a message."""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit, urlunsplit

from wasp_ray.errors import WaspError
from wasp_ray.sinks.otlp import endpoint_problems

PATH = "/v1/metrics"


def variable(name: str) -> str:
    """OTEL_EXPORTER_OTLP_METRICS_name, or else OTEL_EXPORTER_OTLP_name; empty when neither is set."""
    return os.environ.get(f"OTEL_EXPORTER_OTLP_METRICS_{name}") or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}", "")


def address(endpoint: str) -> str:
    """Where metrics are posted: to /v1/metrics behind the option or the variable, to that for metrics as it is.

    Raises WaspError when there is none, or one that cannot be used.
    """
    of_metrics = "" if endpoint else os.environ.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "")
    found = endpoint or of_metrics or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    if not found:
        raise WaspError(
            "expected Otlp(endpoint=...), OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_METRICS_ENDPOINT in the environment"
            " of this node, found none"
        )
    if problems := endpoint_problems("OTLP endpoint", found):
        raise WaspError(problems[0])
    if of_metrics:
        return found
    parts = urlsplit(found)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/").removesuffix(PATH) + PATH))


def shown(url: str) -> str:
    """An address as messages have it: its query may hold a key."""
    return urlunsplit(urlsplit(url)._replace(query="", fragment=""))


def headers() -> dict[str, str]:
    """Of OTEL_EXPORTER_OTLP_HEADERS: `name=value,name=value`, values percent-encoded. Raises WaspError for what is no header."""
    out = {}
    for part in filter(None, map(str.strip, variable("HEADERS").split(","))):
        name, equals, value = part.partition("=")
        name, value = unquote(name).strip(), unquote(value).strip()
        if not equals or not name or not (name + value).isprintable() or " " in name:
            raise WaspError("OTEL_EXPORTER_OTLP_HEADERS: expected name=value,name=value with values percent-encoded")
        out[name] = value
    return out
