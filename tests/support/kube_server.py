"""A Kubernetes API on a loopback port, as far as a run uses it: objects in memory, watches, logs of scripted pods.

It is real as far as the wire goes, so the real clients, controllers and commands run against it. There are no kubelets: a test
writes what its pods print and how they end.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Obj = dict[str, Any]
NAMESPACE = "load"
OBJECTS = re.compile(r"/(?:api|apis/[^/]+)/v1/namespaces/([^/]+)/([a-z]+)(?:/([^/]+))?(/log)?")
KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "SERVER"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""


@dataclass
class ScriptedPod:
    """One pod of a run's Job and what its container has printed that the kubelet still keeps."""

    name: str
    uid: str
    sync: str
    lines: list[tuple[str, str]] = field(default_factory=list)  # timestamp, text
    ended: bool = False


class KubeServer:
    """All objects of one namespace. Every method may be called from any thread."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.objects: dict[tuple[str, str], Obj] = {}
        self.pods: dict[str, ScriptedPod] = {}
        self.writes: list[tuple[str, str, Obj]] = []
        """Method, kind and body of every request that wrote something."""
        self.on_patch: Callable[[str, Obj], None] = lambda kind, body: None
        """Called with each patch before it is applied; what it raises is a 500."""
        self.closed = False
        self.url = ""
        self._version, self._clock_ns = 1, time.time_ns()
        self._history: list[tuple[int, str, str, Obj]] = []  # version, kind, event, object

    # -- for tests

    def config_map(self, run: str) -> Mapping[str, str]:
        """The data of a run's ConfigMap; empty when there is none."""
        with self.changed:
            return dict(self.objects.get(("configmaps", f"wasp-{run}"), {}).get("data") or {})

    def names(self) -> list[str]:
        """Every object that is there, as kind/name."""
        with self.changed:
            return sorted(f"{kind}/{name}" for kind, name in self.objects)

    def start_pod(self, run: str, node: int, sync: str) -> ScriptedPod:
        """A pod whose container runs."""
        pod = ScriptedPod(f"wasp-{run}-{node - 1}-x", f"uid-{run}-{node}", sync)
        labels = {"sync": sync, "batch.kubernetes.io/job-completion-index": str(node - 1)}
        with self.changed:
            self.pods[pod.name] = pod
            self._put("pods", {
                "metadata": {"name": pod.name, "uid": pod.uid, "labels": labels}, "spec": {"nodeName": "host", "containers": []},
                "status": {"phase": "Running", "containerStatuses": [{"name": "wasp", "ready": True, "state": {"running": {}}}]},
            })  # fmt: skip
        return pod

    def say(self, pod: ScriptedPod, *texts: str) -> None:
        """Lines that the container prints."""
        with self.changed:
            for text in texts:
                self._clock_ns = max(self._clock_ns + 1000, time.time_ns())
                at = datetime.fromtimestamp(self._clock_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
                pod.lines.append((f"{at}.{self._clock_ns % 10**9:09d}Z", text))
            self.changed.notify_all()

    def rotate(self, pod: ScriptedPod) -> None:
        """The kubelet begins a new log file and keeps nothing of the old one within reach of the API."""
        with self.changed:
            pod.lines.clear()

    def end_pod(self, pod: ScriptedPod, exit_code: int = 0, message: str = "") -> None:
        """The container ends."""
        with self.changed:
            pod.ended = True
            obj = self.objects[("pods", pod.name)]
            state = {"terminated": {"exitCode": exit_code, "message": message, "reason": "Completed"}}
            status = {"phase": "Succeeded", "containerStatuses": [{"name": "wasp", "ready": False, "state": state}]}
            self._put("pods", {**obj, "status": status})

    def remove_pod(self, pod: ScriptedPod) -> None:
        """As `kubectl delete pod --force`."""
        with self.changed:
            pod.ended = True
            self._remove("pods", pod.name)

    def lapse(self, run: str) -> None:
        """As if the lease's holder had been silent for its 15 s."""
        with self.changed:
            lease = self.objects[("leases", f"wasp-{run}")]
            self._put("leases", {**lease, "spec": {**lease["spec"], "holderIdentity": None}})

    def kubeconfig(self, folder: Path) -> Path:
        """A file that leads here."""
        path = folder / "kubeconfig"
        path.write_text(KUBECONFIG.replace("SERVER", self.url))
        return path

    # -- objects; under the lock

    def _put(self, kind: str, obj: Obj) -> Obj:
        self._version += 1
        known = (kind, obj["metadata"]["name"]) in self.objects
        meta = {"uid": f"{kind}-{self._version}", "creationTimestamp": "2026-01-01T00:00:00Z", **obj["metadata"]}
        obj = {**obj, "metadata": {**meta, "resourceVersion": str(self._version)}}
        self.objects[(kind, meta["name"])] = obj
        self._history.append((self._version, kind, "MODIFIED" if known else "ADDED", obj))
        self.changed.notify_all()
        return obj

    def _remove(self, kind: str, name: str) -> Obj | None:
        obj = self.objects.pop((kind, name), None)
        if obj is not None:
            self._version += 1
            gone = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self._version)}}
            self._history.append((self._version, kind, "DELETED", gone))
            self.changed.notify_all()
            if kind == "jobs":
                sync = (obj["metadata"].get("labels") or {}).get("sync")
                for pod in [pod for pod in self.pods.values() if pod.sync == sync]:
                    self.remove_pod(pod)
        return obj

    def _listed(self, kind: str, selector: str) -> list[Obj]:
        return [obj for (k, _), obj in sorted(self.objects.items()) if k == kind and _selected(obj, selector)]

    # -- requests: status and body

    def answer(self, method: str, path: str, query: Mapping[str, str], body: Obj) -> tuple[int, Obj]:
        """What one request comes to; neither watches nor logs."""
        if path.rstrip("/") == "/version":
            return 200, {"major": "1", "minor": "34"}
        if path.endswith("selfsubjectaccessreviews"):
            return 201, {"status": {"allowed": body["spec"]["resourceAttributes"]["resource"] != "nodes"}}
        found = OBJECTS.fullmatch(path)
        assert found is not None, path
        kind, name = found[2], found[3]
        with self.changed:
            if method != "GET":
                self.writes.append((method, kind, body))
            return self._handled(method, kind, name, query, body)

    def _handled(
        self, method: str, kind: str, name: str | None, query: Mapping[str, str], body: Obj
    ) -> tuple[int, Obj]:
        if method == "POST":
            if (kind, body["metadata"]["name"]) in self.objects:
                return 409, {"message": "already exists"}
            return 201, body if "dryRun" in query else self._put(kind, body)
        if name is None:
            items = self._listed(kind, query.get("labelSelector", ""))
            return 200, {"metadata": {"resourceVersion": str(self._version)}, "items": items}
        known = self.objects.get((kind, name))
        if known is None:
            return 404, {"message": f"{kind} {name} not found"}
        if method == "PATCH":
            self.on_patch(kind, body)
            wanted = (body.get("metadata") or {}).get("resourceVersion", known["metadata"]["resourceVersion"])
            return (
                (200, self._put(kind, merged(known, body)))
                if wanted == known["metadata"]["resourceVersion"]
                else (409, {})
            )
        if method == "DELETE":
            self._remove(kind, name)
        return 200, known

    def watched(self, kind: str, since: int, selector: str, seconds: float) -> Iterator[bytes]:
        """Events after a version, for a while."""
        give_up = time.monotonic() + seconds
        while not self.closed and time.monotonic() < give_up:
            with self.changed:
                news = [entry for entry in self._history if entry[0] > since and entry[1] == kind]
                if not news:
                    self.changed.wait(min(0.5, max(0.01, give_up - time.monotonic())))
            for version, _, event, obj in news:
                since = version
                if _selected(obj, selector):
                    yield json.dumps({"type": event, "object": {"kind": kind, **obj}}).encode() + b"\n"

    def logged(self, name: str, since: str, follow: bool) -> Iterator[bytes]:
        """Lines of a pod with their timestamps."""
        last = ""
        while not self.closed:
            with self.changed:
                pod = self.pods[name]
                news = [(at, text) for at, text in pod.lines if at > last and at[:19] >= since[:19]]
                if not news and (pod.ended or not follow):
                    return
                if not news:
                    self.changed.wait(0.5)
            for at, text in news:
                last = at
                yield f"{at} {text}\n".encode()


