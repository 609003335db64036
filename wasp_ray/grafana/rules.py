"""Alerts as rules: those of Grafana's provisioning API and a file for Loki's ruler. The LogQL is the same. Pure.

In Grafana the query gives what is measured and an expression compares it, in the ruler the comparison is part of the query:
both fire for each series that passes the limit, and neither for one that is not there.
"""

from __future__ import annotations

import json
from typing import Any

from wasp_ray.alerts.check import DASHBOARD
from wasp_ray.grafana.alerts import Alert
from wasp_ray.grafana.dashboard import uid_of
from wasp_ray.schedule.duration import format_duration

EVALUATE_S = 10
"""The shortest that Grafana evaluates by default."""
LOOK_BACK_S = 600
"""Told to Grafana for the query; the windows in the LogQL itself decide."""
_EXPRESSIONS = "__expr__"


def group_name(profile: str) -> str:
    """Of the rules of a Profile."""
    return f"wasp_ray {profile}"


def labels_of(profile: str, alert: Alert) -> dict[str, str]:
    """Of what fires; `requirement_name` as Go WASP calls it."""
    return {"requirement_name": alert.requirement or alert.name, "source": "wasp_ray", "profile": profile}


def grafana_rule(profile: str, alert: Alert, *, folder_uid: str, datasource_uid: str) -> dict[str, Any]:
    """Body of `/api/v1/provisioning/alert-rules`."""
    limit, kind = (alert.above, "gt") if alert.above is not None else (alert.below, "lt")
    query = {"refId": "A", "expr": alert.query(profile), "queryType": "instant", "editorMode": "code"}
    condition = {
        "refId": "B", "type": "threshold", "expression": "A", "datasource": {"type": _EXPRESSIONS, "uid": _EXPRESSIONS},
        "conditions": [{"type": "query", "evaluator": {"type": kind, "params": [limit]}}],
    }  # fmt: skip
    span = {"from": LOOK_BACK_S, "to": 0}
    return {
        "uid": uid_of(f"{profile}/{alert.name}"), "title": f"{profile}: {alert.name}", "folderUID": folder_uid,
        "ruleGroup": group_name(profile), "condition": "B", "for": format_duration(alert.held_ns),
        "noDataState": "OK", "execErrState": "Error", "labels": labels_of(profile, alert),
        "annotations": {**_annotations(profile, alert), "__panelId__": "1"},
        "data": [
            {"refId": "A", "datasourceUid": datasource_uid, "queryType": "instant", "relativeTimeRange": span, "model": query},
            {"refId": "B", "datasourceUid": _EXPRESSIONS, "queryType": "", "relativeTimeRange": span, "model": condition},
        ],
    }  # fmt: skip


def ruler_rule(profile: str, alert: Alert) -> dict[str, Any]:
    """One of a group of Loki's ruler."""
    return {
        "alert": alert.name, "expr": alert.rule(profile), "for": format_duration(alert.held_ns),
        "labels": labels_of(profile, alert), "annotations": _annotations(profile, alert),
    }  # fmt: skip


def ruler_file(profile: str, alerts: tuple[Alert, ...]) -> str:
    """For a tenant's folder of rules, or `lokitool rules load`: YAML in the form of JSON, so that nothing is needed to write it."""
    rules = [ruler_rule(profile, alert) for alert in alerts]
    group = {"name": group_name(profile), "interval": f"{EVALUATE_S}s", "rules": rules}
    return json.dumps({"groups": [group]}, indent=2, ensure_ascii=False) + "\n"


def _annotations(profile: str, alert: Alert) -> dict[str, str]:
    """Grafana links an alert to its dashboard by these; an AlertCheck finds the rules of a dashboard so."""
    limit = f"above {alert.above:g}" if alert.above is not None else f"below {alert.below:g}"
    return {"summary": f"{alert.name}: {limit}", DASHBOARD: uid_of(profile)}
