"""KubeRay in the cluster: what its objects are, and its operator as a daemon of this machine.

Owns their removal. Definitions are those of the whole cluster, so only a cluster of our own is given them, by one user at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from . import modules, tools
from .access import ApiError
from .cluster import Kubernetes
from .processes import end, free_port, start, wait_until
from .progress import step

SERVED_WAIT_S = 30.0
OPERATOR_WAIT_S = 60.0
DEFINITIONS = ("rayjobs", "rayclusters", "rayservices")
"""Of all kinds that the operator watches."""


@contextmanager
def defined(kubernetes: Kubernetes, version: str, kinds: tuple[str, ...] = ("rayjobs",)) -> Iterator[None]:
    """The cluster knows objects of these kinds as that version of KubeRay does."""
    names = [f"crd/{kind}.ray.io" for kind in kinds]
    log = kubernetes.state.log("kube-apiserver")
    try:
        for kind in kinds:
            # Not applied: it is too large for the annotation that would keep it.
            file = modules.fetched(tools.kuberay_definition(version, kind))
            kubernetes.kubectl("create", "--filename", str(file))
        wait_until(lambda: _served(kubernetes, kinds), SERVED_WAIT_S, f"{', '.join(kinds)} are served", log)
        yield
    finally:
        kubernetes.kubectl("delete", "--ignore-not-found", *names, "--timeout=50s")


def _served(kubernetes: Kubernetes, kinds: tuple[str, ...]) -> bool:
    """They can be asked for, and are in the list by which kubectl knows what there is, which comes later."""
    try:
        for kind in kinds:
            kubernetes.access.request("GET", f"/apis/ray.io/v1/{kind}")
    except ApiError:
        return False
    listed = kubernetes.kubectl("api-resources", "--api-group=ray.io", "--output=name", check=False).split()
    return {f"{kind}.ray.io" for kind in kinds} <= set(listed)


@contextmanager
def running_kuberay(kubernetes: Kubernetes, namespace: str) -> Iterator[None]:
    """The operator, of that namespace alone. Whoever makes a RayJob deletes it before the end: the operator has a say in that."""
    program, state = tools.built(tools.KUBERAY), kubernetes.state
    with defined(kubernetes, tools.KUBERAY.version, DEFINITIONS), step("kuberay"):
        port = free_port()
        flags = [
            f"--kubeconfig={kubernetes.kubeconfig}",
            f"--watch-namespace={namespace}",
            "--enable-leader-election=false",
            "--metrics-addr=0",
            f"--health-probe-bind-address=127.0.0.1:{port}",
        ]
        daemon = start(state, "kuberay", [program, *flags])
        log = state.log("kuberay")
        try:
            wait_until(lambda: "Starting workers" in log.read_text(), OPERATOR_WAIT_S, "kuberay works", log, daemon)
            yield
        finally:
            end(state, ["kuberay"])
