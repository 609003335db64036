"""The environment of a run's containers: who they are, where their sinks send to, which secrets they are given. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from wasp_ray.cluster.naming import object_name
from wasp_ray.cluster.pods import INDEX_LABEL
from wasp_ray.cluster.values import Values

ALERT_SECRETS: Final = (
    "GRAFANA_BASIC_AUTH", "GRAFANA_TOKEN", "LOKI_BASIC_AUTH", "LOKI_TOKEN", "PROMETHEUS_BASIC_AUTH", "PROMETHEUS_TOKEN",
)  # fmt: skip
"""Of the run's secrets the only ones that the controller is given: it asks for alerts. Loads' own are none of its business."""

Object = dict[str, Any]


def node_env(values: Values) -> list[Object]:
    """Of a node. WASP_NODE_INDEX counts from 0: the node itself makes WASP_NODE_ID of it."""
    index = _field("WASP_NODE_INDEX", f"metadata.labels['{INDEX_LABEL}']")
    secrets = _secret_env(values, values.secrets())
    return [*_own_env(values), index, *_loki_env(values), *secrets, *_extra_env(values)]


def controller_env(values: Values) -> list[Object]:
    """Of the controller's Job."""
    secrets = _secret_env(values, ALERT_SECRETS)
    return [*_own_env(values), *_loki_env(values), *secrets, *_extra_env(values)]


def _own_env(values: Values) -> list[Object]:
    """Who and where a pod is."""
    return [
        {"name": "HOME", "value": "/tmp"},  # noqa: S108  # the pod's own emptyDir
        {"name": "PYTHONUNBUFFERED", "value": "1"},
        {"name": "WASP_RUN", "value": values.run_label},
        {"name": "WASP_SYNC", "value": values.sync_label},
        {"name": "WASP_JOBS", "value": str(values.jobs)},
        {"name": "WASP_LOG_LEVEL", "value": values.env.wasp.log_level},
        _field("WASP_NAMESPACE", "metadata.namespace"),
        _field("WASP_POD_NAME", "metadata.name"),
        _field("WASP_POD_UID", "metadata.uid"),
    ]


def _loki_env(values: Values) -> list[Object]:
    loki = values.env.loki
    return [
        *([{"name": "LOKI_URL", "value": loki.url}] if loki.url else []),
        *([{"name": "LOKI_TENANT_ID", "value": loki.tenant_id}] if loki.tenant_id else []),
    ]


def loki_env_from(values: Values) -> list[Object]:
    """A Secret of the user's with what Loki is spoken to as."""
    existing = values.env.loki.existing_secret
    return [{"secretRef": {"name": existing}}] if existing else []


def _secret_env(values: Values, names: Iterable[str]) -> list[Object]:
    """Those of the names that the run's Secret has."""
    secret = object_name(values.run_label)
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name}}}
        for name in sorted(values.secrets().keys() & set(names))
    ]


def _field(name: str, path: str) -> Object:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _extra_env(values: Values) -> list[Object]:
    extra = values.extra_env
    if isinstance(extra, Mapping):
        return [{"name": name, "value": extra[name]} for name in sorted(extra)]
    return list(extra)
