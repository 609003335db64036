"""Nodes that only pretend, by kwok: pods bound to them turn Running and Ready, and print what a file says.

Owns kwok's configuration. Pods of Jobs stay Running until they are deleted (or for `complete_after_s`). kwok runs as a
daemon of the cluster and ends with it, or by `stop_kwok()`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import tools
from .access import ApiError
from .cluster import Kubernetes
from .places import locked
from .processes import end, free_port, start, wait_until
from .progress import step

READY_TIMEOUT_S = 120.0
LOCK_WAIT_S = 600.0
LABEL = "wasp.e2e/kwok"
TAINT = "wasp.e2e/kwok"

NODE_STATUS = """
{{ $now := Now }}
conditions:
{{ range NodeConditions }}
- lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ $now | Quote }}
  message: {{ .message | Quote }}
  reason: {{ .reason | Quote }}
  status: {{ .status | Quote }}
  type: {{ .type | Quote }}
{{ end }}
addresses:
- address: {{ NodeIP | Quote }}
  type: InternalIP
daemonEndpoints:
  kubeletEndpoint:
    Port: {{ NodePort }}
allocatable: {cpu: "64", memory: 256Gi, pods: "500"}
capacity: {cpu: "64", memory: 256Gi, pods: "500"}
nodeInfo:
  architecture: amd64
  bootID: ""
  containerRuntimeVersion: kwok
  kernelVersion: kwok
  kubeProxyVersion: kwok
  kubeletVersion: kwok
  machineID: ""
  operatingSystem: linux
  osImage: kwok
  systemUUID: ""
