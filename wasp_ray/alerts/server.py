"""Where the rules of a check are asked for, and as whom: what the Profile says and the environment of this process adds.

Here alone credentials are read. They go into headers, and into no message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import SplitResult, urlsplit

from wasp_ray.alerts.check import check_name, url_problems
from wasp_ray.credentials import authorization_of
from wasp_ray.errors import WaspError
from wasp_ray.plan import AlertPlan

RULES = {
    "grafana": "/api/prometheus/grafana/api/v1/rules",
    "prometheus": "/api/v1/rules",
    "loki": "/prometheus/api/v1/rules",
}
GRAFANA_ALERTS = "/api/alertmanager/grafana/api/v2/alerts"
LOKI_PUSH = "/loki/api/v1/push"
_PORTS = {"http": 80, "https": 443}


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


def server_of(check: AlertPlan, environment: Mapping[str, str], *, is_foreign: bool = False) -> Server:
    """Return where a check of a plan is asked for. Raises WaspError with the cure when it cannot be asked from here.

    `is_foreign`: the plan comes from an image, so whoever wrote that must not choose where this process sends requests and
    credentials: the check's `url` must have the origin (scheme, host, port) of the variable.
    """
    kind, url = check.kind, check.url.rstrip("/")
    if kind not in RULES:  # it would choose the variables that are read
        raise WaspError(f"kind={kind!r}: expected one of {', '.join(map(repr, RULES))}")
    prefix = kind.upper()
    named = environment.get(f"{prefix}_URL", "").rstrip("/")
    root = url or named
    if not root:
        raise WaspError(f"expected url=... or {prefix}_URL in the environment of who makes the verdict, found neither")
    problems = url_problems(url) + (url_problems(named, f"{prefix}_URL") if is_foreign or not url else [])
    if problems:
        raise WaspError(problems[0])
    if is_foreign and url:
        root = _at_own_origin(url, named, prefix)
    if kind == "loki":
        root = root.removesuffix(LOKI_PUSH)
    headers = {"Accept": "application/json", **authorization_of(prefix, environment)}
    tenant = check.tenant_id or (environment.get(f"{prefix}_TENANT_ID", "") if kind != "grafana" else "")
    if tenant:
        headers["X-Scope-OrgID"] = tenant
    params = {"type": "alert"}
    if kind == "grafana":
        params = {"dashboard_uid": check.dashboard_uid} if check.dashboard_uid else {}
    return Server(kind, root + RULES[kind], params, headers, root + GRAFANA_ALERTS if kind == "grafana" else "")


def _at_own_origin(url: str, named: str, prefix: str) -> str:
    """The path of a plan's `url` at the origin that the environment names. Raises WaspError when it has another origin."""
    theirs, ours = urlsplit(url), urlsplit(named)
    if not named or _origin(theirs) != _origin(ours):
        found = f"{prefix}_URL={named!r}" if named else f"no {prefix}_URL"
        raise WaspError(
            f"url={url!r} comes from the image, and this process sends requests and credentials only to the origin (scheme, host,"
            f" port) that its own environment names: found {found}; set {prefix}_URL to {theirs.scheme + '://' + theirs.netloc!r}"
            " where the verdict is made if you trust that server, or leave url=... out of the AlertCheck"
        )
    return f"{ours.scheme}://{ours.netloc}{theirs.path}"


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    try:
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:  # none that there is
        port = -1
    return parts.scheme, parts.hostname, port


def problems_here(
    checks: Sequence[AlertPlan], environment: Mapping[str, str], *, is_foreign: bool = False
) -> list[str]:
    """Why the checks of a plan cannot be made from here, a sentence each. `is_foreign`: see server_of."""
    out = []
    for check in checks:
        try:
            server_of(check, environment, is_foreign=is_foreign)
        except WaspError as exc:
            out.append(f"{check_name(check)}: {exc}")
    if checks and find_spec("aiohttp") is None:
        out.append("AlertCheck needs aiohttp, which is not installed here: pip install 'wasp-ray[grafana]'")
    return out
