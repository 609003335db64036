"""What would keep a run from coming up, found before anything is made: all of it at once, each with its cure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from wasp_ray.cluster.kube import Kube, KubeError
from wasp_ray.cluster.rights import CONTROLLER_RULES
from wasp_ray.errors import NodeFailed

OLDEST = (1, 29)
"""backoffLimitPerIndex, without which one failed node would end all others and take their logs along."""
Obj = dict[str, Any]
_UNITS: Mapping[str, int | Fraction] = {
    "": 1, "m": Fraction(1, 1000), "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30,
    "Ti": 2**40,
}  # fmt: skip
_IMAGE = re.compile(r"[^\s@]+(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?")


@dataclass(slots=True)
class Findings:
    """Errors keep a run from starting, warnings do not."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check(kube: Kube, objects: Sequence[Obj]) -> Findings:
    """Looks at the cluster as the run's controller sees it; makes nothing. Raises NodeFailed when there is none."""
    found = Findings()
    try:
        version = kube.version()
    except KubeError as exc:
        why = (
            f"the API server {kube.credentials.server} does not answer as it should: {exc}; is the cluster up, is this the"
            " right context, have the credentials expired?"
        )
        if exc.passes:
            raise NodeFailed(why) from exc
        found.errors.append(why)
        return found
    if version < OLDEST:
        found.errors.append(f"Kubernetes {version[0]}.{version[1]} is too old: expected 1.29 or later")
    steps: list[Callable[[Kube, Sequence[Obj], Findings], None]] = [
        _rights,
        _leftover,
        _dry_run,
        _limits,
        _quotas,
        _capacity,
    ]
    for step in steps:
        try:
            step(kube, objects, found)
        except KubeError as exc:
            found.warnings.append(f"preflight could not look at everything: {exc}")
    _image(objects, found)
    return found


def _rights(kube: Kube, objects: Sequence[Obj], found: Findings) -> None:
    lacking = []
    for group, resource, verbs in CONTROLLER_RULES:
        name, _, sub = resource.partition("/")
        lacking += [f"{verb} {resource}" for verb in verbs if not kube.may(verb, group, name, sub)]
    if lacking:
        found.errors.append(
            f"not allowed in namespace {kube.namespace}: {', '.join(lacking)}; ask an administrator to run"
            f" `wasp cluster setup --namespace {kube.namespace} --bind user:NAME` (`wasp cluster rbac` prints what it makes)"
        )


def _leftover(kube: Kube, objects: Sequence[Obj], found: Findings) -> None:
    for obj in objects:
        if obj["kind"] == "Job" and kube.get("Job", obj["metadata"]["name"]) is not None:
            name = obj["metadata"]["name"]
            found.errors.append(
                f"Job {name} is there already: this run id is taken; give another --run-id, or remove the old run with"
                f" `wasp cluster stop {name.removeprefix('wasp-')}`"
            )


def _dry_run(kube: Kube, objects: Sequence[Obj], found: Findings) -> None:
    """What the API server and its admission would say to the Job."""
    for obj in objects:
        if obj["kind"] != "Job":
            continue
        try:
            kube.create(obj, dry_run=True)
        except KubeError as exc:
            if exc.status == 404:
                found.errors.append(
                    f"namespace {kube.namespace} does not exist: `kubectl create namespace {kube.namespace}` and then"
                    f" `wasp cluster setup --namespace {kube.namespace}`"
                )
            elif exc.status not in (403, 409):
                found.errors.append(f"the API server refuses the Job: {exc}")
            elif exc.status == 403 and "forbidden: User" not in str(exc):  # admission, not rights
                found.errors.append(f"the cluster's policies refuse the Job: {exc}")


def _limits(kube: Kube, objects: Sequence[Obj], found: Findings) -> None:
    """A pod outside a LimitRange is refused one by one, long after its Job was taken."""
    for rng in _listed(kube, "LimitRange"):
        for limit in rng["spec"].get("limits") or []:
            if limit.get("type") == "Container":
                found.errors += _outside(rng["metadata"]["name"], limit, objects)


