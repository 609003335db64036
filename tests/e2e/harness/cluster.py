"""One Kubernetes cluster with one real node on this machine: started, handed out, stopped.

Owns the life of the cluster as a whole and its lock; the parts are configured in `control_plane` and `node`. Whatever an
earlier harness left behind is removed at any start, so it may be killed at any moment.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import archives, audit, cgroups, docker, images, kubectl, leftovers, node, tools
from .access import Access, ApiError
from .certs import Authority
from .control_plane import ControlPlane, make_certificates, start_control_plane
from .errors import HarnessError
from .places import State, locked
from .processes import end, recorded, wait_until
from .progress import step

LOCK_WAIT_S = 900.0
NODE_WAIT_S = 90.0
ADOPT_WAIT_S = 60.0
"""A kept cluster whose daemons live may be busy for a moment: to begin another one would end what others do on it."""
DAEMONS = ("containerd", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")


class Kubernetes:
    """A cluster; `with Kubernetes() as kubernetes:` starts it and removes it.

    Attributes `access` (the administrator's requests), `kubeconfig`, `server` and `ca` are there once it runs.
    """

    def __init__(self, state: State | None = None) -> None:
        """Nothing happens yet. Two clusters at a time need two state folders."""
        self.state = state or State.default()
        self._plane: ControlPlane | None = None
        self._borrowed = False
        self._external: tuple[Path, Access] | None = None
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Starts it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops it."""
        self.stop()

    def start(self, *, keep: bool = False) -> None:
        """Takes the kept cluster if one is running; else builds what the cache lacks, cleans, and starts a new one.

        It returns when the node is Ready. With `keep` the cluster outlives this process, for others to take; without, it is
        this process' own and the lock is held until `stop()`.

        Raises:
            HarnessError: what failed, with the end of its log; nothing is left running then.
        """
        if self._adopt():
            return
        tools.prepare()
        for make_archive in (archives.pause_archive, archives.base_archive):
            make_archive()
        self._held.enter_context(locked(self.state.lock, LOCK_WAIT_S, doing="own the cluster"))
        if self._adopt():  # somebody started it while we waited
            self._held.close()
            return
        try:
            with step("clean"):
                self.clean_leftovers()
            with step("cluster up"):
                self._start_parts(keep)
        except BaseException:
            self.stop()
            raise
        if keep:
            self._held.close()

    def _start_parts(self, keep: bool) -> None:
        state = self.state
        state.folder.mkdir(parents=True, mode=0o755)
        shutil.rmtree(state.logs, ignore_errors=True)
        cgroups.make(state.cgroup)
        address = node.make_bridge(state)
        with step("certificates"):
            authority = make_certificates(state)
        with ThreadPoolExecutor(1) as pool:
            runtime, base = pool.submit(self._start_runtime), pool.submit(self._import_base)
            self._plane = start_control_plane(state, authority, address)
            runtime.result()
            kubelet = node.start_kubelet(state, authority, self.server, address)
            with step("node is Ready"):
                wait_until(self._node_ready, NODE_WAIT_S, "the node is Ready", state.log("kubelet"), kubelet)
            base.result()
        facts = {"port": self._plane.port, "tokens": self._plane.tokens, "keep": keep}
        state.path("cluster.json").touch(mode=0o600)
        state.path("cluster.json").write_text(json.dumps(facts))

    def _start_runtime(self) -> None:
        with step("containerd"):
            node.start_containerd(self.state)
            node.import_image(self.state, archives.pause_archive())

    def _import_base(self) -> None:
        with step("import the base image"):
            node.import_image(self.state, archives.base_archive())

    def _adopt(self) -> bool:
        """Takes the running cluster that somebody started with `keep`, if it is whole."""
        try:
            facts = json.loads(self.state.path("cluster.json").read_text())
        except (OSError, ValueError):
            return False
        daemons = [daemon for daemon in recorded(self.state) if daemon.name in DAEMONS]
        if not facts["keep"] or len(daemons) < len(DAEMONS) or not all(daemon.is_alive() for daemon in daemons):
            return False
        plane = ControlPlane(self.state, Authority(self.state.path("certs")), facts["port"], facts["tokens"])
        self._plane, self._borrowed = plane, True
        try:
            wait_until(self._node_ready, ADOPT_WAIT_S, "the kept node is Ready", self.state.log("kubelet"))
        except HarnessError:
            self._plane, self._borrowed = None, False
        return self._borrowed

    def _node_ready(self) -> bool:
        try:
            found = self.access.request("GET", f"/api/v1/nodes/{node.NAME}")
            self.access.request("GET", "/api/v1/namespaces/default/serviceaccounts/default")
        except (ApiError, OSError):
            return False
        conditions = {condition["type"]: condition["status"] for condition in found["status"].get("conditions", ())}
        return conditions.get("Ready") == "True" and not found["spec"].get("taints")

    def stop(self) -> None:
        """Ends what was started and removes every trace, but for the logs and the cache; may be called again.

        A kept cluster of somebody else stays as it is: `clean_leftovers()` and the command `down` remove that.
        """
        if not self._borrowed:
            with step("cluster down"):
                self.clean_leftovers()
        self._plane, self._borrowed = None, False
        self._held.close()

    def clean_leftovers(self) -> None:
        """Removes what is on the machine of this cluster, of an earlier process too."""
        leftovers.clean(self.state)

    @classmethod
    def attach(cls, state: State | None = None) -> Kubernetes | None:
        """The running kept cluster; None when there is none or it is not whole."""
        found = cls(state)
        return found if found._adopt() else None

    @classmethod
    def external(cls, kubeconfig: Path) -> Kubernetes:
        """A cluster that is not ours: kubectl, access by the kubeconfig's bearer token, and what derives from these.

        Raises:
            HarnessError: the kubeconfig's current context has no bearer token.
        """
        found = cls()
        text = found.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json", kubeconfig=kubeconfig)
        config = json.loads(text)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]
        if "token" not in user["user"]:
            raise HarnessError(f"expected a bearer token in the current context of {kubeconfig}, found none")
        ca = found.state.path("external", "ca.crt")
        ca.parent.mkdir(parents=True, exist_ok=True)
        ca.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
        found._external = (kubeconfig, Access(cluster["server"], ca, user["user"]["token"], user["name"]))
        return found

    @property
    def is_own(self) -> bool:
        """It is the harness' own: users, audit log, authority, images and kwok are only there then."""
        return self._external is None

    @property
    def access(self) -> Access:
        """The administrator's way in, by a bearer token."""
        if self._external is not None:
            return self._external[1]
        if self._plane is None:
            raise HarnessError("expected a running cluster, found none: call start()")
        return self._plane.access

    @property
    def server(self) -> str:
        """The API server's address, `https://127.0.0.1:PORT`."""
        return self.access.server

    @property
    def port(self) -> int:
        """The API server's port on loopback: KUBERNETES_SERVICE_PORT of pods on the host's network."""
        return int(self.server.rpartition(":")[2])

    @property
    def ca(self) -> Path:
        """The authority that signed the API server's certificate."""
        return self.access.ca

    @property
    def authority(self) -> Authority:
        """Signs certificates that clients of this cluster trust."""
        return Authority(self.state.path("certs"))

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, by a client certificate."""
        return self._external[0] if self._external is not None else self.state.path("admin.kubeconfig")

    def user(self, name: str) -> Access:
        """The way in of one of `control_plane.USERS`; its user name in audit log and RBAC is the same."""
        assert self._plane is not None
        return self.access.as_user(name, self._plane.tokens[name])

    def service_account(self, namespace: str, name: str, *, lifetime_s: int = 3600) -> Access:
        """The way in of a ServiceAccount that exists, by a fresh token."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        wanted = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": lifetime_s},
        }
        token = self.access.request("POST", path, wanted)["status"]["token"]
        return replace(self.access, token=token, user=f"system:serviceaccount:{namespace}:{name}")

    def kubeconfig_for(self, access: Access, path: Path | None = None, *, namespace: str = "default") -> Path:
        """Writes a kubeconfig for somebody (`service_account()`, `user()`, or either through a proxy)."""
        file = path or self.state.path("kubeconfigs", f"{access.user.replace(':', '-')}-{time.monotonic_ns()}")
        return access.write_kubeconfig(file, namespace=namespace)

    def kubectl(
        self,
        *arguments: str,
        stdin: object = None,
        check: bool = True,
        timeout_s: float = 60.0,
        kubeconfig: Path | None = None,
    ) -> str:
        """What kubectl printed, as the administrator or by another kubeconfig; see `kubectl.run`."""
        config = kubeconfig or self.kubeconfig
        return kubectl.run(
            config, self.state.path("kubectl"), *arguments, stdin=stdin, check=check, timeout_s=timeout_s
        )

    def apply(self, *manifests: dict[str, Any]) -> None:
        """Creates or changes objects."""
        self.kubectl("apply", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": list(manifests)})

    def wait_for_service_account(self, namespace: str, name: str = "default", timeout_s: float = 30.0) -> None:
        """Waits until the namespace takes pods: its service account and the authority's certificate are there."""
        paths = (f"serviceaccounts/{name}", "configmaps/kube-root-ca.crt")

        def there() -> bool:
            try:
                for path in paths:
                    self.access.request("GET", f"/api/v1/namespaces/{namespace}/{path}")
            except ApiError:
                return False
            return True

        log = self.state.log("kube-controller-manager")
        wait_until(there, timeout_s, f"namespace {namespace} has its service account", log)

    def restart_kubelet(self) -> None:
        """Ends the node's kubelet and starts another one; containers go on meanwhile."""
        end(self.state, ["kubelet"])
        address = json.loads(self.state.path("kubelet.yaml").read_text())["address"]
        node.start_kubelet(self.state, self.authority, self.server, address)

    def rotate_log(self, namespace: str, pod: str) -> None:
        """Empties the log of a pod's containers: as after a rotation by the kubelet, older lines cannot be had from the API."""
        files = list(self.state.path("pod-logs").glob(f"{namespace}_{pod}_*/*/*.log"))
        assert files, f"no log of {namespace}/{pod}"
        for file in files:
            os.truncate(file, 0)  # the runtime appends

    def requests_of(self, user: str, since: float) -> list[audit.Request]:
        """What that user asked of the API server since then (seconds since the epoch); see `audit.requests_of`."""
        return audit.requests_of(self.state.path("audit.log"), user, since)

    def build_image(self, context: Path, dockerfile: Path, tag: str, build_args: dict[str, str] | None = None) -> None:
        """Builds an image by docker; see `images.build_image`."""
        images.build_image(self.state, context, dockerfile, tag, build_args or {})

    def import_into_cluster(self, tag: str) -> None:
        """Makes an image of the docker daemon known to the node (use it with `imagePullPolicy: Never`)."""
        images.import_into_cluster(self.state, tag)

    def docker_host(self) -> dict[str, str]:
        """Starts the docker daemon if need be; the environment for programs that call `docker` themselves."""
        return docker.ensure_docker(self.state)
