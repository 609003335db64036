"""Brings a dashboard and its alert rules to a Grafana; a second time it updates what is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from wasp_ray.errors import BadInput
from wasp_ray.grafana.client import GrafanaClient, GrafanaError
from wasp_ray.grafana.dashboard import Dashboard, dashboard_json, uid_of
from wasp_ray.grafana.rules import EVALUATE_S, grafana_rule, group_name

RULES = "/api/v1/provisioning/alert-rules"
_TAKEN = (409, 412)
"""Of a folder: it is there, though the token may not see it."""


async def deploy(dashboard: Dashboard, profile: str, datasource_uid: str | None, tell: Callable[[str], None]) -> None:
    """`datasource_uid`: the Loki that alert rules ask; None finds it. Raises GrafanaError or BadInput with the cure."""
    async with GrafanaClient() as grafana:
        await _check(grafana)
        if dashboard.alerts and datasource_uid is None:
            datasource_uid = await _loki_of(grafana)
        folder_uid = uid_of(dashboard.folder)
        await _make_folder(grafana, folder_uid, dashboard.folder)
        saved = await grafana.ask("POST", "/api/dashboards/db", {
            "dashboard": {**dashboard_json(profile), "id": None}, "folderUid": folder_uid, "overwrite": True,
            "message": "wasp dashboard --deploy",
        })  # fmt: skip
        path = saved.get("url") or f"/d/{saved['uid']}"
        tell(f"dashboard {profile!r}, version {saved.get('version', '?')}: {_address(grafana.url, path)}")
        wanted = {}
        for alert in dashboard.alerts:
            assert datasource_uid is not None
            rule = grafana_rule(profile, alert, folder_uid=folder_uid, datasource_uid=datasource_uid)
            wanted[rule["uid"]] = rule
        await _put_rules(grafana, wanted, folder_uid, group_name(profile), tell)


async def _check(grafana: GrafanaClient) -> None:
    """That there is a Grafana: its health needs no rights, so a wrong root shows itself before a missing permission."""
    health = await grafana.get("/api/health")
    if not isinstance(health, dict) or "database" not in health:
        raise GrafanaError(f"{grafana.url}: expected Grafana, found something else that answers /api/health")


async def _make_folder(grafana: GrafanaClient, uid: str, title: str) -> None:
    """A token that may not see a folder is told 403, also of one that is not there: then making it shows which."""
    try:
        await grafana.get(f"/api/folders/{uid}")
    except GrafanaError as exc:
        if exc.status not in (403, 404):
            raise
    else:
        return
    try:
        await grafana.ask("POST", "/api/folders", {"uid": uid, "title": title})
    except GrafanaError as exc:
        if exc.status not in _TAKEN:
            raise
        raise GrafanaError(
            f"{exc}: another folder is called {title!r}, or the token may not see it: give the service account rights to it, or"
            " name another one, as Dashboard(folder=...)",
            exc.status,
        ) from exc


async def _loki_of(grafana: GrafanaClient) -> str:
    """The only Loki there is."""
    try:
        found = [source for source in await grafana.get("/api/datasources") if source["type"] == "loki"]
    except GrafanaError as exc:
        if exc.status != 403:
            raise
        raise GrafanaError(f"{exc}: or name the Loki of the alert rules, as --datasource UID", 403) from exc
    if len(found) == 1:
        return str(found[0]["uid"])
    if not found:
        raise BadInput(
            "Grafana has no data source of type Loki: add one (Connections > Data sources), then deploy again"
        )
    known = ", ".join(f"{source['uid']} ({source['name']})" for source in found)
    raise BadInput(
        f"Grafana has several data sources of type Loki: name one for the alert rules, as --datasource UID: {known}"
    )


async def _put_rules(
    grafana: GrafanaClient, wanted: dict[str, Any], folder_uid: str, group: str, tell: Callable[[str], None]
) -> None:
    """Those of the group are made, changed and removed until they are the wanted ones."""
    known: set[str] = set()
    if wanted or await _has_group(grafana, folder_uid, group):
        rules = await grafana.get(RULES)
        known = {rule["uid"] for rule in rules if rule["folderUID"] == folder_uid and rule["ruleGroup"] == group}
    for uid, rule in wanted.items():
        await (grafana.ask("PUT", f"{RULES}/{uid}", rule) if uid in known else grafana.ask("POST", RULES, rule))
    for uid in sorted(known - wanted.keys()):
        await grafana.ask("DELETE", f"{RULES}/{uid}")
    if wanted:
        path = _group_path(folder_uid, group)
        told = await grafana.get(path)
        if told["interval"] != EVALUATE_S:
            await grafana.ask("PUT", path, {**told, "interval": EVALUATE_S})
    if wanted or known:
        tell(f"alert rules of group {group!r}: {len(wanted)}, removed: {len(known - wanted.keys())}")


async def _has_group(grafana: GrafanaClient, folder_uid: str, group: str) -> bool:
    """A token without rights to alert rules can deploy a dashboard that has none."""
    try:
        await grafana.get(_group_path(folder_uid, group))
    except GrafanaError as exc:
        if exc.status in (403, 404):
            return False
        raise
    return True


def _group_path(folder_uid: str, group: str) -> str:
    return f"/api/v1/provisioning/folder/{folder_uid}/rule-groups/{quote(group, safe='')}"


def _address(root: str, path: str) -> str:
    """Grafana tells a path that has the one it is served under already."""
    at = root.find("/", root.find("//") + 2)
    prefix = root[at:] if at > 0 else ""
    return root + (path.removeprefix(prefix) if prefix else path)
