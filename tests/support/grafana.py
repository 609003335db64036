"""Grafana 10 to 13 as its documentation describes it: folders, dashboards, alert rules and annotations over real HTTP.

No Grafana can be built from a package registry, so this is written from the pages of its HTTP API: paths, bodies, what must be
in them, codes and shapes of answers, and what differs between versions. `with FakeGrafana("12") as grafana:` serves.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web

TOKEN = "glsa_s3cret"
VERSIONS = ("10", "11", "12", "13")
UID = re.compile(r"[A-Za-z0-9_-]{1,40}")
MUST = ("title", "folderUID", "ruleGroup", "condition", "data", "noDataState", "execErrState", "for")


@dataclass(frozen=True)
class Request:
    """As it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Trouble:
    """What goes wrong: the answer to each request whose method and path match; `times`: how often, -1 for always."""

    matching: str
    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    times: int = -1


class FakeGrafana:
    """`root`: the path it is served under; `tls`: its certificate. All it holds is there to look at."""

    def __init__(self, version: str = "12", root: str = "", tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.version, self.root, self._tls, self.port = version, root, tls, port
        self.folders: dict[str, dict[str, Any]] = {}
        self.dashboards: dict[str, dict[str, Any]] = {}
        self.rules: dict[str, dict[str, Any]] = {}
        self.intervals: dict[tuple[str, str], int] = {}
        self.annotations: list[dict[str, Any]] = []
        self.sources = [{"uid": "prom", "name": "Metrics", "type": "prometheus"}, loki_source("loki-1")]
        self.requests: list[Request] = []
        self.troubles: list[Trouble] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    @property
    def url(self) -> str:
        """What GRAFANA_URL should be."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}{self.root}"

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    # -- one request

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.requests.append(Request(request.method, request.path, dict(request.headers), body))
        if not request.path.startswith(self.root + "/"):  # what a proxy before it says
            return web.Response(status=404, text="<html>404 page not found</html>", content_type="text/html")
        path = request.path.removeprefix(self.root)
        for trouble in self.troubles:
            if trouble.times and re.search(trouble.matching, f"{request.method} {path}"):
                trouble.times -= 1
                if isinstance(trouble.body, str):
                    return web.Response(status=trouble.status, text=trouble.body, headers=trouble.headers)
                return web.json_response(trouble.body, status=trouble.status, headers=trouble.headers)
        if path == "/api/health":
            return web.json_response({"database": "ok", "version": f"{self.version}.0.0", "commit": "abc"})
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            told = {"message": "Invalid API key", "messageId": "api-key.invalid", "statusCode": 401, "traceID": ""}
            return web.json_response(told, status=401)
        for pattern, answer in self._routes():
            if found := re.fullmatch(pattern, f"{request.method} {path}"):
                status, data = answer(body, *found.groups())
                return web.Response(status=status) if data is None else web.json_response(data, status=status)
        return web.json_response({"message": "Not found"}, status=404)

    def _routes(self) -> tuple[tuple[str, Callable[..., tuple[int, Any]]], ...]:
        rules, group = "/api/v1/provisioning/alert-rules", "/api/v1/provisioning/folder/([^/]+)/rule-groups/(.+)"
        return (
            ("GET /api/folders/([^/]+)", self._folder),
            ("POST /api/folders", self._make_folder),
            ("POST /api/dashboards/db", self._save),
            ("GET /api/datasources", lambda _: (200, self.sources)),
            (f"GET {rules}", lambda _: (200, list(self.rules.values()))),
            (f"POST {rules}", self._make_rule),
            (f"PUT {rules}/([^/]+)", self._change_rule),
            (f"DELETE {rules}/([^/]+)", self._remove_rule),
            (f"GET {group}", self._group),
            (f"PUT {group}", self._set_interval),
            ("POST /api/annotations", self._annotate),
        )

    # -- folders and dashboards

    def _folder(self, _: Any, uid: str) -> tuple[int, Any]:
        if uid in self.folders:
            return 200, self.folders[uid]
        return 404, {"message": "folder not found", "status": "not-found"}

    def _make_folder(self, body: Any) -> tuple[int, Any]:
        if not body.get("title") or not UID.fullmatch(body.get("uid", "")):
            return 400, {"message": "folder title cannot be empty"}
        if body["uid"] in self.folders:
            return 412, {"message": "The folder has been changed by someone else", "status": "version-mismatch"}
        if self.version < "12" and body["title"] in {folder["title"] for folder in self.folders.values()}:
            return 409, {"message": "a folder with the same name already exists in the current location"}
        made = {"id": len(self.folders) + 1, "uid": body["uid"], "title": body["title"], "version": 1, "canSave": True}
        if self.version >= "11":
            made |= {"parentUid": ""}
        self.folders[body["uid"]] = made
        return 200, made

    def _save(self, body: Any) -> tuple[int, Any]:
        given, uid = body["dashboard"], body["dashboard"].get("uid") or ""
        if not UID.fullmatch(uid) or not given.get("title"):
            return 400, {"message": "Dashboard title cannot be empty"}
        if body.get("folderUid") not in self.folders:
            return 404, {"message": "folder not found", "status": "not-found"}
        known = self.dashboards.get(uid)
        if known and not body.get("overwrite"):
            return 412, {"message": "The dashboard has been changed by someone else", "status": "version-mismatch"}
        version = known["version"] + 1 if known else 1
        self.dashboards[uid] = {"version": version, "folderUid": body["folderUid"], "dashboard": given}
        told = {
            "id": 1,
            "uid": uid,
            "url": f"{self.root}/d/{uid}/slug",
            "status": "success",
            "version": version,
            "slug": "slug",
        }
        return 200, told | ({"folderUid": body["folderUid"]} if self.version >= "11" else {})

    # -- alert rules

    def _wrong(self, rule: Any) -> str:
        missing = [name for name in MUST if name not in rule]
        if missing:
            return f"missing: {missing}"
        refs = {part["refId"] for part in rule["data"]}
        if rule["condition"] not in refs or any(part["model"]["refId"] != part["refId"] for part in rule["data"]):
            return "condition does not exist"
        if rule["noDataState"] not in ("Alerting", "NoData", "OK") or rule["execErrState"] not in (
            "OK",
            "Alerting",
            "Error",
        ):
            return "unknown state"
        if not re.fullmatch(r"(\d+h)?(\d+m)?(\d+s)?", rule["for"]) or len(rule["title"]) > 190:
            return "invalid for or title"
        annotations = rule.get("annotations", {})
        if ("__dashboardUid__" in annotations) != ("__panelId__" in annotations):
            return "both __dashboardUid__ and __panelId__ are needed"
        sources = {source["uid"] for source in self.sources} | {"__expr__"}
        return "" if {part["datasourceUid"] for part in rule["data"]} <= sources else "unknown data source"

    def _make_rule(self, rule: Any) -> tuple[int, Any]:
        if told := self._wrong(rule):
            return 400, {"message": f"invalid alert rule: {told}"}
        same = [one for one in self.rules.values() if one["folderUID"] == rule["folderUID"]]
        if rule["uid"] in self.rules or rule["title"] in {one["title"] for one in same}:
            return 409, {
                "message": "a conflicting alert rule is found: rule title under the same organisation and folder"
            }
        if rule["folderUID"] not in self.folders or not UID.fullmatch(rule["uid"]):
            return 400, {"message": "invalid alert rule: folder does not exist"}
        self.intervals.setdefault((rule["folderUID"], rule["ruleGroup"]), 60)
        self.rules[rule["uid"]] = {**rule, "id": len(self.rules) + 1, "orgID": 1, "provenance": "api"}
        return 201, self.rules[rule["uid"]]

    def _change_rule(self, rule: Any, uid: str) -> tuple[int, Any]:
        if uid not in self.rules:
            return 404, {"message": "alert rule not found"}
        if told := self._wrong(rule):
            return 400, {"message": f"invalid alert rule: {told}"}
        self.rules[uid] |= rule
        return 200, self.rules[uid]

    def _remove_rule(self, _: Any, uid: str) -> tuple[int, Any]:
        self.rules.pop(uid, None)
        return 204, None

    def _group(self, _: Any, folder: str, group: str) -> tuple[int, Any]:
        rules = [rule for rule in self.rules.values() if (rule["folderUID"], rule["ruleGroup"]) == (folder, group)]
        if not rules:
            return 404, {"message": "rule group not found"}
        return 200, {"title": group, "folderUid": folder, "interval": self.intervals[folder, group], "rules": rules}

    def _set_interval(self, body: Any, folder: str, group: str) -> tuple[int, Any]:
        if body["interval"] % 10:
            return 400, {"message": "interval must be a multiple of 10 seconds"}
        self.intervals[folder, group] = body["interval"]
        return 200, body

    # -- annotations

    def _annotate(self, body: Any) -> tuple[int, Any]:
        if not body.get("text"):
            return 400, {"message": "Failed to save annotation: text field should not be empty"}
        assert isinstance(body["time"], int) and all(isinstance(tag, str) for tag in body["tags"])
        self.annotations.append(body)
        return 200, {"message": "Annotation added", "id": len(self.annotations)}


def loki_source(uid: str) -> dict[str, Any]:
    """A data source of the type that alert rules ask."""
    return {"uid": uid, "name": f"Loki {uid}", "type": "loki", "url": "http://loki:3100", "isDefault": False}
