"""Pods for tests, and waiting for what becomes of them. Owns no state."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .access import Access
from .archives import BASE_IMAGE
from .errors import HarnessError

# What the pod security level `restricted` asks for, and a read-only root.
SECURE = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(
    name: str,
    command: list[str],
    *,
    image: str = BASE_IMAGE,
    env: dict[str, str] | None = None,
    security: dict[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """A pod of one container named `wasp` that runs once; `spec` are further fields of the pod."""
    container = {
        "name": "wasp",
        "image": image,
        "imagePullPolicy": "Never",
        "command": command,
        "env": [{"name": key, "value": value} for key, value in (env or {}).items()],
        "securityContext": SECURE if security is None else security,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container], **spec},
    }


def on_the_host(port: int) -> dict[str, Any]:
    """Arguments of `pod()` for one on the host's network that reaches the API server, or a proxy, at that loopback port."""
    return {"hostNetwork": True, "env": {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)}}


def run_pod(access: Access, namespace: str, body: dict[str, Any], timeout_s: float = 60.0) -> str:
    """Creates a pod and waits for its end; gives its phase, `Succeeded` or `Failed`."""
    access.request("POST", f"/api/v1/namespaces/{namespace}/pods", body)
    name = body["metadata"]["name"]
    ended = ("Succeeded", "Failed")
    wait_for(lambda: phase(access, namespace, name) in ended, f"pod {namespace}/{name} ended", timeout_s)
    return phase(access, namespace, name)


def phase(access: Access, namespace: str, name: str) -> str:
    """The phase of a pod."""
    return str(access.request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")["status"]["phase"])


def wait_for(check: Callable[[], object], what: str, timeout_s: float = 60.0) -> None:
    """Asks until the answer is yes.

    Raises:
        HarnessError: it was not within `timeout_s`.
    """
    give_up = time.monotonic() + timeout_s
    while not check():
        if time.monotonic() > give_up:
            raise HarnessError(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(0.05)
