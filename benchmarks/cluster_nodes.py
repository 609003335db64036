"""Simulated nodes of a run, in a process of their own: `python -m benchmarks.cluster_nodes ORDER.json`.

kwok makes their pods run; this is what runs in them, and the kubelet that serves their logs. Each node says what a recorded
real one said, under its own number, pod and clock: it watches its run's ConfigMap by a connection of its own as a real one
does, says a line a second, starts at start_at, tells its result, and ends. Ends when stdin does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import ssl
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from wasp_ray.cluster.manifests import RUN_LABEL
from wasp_ray.cluster.pods import read_pod
from wasp_ray.cluster.snapshot import Encoder

SETUP_S = 1.0
"""From a pod's start to its node's word that it is ready."""
STATE_S = 1.0
WATCH_S = 30
WRITERS = 16
"""Pods whose end is written at a time."""


@dataclass(frozen=True, slots=True)
class Order:
    """`server`: for what nodes ask; `direct`: for what kubelets ask. `recorded`: messages of a real node by kind."""

    server: str
    direct: str
    ca: str
    node_token: str
    kubelet_token: str
    certificate: str
    key: str
    port: int
    namespace: str
    run: str
    recorded: Mapping[str, list[dict[str, Any]]]
    timeline: str


@dataclass(slots=True)
class Printed:
    """What a container has printed: (seconds, line as the runtime keeps it)."""

    lines: list[tuple[float, bytes]] = field(default_factory=list)
    ended: bool = False
    more: asyncio.Event = field(default_factory=asyncio.Event)

    def print(self, text: str) -> None:
        """A line of this moment."""
        now_ns = time.time_ns()
        at = datetime.fromtimestamp(now_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        self.lines.append((now_ns / 1e9, f"{at}.{now_ns % 10**9:09d}Z {text}\n".encode()))
        self.wake()

    def wake(self) -> None:
        """Whoever follows goes on."""
        self.more.set()
        self.more = asyncio.Event()


class Nodes:
    """All of them."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._logs: dict[str, Printed] = {}  # by name of the pod
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._times: dict[str, dict[str, float]] = {}
        self._writers = asyncio.Semaphore(WRITERS)
        self._tls = ssl.create_default_context(cafile=order.ca)

    async def run(self) -> None:
        """Until stdin ends; the timeline is written then."""
        own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        own.load_cert_chain(self._order.certificate, self._order.key)
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._serve_log)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._order.port, ssl_context=own, backlog=1024).start()
        connector = aiohttp.TCPConnector(limit=0, ssl=self._tls, force_close=True)  # nodes open a connection a watch
        kept = aiohttp.TCPConnector(limit=0, ssl=self._tls)
        timeout = aiohttp.ClientTimeout(total=None)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as self._session,
            aiohttp.ClientSession(connector=kept, timeout=timeout) as self._kubelet,
        ):
            print("up", flush=True)
            pods = asyncio.create_task(self._watch_pods())
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
            for task in (pods, *self._tasks.values()):
                task.cancel()
            await asyncio.gather(pods, *self._tasks.values(), return_exceptions=True)
        Path(self._order.timeline).write_text(json.dumps(self._times))
        await runner.cleanup()

    # -- the kubelet

    async def _watch_pods(self) -> None:
        url = f"{self._order.direct}/api/v1/namespaces/{self._order.namespace}/pods"
        headers = {"Authorization": f"Bearer {self._order.kubelet_token}"}
        params = {"labelSelector": f"{RUN_LABEL}={self._order.run}", "watch": "true", "timeoutSeconds": "3600"}
        while True:  # each watch begins with all pods, as they are
            with contextlib.suppress(aiohttp.ClientError, ValueError):
                async with self._kubelet.get(url, params=params, headers=headers, read_bufsize=2**22) as answer:
                    async for line in answer.content:
                        event = json.loads(line)
                        if event["type"] in ("ADDED", "MODIFIED"):
                            self._pod(event["object"])
            await asyncio.sleep(0.1)

    def _pod(self, pod: Mapping[str, Any]) -> None:
        state = read_pod(pod)
        times = self._times.setdefault(state.name, {"created": time.time()})
        if state.started and state.node and state.name not in self._tasks:
            times["running"] = time.time()
            log = self._logs[state.name] = Printed()
            self._tasks[state.name] = asyncio.create_task(self._live(state.node, state.uid, state.name, log))

    async def _serve_log(self, request: web.Request) -> web.StreamResponse:
        log = self._logs.get(request.match_info["pod"])
        if log is None:
            raise web.HTTPNotFound
        since, at = _since(request.query.get("sinceTime")), 0
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await answer.prepare(request)
        while True:
            more, ended = log.more, log.ended
            fresh = b"".join(line for when, line in log.lines[at:] if when >= since)
            at = len(log.lines)
            if fresh:
                await answer.write(fresh)
            if ended or "follow" not in request.query:
                await answer.write_eof()
                return answer
            await more.wait()

    async def _end(self, name: str) -> None:
        """As a kubelet tells that a container ended well."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ended = {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}
        container = {
            "name": "wasp", "image": "x", "imageID": "kwok", "ready": False, "restartCount": 0, "state": {"terminated": ended}
        }  # fmt: skip
        status = {"phase": "Succeeded", "containerStatuses": [container]}
        url = f"{self._order.direct}/api/v1/namespaces/{self._order.namespace}/pods/{name}/status"
        headers = {
            "Authorization": f"Bearer {self._order.kubelet_token}", "Content-Type": "application/merge-patch+json"
        }  # fmt: skip
        async with (
            self._writers,
            self._kubelet.patch(url, data=json.dumps({"status": status}), headers=headers) as answer,
        ):
            await answer.read()

    # -- a node

    async def _live(self, node: int, uid: str, name: str, log: Printed) -> None:
        recorded, times = self._order.recorded, self._times[name]
        encoder = Encoder(self._order.run, node, uid)

        def tell(kind: str, data: Mapping[str, Any]) -> None:
            for line in encoder.lines(kind, data):
                log.print(line)

        start_at = asyncio.ensure_future(self._start_at(times))
        tell("plan", {**recorded["plan"][0], "at": time.time()})
        await asyncio.sleep(SETUP_S)
        times["ready"] = time.time()
        tell("ready", {"at": times["ready"]})
        waiting = recorded["state"][0]
        while not start_at.done() or time.time() < start_at.result():
            tell("state", {**waiting, "at": time.time()})
            await asyncio.sleep(STATE_S)
        for state in recorded["state"]:
            if state["elapsed_s"]:
                tell("state", {**state, "at": time.time()})
                await asyncio.sleep(STATE_S)
        for windows in recorded["windows"]:
            tell("windows", windows)
        result = recorded["result"][0]
        tell("result", {**result, "totals": {**result["totals"], "node": node, "host": f"simulated-{node}"}})
        log.ended, times["ended"] = True, time.time()
        log.wake()
        await self._end(name)

    async def _start_at(self, times: dict[str, float]) -> float:
        """By a watch of its own, opened anew every 30 s."""
        url = f"{self._order.server}/api/v1/namespaces/{self._order.namespace}/configmaps"
        headers = {"Authorization": f"Bearer {self._order.node_token}"}
        params = {
            "watch": "true", "fieldSelector": f"metadata.name=wasp-{self._order.run}", "timeoutSeconds": str(WATCH_S)
        }  # fmt: skip
        while True:
            try:
                async with self._session.get(url, params=params, headers=headers) as answer:
                    async for line in answer.content:
                        data = json.loads(line)["object"].get("data") or {}
                        if data.get("start_at"):
                            times["told"] = time.time()
                            return float(data["start_at"])
            except (aiohttp.ClientError, ValueError):
                await asyncio.sleep(0.2)


def _since(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def main() -> None:
    """With the order's file as argument."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(Nodes(Order(**json.loads(Path(sys.argv[1]).read_text()))).run())


if __name__ == "__main__":
    main()
