"""A team that may run tests in a namespace of the cluster: its rights are those that `wasp cluster setup` gives, no more."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from e2e.harness.access import Access
from e2e.harness.cluster import Kubernetes
from e2e.harness.proxy import Proxy
from support.books import closed_books

WASP = [sys.executable, "-P", "-m", "wasp_ray"]
IMAGE = "wasp-e2e:latest"
GROUPS = {"jobs": "apis/batch/v1", "leases": "apis/coordination.k8s.io/v1"}
POD_CPU = "50m"
"""Without a request a pod has 2 shares of a busy core and everything else 1,024: it would not come to its calls in time."""
SHOWN_LINES = 40
SHOWN_CHARACTERS = 400
"""Of each pod's log and of each line or value, where a test gives up."""
Obj = dict[str, Any]


@dataclass
class Team:
    """One namespace, one controller account, a folder to work in. `port`: of the API server, or of a proxy before it, for
    pods; `values`: of its runs, beside what the harness needs.
    """

    kubernetes: Kubernetes
    namespace: str
    access: Access
    folder: Path
    port: int
    values: Obj = field(default_factory=dict)

    @property
    def user(self) -> str:
        """As the audit log calls it."""
        return f"system:serviceaccount:{self.namespace}:wasp-controller"

    def environment(self) -> dict[str, str]:
        """Of the command: only this team's way into the cluster."""
        values = {
            "imagePullPolicy": "Never", "hostNetwork": True,
            "extraEnv": {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.port)},
            "resources": {"requests": {"cpu": POD_CPU}},
            **self.values,
        }  # fmt: skip
        kubeconfig = self.kubernetes.kubeconfig_for(self.access, self.folder / "kubeconfig", namespace=self.namespace)
        return {
            **os.environ, "KUBECONFIG": str(kubeconfig), "WASP_CLUSTER_NAMESPACE": self.namespace,
            "WASP_CLUSTER_IMAGE": IMAGE, "WASP_CLUSTER_VALUES": json.dumps(values),
        }  # fmt: skip

    def wasp(self, *arguments: str, timeout_s: float = 150, **env: str) -> subprocess.CompletedProcess[str]:
        """Runs `wasp cluster ...` to its end."""
        return subprocess.run(
            [*WASP, "cluster", *arguments], cwd=self.folder, capture_output=True, text=True, timeout=timeout_s,
            env={**self.environment(), **env},
        )  # fmt: skip

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """The same in the background, in a session of its own."""
        return subprocess.Popen(
            [*WASP, "cluster", *arguments], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**self.environment(), **env}, start_new_session=True,
        )  # fmt: skip

    def run(
        self, test: str, *arguments: str, jobs: int = 2, out: str = "out", **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """`wasp cluster run` with a bundle in `out`."""
        return self.wasp("run", test, "--jobs", str(jobs), "--out", out, *arguments, **options)

    def summary(self, out: str = "out") -> Obj:
        """What the run came to; its books close on each node and in all."""
        return closed_books(json.loads((self.folder / out / "summary.json").read_text()))

    def passed(self, done: subprocess.CompletedProcess[str], out: str = "out") -> Obj:
        """The summary of a run that had to pass."""
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        summary = self.summary(out)
        assert (summary["verdict"], summary["reasons"]) == ("passed", []), said
        return summary

    def objects(self, kind: str) -> list[Obj]:
        """All of a kind (its plural) in the namespace, asked for as the administrator."""
        group = GROUPS.get(kind, "api/v1")
        found: Obj = self.kubernetes.access.request("GET", f"/{group}/namespaces/{self.namespace}/{kind}")
        return [{"kind": kind, **obj} for obj in found["items"]]

    def left_behind(self) -> list[str]:
        """What of any run is there."""
        return [
            f"{kind} {obj['metadata']['name']}"
            for kind in ("jobs", "pods", "configmaps", "secrets", "leases")
            for obj in self.objects(kind)
            if obj["metadata"]["name"].startswith("wasp-") and obj["metadata"].get("deletionTimestamp") is None
        ]

    def wait_for(
        self, what: Callable[[], Any], why: str, timeout_s: float = 60, process: subprocess.Popen[str] | None = None
    ) -> Any:
        """The first true answer. `process`: the command that makes it come true, given up when that has ended.

        A failure shows the namespace and what the command said.
        """
        began = time.monotonic()
        while True:
            has_ended = process is not None and process.poll() is not None  # asked first: what it did last counts
            if found := what():
                return found
            if has_ended or time.monotonic() > began + timeout_s:
                break
            time.sleep(0.2)
        took_s = time.monotonic() - began
        seen = self.scene()  # before the command is ended, which removes it
        if process is not None:
            how = "had ended" if has_ended else "was going on"
            seen = f"the command {how}; in all it said:\n{self._last_words(process)}\n{seen}"
        raise AssertionError(f"{why}: not within {took_s:.1f} s\n{seen}")

    def wait_for_phase(self, run: str, phase: str, process: subprocess.Popen[str], timeout_s: float = 120) -> None:
        """Until the run's controller, this process, wrote it."""

        def reached() -> bool:
            found = [o for o in self.objects("configmaps") if o["metadata"]["name"] == f"wasp-{run}"]
            return bool(found) and found[0]["data"]["phase"] == phase

        self.wait_for(reached, f"run {run} is {phase}", timeout_s, process)

    def scene(self) -> str:
        """All that may tell why a run stands where it does: objects, logs of pods, events."""
        lines = []
        for kind in ("configmaps", "leases", "jobs", "pods"):
            for obj in self.objects(kind):
                known = {name: str(obj[name])[:SHOWN_CHARACTERS] for name in ("data", "status") if name in obj}
                where = obj.get("spec", {}).get("nodeName") or obj.get("spec", {}).get("holderIdentity") or ""
                lines.append(f"{kind} {obj['metadata']['name']} {where} {known}")
        for pod in self.objects("pods"):
            name = pod["metadata"]["name"]
            log = self.kubernetes.kubectl("logs", name, "-n", self.namespace, f"--tail={SHOWN_LINES}", check=False)
            lines += [f"log of {name}", *(line[:SHOWN_CHARACTERS] for line in log.splitlines())]
        for event in sorted(self.objects("events"), key=lambda event: str(event["metadata"]["creationTimestamp"])):
            about = event["involvedObject"]
            lines.append(f"event {about['kind']} {about['name']} {event['reason']}: {event['message']}")
        return "\n".join(lines)

    def _last_words(self, process: subprocess.Popen[str]) -> str:
        if process.poll() is not None:
            return process.communicate()[0]
        try:
            return self.interrupt(process)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return process.communicate()[0]

    def interrupt(self, process: subprocess.Popen[str], timeout_s: float = 90) -> str:
        """Ctrl-C, and what the command said in all."""
        os.killpg(process.pid, signal.SIGINT)
        return process.communicate(timeout=timeout_s)[0]


def make_team(kubernetes: Kubernetes, namespace: str, folder: Path, proxy: Proxy | None = None) -> Team:
    """Rights as `wasp cluster rbac` prints them, applied by the administrator. Through the proxy if there is one."""
    printed = subprocess.run([*WASP, "cluster", "rbac"], capture_output=True, text=True, check=True).stdout
    objects = [{**obj, "metadata": {**obj["metadata"], "namespace": namespace}} for obj in yaml.safe_load_all(printed)]
    kubernetes.apply(*objects)
    access = kubernetes.service_account(namespace, "wasp-controller")
    if proxy is None:
        return Team(kubernetes, namespace, access, folder, kubernetes.port)
    return Team(kubernetes, namespace, access.at(proxy.access.server), folder, proxy.port)


def run_id() -> str:
    """A fresh one."""
    return f"t-{secrets.token_hex(3)}"
