"""What would keep a run from coming up is found at once, all of it, before anything is made."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from wasp_ray.cluster.kube import KubeError
from wasp_ray.cluster.manifests import run_objects
from wasp_ray.cluster.preflight import Findings, check, quantity
from wasp_ray.cluster.values import Values
from wasp_ray.errors import NodeFailed


class Cluster:
    """An API server with what a test gives it."""

    namespace = "team"
    credentials = SimpleNamespace(server="https://api")

    def __init__(self, **given: Any) -> None:
        self.given = given

    def version(self) -> tuple[int, int]:
        """1.34 unless told otherwise."""
        found = self.given.get("version", (1, 34))
        if isinstance(found, Exception):
            raise found
        return found[0], found[1]

    def may(self, verb: str, group: str, resource: str, subresource: str = "") -> bool:
        """All but what is denied."""
        return f"{verb} {resource}" not in self.given.get("denied", ())

    def get(self, kind: str, name: str) -> Any:
        """What is there already."""
        return self.given.get("there")

    def create(self, obj: Any, *, dry_run: bool) -> Any:
        """A dry run alone."""
        assert dry_run
        if "dry_run" in self.given:
            raise self.given["dry_run"]
        return obj

    def list(self, kind: str) -> Any:
        """Quotas and limit ranges."""
        return self.given.get(kind, []), "1"

    def cluster_nodes(self) -> Any:
        """Machines of 4 CPUs."""
        return [{"spec": {}, "status": {"allocatable": {"cpu": "4"}}}] * self.given.get("machines", 3)


def found(cluster: Cluster, **values: Any) -> Findings:
    """Of a run with ten pods of one CPU."""
    resources = {"requests": {"cpu": "1", "memory": "256Mi"}, "limits": {"cpu": "2"}}
    raw = {"run": "r", "image": "reg/i:1", "jobs": 10, "test": {"name": "load.py"}, "resources": resources, **values}
    return check(cluster, run_objects(Values.of(raw)))  # type: ignore[arg-type]


def test_a_good_cluster_has_nothing_to_say() -> None:
    """No errors, no warnings."""
    assert found(Cluster()) == Findings()


def limits(**limit: Any) -> list[dict[str, Any]]:
    """A LimitRange of containers."""
    return [{"metadata": {"name": "lr"}, "spec": {"limits": [{"type": "Container", **limit}]}}]


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> list[dict[str, Any]]:
    """A ResourceQuota."""
    return [{"metadata": {"name": "rq"}, "spec": spec, "status": {"hard": hard, "used": used or {}}}]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"version": KubeError("who is that", 401)}, "have the credentials expired"),
        ({"version": (1, 28)}, "1.28 is too old"),
        ({"denied": ["create jobs"]}, "create jobs; ask an administrator"),
        ({"there": {"kind": "Job"}}, "give another --run-id"),
        ({"dry_run": KubeError("namespaces not found", 404)}, "namespace team does not exist"),
        ({"dry_run": KubeError("spec.template: Invalid value", 422)}, "refuses the Job"),
        ({"dry_run": KubeError("admission webhook denied", 403)}, "policies refuse the Job"),
        ({"LimitRange": limits(max={"cpu": "1"})}, "LimitRange lr allows max 1 cpu"),
        ({"LimitRange": limits(min={"memory": "1Gi"})}, "LimitRange lr allows min 1Gi memory"),
        ({"ResourceQuota": quota({"pods": "12"}, {"pods": "3"})}, "leaves 9 of 12 pods, the run needs 10"),
        ({"ResourceQuota": quota({"requests.cpu": "8"})}, "leaves 8 of 8 requests.cpu, the run needs 10"),
        ({"ResourceQuota": quota({"count/jobs.batch": "0"})}, "count/jobs.batch"),
    ],
)
def test_what_would_not_come_up_is_an_error_with_its_cure(given: dict[str, Any], told: str) -> None:
    """One sentence each."""
    (error,) = found(Cluster(**given)).errors
    assert told in error


@pytest.mark.parametrize("error", [KubeError("nobody there"), KubeError("away", 503)])
def test_a_cluster_that_does_not_answer_is_no_bad_input(error: KubeError) -> None:
    """What was asked for may be right."""
    with pytest.raises(NodeFailed, match="does not answer as it should"):
        found(Cluster(version=error))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"ResourceQuota": quota({"pods": "5"}, scopes=["BestEffort"])}, "ResourceQuota rq"),
        ({"machines": 1}, "the cluster's 1 nodes have 4"),
    ],
)
def test_what_may_still_fit_is_a_warning(given: dict[str, Any], told: str) -> None:
    """Scoped quotas, small clusters that may grow."""
    findings = found(Cluster(**given))
    assert findings.errors == [] and told in findings.warnings[0]


def test_what_one_may_not_look_at_is_no_finding() -> None:
    """Machines are none of a team's business."""
    assert found(Cluster(machines=1, denied=["list nodes"])) == Findings()


@pytest.mark.parametrize(
    ("text", "value"),
    [("2", 2), ("2000m", 2), ("512Mi", 512 * 2**20), ("1.5", Fraction(3, 2)), ("1e3", 1000), ("4Ki", 4096), ("x", 0)],
)
def test_quantities_are_read_as_kubernetes_writes_them(text: str, value: Any) -> None:
    """Exactly."""
    assert quantity(text) == value
