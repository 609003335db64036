"""The dashboard of a Profile, as Grafana's JSON. Pure: the same Profile gives the same text on every machine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from wasp_ray.grafana.alerts import Alert
from wasp_ray.grafana.panels import CHOSEN, PROFILE, SOURCE, all_panels
from wasp_ray.grafana.queries import events, streams

SCHEMA_VERSION = 38
"""Of Grafana 10.0; later ones bring it up to their own."""
MAX_UID = 40
"""Grafana's."""


class Dashboard:
    """`dashboard = Dashboard(profile, alerts=[...])` in a load file, for `wasp dashboard`. Never raises: see `problems`."""

    __wasp_dashboard__ = True

    def __init__(self, profile: Any, *, alerts: Sequence[Alert] = (), folder: str = "Load tests") -> None:
        self.profile, self.alerts, self.folder = profile, tuple(alerts), folder

    def problems(self) -> list[str]:
        """All that is wrong, a sentence each; empty when it can be made."""
        out: list[str] = []
        if not getattr(self.profile, "__wasp_profile__", False):
            out.append(f"Dashboard({self.profile!r}): expected a Profile")
        if not isinstance(self.folder, str) or not self.folder.strip():
            out.append(f"Dashboard folder={self.folder!r}: expected the title of a folder")
        known = [generator.name for generator in getattr(self.profile, "generators", ())]
        seen: set[str] = set()
        for alert in self.alerts:
            if not isinstance(alert, Alert):
                out.append(f"Dashboard alerts: {alert!r} is no alert: expected one as Alert.failures(...)")
                continue
            out += [f"Alert {alert.name!r}: {problem}" for problem in alert.problems(known)]
            if alert.name in seen:
                out.append(f"Alert {alert.name!r}: another one has the same name: give each its own")
            seen.add(alert.name)
        return out


def uid_of(name: str) -> str:
    """Readable, the same for the same name, another for another, and no longer than Grafana allows."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    whole = f"wasp-{slug}"
    if slug == name and len(whole) <= MAX_UID:
        return whole
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{whole[: MAX_UID - 9].rstrip('-')}-{digest}"


def dashboard_json(profile: str) -> dict[str, Any]:
    """As `/api/dashboards/db` takes it and as provisioning reads it; a Loki is chosen by a variable."""
    return {
        "uid": uid_of(profile), "title": f"wasp_ray: {profile}", "tags": ["wasp_ray"], "schemaVersion": SCHEMA_VERSION,
        "editable": True, "graphTooltip": 1, "refresh": "10s", "time": {"from": "now-1h", "to": "now"}, "timezone": "browser",
        "templating": {"list": _variables(profile)}, "annotations": {"list": _annotations()}, "links": [],
        "panels": all_panels(),
    }  # fmt: skip


def _variables(profile: str) -> list[dict[str, Any]]:
    """All runs within the time shown until some are chosen; "All" also matches a run that has no such label."""
    runs = streams("stats", {name: pattern for name, pattern in CHOSEN.items() if name != "run"}, profile=PROFILE)
    return [
        {"type": "datasource", "name": "datasource", "label": "Loki", "query": "loki", "current": {}, "refresh": 1},
        _variable("profile", streams("stats"), current={"selected": True, "text": profile, "value": profile}),
        _variable("branch", streams("stats", profile=PROFILE), **_ALL),
        _variable("commit", streams("stats", profile=PROFILE), **_ALL),
        _variable("run", runs, sort=2, **_ALL),
    ]  # fmt: skip


_ALL: dict[str, Any] = {
    "includeAll": True,
    "allValue": ".*",
    "multi": True,
    "current": {"selected": True, "text": "All", "value": "$__all"},
}


def _variable(name: str, within: str, *, sort: int = 1, **more: Any) -> dict[str, Any]:
    """Values of a label of the streams. `sort`: 1 by name, 2 by name from the last."""
    query = {
        "refId": "LokiVariableQueryEditor-VariableQuery", "type": 1, "label": name, "stream": within,
    }  # fmt: skip
    return {
        "type": "query", "name": name, "label": name.capitalize(), "datasource": SOURCE, "query": query, "refresh": 2,
        "sort": sort, "current": {}, "includeAll": False, "multi": False, **more,
    }  # fmt: skip


def _annotations() -> list[dict[str, Any]]:
    """Start, end and errors of the chosen runs, from Loki."""
    expr = events(streams("events", CHOSEN, profile=PROFILE))
    return [{
        "name": "Runs", "datasource": SOURCE, "enable": True, "iconColor": "orange", "expr": expr, "tagKeys": "generator,run",
        "target": {"refId": "Runs", "expr": expr, "queryType": "range"},
    }]  # fmt: skip