def merged(base: Any, change: Any) -> Any:
    """A JSON merge patch."""
    if not isinstance(base, dict) or not isinstance(change, dict):
        return change
    out = {**base, **{key: merged(base.get(key), value) for key, value in change.items()}}
    return {key: value for key, value in out.items() if value is not None}


def _selected(obj: Obj, selector: str) -> bool:
    labels = obj["metadata"].get("labels") or {}
    wanted = [part.partition("=") for part in selector.split(",") if part]
    return all(name in labels and (not equals or labels[name] == value) for name, equals, value in wanted)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""

    def _serve(self) -> None:
        kube, parts = self.server.kube, urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = OBJECTS.fullmatch(parts.path)
        with suppress(BrokenPipeError, ConnectionResetError):
            if self.command == "GET" and found and found[4]:
                self._stream(kube.logged(found[3], query.get("sinceTime", ""), "follow" in query))
            elif self.command == "GET" and found and query.get("watch") == "true":
                seconds = float(query.get("timeoutSeconds", 5))
                since = int(query.get("resourceVersion", 0))
                self._stream(kube.watched(found[2], since, query.get("labelSelector", ""), seconds))
            else:
                self._reply(kube, parts.path, query, raw)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve

    def _reply(self, kube: KubeServer, path: str, query: Mapping[str, str], raw: bytes) -> None:
        try:
            status, body = kube.answer(self.command, path, query, json.loads(raw or b"{}"))
        except Exception as exc:
            status, body = 500, {"message": f"{type(exc).__name__}: {exc}"}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, chunks: Iterator[bytes]) -> None:
        self.send_response(200)
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(chunk)
            self.wfile.flush()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # waited for, so that no descriptor is left
    request_queue_size = 64

    def __init__(self, kube: KubeServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kube = kube


@contextmanager
def kube_server() -> Iterator[KubeServer]:
    """Serves until the end of the block."""
    kube = KubeServer()
    server = _Server(kube)
    kube.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield kube
    finally:
        with kube.changed:
            kube.closed = True
            kube.changed.notify_all()
        server.shutdown()
        thread.join(10)
        server.server_close()
