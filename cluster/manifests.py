"""The Kubernetes objects of a run, from its values. Pure: no I/O, no clock, no environment.

charts/wasp renders the same objects, which a test compares; owner references are set by whoever creates them. The root is
one Indexed Job, created suspended: the others get it as their owner before it is let go.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any, Final

from wasp_ray.cluster import value_types as t
from wasp_ray.cluster.lifecycle import Phase
from wasp_ray.cluster.manifest_env import controller_env, loki_env_from, node_env
from wasp_ray.cluster.naming import object_name
from wasp_ray.cluster.rights import CONTROLLER, LABELS, setup_objects
from wasp_ray.cluster.values import Resources, Values
from wasp_ray.cluster.yaml_text import redacted, to_yaml
from wasp_ray.errors import BadInput

__all__ = [
    "CONTAINER", "READY_FILE", "RUN_LABEL", "SYNC_LABEL", "completed", "controller_objects", "redacted", "run_objects",
    "setup_objects", "to_yaml",
]  # fmt: skip

CONTAINER: Final = "wasp"
"""The container by which a node is judged."""
READY_FILE: Final = "/tmp/wasp/ready"  # noqa: S108  # in the pod's own emptyDir
RUN_LABEL: Final = "wasp.dev/run"
SYNC_LABEL: Final = "sync"
CONTROLLER_SPARE_S: Final = 2400
"""What the controller's pod may live beyond those of the nodes: to collect, to wait for alert rules (half an hour), to conclude."""

Object = dict[str, Any]

_KEEP_AWAY: Final = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
    "linkerd.io/inject": "disabled",
    "sidecar.istio.io/inject": "false",
}


def run_objects(values: Values) -> list[Object]:
    """Job, ConfigMap and, if there are secret values, Secret of a run; the Job is the root of the others.

    Raises BadInput when run, image or test.name is missing.
    """
    _check(values)
    return [_job(values), _config_map(values), *([_secret(values)] if values.secrets() else [])]


