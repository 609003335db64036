"""What a pod's object says of its node: pure reading of what the API server writes.

The container named `wasp` is what counts, never the pod's phase: a sidecar may go on, a pod may be Running with a dead node.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CONTAINER = "wasp"
INDEX_LABEL = "batch.kubernetes.io/job-completion-index"
FATAL_REASONS = frozenset({"InvalidImageName", "ErrImageNeverPull"})
PULL_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff"})
PATIENT_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
PATIENCE_S = 30.0
"""So long a Secret or ConfigMap that a container needs may be missing."""
_NO_IMAGE = re.compile(r"not found|unauthori[sz]ed|denied|does not exist|no such|manifest unknown", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PodState:
    """One pod at one moment."""

    name: str
    uid: str
    node: int | None  # 1 .. jobs; None: the object does not say
    host: str = ""
    started: bool = False  # the container runs or ran
    ready: bool = False
    waiting: str = ""  # why it does not run
    fatal: bool = False  # and never will
    patience: bool = False  # fatal after PATIENCE_S
    ended: str = ""  # how it ended
    exit_code: int | None = None
    message: str = ""  # the container's last word
    deleted: bool = False


def read_pod(pod: Mapping[str, Any], *, gone: bool = False) -> PodState:
    """The state of a pod's node; `gone`: the object itself was deleted."""
    meta, status = pod["metadata"], pod.get("status") or {}
    basics: dict[str, Any] = {
        "name": meta["name"], "uid": meta["uid"], "node": _node_of(pod), "host": (pod.get("spec") or {}).get("nodeName", ""),
        "deleted": gone or bool(meta.get("deletionTimestamp")),
    }  # fmt: skip
    container = next((c for c in status.get("containerStatuses") or [] if c["name"] == CONTAINER), None)
    state = (container or {}).get("state") or {}
    if "terminated" in state:
        return PodState(**basics, started=True, **_ended(state["terminated"], status))
    if gone:
        return PodState(**basics, ended=f"its pod {meta['name']} was deleted")
    if status.get("phase") == "Failed":  # evicted, or refused by the kubelet: there is no container to ask
        why = ": ".join(text for text in (status.get("reason"), status.get("message")) if text)
        return PodState(**basics, ended=f"its pod failed: {why or 'no reason given'}")
    if "running" in state:
        return PodState(**basics, started=True, ready=bool(container and container.get("ready")))
    return PodState(**basics, **_waiting(state.get("waiting") or {}, status))


def kept(pod: Mapping[str, Any]) -> dict[str, Any]:
    """Of a pod what is read from it here; a thousand whole ones take 40 MB."""
    meta, spec = pod["metadata"], pod.get("spec") or {}
    has_index = INDEX_LABEL in (meta.get("labels") or {})  # else its node is told by a variable
    containers = [] if has_index else [{"name": c["name"], "env": c.get("env")} for c in spec.get("containers") or []]
    return {
        "metadata": {name: value for name, value in meta.items() if name not in ("managedFields", "ownerReferences")},
        "spec": {"nodeName": spec.get("nodeName", ""), "containers": containers},
        "status": pod.get("status"),
    }


def _node_of(pod: Mapping[str, Any]) -> int | None:
    """By the Job's completion index, or by the WASP_NODE_ID that a custom chart gave it."""
    labels = pod["metadata"].get("labels") or {}
    annotations = pod["metadata"].get("annotations") or {}
    index = labels.get(INDEX_LABEL, annotations.get(INDEX_LABEL, ""))
    if str(index).isdigit():
        return int(index) + 1
    for container in (pod.get("spec") or {}).get("containers") or []:
        for variable in container.get("env") or []:
            value = str(variable.get("value") or "")
            if container["name"] == CONTAINER and variable["name"] == "WASP_NODE_ID" and value.isdigit():
                return int(value)
    return None


def _ended(terminated: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    code, reason = int(terminated.get("exitCode", -1)), str(terminated.get("reason") or "")
    how = f"its container ended with exit code {code}"
    if reason and reason not in ("Completed", "Error"):
        how += f" ({reason})"
    if status.get("reason"):  # Evicted, DeadlineExceeded, NodeShutdown...
        how += f", its pod is {status['reason']}"
    message = str(terminated.get("message") or "")
    if code != 0 and message:
        how += f": {message.strip().splitlines()[-1][:300]}"
    return {"ended": how, "exit_code": code, "message": message}


def _waiting(waiting: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    if not reason or reason in ("ContainerCreating", "PodInitializing"):
        scheduled: Mapping[str, Any] = next(
            (c for c in status.get("conditions") or [] if c["type"] == "PodScheduled"), {}
        )
        if scheduled.get("status") == "False":
            return {"waiting": f"{scheduled.get('reason')}: {scheduled.get('message', '')}".strip(": ")}
        return {"waiting": reason or "not created yet"}
    text = f"{reason}: {message}" if message else reason
    fatal = reason in FATAL_REASONS or (reason in PULL_REASONS and bool(_NO_IMAGE.search(message)))
    return {"waiting": text[:500], "fatal": fatal, "patience": reason in PATIENT_REASONS}
