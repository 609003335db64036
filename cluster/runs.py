"""Runs that are there already: what is known of them, and what can be done to them. By their labels in one namespace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wasp_ray.cluster.kube import Kube
from wasp_ray.cluster.lifecycle import Terms
from wasp_ray.cluster.manifests import RUN_LABEL, SYNC_LABEL, object_name
from wasp_ray.cluster.pods import PodState, read_pod
from wasp_ray.errors import BadInput

ALL_RUNS = "app.kubernetes.io/name=wasp"
Obj = dict[str, Any]


@dataclass(slots=True)
class RunState:
    """One run as the cluster has it."""

    run: str
    sync: str
    created: str
    data: Mapping[str, str]  # of its ConfigMap
    job: Obj
    pods: list[PodState] = field(default_factory=list)

    @property
    def phase(self) -> str:
        """As its controller wrote it last."""
        return self.data.get("phase") or "unknown"

    @property
    def jobs(self) -> int:
        """Nodes it was made for."""
        return int(self.data.get("nodes") or self.job["spec"].get("completions") or 1)

    def terms(self) -> Terms:
        """What its controller holds it to."""
        data = self.data
        return Terms(
            nodes=self.jobs, deploy_timeout_s=float(data.get("deploy_timeout_s") or 600),
            run_timeout_s=float(data["run_timeout_s"]) if data.get("run_timeout_s") else None,
            drain_s=float(data.get("drain_s") or 60), on_lost_node=data.get("on_lost_node") or "stop",
        )  # fmt: skip

    def order(self) -> dict[str, Any]:
        """What its nodes were told."""
        found: dict[str, Any] = json.loads(self.data.get("order") or "{}")
        return found

    def image(self) -> str:
        """What its nodes run."""
        containers = self.job["spec"]["template"]["spec"]["containers"]
        return next((str(c["image"]) for c in containers if c["name"] == "wasp"), "")

    def test(self) -> str:
        """Its load file inside the image."""
        containers = self.job["spec"]["template"]["spec"]["containers"]
        command = next((c.get("command") or [] for c in containers if c["name"] == "wasp"), [])
        return str(command[-1]) if command else "run"


def list_runs(kube: Kube) -> list[RunState]:
    """All runs of the namespace, newest last."""
    jobs, _ = kube.list("Job", f"{ALL_RUNS},{SYNC_LABEL}")
    found = [_state(kube, job) for job in jobs if RUN_LABEL in (job["metadata"].get("labels") or {})]
    return sorted(found, key=lambda run: run.created)


def find_run(kube: Kube, run: str) -> RunState:
    """One run with its pods. Raises BadInput when there is none, naming those that are."""
    job = kube.get("Job", object_name(run))
    if job is None:
        known = ", ".join(state.run for state in list_runs(kube)) or "none"
        raise BadInput(f"there is no run {run!r} in namespace {kube.namespace} (runs there: {known})")
    state = _state(kube, job)
    pods, _ = kube.list("Pod", f"{SYNC_LABEL}={state.sync}")
    state.pods = sorted(map(read_pod, pods), key=lambda pod: (pod.node or 0, pod.name))
    return state


def _state(kube: Kube, job: Obj) -> RunState:
    labels = job["metadata"]["labels"]
    run = labels[RUN_LABEL]
    config = kube.get("ConfigMap", object_name(run)) or {}
    return RunState(run, labels[SYNC_LABEL], job["metadata"]["creationTimestamp"], config.get("data") or {}, job)


def stop_run(kube: Kube, run: str, *, at_once: bool = False) -> None:
    """Asks the nodes to end; whoever controls the run collects and removes it."""
    order = "stop at once" if at_once else "stop"
    kube.patch("ConfigMap", object_name(run), {"data": {"abort": order, "phase": "stopping"}})


def remove_run(kube: Kube, run: str) -> bool:
    """Deletes all of a run; False when nothing was there."""
    name = object_name(run)
    there = [kube.delete(kind, found) for kind, found in (
        ("ConfigMap", name), ("Secret", name), ("ConfigMap", f"{name}-result"), ("Job", f"{name}-controller"), ("Lease", name),
        ("Job", name),
    )]  # fmt: skip
    return any(there)
