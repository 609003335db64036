"""The control plane: etcd, API server, controller manager, scheduler; their flags and why they are so.

Owns the ports, users and files of these four. Everything listens on loopback only.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from . import tools
from .access import Access, ApiError, write_kubeconfig
from .certs import Authority
from .places import State
from .processes import Daemon, free_port, start, wait_until
from .progress import step

SERVICE_RANGE = "10.96.0.0/24"
START_TIMEOUT_S = 90.0
# Bearer tokens for tests: one who may do everything, one in a group, one with nothing.
USERS = {"admin": "system:masters", "alice": "qa", "bob": "nobodies"}


@dataclass(frozen=True)
class ControlPlane:
    """A running control plane."""

    state: State
    authority: Authority
    port: int
    tokens: dict[str, str]

    @property
    def access(self) -> Access:
        """The administrator's way in."""
        return Access(f"https://127.0.0.1:{self.port}", self.authority.certificate, self.tokens["admin"])


def make_certificates(state: State) -> Authority:
    """The authority and all that the cluster's parts prove themselves with."""
    authority = Authority(state.path("certs"))
    authority.create()
    authority.sign("server", "/CN=kube-apiserver", ["IP:127.0.0.1", "IP:10.96.0.1", "DNS:localhost", "DNS:kubernetes"])
    authority.sign("admin", "/O=system:masters/CN=admin")
    authority.sign("apiserver-kubelet", "/O=system:masters/CN=kube-apiserver-kubelet-client")
    for name in ("kube-controller-manager", "kube-scheduler"):
        authority.sign(name, f"/CN=system:{name}")
    authority.key_pair("service-accounts")
    return authority


def start_control_plane(state: State, authority: Authority, advertise: str) -> ControlPlane:
    """Starts etcd and the API server and waits until that answers; then the other two, for which nobody waits."""
    etcd_port = _start_etcd(state)
    tokens = {name: secrets.token_hex(16) for name in USERS}
    lines = [f'{tokens[name]},{name},{number},"{group}"' for number, (name, group) in enumerate(USERS.items())]
    state.path("tokens.csv").touch(mode=0o600)
    state.path("tokens.csv").write_text("\n".join(lines) + "\n")
    plane = ControlPlane(state, authority, free_port(), tokens)
    with step("API server"):
        daemon = _start_api_server(plane, etcd_port, advertise)
        log = state.log("kube-apiserver")
        wait_until(lambda: _ready(plane.access), START_TIMEOUT_S, "the API server is ready", log, daemon)
    server = plane.access.server
    for name, credentials in (
        ("admin", _pair(authority, "admin")),
        ("kube-controller-manager", _pair(authority, "kube-controller-manager")),
        ("kube-scheduler", _pair(authority, "kube-scheduler")),
    ):
        write_kubeconfig(state.path(f"{name}.kubeconfig"), server, authority.certificate, credentials, name)
    _start_controllers(plane)
    return plane


def _pair(authority: Authority, name: str) -> dict[str, str]:
    return {"client-certificate": str(authority.cert(name)), "client-key": str(authority.key(name))}


def _start_etcd(state: State) -> int:
    port, peer = free_port(), free_port()
    client_url, peer_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
    command: list[str | Path] = [tools.built(tools.ETCD), "--data-dir", state.path("etcd")]
    command += ["--unsafe-no-fsync"]  # a test cluster that outlives no crash
    command += ["--listen-client-urls", client_url, "--advertise-client-urls", client_url]
    command += ["--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url]
    command += ["--initial-cluster", f"default={peer_url}", "--log-level", "warn"]
    start(state, "etcd", command)
    return port


def _start_api_server(plane: ControlPlane, etcd_port: int, advertise: str) -> Daemon:
    certs, state = plane.authority, plane.state
    policy = state.path("audit-policy.yaml")
    rules = [{"level": "Metadata"}]
    # A watch's answer is complete only when it ends: ResponseStarted shows it (and nothing else) before that.
    omitted = ["RequestReceived", "Panic"]
    policy.write_text(
        json.dumps({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": omitted, "rules": rules})
    )
    flags = {
        "advertise-address": advertise,
        "allow-privileged": "true",
        "audit-log-maxsize": "4000",
        "audit-log-path": state.path("audit.log"),
        "audit-policy-file": policy,
        "authorization-mode": "Node,RBAC",
        "bind-address": "127.0.0.1",
        "client-ca-file": certs.certificate,
        "enable-admission-plugins": "NodeRestriction",  # pod security is among the default ones
        "endpoint-reconciler-type": "none",
        "etcd-servers": f"http://127.0.0.1:{etcd_port}",
        "kubelet-client-certificate": certs.cert("apiserver-kubelet"),
        "kubelet-client-key": certs.key("apiserver-kubelet"),
        "kubelet-preferred-address-types": "InternalIP",
        "max-mutating-requests-inflight": "1000",
        "max-requests-inflight": "2000",
        "secure-port": plane.port,
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": certs.folder / "service-accounts.pub",
        "service-account-signing-key-file": certs.key("service-accounts"),
        "service-cluster-ip-range": SERVICE_RANGE,
        "tls-cert-file": certs.cert("server"),
        "tls-private-key-file": certs.key("server"),
        "token-auth-file": state.path("tokens.csv"),
    }
    return start(state, "kube-apiserver", [tools.kubernetes_program("kube-apiserver"), *_flags(flags)])


def _start_controllers(plane: ControlPlane) -> None:
    certs, state = plane.authority, plane.state
    shared = {
        "bind-address": "127.0.0.1",
        "leader-elect": "false",
        "secure-port": "0",
        "kube-api-qps": "500",  # with the default of 20 requests/s, 1,000 pods take longer than 100 s
        "kube-api-burst": "500",
    }
    manager = {
        **shared,
        "root-ca-file": certs.certificate,
        "service-account-private-key-file": certs.key("service-accounts"),
        "use-service-account-credentials": "true",
        "kubeconfig": state.path("kube-controller-manager.kubeconfig"),
    }
    program = tools.kubernetes_program("kube-controller-manager")
    start(state, "kube-controller-manager", [program, *_flags(manager)])
    scheduler = {**shared, "kubeconfig": state.path("kube-scheduler.kubeconfig")}
    start(state, "kube-scheduler", [tools.kubernetes_program("kube-scheduler"), *_flags(scheduler)])


def _flags(flags: dict[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in flags.items()]


def _ready(access: Access) -> bool:
    try:
        return bool(access.request("GET", "/readyz", timeout_s=5) == "ok")
    except (OSError, ApiError):
        return False
