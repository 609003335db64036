"""The RayJob of the guide: the API server takes it as it is, and its pods where pod security is `restricted`.

Ray itself does not run here: what is checked is what a user hands to KubeRay.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e.harness import modules, tools
from e2e.harness.access import ApiError
from e2e.harness.cluster import Kubernetes
from e2e.harness.errors import HarnessError

RAYJOB = Path(__file__).parents[2] / "examples" / "kuberay" / "rayjob.yaml"
CRD = "crd/rayjobs.ray.io"
DRY_RUN = ("create", "--dry-run=server", "--validate=strict", "--output=name", "--filename=-")


@pytest.fixture(params=tools.RAYJOBS, ids=lambda file: str(file.version))
def namespace_with_rayjobs(request: pytest.FixtureRequest, kubernetes: Kubernetes, namespace: str) -> Iterator[str]:
    """A namespace of a cluster that knows RayJobs as one version of KubeRay does."""
    if not kubernetes.is_own:
        pytest.skip("definitions are for a whole cluster: only those of our own are changed")
    # Not applied: the annotation that would keep it is too large.
    kubernetes.kubectl("create", "--filename", str(modules.fetched(request.param)))
    try:
        kubernetes.kubectl("wait", "--for=condition=Established", CRD, "--timeout=30s")
        yield namespace
    finally:
        kubernetes.kubectl("delete", CRD, "--timeout=30s")


def test_the_api_server_takes_the_manifest(kubernetes: Kubernetes, namespace_with_rayjobs: str) -> None:
    """Every field of it is one that KubeRay has, at every depth."""
    said = kubernetes.kubectl("-n", namespace_with_rayjobs, *DRY_RUN, stdin=RAYJOB.read_text())
    assert said.strip() == "rayjob.ray.io/load-1"


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("activeDeadlineSeconds", "activeDeadline", 'unknown field "spec.activeDeadline"'),
        ("nodeTaintsPolicy", "taintsPolicy", r'unknown field "spec.rayClusterSpec.workerGroupSpecs\[0\].template.spec'),
        ("mode: token", "mode: secret", "spec.rayClusterSpec.authOptions.mode: Unsupported value"),
        ("maxSkew: 1", "maxSkew: one", "must be of type integer"),
    ],
)
def test_a_spoiled_manifest_is_refused(
    kubernetes: Kubernetes, namespace_with_rayjobs: str, right: str, wrong: str, told: str
) -> None:
    """The test above can fail."""
    spoiled = RAYJOB.read_text().replace(right, wrong)
    assert spoiled != RAYJOB.read_text()
    with pytest.raises(HarnessError, match=told):
        kubernetes.kubectl("-n", namespace_with_rayjobs, *DRY_RUN, stdin=spoiled)


def pods() -> dict[str, dict[str, Any]]:
    """A pod of each template; that of the workers begins, as KubeRay has it, with a container that waits for the head."""
    spec = yaml.safe_load(RAYJOB.read_text())["spec"]
    head, workers = spec["rayClusterSpec"]["headGroupSpec"], spec["rayClusterSpec"]["workerGroupSpecs"]
    templates = {"submitter": spec["submitterPodTemplate"], "head": head["template"], "worker": workers[0]["template"]}
    made = {}
    for name, template in templates.items():
        made[name] = {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(template)}
        made[name]["metadata"]["name"] = name
    (worker,) = made["worker"]["spec"]["containers"]
    made["worker"]["spec"]["initContainers"] = [{**worker, "name": "wait-gcs-ready"}]
    return made


@pytest.mark.parametrize("name", ["submitter", "head", "worker"])
def test_its_pods_are_let_in_where_pod_security_is_restricted(
    kubernetes: Kubernetes, namespace: str, name: str
) -> None:
    """And are refused without what their containers say of security."""
    kubernetes.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldValidation=Strict"
    pod = pods()[name]
    kubernetes.access.request("POST", path, pod)
    del pod["spec"]["containers"][0]["securityContext"]
    with pytest.raises(ApiError, match="violates PodSecurity"):
        kubernetes.access.request("POST", path, pod)
