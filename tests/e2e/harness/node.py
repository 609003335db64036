"""The node: containerd, a bridge network and the kubelet; their configuration and why it is so.

Owns the node's folders, all below the state folder. The kubelet's address is the bridge's, so nothing outside this machine
reaches it.
"""

from __future__ import annotations

import ipaddress
import json
import subprocess
from pathlib import Path

from . import tools
from .access import write_kubeconfig
from .certs import Authority
from .errors import HarnessError
from .places import State
from .processes import Daemon, free_port, start, wait_until
from .progress import run_logged

NAME = "node1"
PAUSE_IMAGE = "wasp.invalid/pause:1"
CNI_PLUGINS = Path("/usr/lib/cni")
START_TIMEOUT_S = 30.0


def make_bridge(state: State) -> str:
    """Makes the bridge of the pods and gives its address."""
    address = str(ipaddress.ip_network(state.pod_subnet)[1])
    bits = state.pod_subnet.partition("/")[2]
    for command in (
        ["ip", "link", "add", state.bridge, "type", "bridge"],
        ["ip", "address", "add", f"{address}/{bits}", "dev", state.bridge],
        ["ip", "link", "set", state.bridge, "up"],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise HarnessError(f"{' '.join(command)} failed: {done.stderr}")
    return address


def start_containerd(state: State) -> Daemon:
    """Starts containerd with everything it keeps below the state folder, and waits for its socket."""
    folder = state.path("containerd")
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.toml"
    config.write_text(_containerd_config(state))
    _write_network(state)
    daemon = start(state, "containerd", ["containerd", "--config", config])
    up = ["ctr", "--address", str(socket_of(state)), "version"]
    wait_until(
        lambda: subprocess.run(up, capture_output=True, timeout=30).returncode == 0,
        START_TIMEOUT_S,
        "containerd answers",
        state.log("containerd"),
        daemon,
    )
    return daemon


def socket_of(state: State) -> Path:
    """containerd's socket."""
    return state.path("containerd", "sock")


def import_image(state: State, archive: Path, timeout_s: float = 300.0) -> None:
    """Makes the images of an archive known to the node."""
    command = ["ctr", "--address", str(socket_of(state)), "--namespace", "k8s.io", "images", "import", str(archive)]
    run_logged(command, state.log("import"), timeout_s)


def _containerd_config(state: State) -> str:
    folder = state.path("containerd")
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "{socket_of(state)}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
[{cri}]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE nobody may lower an oom score: every sandbox would fail.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [{cri}.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [{cri}.containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = "{folder}/runc"
  [{cri}.cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{state.path("cni")}"
"""


def _write_network(state: State) -> None:
    network = {
        "cniVersion": "0.4.0",
        "name": state.bridge,
        "plugins": [
            {
                "type": "bridge",
                "bridge": state.bridge,
                "isGateway": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": state.pod_subnet}]],
                    "dataDir": str(state.path("cni-addresses")),
                },
            }
        ],
    }
    state.path("cni").mkdir(exist_ok=True)
    state.path("cni", "bridge.conflist").write_text(json.dumps(network))


def start_kubelet(state: State, authority: Authority, server: str, address: str) -> Daemon:
    """Starts the kubelet; the node turns Ready a little later."""
    authority.sign("node", f"/O=system:nodes/CN=system:node:{NAME}", [f"IP:{address}"])
    credentials = {"client-certificate": str(authority.cert("node")), "client-key": str(authority.key("node"))}
    kubeconfig = write_kubeconfig(state.path("kubelet.kubeconfig"), server, authority.certificate, credentials, NAME)
    config = state.path("kubelet.yaml")
    config.write_text(json.dumps(_kubelet_config(state, authority, address), indent=1))
    flags = [
        f"--config={config}",
        f"--kubeconfig={kubeconfig}",
        f"--root-dir={state.path('kubelet')}",
        f"--cert-dir={state.path('kubelet', 'pki')}",
        f"--hostname-override={NAME}",
        f"--node-ip={address}",
    ]
    return start(state, "kubelet", [tools.kubernetes_program("kubelet"), *flags])


def _kubelet_config(state: State, authority: Authority, address: str) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": address,
        "port": free_port(),
        "healthzPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(authority.certificate)},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "tlsCertFile": str(authority.cert("node")),
        "tlsPrivateKeyFile": str(authority.key("node")),
        "containerRuntimeEndpoint": f"unix://{socket_of(state)}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": state.cgroup,
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "resolvConf": "",
        "localStorageCapacityIsolation": False,
        "makeIPTablesUtilChains": False,
        "podLogsDir": str(state.path("pod-logs")),
        "volumePluginDir": str(state.path("kubelet", "volume-plugins")),
        "maxPods": 250,
        "kubeAPIQPS": 500,
        "kubeAPIBurst": 500,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        # Imported images cannot be pulled again: never collect them, and start on a rather full disk too.
        "imageGCHighThresholdPercent": 100,
        "imageMaximumGCAge": "0s",
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    }
