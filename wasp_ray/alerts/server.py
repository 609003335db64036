"""Where the rules of a check are asked for, and as whom: what the Profile says and the environment of this process adds.

Here alone credentials are read. They go into headers, and into no message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from wasp_ray.alerts.check import check_name, url_problems
from wasp_ray.credentials import authorization_of
from wasp_ray.errors import WaspError

RULES = {
    "grafana": "/api/prometheus/grafana/api/v1/rules",
    "prometheus": "/api/v1/rules",
    "loki": "/prometheus/api/v1/rules",
}
GRAFANA_ALERTS = "/api/alertmanager/grafana/api/v2/alerts"
LOKI_PUSH = "/loki/api/v1/push"


@dataclass(frozen=True, slots=True)
class Server:
    """`alerts_url`: an Alertmanager's list, asked where there is no rules API; "" for none."""

    kind: str
    rules_url: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    alerts_url: str = ""

    @property
    def credentials(self) -> str:
        """How they are called."""
        return f"{self.kind.upper()}_TOKEN or {self.kind.upper()}_BASIC_AUTH"


def server_of(spec: Mapping[str, Any], environment: Mapping[str, str]) -> Server:
    """Of a check in a plan. Raises WaspError with the cure when it cannot be asked from here."""
    kind = str(spec["kind"])
    prefix = kind.upper()
    root = (spec["url"] or environment.get(f"{prefix}_URL", "")).rstrip("/")
    if not root:
        raise WaspError(f"expected url=... or {prefix}_URL in the environment of who makes the verdict, found neither")
    if problems := url_problems(root, f"{prefix}_URL"):
        raise WaspError(problems[0])
    if kind == "loki":
        root = root.removesuffix(LOKI_PUSH)
    headers = {"Accept": "application/json", **authorization_of(prefix, environment)}
    tenant = spec["tenant_id"] or (environment.get(f"{prefix}_TENANT_ID", "") if kind != "grafana" else "")
    if tenant:
        headers["X-Scope-OrgID"] = tenant
    params = {"type": "alert"}
    if kind == "grafana":
        params = {"dashboard_uid": spec["dashboard_uid"]} if spec["dashboard_uid"] else {}
    return Server(kind, root + RULES[kind], params, headers, root + GRAFANA_ALERTS if kind == "grafana" else "")


def problems_here(specs: list[dict[str, Any]], environment: Mapping[str, str]) -> list[str]:
    """Why the checks of a plan cannot be made from here, a sentence each."""
    out = []
    for spec in specs:
        try:
            server_of(spec, environment)
        except WaspError as exc:
            out.append(f"{check_name(spec)}: {exc}")
    if specs and find_spec("aiohttp") is None:
        out.append("AlertCheck needs aiohttp, which is not installed here: pip install 'wasp-ray[grafana]'")
    return out
