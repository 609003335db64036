"""What a Profile says to have results in Loki; light, since load files import it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlsplit

from wasp_ray.schedule.duration import parse_duration
from wasp_ray.sinks.base import Need, OnSinkError, on_sink_error_problems


@dataclass(frozen=True, slots=True)
class Loki:
    """`Profile(sinks=[Loki()])`: sampled responses, one-second stats and events go to Loki's push API.

    `url` is the server's root (default: LOKI_URL of each node's environment), `tenant_id` its tenant (default: LOKI_TENANT_ID).
    Credentials come from LOKI_TOKEN (bearer) or LOKI_BASIC_AUTH (user:password) only. A batch is pushed when it has
    `batch_bytes` before compression or is `batch_wait` old, at most `in_flight` at a time. After more than `max_errors` failed
    attempts no more are made; None: it tries until the end. What was not delivered waits in the bundle for `wasp push`.
    """

    url: str = ""
    tenant_id: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    batch_bytes: int = 1_000_000
    batch_wait: str | float = "1s"
    in_flight: int = 4
    max_errors: int | None = None
    on_sink_error: OnSinkError = "warn"

    kind: ClassVar[str] = "loki"
    needs: ClassVar[frozenset[Need]] = frozenset({"samples", "windows", "events"})

    def options(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"headers": dict(self.headers), "batch_wait": parse_duration(self.batch_wait) / 1e9}

    def problems(self) -> list[str]:
        """Of the options; what the environment lacks is told by the node."""
        out = on_sink_error_problems(self.on_sink_error)
        parts = urlsplit(self.url)
        if self.url and (parts.scheme not in ("http", "https") or not parts.netloc):
            out.append(f"url={self.url!r}: expected the root of the server, as 'https://loki.example'")
        if parts.username or parts.password:
            out.append("url=...: it holds a password; put it into LOKI_BASIC_AUTH, as user:password")
        if any(name.lower() in ("authorization", "x-scope-orgid") for name in self.headers):
            out.append("headers=...: credentials come from LOKI_TOKEN or LOKI_BASIC_AUTH, the tenant is tenant_id=")
        if not isinstance(self.batch_bytes, int) or not 1_000 <= self.batch_bytes <= 4_000_000:
            out.append(f"batch_bytes={self.batch_bytes!r}: expected 1,000 to 4,000,000")
        if not isinstance(self.in_flight, int) or not 1 <= self.in_flight <= 64:
            out.append(f"in_flight={self.in_flight!r}: expected 1 to 64")
        if self.max_errors is not None and (not isinstance(self.max_errors, int) or self.max_errors < 0):
            out.append(f"max_errors={self.max_errors!r}: expected 0 or more failed attempts, or None for any number")
        if self.key_file and not self.cert_file:
            out.append("key_file=...: expected a cert_file= beside it")
        try:
            parse_duration(self.batch_wait)
        except ValueError as exc:
            out.append(f"batch_wait={self.batch_wait!r}: {exc}")
        return out
