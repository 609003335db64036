"""Runs that are there already: what is known of them, and what can be done to them. By their labels in one namespace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wasp_ray.cluster.kube import Kube
from wasp_ray.cluster.lifecycle import Terms
from wasp_ray.cluster.manifests import RUN_LABEL, SYNC_LABEL
from wasp_ray.cluster.naming import object_name, problem_of_run_id
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
    roots: list[Obj]  # its Jobs: one, or those of a custom chart
    pods: list[PodState] = field(default_factory=list)

    @property
    def job(self) -> Obj:
        """The first of them."""
        return self.roots[0]

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
    runs: dict[str, list[Obj]] = {}
    for job in kube.list("Job", f"{ALL_RUNS},{SYNC_LABEL},{RUN_LABEL}")[0]:
        runs.setdefault(job["metadata"]["labels"][RUN_LABEL], []).append(job)
    return sorted((_state(kube, run, jobs) for run, jobs in runs.items()), key=lambda run: run.created)


def find_run(kube: Kube, run: str) -> RunState:
    """One run with its pods. Raises BadInput when there is none, naming those that are."""
    jobs = find_jobs(kube, run)
    if not jobs:
        known = ", ".join(state.run for state in list_runs(kube)) or "none"
        raise BadInput(f"there is no run {run!r} in namespace {kube.namespace} (runs there: {known})")
    state = _state(kube, run, jobs)
    pods, _ = kube.list("Pod", f"{SYNC_LABEL}={state.sync}")
    state.pods = sorted(map(read_pod, pods), key=lambda pod: (pod.node or 0, pod.name))
    return state


def find_jobs(kube: Kube, run: str) -> list[Obj]:
    """The Jobs of a run's nodes; none when there is no such run."""
    if problem_of_run_id(run):
        return []
    return kube.list("Job", f"{ALL_RUNS},{SYNC_LABEL},{RUN_LABEL}={run}")[0]


def _state(kube: Kube, run: str, jobs: list[Obj]) -> RunState:
    meta = jobs[0]["metadata"]
    config = kube.get("ConfigMap", object_name(run)) or {}
    return RunState(run, meta["labels"][SYNC_LABEL], meta["creationTimestamp"], config.get("data") or {}, jobs)


def stop_run(kube: Kube, run: str, *, at_once: bool = False) -> None:
    """Asks the nodes to end; whoever controls the run collects and removes it."""
    order = "stop at once" if at_once else "stop"
    kube.patch("ConfigMap", object_name(run), {"data": {"abort": order, "phase": "stopping"}})


def remove_run(kube: Kube, run: str) -> bool:
    """Deletes all of a run; False when nothing was there."""
    name = object_name(run)
    jobs = [job["metadata"]["name"] for job in find_jobs(kube, run)]
    there = [kube.delete(kind, found) for kind, found in (
        ("ConfigMap", name), ("Secret", name), ("ConfigMap", f"{name}-result"), ("Job", f"{name}-controller"), ("Lease", name),
        *(("Job", job) for job in jobs or [name]),
    )]  # fmt: skip
    return any(there)
