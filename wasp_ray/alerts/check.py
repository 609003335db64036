"""What a Profile says of alerts that must not fire; light, since load files import it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from wasp_ray.plan import AlertPlan

Kind = Literal["grafana", "prometheus", "loki"]
KINDS: tuple[Kind, ...] = ("grafana", "prometheus", "loki")
DASHBOARD = "__dashboardUid__"
"""The annotation by which Grafana links a rule to a dashboard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertCheck:
    """`Profile(thresholds=[AlertCheck(labels={"requirement_name": "baseline"})])`: no alert of these rules fires in the run.

    The rules are those that have all of `labels` (`alertname` is a rule's name) and the annotation `__dashboardUid__` of
    `dashboard_uid`; at least one of the two is needed. `kind` says whose rules API is asked, `url` is its root (default:
    GRAFANA_URL, PROMETHEUS_URL or LOKI_URL where the verdict is made), `tenant_id` its tenant (default: LOKI_TENANT_ID,
    PROMETHEUS_TENANT_ID). Credentials come from GRAFANA_TOKEN, PROMETHEUS_TOKEN, LOKI_TOKEN (bearer) or ..._BASIC_AUTH
    (user:password) only. docs/alerts.md tells what makes it pass, fail or leaves it unknown.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    dashboard_uid: str = ""
    kind: Kind = "grafana"
    url: str = ""
    tenant_id: str = ""

    def to_plan(self) -> AlertPlan:
        """The same options as part of a plan."""
        return AlertPlan(
            kind=self.kind, url=self.url, labels=dict(self.labels), dashboard_uid=self.dashboard_uid, tenant_id=self.tenant_id
        )  # fmt: skip

    def problems(self) -> list[str]:
        """Of the options, a sentence each; what the environment lacks is told where the verdict is made."""
        out = []
        if self.kind not in KINDS:
            out.append(f"kind={self.kind!r}: expected one of {', '.join(map(repr, KINDS))}")
        if not isinstance(self.labels, Mapping) or any(
            not isinstance(text, str) for pair in self.labels.items() for text in pair
        ):
            out.append(f"labels={self.labels!r}: expected strings by name, as {{'requirement_name': 'baseline'}}")
        for name in ("dashboard_uid", "url", "tenant_id"):
            if not isinstance(getattr(self, name), str):
                out.append(f"{name}={getattr(self, name)!r}: must be a string")
        if not self.labels and not self.dashboard_uid:
            out.append("it names no rules: give labels={'requirement_name': ...}, dashboard_uid=... or both")
        if self.tenant_id and self.kind == "grafana":
            out.append("tenant_id=... with kind='grafana': its token belongs to one organisation: leave it out")
        return out + (url_problems(self.url) if isinstance(self.url, str) else [])


def url_problems(url: str, name: str = "url") -> list[str]:
    """Of a server's root; "" is none. It never shows a password."""
    from urllib.parse import urlsplit  # here, since this module is imported by every load

    try:
        parts = urlsplit(url)
    except ValueError as exc:
        return [f"{name}=...: {exc}"]
    if parts.username is not None or parts.password is not None:
        return [f"{name}=...: it holds a password: put it into ..._BASIC_AUTH of the environment, as user:password"]
    if url and (parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment):
        return [f"{name}={url!r}: expected the root of a server, as 'https://grafana.example'"]
    return []


def check_name(check: AlertPlan) -> str:
    """How messages call a check: `alerts of grafana (requirement_name=baseline, dashboard wasp)`."""
    parts = [f"{name}={value}" for name, value in sorted(check.labels.items())]
    parts += [f"dashboard {check.dashboard_uid}"] if check.dashboard_uid else []
    return f"alerts of {check.kind} ({', '.join(parts)})"
