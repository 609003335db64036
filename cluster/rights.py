"""What the personas of a run may do: service accounts, Roles and their bindings. Pure.

One Role a persona, each the requests it makes and nothing else; no ClusterRole, no Namespace object and no
metadata.namespace, so that `kubectl -n NS apply` decides where they go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from wasp_ray.errors import BadInput

NODE: Final = "wasp-node"
CONTROLLER: Final = "wasp-controller"

Rule = tuple[str, str, tuple[str, ...]]
"""API group, resource, verbs."""

NODE_RULES: Final[tuple[Rule, ...]] = (
    ("", "configmaps", ("watch",)),  # of the namespace: a Role cannot know a run's name; plans hold no secrets
)
CONTROLLER_RULES: Final[tuple[Rule, ...]] = (
    ("batch", "jobs", ("create", "delete", "get", "list", "patch")),
    ("", "pods", ("list", "watch")),
    ("", "pods/log", ("get",)),
    ("", "configmaps", ("create", "delete", "get", "patch")),
    ("", "secrets", ("create", "delete")),
    ("", "events", ("list",)),
    ("", "limitranges", ("list",)),  # with resourcequotas: what would refuse the pods is told before there are any
    ("", "resourcequotas", ("list",)),
    ("coordination.k8s.io", "leases", ("create", "delete", "get", "patch")),
)
LABELS: Final = {"app.kubernetes.io/managed-by": "wasp", "app.kubernetes.io/name": "wasp"}

_RBAC = "rbac.authorization.k8s.io"
_SUBJECT = "expected user:NAME, group:NAME or serviceaccount:[NAMESPACE:]NAME"
_ACCOUNT = re.compile(r"(?:([a-z0-9][-a-z0-9]*):)?([a-z0-9][-a-z0-9.]*)")


def setup_objects(subjects: Iterable[str] = ()) -> list[dict[str, Any]]:
    """What a namespace needs once: accounts, Roles and bindings of nodes and controllers.

    subjects: who else may do what a controller does, that is `wasp cluster run`: "user:alice", "group:qa",
    "serviceaccount:ci" (of the namespace itself) or "serviceaccount:NAMESPACE:NAME".
    Raises BadInput for those it cannot read.
    """
    bound, problems = [], []
    for text in subjects:
        try:
            bound.append(_subject(text))
        except ValueError as exc:
            problems.append(str(exc))
    if problems:
        raise BadInput(problems)
    return [
        *(_account(name) for name in (NODE, CONTROLLER)),
        _role(NODE, NODE_RULES),
        _role(CONTROLLER, CONTROLLER_RULES),
        _binding(NODE, []),
        _binding(CONTROLLER, bound),
    ]


def _account(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "labels": dict(LABELS)}}


def _role(name: str, rules: Iterable[Rule]) -> dict[str, Any]:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "Role",
        "metadata": {"name": name, "labels": dict(LABELS)},
        "rules": [
            {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)} for group, resource, verbs in rules
        ],
    }


def _binding(name: str, subjects: Iterable[dict[str, str]]) -> dict[str, Any]:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "labels": dict(LABELS)},
        "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": name},
        # An account without a namespace is one of the binding's own.
        "subjects": [{"kind": "ServiceAccount", "name": name}, *subjects],
    }


def _subject(text: str) -> dict[str, str]:
    kind, _, name = text.partition(":")
    if kind in ("user", "group") and name.strip():
        return {"apiGroup": _RBAC, "kind": kind.capitalize(), "name": name}
    found = _ACCOUNT.fullmatch(name) if kind == "serviceaccount" else None
    if found is None:
        raise ValueError(f"--bind {text}: {_SUBJECT}, found {text!r}")
    namespace = {"namespace": found[1]} if found[1] else {}
    return {"kind": "ServiceAccount", "name": found[2], **namespace}