phase: Running
"""
POD_STATUS = """
{{ $now := Now }}
conditions:
{{ range $type := list "Initialized" "Ready" "ContainersReady" }}
- {lastTransitionTime: {{ $now | Quote }}, status: "True", type: {{ $type }}}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- image: {{ .image | Quote }}
  imageID: kwok
  name: {{ .name | Quote }}
  ready: true
  started: true
  restartCount: 0
  state: {running: {startedAt: {{ $now | Quote }}}}
{{ end }}
hostIP: {{ NodeIPWith .spec.nodeName | Quote }}
phase: Running
startTime: {{ $now | Quote }}
"""
DONE_STATUS = """
{{ $now := Now }}
conditions:
- {lastTransitionTime: {{ $now | Quote }}, status: "False", type: Ready, reason: PodCompleted}
- {lastTransitionTime: {{ $now | Quote }}, status: "False", type: ContainersReady, reason: PodCompleted}
containerStatuses:
{{ range .spec.containers }}
- image: {{ .image | Quote }}
  imageID: kwok
  name: {{ .name | Quote }}
  ready: false
  started: false
  restartCount: 0
  state: {terminated: {exitCode: EXIT_CODE, reason: REASON, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}}}
{{ end }}
phase: PHASE
"""


@dataclass(frozen=True)
class Kwok:
    """What the fake nodes do.

    `logs` is what each container prints (plain text, stamped with the time of the start). `ready_after_s` counts from the
    moment a pod is bound, `complete_after_s` from the moment it is Ready: then it ends with `exit_code` (None: it runs on).
    With `tainted`, only pods that tolerate `wasp.e2e/kwok` come. `kubelet_port`: of who serves the pods' logs instead of kwok.
    """

    nodes: int = 10
    logs: str = ""
    ready_after_s: float = 0.0
    complete_after_s: float | None = None
    exit_code: int = 0
    tainted: bool = False
    kubelet_port: int | None = None


@contextmanager
def running_kwok(kubernetes: Kubernetes, plan: Kwok) -> Iterator[list[str]]:
    """Fake nodes that are Ready, by name; removed at the end with the pods on them. One user of a cluster at a time."""
    names = [f"kwok-{number}" for number in range(1, plan.nodes + 1)]
    with locked(kubernetes.state.path("kwok.lock"), LOCK_WAIT_S, doing="have fake nodes"):
        try:
            with step(f"{plan.nodes} kwok nodes"):
                _start(kubernetes, plan, names)
            yield names
        finally:
            stop_kwok(kubernetes)


def stop_kwok(kubernetes: Kubernetes) -> None:
    """Removes the fake nodes and what runs on them, then ends kwok."""
    access = kubernetes.access
    nodes = access.request("GET", f"/api/v1/nodes?labelSelector={LABEL}")["items"]
    for node in nodes:
        access.request("DELETE", f"/api/v1/nodes/{node['metadata']['name']}")
    names = {node["metadata"]["name"] for node in nodes}
    for pod in access.request("GET", "/api/v1/pods")["items"]:
        if pod["spec"].get("nodeName") in names:
            meta = pod["metadata"]
            path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}?gracePeriodSeconds=0"
            with suppress(ApiError):  # somebody else was faster
                access.request("DELETE", path)
    end(kubernetes.state, ["kwok"])


def _start(kubernetes: Kubernetes, plan: Kwok, names: list[str]) -> None:
    state, authority, port = kubernetes.state, kubernetes.authority, free_port()
    end(state, ["kwok"])
    authority.sign("kwok", "/CN=kwok", ["IP:127.0.0.1"])
    log_file = state.path("kwok-pods.log")
    log_file.write_text(_as_written_by_a_runtime(plan.logs))
    config = state.path("kwok.yaml")
    config.write_text("\n---\n".join(json.dumps(document) for document in _documents(plan, log_file)))
    flags = [
        f"--config={config}",
        f"--kubeconfig={kubernetes.kubeconfig}",
        f"--manage-nodes-with-label-selector={LABEL}=true",
        "--manage-all-nodes=false",
        "--node-ip=127.0.0.1",
        f"--node-port={plan.kubelet_port or port}",
        f"--server-address=127.0.0.1:{port}",
        f"--tls-cert-file={authority.cert('kwok')}",
        f"--tls-private-key-file={authority.key('kwok')}",
        "--node-lease-duration-seconds=40",
    ]
    daemon = start(state, "kwok", [tools.built(tools.KWOK), *flags])
    for name in names:
        kubernetes.access.request("POST", "/api/v1/nodes", _node(name, plan.tainted))
    wait_until(
        lambda: _ready(kubernetes) >= plan.nodes, READY_TIMEOUT_S, "kwok's nodes are Ready", state.log("kwok"), daemon
    )


def _ready(kubernetes: Kubernetes) -> int:
    nodes = kubernetes.access.request("GET", f"/api/v1/nodes?labelSelector={LABEL}")["items"]
    return sum(
        any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in node["status"].get("conditions", ())
        )
        and not [t for t in node["spec"].get("taints", ()) if t["key"].startswith("node.kubernetes.io/")]
        for node in nodes
    )


def _node(name: str, tainted: bool) -> dict[str, Any]:
    taints = [{"key": TAINT, "value": "true", "effect": "NoSchedule"}] if tainted else []
    labels = {LABEL: "true", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints},
    }


def _as_written_by_a_runtime(text: str) -> str:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
    return "".join(f"{now} stdout F {line}\n" for line in text.splitlines())


def _documents(plan: Kwok, log_file: Path) -> Iterator[dict[str, Any]]:
    alive = {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"}
    ready = '.status.conditions.[] | select( .type == "Ready" ) | .status'
    yield _stage(
        "node-ready", "Node", [{"key": ready, "operator": "NotIn", "values": ["True"]}], {"statusTemplate": NODE_STATUS}
    )
    pending = {"key": ".status.phase", "operator": "In", "values": ["Pending"]}
    yield _stage("pod-ready", "Pod", [alive, pending], {"statusTemplate": POD_STATUS}, plan.ready_after_s)
    if plan.complete_after_s is not None:
        run = {"key": ".status.phase", "operator": "In", "values": ["Running"]}
        phase, reason = ("Failed", "Error") if plan.exit_code else ("Succeeded", "Completed")
        template = (
            DONE_STATUS.replace("EXIT_CODE", str(plan.exit_code)).replace("PHASE", phase).replace("REASON", reason)
        )
        yield _stage("pod-done", "Pod", [alive, run], {"statusTemplate": template}, plan.complete_after_s)
    dying = {"key": ".metadata.deletionTimestamp", "operator": "Exists"}
    yield _stage("pod-delete", "Pod", [dying], {"delete": True})
    yield {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "ClusterLogs",
        "metadata": {"name": "all"},
        "spec": {"logs": [{"logsFile": str(log_file), "follow": False}]},
    }


def _stage(
    name: str, kind: str, expressions: list[dict[str, Any]], then: dict[str, Any], delay_s: float = 0.0
) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "resourceRef": {"apiGroup": "v1", "kind": kind},
        "selector": {"matchExpressions": expressions},
        "next": then,
    }
    if delay_s:
        spec["delay"] = {"durationMilliseconds": round(delay_s * 1000)}
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name}, "spec": spec}