def _outside(name: str, limit: Mapping[str, Any], objects: Sequence[Obj]) -> list[str]:
    out = []
    for kind, side, sign in (("max", "limits", 1), ("min", "requests", -1)):
        for resource, bound in (limit.get(kind) or {}).items():
            for wanted in _wanted(objects, side, resource):
                if sign * (wanted - quantity(bound)) > 0:
                    out.append(
                        f"LimitRange {name} allows {kind} {bound} {resource} a container: change resources.{side}.{resource}"
                    )
    return out


def _wanted(objects: Sequence[Obj], side: str, resource: str) -> list[Fraction]:
    found = []
    for obj in objects:
        if obj["kind"] == "Job":
            for container in obj["spec"]["template"]["spec"]["containers"]:
                value = ((container.get("resources") or {}).get(side) or {}).get(resource)
                if value is not None:
                    found.append(quantity(value))
    return found


def _pods(objects: Sequence[Obj]) -> int:
    return sum(int(obj["spec"].get("parallelism") or 1) for obj in objects if obj["kind"] == "Job")


def _quotas(kube: Kube, objects: Sequence[Obj], found: Findings) -> None:
    pods = _pods(objects)
    for quota in _listed(kube, "ResourceQuota"):
        name, spec, status = quota["metadata"]["name"], quota["spec"], quota.get("status") or {}
        scoped = bool(spec.get("scopes") or spec.get("scopeSelector"))
        for resource, hard in (status.get("hard") or spec.get("hard") or {}).items():
            used = quantity((status.get("used") or {}).get(resource, "0"))
            need = _needed(resource, objects, pods)
            if need is not None and used + need > quantity(hard):
                text = (
                    f"ResourceQuota {name} leaves {float(quantity(hard) - used):g} of {hard} {resource}, the run needs"
                    f" {float(need):g}: use fewer jobs or less of it a pod"
                )
                (found.warnings if scoped else found.errors).append(text)


def _needed(resource: str, objects: Sequence[Obj], pods: int) -> Fraction | None:
    if resource in ("pods", "count/pods"):
        return Fraction(pods)
    if resource == "count/jobs.batch":
        return Fraction(sum(obj["kind"] == "Job" for obj in objects))
    side, _, name = resource.rpartition(".")
    wanted = _wanted(objects, side or "requests", name)
    return max(wanted) * pods if wanted and side in ("", "requests", "limits") else None


def _listed(kube: Kube, kind: str) -> list[Obj]:
    """Nothing where one may not look."""
    try:
        return kube.list(kind)[0]
    except KubeError as exc:
        if exc.status in (403, 404):
            return []
        raise


def _capacity(kube: Kube, objects: Sequence[Obj], found: Findings) -> None:
    """A hint only: clusters grow when pods wait."""
    if not kube.may("list", "", "nodes"):
        return
    cpus = [
        quantity(n["status"]["allocatable"]["cpu"]) for n in kube.cluster_nodes() if not n["spec"].get("unschedulable")
    ]
    wanted = _wanted(objects, "requests", "cpu")
    if cpus and wanted and max(wanted) * _pods(objects) > sum(cpus):
        found.warnings.append(
            f"the pods ask for {float(max(wanted) * _pods(objects)):g} CPUs in all, the cluster's {len(cpus)} nodes have"
            f" {float(sum(cpus)):g}: some will wait unless the cluster grows"
        )


def _image(objects: Sequence[Obj], found: Findings) -> None:
    for obj in objects:
        if obj["kind"] == "Job":
            for container in obj["spec"]["template"]["spec"]["containers"]:
                if not _IMAGE.fullmatch(container["image"]):
                    found.warnings.append(f"image {container['image']!r} is no usual name: expected HOST/PATH:TAG")


def quantity(text: Any) -> Fraction:
    """A Kubernetes quantity as a number: "2000m" is 2, "512Mi" 536870912. What is none is 0."""
    found = re.fullmatch(r"([0-9.]+(?:[eE][-+]?\d+)?)(m|k|[KMGT]i?|)", str(text).strip())
    return Fraction(found[1]) * _UNITS[found[2]] if found and found[2] in _UNITS else Fraction(0)
