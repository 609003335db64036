"""Which cluster and namespace a command means, and nothing else: whatever else is set or wrong, a run can be stopped.

Owns the precedence of these three, which is that of all options (see config.py).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wasp_ray.cluster.sources import from_toml
from wasp_ray.errors import BadInput

PREFIX: Final = "WASP_CLUSTER_"
DEFAULT_NAMESPACE: Final = "wasp"
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace of a cluster; None: the kubeconfig's current context, the usual kubeconfig."""

    namespace: str
    context: str | None
    kubeconfig: str | None
    toml: Path | None = None
    """The wasp.toml that namespace or context come from."""


def place_of(namespace: str | None = None, context: str | None = None, kubeconfig: Path | None = None) -> Place:
    """Arguments, then the environment, then the section [cluster] of wasp.toml. Raises BadInput."""
    toml = from_toml(Path.cwd())
    problems = list(toml.problems)
    found: dict[str, str | None] = {}
    used = False
    for name, given in (("namespace", namespace), ("context", context), ("kubeconfig", kubeconfig)):
        stronger = given or os.environ.get(PREFIX + name.upper())
        value = stronger or toml.options.get(name)
        used = used or bool(value and not stronger)
        found[name] = str(value) if value else None
    place = Place(
        found["namespace"] or DEFAULT_NAMESPACE, found["context"], found["kubeconfig"], toml.path if used else None
    )
    try:
        check_namespace(place.namespace)
    except ValueError as exc:
        problems.append(f"namespace: {exc}")
    if problems:
        raise BadInput(problems)
    return place


def check_namespace(value: object) -> object:
    """The value. Raises ValueError when it can be no namespace."""
    if not isinstance(value, str) or not _NAMESPACE.fullmatch(value):
        raise ValueError(
            f"expected a DNS label of at most 63 characters, found {value!r}: name a namespace of the cluster"
        )
    return value
