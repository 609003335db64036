"""Going on with a run that is there already: taking over its control, or waiting for a detached one's result."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from wasp_ray._version import __version__
from wasp_ray.clock import now_ns, sleep_s
from wasp_ray.cluster.execution import ClusterExecution
from wasp_ray.cluster.kube import Kube, KubeError
from wasp_ray.cluster.kube_nodes import KubeNodes
from wasp_ray.cluster.lease import RunLease
from wasp_ray.cluster.naming import object_name
from wasp_ray.cluster.record import adopted
from wasp_ray.cluster.runs import RunState, find_jobs, find_run, remove_run
from wasp_ray.errors import NodeFailed
from wasp_ray.execution import Listener, Outcome, Outputs, Settings

LOOK_S = 1.0
RENEWED_WITHIN_S = 6.0
MAX_RESULT_BYTES = 900_000
"""Of a ConfigMap's 1 MiB."""
Obj = dict[str, Any]


def is_detached(kube: Kube, run: str) -> bool:
    """Whether a controller of its own runs in the cluster."""
    return kube.get("Job", f"{object_name(run)}-controller") is not None


def taken_over(
    kube: Kube, state: RunState, view: Listener, say: Callable[[str], None], *, keep: bool = False, out: Path | None = None,
    outputs: Outputs | None = None, wants_bundle: bool = True, refusal: str = "",
) -> ClusterExecution:  # fmt: skip
    """Waits for the lease of a run, then adopts the run. Raises NodeFailed when it ends meanwhile, or when its
    nodes run another version of wasp_ray. `refusal`: why the run must be ended with an error.
    """
    wait_for_lease(kube, state.run, say)
    state = find_run(kube, state.run)  # as it is now that nobody else writes
    found = adopted(state.data)
    if found.version and found.version != __version__:
        raise NodeFailed(
            f"the nodes of run {state.run} run wasp_ray {found.version} and this command {__version__}: expected one version,"
            f" and the run was left alone; install that of the nodes (`pip install 'wasp-ray[cluster]=={found.version}'`), then"
            f" `wasp cluster attach {state.run}`"
        )
    if refusal:
        found = replace(found, problems=(*found.problems, refusal))
    order = state.order()
    settings = Settings(
        source={"file": state.test()}, seed=order.get("seed"), nodes=state.jobs, load=order.get("load") or "total", out=out,
        wants_bundle=wants_bundle, outputs=outputs or Outputs(), run_id=state.run, image=state.image(), user_dir=str(Path.cwd()),
        foreign_plan=True,
    )  # fmt: skip
    objects = _objects(state)
    backend = KubeNodes(
        kube.credentials, kube.namespace, lambda: objects, state.run, state.sync, keep=keep, adopted=True
    )
    return ClusterExecution(
        settings, view, lambda *_: backend, state.terms(), keep_logs=True, adopted=found, keeper=backend
    )


def _objects(state: RunState) -> list[Obj]:
    """What is removed at the end, Job first."""
    name = {"metadata": {"name": object_name(state.run)}}
    return [*(job | {"kind": "Job"} for job in state.roots), {"kind": "ConfigMap", **name}, {"kind": "Secret", **name}]


def wait_for_lease(kube: Kube, run: str, say: Callable[[str], None]) -> None:
    """Until its controller is silent for the length of its lease. Raises NodeFailed when the run is gone before."""
    lease, told = RunLease(kube, object_name(run)), ""
    while True:
        jobs, config = find_jobs(kube, run), kube.get("ConfigMap", object_name(run))
        if not jobs or config is None or jobs[0]["metadata"].get("deletionTimestamp"):
            raise NodeFailed(f"run {run} was ended by its controller, which has its verdict")
        if lease.acquire(owner_of(jobs[0])):
            break
        text = f"run {run} has a controller; it is {config['data'].get('phase') or 'unknown'}"
        if text != told:
            say(text)
            told = text
        sleep_s(LOOK_S)
    lease.release()


