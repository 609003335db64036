"""A server with the rules API of Grafana, as its documentation and sources of versions 10 to 13 have it, and whatever may be wrong
with one. It is real as far as the wire goes: aiohttp in a thread, on a loopback port.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

RULES = "/api/prometheus/grafana/api/v1/rules"
ALERTS = "/api/alertmanager/grafana/api/v2/alerts"
TOKEN = "glsa_right"
INTERVAL_S = 0.2
HANG_S = 30.0


def stamp(at_s: float | None = None) -> str:
    """As Go writes an instant."""
    at = datetime.now(UTC) if at_s is None else datetime.fromtimestamp(at_s, UTC)
    return at.isoformat().replace("+00:00", "Z")


def rule(name: str = "Latency", state: str = "inactive", **more: Any) -> dict[str, Any]:
    """A healthy rule that was evaluated just now."""
    return {
        "state": state, "name": name, "query": "[]", "duration": 0.2, "labels": {"requirement_name": "baseline"},
        "annotations": {"__dashboardUid__": "wasp", "__panelId__": "1"}, "alerts": [], "health": "ok", "type": "alerting",
        "lastEvaluation": stamp(), "evaluationTime": 0.001, **more,
    }  # fmt: skip


def alert(state: str = "Alerting", at_s: float | None = None, name: str = "Latency", **labels: str) -> dict[str, Any]:
    """One instance of a rule."""
    labels = {"alertname": name, "requirement_name": "baseline", **labels}
    return {"labels": labels, "annotations": {}, "state": state, "activeAt": stamp(at_s), "value": "1e+00"}


def answer(*rules: dict[str, Any], interval_s: float = INTERVAL_S, **more: Any) -> dict[str, Any]:
    """All of them in one group."""
    group = {"name": "nfr", "file": "load tests", "rules": list(rules), "interval": interval_s, "totals": {}, **more}
    return {"status": "success", "data": {"groups": [group], "totals": {}}}


class RulesServer:
    """`rules` is what it answers with; `status`, `text` and `trouble` ("hang", "cut", "half", "login") say otherwise."""

    def __init__(self) -> None:
        self.url = ""
        self.rules: list[dict[str, Any]] = [rule()]
        self.alerts: list[dict[str, Any]] | None = None
        self.status, self.text, self.trouble = 200, "", ""
        self.date = ""
        self.requests: list[tuple[str, dict[str, str], dict[str, str]]] = []

    async def rules_api(self, request: web.Request) -> web.StreamResponse:
        """The rules as they stand, evaluated at each request."""
        self.requests.append((request.path, dict(request.query), dict(request.headers)))
        if self.trouble:
            return await self._trouble(request)
        if self.status != 200:
            return web.json_response({"message": self.text}, status=self.status)
        rules = [{**found, "lastEvaluation": found.get("lastEvaluation") and stamp()} for found in self.rules]
        return web.json_response(answer(*rules), headers={"Date": self.date} if self.date else {})

    async def _trouble(self, request: web.Request) -> web.StreamResponse:
        if self.trouble == "hang":
            await asyncio.sleep(HANG_S)
        if self.trouble == "login":
            return web.Response(text="<html>Log in</html>", content_type="text/html")
        if self.trouble == "redirect":
            raise web.HTTPFound("/login")
        if self.trouble == "half":
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b'{"status":')
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def alerts_api(self, request: web.Request) -> web.StreamResponse:
        """The Alertmanager's list, where there is one."""
        self.requests.append((request.path, dict(request.query), dict(request.headers)))
        return web.json_response(self.alerts) if self.alerts is not None else web.json_response({}, status=404)


@contextmanager
def rules_server() -> Iterator[RulesServer]:
    """Serves until the end of the block."""
    server, loop = RulesServer(), asyncio.new_event_loop()
    app = web.Application()
    app.router.add_get(RULES, server.rules_api)
    app.router.add_get(ALERTS, server.alerts_api)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def begin() -> str:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        return f"http://{host}:{port}"

    try:
        server.url = asyncio.run_coroutine_threadsafe(begin(), loop).result(10)
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
