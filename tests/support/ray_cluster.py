"""A real Ray of several raylets on this machine: each is a host to Ray."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from support.processes import descendants

START_TIMEOUT_S = 120.0
STORE_BYTES = 80 * 2**20
HOST: dict[str, Any] = {"num_cpus": 2, "object_store_memory": STORE_BYTES}
QUICK = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}
"""A host that is lost is known in seconds."""
PATIENT = {"health_check_period_ms": 5000, "health_check_failure_threshold": 100}
"""A host that is stopped for a while is none that is lost: its raylet would exit when it continues."""
STATE = """
import json, sys, ray
from ray.util import placement_group_table
ray.init(sys.argv[1], log_to_driver=False)
groups = [group["state"] for group in placement_group_table().values()]
print(json.dumps({"groups": groups, "free": ray.available_resources(), "all": ray.cluster_resources()}))
"""


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Lets one cluster start on this machine: Ray gives each host 30 s, which are not enough for several at once."""
    with open(Path(tempfile.gettempdir()) / "wasp-ray-starts.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class RayCluster:
    """Context: entered it runs. `last`: what its last host has beside others."""

    def __init__(self, hosts: int = 3, *, jobs: bool = False, checks: Mapping[str, int] = QUICK, **last: Any) -> None:
        """`jobs`: with the dashboard, which takes them, at `dashboard`; `checks`: how it looks after its hosts."""
        self._others, self._jobs, self._checks, self._last = hosts - 1, jobs, dict(checks), last

    def __enter__(self) -> RayCluster:
        # Ray's own port for the agent of a head is one for all clusters of a machine: those that find it taken take no jobs
        head = {
            **HOST,
            "include_dashboard": self._jobs,
            "_system_config": self._checks,
            "dashboard_agent_listen_port": free_port(),
        }
        if self._jobs:
            head["dashboard_port"] = free_port()
            self.dashboard = f"http://127.0.0.1:{head['dashboard_port']}"
        with one_at_a_time():
            self.cluster: Any = Cluster(initialize_head=True, head_node_args=head)
            self.hosts = [self._add_host() for _ in range(self._others - 1)]
            if self._others:
                self.add_last_host()
        self.address = str(self.cluster.address)
        self._files = self._session_folder()
        return self

    def __exit__(self, *exc: object) -> None:
        self.cluster.shutdown()
        shutil.rmtree(self._files, ignore_errors=True)  # environments that it made weigh as much as this one

    def _add_host(self, **more: Any) -> Any:
        host = self.cluster.add_node(**HOST, **more)
        self.cluster.wait_for_nodes(START_TIMEOUT_S)
        return host

    def lose_last_host(self) -> None:
        """Kill its raylet, as a machine that is gone; `add_last_host` puts another one in its place."""
        self.cluster.remove_node(self.hosts.pop(), allow_graceful=False)

    def add_last_host(self) -> None:
        """Add a host with what the last one has."""
        self.hosts.append(self._add_host(**self._last))

    def _session_folder(self) -> str:
        return str(self.cluster.head_node.get_session_dir_path())

    def check_empty(self) -> None:
        """No run has left anything on it."""
        state = self.state()
        assert set(state["groups"]) <= {"REMOVED"}, state
        assert state["free"]["CPU"] == state["all"]["CPU"], state
        assert not actor_processes() and not node_processes()

    def state(self) -> dict[str, Any]:
        """Placement groups' states and resources, free and all, as another driver sees them."""
        done = subprocess.run(
            [sys.executable, "-c", STATE, self.address], capture_output=True, text=True, timeout=120, check=True,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


def free_port() -> int:
    """One that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def processes(mark: str) -> list[int]:
    """Pids below this process whose command has it."""
    return [pid for pid in descendants() if mark in _command(pid)]


def node_processes() -> list[int]:
    """Pids of nodes that run below this process, which are those in actors of its clusters."""
    return processes("wasp_ray.cluster.local_node")


def actor_processes(kind: str = "NodeActor") -> list[int]:
    """Pids of the Ray workers that are such actors."""
    return [pid for pid in descendants() if _command(pid).startswith(f"ray::{kind}")]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""