def controller_objects(values: Values) -> list[Object]:
    """The controller as a Job: of a chart installed alone, and of `--detach`. Its exit code is the verdict's.

    It carries no sync label, or it would be counted as a node. Raises BadInput as run_objects does.
    """
    _check(values)
    labels = {**LABELS, "app.kubernetes.io/component": "controller", RUN_LABEL: values.run_label}
    container = {
        "name": "controller",
        "image": values.image,
        "imagePullPolicy": values.image_pull_policy,
        "command": ["python", "-m", "wasp_ray", "cluster", "control", "--run", values.run_label],
        "env": controller_env(values),
        **_some("envFrom", loki_env_from(values)),
        **_resources(values.controller.resources),
        **_restricted(),
    }
    pod = {
        **_pod(values, CONTROLLER, container),
        "activeDeadlineSeconds": values.pod_deadline_s + CONTROLLER_SPARE_S,
    }
    annotations = {**_KEEP_AWAY, **values.annotations}
    spec = {
        "backoffLimit": 0,
        # A verdict is final; a controller that was evicted is followed by another, which takes over.
        "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]},
        "ttlSecondsAfterFinished": values.ttl_seconds_after_finished,
        "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod},
    }
    name = f"{object_name(values.run_label)}-controller"
    metadata = {"name": name, "labels": labels, **_some("annotations", values.annotations)}
    return [{"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}]


def completed(objects: Iterable[Mapping[str, Any]], values: Values) -> list[Object]:
    """A chart's objects, Jobs first, with what a chart of somebody's own may leave out.

    That is the run's ConfigMap and Secret; of Jobs whose pods have the sync label: labels by which the run is found, the
    nodes' service account, and variables that are not set. What is there stays as it is: charts/wasp lacks nothing.
    """
    found = [_completed_job(obj, values) if obj["kind"] == "Job" else dict(obj) for obj in objects]
    there = {(obj["kind"], obj["metadata"]["name"]) for obj in found}
    needed = [_config_map(values), *([_secret(values)] if values.secrets() else [])]
    found += [obj for obj in needed if (obj["kind"], obj["metadata"]["name"]) not in there]
    return sorted(found, key=lambda obj: str(obj["kind"]) != "Job")


def _completed_job(job: Mapping[str, Any], values: Values) -> Object:
    template = job["spec"]["template"]
    if ((template.get("metadata") or {}).get("labels") or {}).get(SYNC_LABEL) != values.sync_label:
        return dict(job)
    pod = template["spec"]
    containers = [_completed_container(c, values) if c["name"] == CONTAINER else c for c in pod["containers"]]
    account = {} if pod.get("serviceAccountName") else _some("serviceAccountName", values.service_account)
    spec = {**job["spec"], "template": {**template, "spec": {**pod, **account, "containers": containers}}}
    metadata = job["metadata"]
    return {
        **job,
        "metadata": {**metadata, "labels": {**_labels(values), **(metadata.get("labels") or {})}},
        "spec": spec,
    }


def _completed_container(container: Mapping[str, Any], values: Values) -> Object:
    given = list(container.get("env") or [])
    names = {item["name"] for item in given}
    if "WASP_NODE_ID" in names:  # it is no Job with an index
        names.add("WASP_NODE_INDEX")
    wanted = node_env(values)
    return {**container, "env": [*given, *(item for item in wanted if item["name"] not in names)]}


def _check(values: Values) -> None:
    missing = [
        f"{key}: expected a value, found none: {cure}"
        for key, found, cure in (
            ("run", values.run, "give a run id, or take one from run_names(NAME)"),
            ("image", values.image, "name the image that was built from Dockerfile.test"),
            ("test.name", values.test.name, "name the load file inside the image, as FILE or FILE:NAME"),
        )
        if not found
    ]
    if missing:
        raise BadInput(missing)


def _labels(values: Values) -> dict[str, str]:
    return {**LABELS, RUN_LABEL: values.run_label, SYNC_LABEL: values.sync_label}


def _some(key: str, value: Any) -> Object:
    """Nothing instead of an empty value, as one would write it."""
    return {key: value} if value else {}


def _job(values: Values) -> Object:
    labels = _labels(values)
    spec = {
        "completionMode": "Indexed",
        "completions": values.jobs,
        "parallelism": values.jobs,
        # Not backoffLimit: 0, by which the first failure ends all pods and takes their logs along.
        "backoffLimitPerIndex": 0,
        "suspend": True,
        "ttlSecondsAfterFinished": values.ttl_seconds_after_finished,
        "template": {
            "metadata": {
                "labels": {**values.pod_labels, **labels},
                "annotations": {**_KEEP_AWAY, **values.annotations},
            },
            "spec": _node_pod(values),
        },
    }
    metadata = {
        "name": object_name(values.run_label),
        "labels": {**values.job_labels, **labels},
        **_some("annotations", dict(values.annotations)),
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _node_pod(values: Values) -> Object:
    env_from = [*loki_env_from(values), *values.env_from]
    container = {
        "name": CONTAINER,
        "image": values.image,
        "imagePullPolicy": values.image_pull_policy,
        "command": ["python", "-m", "wasp_ray", "run", values.test.name],
        "env": node_env(values),
        **_some("envFrom", env_from),
        # It only tells that the node is up: deadlines are the controller's. A readiness probe would go on during the load.
        "startupProbe": {
            "exec": {"command": ["test", "-f", READY_FILE]},
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": 86_400,
        },
        **_resources(values.resources),
        **_restricted(),
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {SYNC_LABEL: values.sync_label}},
    }
    return {
        **_pod(values, values.service_account, container),
        # Here and not on the Job: a Job past its deadline deletes its pods, and their logs with them.
        "activeDeadlineSeconds": values.pod_deadline_s,
        "topologySpreadConstraints": [spread],
        **_some("affinity", dict(values.affinity)),
    }


def _pod(values: Values, account: str, container: Object) -> Object:
    """What pods of nodes and of the controller have in common."""
    return {
        "restartPolicy": "Never",
        **_some("serviceAccountName", account),
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": t.whole_seconds(values.drain),
        # No runAsUser: the image has a numeric USER, and OpenShift assigns its own.
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        **({"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"} if values.host_network else {}),
        **_some("imagePullSecrets", list(values.image_pull_secrets)),
        **_some("nodeSelector", dict(values.node_selector)),
        **_some("tolerations", list(values.tolerations)),
        **_some("priorityClassName", values.priority_class),
        **_some("schedulerName", values.scheduler_name),
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }


def _restricted() -> Object:
    return {
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108  # the pod's own emptyDir
    }


def _resources(resources: Resources) -> Object:
    found = {**_some("requests", dict(resources.requests)), **_some("limits", dict(resources.limits))}
    return _some("resources", found)


# -- data


def _config_map(values: Values) -> Object:
    """The run's blackboard: what nodes are to do, and what the controller decides. It holds no secrets."""
    data = {
        "order": values.order,
        "nodes": str(values.jobs),
        "deploy_timeout_s": str(t.whole_seconds(values.deploy_timeout)),
        "run_timeout_s": str(t.whole_seconds(values.test.timeout)),
        "drain_s": str(t.whole_seconds(values.drain)),
        "on_lost_node": values.on_lost_node,
        "phase": Phase.DEPLOYING.value,
        "start_at": "",
        "lead_s": "",
        "abort": "",
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(values), "data": data}


def _secret(values: Values) -> Object:
    data = {name: base64.b64encode(value.encode()).decode() for name, value in values.secrets().items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": _metadata(values), "type": "Opaque", "data": data}


def _metadata(values: Values) -> Object:
    return {"name": object_name(values.run_label), "labels": _labels(values)}
