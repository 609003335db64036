"""The cluster of the session: the one of `WASP_E2E_KUBECONFIG`, else one kept by `up`, else one of this session's own."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.harness.cluster import Kubernetes
from e2e.harness.places import locked
from e2e.team import IMAGE, WASP, Team, make_team

HERE = Path(__file__).parent
COLD_TIMEOUT_S = 3600  # the first test of a session may build Kubernetes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests here may wait for builds: 10 minutes on two cores when the cache is empty."""
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(COLD_TIMEOUT_S))


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[Kubernetes]:
    """A cluster with one real node."""
    external = os.environ.get("WASP_E2E_KUBECONFIG")
    if external:
        yield Kubernetes.external(Path(external))
        return
    if os.geteuid() != 0:
        pytest.skip("a kubelet of our own needs root; set WASP_E2E_KUBECONFIG to use another cluster")
    with Kubernetes() as started:
        yield started


@pytest.fixture
def namespace(kubernetes: Kubernetes) -> Iterator[str]:
    """A fresh namespace, removed afterwards with all that is in it."""
    name = f"e2e-{secrets.token_hex(4)}"
    kubernetes.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    kubernetes.wait_for_service_account(name)
    yield name
    kubernetes.access.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="session")
def image(kubernetes: Kubernetes, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of tests/e2e/image, built by the command and known to the cluster's node; once, also by several workers."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    port = kubernetes.server.rpartition(":")[2]  # another cluster has another one, and does not know the image
    known = shared / f"image-is-known-at-{port}"
    with locked(shared / "image.lock", COLD_TIMEOUT_S, doing="build the image"):
        if not known.exists():
            _build_image(kubernetes)
            known.touch()
    return IMAGE if kubernetes.is_own else os.environ["WASP_E2E_IMAGE"]


def _build_image(kubernetes: Kubernetes) -> None:
    if not kubernetes.is_own:
        return
    if os.environ.get("WASP_E2E_IMAGE_READY"):  # of a session before this one, on a kept cluster
        return
    command = [*WASP, "cluster", "image", "build", "--build-root", str(HERE / "image"), "--tag", IMAGE, "--offline"]
    done = subprocess.run(
        command, env={**os.environ, **kubernetes.docker_host()}, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    kubernetes.import_into_cluster(IMAGE)


@pytest.fixture
def team(kubernetes: Kubernetes, namespace: str, image: str, tmp_path: Path) -> Team:
    """A namespace with the rights of `wasp cluster setup`, and an image."""
    return make_team(kubernetes, namespace, tmp_path)


@pytest.fixture(scope="session")
def target() -> Iterator[str]:
    """The URL of a web server on this machine's loopback interface."""
    process = subprocess.Popen(
        [sys.executable, HERE.parents[1] / "examples" / "target.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    yield process.stdout.readline().strip()
    process.stdin.close()
    process.wait(10)
