"""The RayJob of the guide: the API server takes it as it is, KubeRay acts on it, pod security `restricted` lets its pods in.

Ray itself does not run here: pods that KubeRay makes come to machines that only pretend.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e.harness import tools
from e2e.harness.access import ApiError
from e2e.harness.cluster import Kubernetes
from e2e.harness.errors import HarnessError
from e2e.harness.kuberay import defined, running_kuberay
from e2e.harness.kwok import LABEL, TAINT, Kwok, running_kwok
from e2e.harness.pods import wait_for

RAYJOB = Path(__file__).parents[2] / "examples" / "kuberay" / "rayjob.yaml"
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"
DRY_RUN = ("create", "--dry-run=server", "--validate=strict", "--output=name", "--filename=-")


@pytest.fixture(params=tools.KUBERAY_VERSIONS)
def namespace_with_rayjobs(request: pytest.FixtureRequest, kubernetes: Kubernetes, namespace: str) -> Iterator[str]:
    """A namespace of a cluster that knows RayJobs as one version of KubeRay does."""
    if not kubernetes.is_own:
        pytest.skip("definitions are for a whole cluster: only those of our own are changed")
    with defined(kubernetes, request.param):
        yield namespace


def test_the_api_server_takes_the_manifest(kubernetes: Kubernetes, namespace_with_rayjobs: str) -> None:
    """Every field of it is one that KubeRay has, at every depth."""
    said = kubernetes.kubectl("-n", namespace_with_rayjobs, *DRY_RUN, stdin=RAYJOB.read_text())
    assert said.strip() == "rayjob.ray.io/load-1"


def test_spoiled_manifests_are_refused(kubernetes: Kubernetes, namespace_with_rayjobs: str) -> None:
    """The test above can fail: for names and values, at the top and deep inside."""
    right = RAYJOB.read_text()
    for place, wrong, told in (
        ("activeDeadlineSeconds", "activeDeadline", 'unknown field "spec.activeDeadline"'),
        ("nodeTaintsPolicy", "taintsPolicy", 'unknown field "spec.rayClusterSpec.workerGroupSpecs.*taintsPolicy"'),
        ("mode: token", "mode: secret", "spec.rayClusterSpec.authOptions.mode: Unsupported value"),
        ("maxSkew: 1", "maxSkew: one", "must be of type integer"),
    ):
        assert place in right
        with pytest.raises(HarnessError, match=told):
            kubernetes.kubectl("-n", namespace_with_rayjobs, *DRY_RUN, stdin=right.replace(place, wrong))


def templates(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Of all its pods."""
    head, workers = spec["rayClusterSpec"]["headGroupSpec"], spec["rayClusterSpec"]["workerGroupSpecs"]
    return {"submitter": spec["submitterPodTemplate"], "head": head["template"], "worker": workers[0]["template"]}


@pytest.mark.parametrize("name", ["submitter", "head", "worker"])
def test_its_pods_are_let_in_where_pod_security_is_restricted(
    kubernetes: Kubernetes, namespace: str, name: str
) -> None:
    """And are refused without what their containers say of security."""
    kubernetes.kubectl("label", "namespace", namespace, RESTRICTED)
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldValidation=Strict"
    template = templates(yaml.safe_load(RAYJOB.read_text())["spec"])[name]
    pod = copy.deepcopy({"apiVersion": "v1", "kind": "Pod", **template})
    pod["metadata"]["name"] = name
    kubernetes.access.request("POST", path, pod)
    del pod["spec"]["containers"][0]["securityContext"]
    with pytest.raises(ApiError, match="violates PodSecurity"):
        kubernetes.access.request("POST", path, pod)


def on_pretended_machines() -> dict[str, Any]:
    """The manifest, for machines of kwok's alone."""
    rayjob: dict[str, Any] = yaml.safe_load(RAYJOB.read_text())
    for template in templates(rayjob["spec"]).values():
        template["spec"] |= {"nodeSelector": {LABEL: "true"}, "tolerations": [{"key": TAINT, "operator": "Exists"}]}
    return rayjob


def test_kuberay_makes_the_cluster_then_submits_the_run(kubernetes: Kubernetes, namespace: str) -> None:
    """Where pod security is `restricted`; each worker is on a machine of its own, and nothing on the head takes a node."""
    if not kubernetes.is_own:
        pytest.skip("fake nodes and definitions are for our own cluster")
    kubernetes.kubectl("label", "namespace", namespace, RESTRICTED)
    rayjob = on_pretended_machines()
    with running_kwok(kubernetes, Kwok(nodes=5, tainted=True)), running_kuberay(kubernetes, namespace):
        kubernetes.kubectl("-n", namespace, "create", "-f", "-", stdin=rayjob)
        try:
            wait_for(lambda: found(kubernetes, namespace, "job-name=load-1"), "the submitter is there", 90)
            check_pods(kubernetes, namespace, rayjob["spec"]["entrypoint"])
            status = f"/apis/ray.io/v1/namespaces/{namespace}/rayjobs/load-1"
            wait_for(
                lambda: kubernetes.access.request("GET", status)["status"]["jobDeploymentStatus"] == "Running",
                "the run is submitted",
            )
        finally:
            kubernetes.kubectl("-n", namespace, "delete", "rayjob/load-1", "--timeout=50s")


def found(kubernetes: Kubernetes, namespace: str, label: str) -> list[dict[str, Any]]:
    """Pods with that label."""
    path = f"/api/v1/namespaces/{namespace}/pods?labelSelector={label}"
    items: list[dict[str, Any]] = kubernetes.access.request("GET", path)["items"]
    return items


def check_pods(kubernetes: Kubernetes, namespace: str, entrypoint: str) -> None:
    """What KubeRay has made of the templates."""
    (head,) = found(kubernetes, namespace, "ray.io/node-type=head")
    workers = found(kubernetes, namespace, "ray.io/node-type=worker")
    (submitter,) = found(kubernetes, namespace, "job-name=load-1")
    assert len({worker["spec"]["nodeName"] for worker in workers}) == len(workers) == 4
    for pod, start in ((head, "ray start --head"), *((worker, "ray start") for worker in workers)):
        (container,) = pod["spec"]["containers"]
        assert start in container["args"][0] and f"--num-cpus={0 if pod is head else 2} " in container["args"][0]
        assert (
            "httpGet" in container["readinessProbe"] and "httpGet" in container["livenessProbe"]
        )  # else they need wget
    for container in (pod["spec"]["containers"][0] for pod in (head, submitter, *workers)):
        assert {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} <= {variable["name"] for variable in container["env"]}
    assert f" -- {entrypoint} ;" in submitter["spec"]["containers"][0]["args"][0]