def owner_of(job: Obj) -> Obj:
    """A Job as the owner of what goes with it."""
    return {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}


# -- detached runs


def refusal_of(state: RunState) -> str:
    """Why the controller in the image must not start a run that a client of another version made; empty when it may."""
    theirs = str(state.order().get("version") or __version__)
    if theirs == __version__:
        return ""
    return (
        f"run {state.run} was made by wasp_ray {theirs}, and its image has {__version__}: expected one version; rebuild the image"
        f" with that one (`wasp cluster image build --build-root DIR --tag {state.image()} --push`), or install that of the image"
        f" where the run is made (`pip install 'wasp-ray[cluster]=={__version__}'`)"
    )


def leave_result(kube: Kube, run: str, outcome: Outcome, owner: Obj | None) -> None:
    """The summary and plan where whoever attaches finds them."""
    data = {"summary": outcome.summary, "plan": outcome.plan.to_data(), "exit_code": outcome.judged.exit_code}
    packed = base64.b64encode(gzip.compress(json.dumps(data).encode(), 9, mtime=0)).decode()
    if len(packed) > MAX_RESULT_BYTES:
        slim = {
            **outcome.summary,
            "nodes": [],
            "warnings": [*outcome.summary["warnings"], "too large: nodes are left out"],
        }
        packed = base64.b64encode(gzip.compress(json.dumps({**data, "summary": slim}).encode(), 9, mtime=0)).decode()
    meta: Obj = {"name": f"{object_name(run)}-result", **({"ownerReferences": [owner]} if owner else {})}
    kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"result": packed}})


def wait_for_result(kube: Kube, run: str, say: Callable[[str], None]) -> Obj:
    """{summary, plan, exit_code} of a detached run. Raises NodeFailed when its controller ended without one."""
    told, silent_since = "", None
    while True:
        found = kube.get("ConfigMap", f"{object_name(run)}-result")
        if found is not None:
            data: Obj = json.loads(gzip.decompress(base64.b64decode(found["data"]["result"])))
            return data
        job = kube.get("Job", f"{object_name(run)}-controller")
        ended = job is None or any(
            c["type"] in ("Failed", "Complete") for c in job.get("status", {}).get("conditions") or []
        )
        if ended:
            silent_since = silent_since or now_ns()
            if now_ns() - silent_since > 5_000_000_000:
                raise NodeFailed(
                    f"the controller of run {run} ended without a result: see `wasp cluster logs {run}`; `wasp cluster stop"
                    f" {run}` removes it"
                )
        config = kube.get("ConfigMap", object_name(run))
        text = f"run {run} is {(config or {}).get('data', {}).get('phase') or 'unknown'}"
        if text != told:
            say(text)
            told = text
        sleep_s(LOOK_S)


def unread_result(run: str, found: Obj) -> str:
    """What to do about a result that this version cannot show."""
    versions = (found.get("summary") or {}).get("versions") or {}
    theirs = versions.get("wasp_ray") or "an unknown version"
    return (
        f"the result of run {run} was written by wasp_ray {theirs}, this is {__version__}; run {run} and its result stay in the"
        f" cluster: install that version (`pip install 'wasp-ray[cluster]=={theirs}'`), then `wasp cluster attach {run}`"
    )


def stop_and_remove(kube: Kube, run: str, say: Callable[[str], None], *, drain_s: float) -> None:
    """Tells the nodes to stop, waits for their ends, removes what is left. For runs without a controller."""
    state = find_run(kube, run)
    try:
        kube.patch("ConfigMap", object_name(run), {"data": {"abort": "stop", "phase": "stopping"}})
    except KubeError as exc:
        if exc.status != 404:
            raise
    give_up = now_ns() + int(drain_s * 1e9)
    while any(not pod.ended for pod in state.pods) and now_ns() < give_up:
        sleep_s(LOOK_S)
        state = find_run(kube, run)
    say(f"run {run}: {sum(bool(p.ended) for p in state.pods)} of {len(state.pods)} pods ended by themselves")
    remove_run(kube, run)
