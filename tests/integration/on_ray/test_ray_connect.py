"""A Ray that cannot be had: an error within a bounded time, with the cure; no process is left."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.books import wait_until
from support.processes import descendants
from support.ray_cluster import PATIENT, RayCluster, processes
from support.ray_runs import WASP, summary_of, wasp

pytestmark = [pytest.mark.waits, pytest.mark.xdist_group("own ray")]
VERSIONS = """
import json, sys, ray
from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put
ray.init(sys.argv[1], log_to_driver=False)
before = _internal_kv_get(b"CLUSTER_METADATA", namespace=b"cluster")
_internal_kv_put(b"CLUSTER_METADATA", json.dumps({**json.loads(before), **json.loads(sys.argv[2])}).encode(), namespace=b"cluster")
print(before.decode())
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """One host."""
    with RayCluster(hosts=1, checks=PATIENT) as started:
        yield started


def refused(folder: Path, address: str, timeout_s: float = 60) -> str:
    """The one reason of a run that is an error; the same is on the terminal."""
    done = subprocess.run(
        [*WASP, "run", "load.py", "--on", "ray", "--ray-address", address, "--out", "out"],
        cwd=folder, capture_output=True, text=True, timeout=timeout_s,
    )  # fmt: skip
    assert done.returncode == 4, done.stdout + done.stderr
    summary = summary_of(folder)
    (reason,) = summary["reasons"]
    assert summary["verdict"] == "error" and summary["ledger"]["scheduled"] == 0
    assert reason[:60] in done.stdout, done.stdout
    return str(reason)


@contextmanager
def stopped(name: str) -> Iterator[None]:
    """A process of the cluster's is there, and does nothing."""
    pids = processes(name)
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_nobody_at_the_address(folder: Path) -> None:
    """With the address and why."""
    assert "no Ray cluster at 127.0.0.1:1 (Connection refused)" in refused(folder, "127.0.0.1:1")


def test_a_server_that_accepts_and_never_answers(folder: Path) -> None:
    """As behind some proxies: Ray itself would wait for more than a minute."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        told = refused(folder, f"127.0.0.1:{server.getsockname()[1]}")
    assert "accepts connections but does not answer within 5 s" in told and "ray start --head" in told


def test_the_port_of_something_else(folder: Path) -> None:
    """A web server, as the dashboard on 8265 is."""
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as server:  # fmt: skip
        try:
            assert server.stdout is not None
            port = server.stdout.readline().split("port ")[1].split()[0]
            told = refused(folder, f"127.0.0.1:{port}")
        finally:
            server.kill()
    assert "what answers there is no head of a Ray cluster" in told


def test_a_head_that_hangs(cluster: RayCluster, folder: Path) -> None:
    """Its GCS is stopped: the kernel takes the connection, nobody answers."""
    with stopped("gcs_server"):
        told = refused(folder, cluster.address)
    assert "accepts connections but does not answer within 5 s" in told


def test_a_cluster_of_which_only_the_head_answers(cluster: RayCluster, folder: Path) -> None:
    """As behind a firewall that lets one port pass: an end within half a minute, with what a driver needs."""
    with stopped("raylet/raylet"):
        told = refused(folder, cluster.address, timeout_s=60)
    assert "did not take this process as a driver" in told and "all ports of the cluster's hosts" in told


def test_ctrl_c_while_it_connects(cluster: RayCluster, folder: Path) -> None:
    """Ray cannot be interrupted there; the run can, at once, and leaves no process."""
    with stopped("raylet/raylet"):
        process = wasp(cluster.address, folder, nodes=1)
        wait_until(lambda: (folder / "out/events.log").exists())  # Ray has begun to connect
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 130, out
    assert json.loads((folder / "out/summary.json").read_text())["verdict"] == "interrupted"


def test_a_killed_command_leaves_no_driver_that_connects(cluster: RayCluster, folder: Path) -> None:
    """It ends with the pipe of its orders, whatever Ray does."""
    with stopped("raylet/raylet"):
        process = wasp(cluster.address, folder, nodes=1)
        wait_until(lambda: (folder / "out/events.log").exists())
        (driver,) = processes("ray_driver")
        process.kill()
        process.communicate()
        wait_until(lambda: driver not in descendants() and not Path(f"/proc/{driver}").exists(), 10.0)


@pytest.mark.parametrize("other", [{"ray_version": "2.9.3"}, {"python_version": "3.9.18"}])
def test_other_versions_there_are_named(cluster: RayCluster, folder: Path, other: dict[str, Any]) -> None:
    """The head says, where Ray itself looks, what it was started with: both versions and the cure are told."""

    def versions(those: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", VERSIONS, cluster.address, those],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return done.stdout.splitlines()[-1]

    before = json.loads(versions(json.dumps(other)))
    try:
        told = refused(folder, cluster.address, timeout_s=60)
    finally:
        (name,) = other
        subprocess.run(
            [sys.executable, "-c", VERSIONS.replace("ray.init(", "ray._private.utils.check_version_info = print; ray.init("),
             cluster.address, json.dumps(before)],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
    assert other[name] in told and before[name] in told
    assert "use the same versions of Ray and Python here as there" in told
