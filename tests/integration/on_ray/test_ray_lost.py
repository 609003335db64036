"""What only Ray can lose, in each state of a run: hosts, the head, the driver's own process. Never a hang; results are kept."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support.books import wait_until
from support.ray_cluster import RayCluster, actor_processes, node_processes, processes
from support.ray_runs import in_python, summary_of, wait_for_load, wasp

pytestmark = [pytest.mark.waits, pytest.mark.xdist_group("ray")]
STRICT = {"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "100"}
"""To Ray's memory monitor any machine is full."""


def killed(name: str) -> None:
    """A process of the cluster's or the run's that there is one of."""
    (pid,) = processes(name)
    os.kill(pid, signal.SIGKILL)


def lose_a_host(cluster: RayCluster, process: subprocess.Popen[str]) -> str:
    """Kills one that is not the head's; what the run says of it until its end. There are three again afterwards."""
    try:
        cluster.lose_last_host()
        return process.communicate(timeout=120)[0]
    finally:
        cluster.add_last_host()


def test_a_host_killed_in_the_load_makes_the_run_invalid(cluster: RayCluster, folder: Path) -> None:
    """SIGKILL of a raylet: its node is lost, and no process of it lives on."""
    process = wasp(cluster.address, folder, "-p", "seconds=60")
    wait_for_load(process, folder)
    out = lose_a_host(cluster, process)
    assert process.returncode == 3, out
    assert any("the raylet there is gone" in reason for reason in summary_of(folder)["reasons"])
    wait_until(lambda: not node_processes())


def users_are_set_up(folder: Path) -> bool:
    """Those of all nodes say so at the beginning of their setup."""
    log = folder / "out/logs/users.log"
    return log.exists() and log.read_text().count(": raylet ") == 6


def test_a_host_lost_before_the_start(cluster: RayCluster, folder: Path) -> None:
    """No load was made: an error that says what went; what Ray prints of it is in the bundle."""
    process = wasp(cluster.address, folder, "-e", "SETUP_S=60")
    wait_until(lambda: users_are_set_up(folder))
    out = lose_a_host(cluster, process)
    assert process.returncode == 4, out
    summary = summary_of(folder)
    assert any("ended before the start" in reason and "raylet there is gone" in reason for reason in summary["reasons"])
    assert "(raylet" not in out and "(raylet" in (folder / "out/events.log").read_text()


def test_a_host_lost_while_the_others_drain(cluster: RayCluster, folder: Path) -> None:
    """After a Ctrl-C: results of the others are kept, and the run is invalid for what is missing."""
    process = wasp(cluster.address, folder, "-p", "seconds=60", "-e", "CALL_S=8")
    wait_for_load(process, folder)
    os.killpg(process.pid, signal.SIGINT)
    out = lose_a_host(cluster, process)
    assert process.returncode == 3, out
    summary = summary_of(folder)
    assert any("was lost" in reason and "raylet there is gone" in reason for reason in summary["reasons"]), summary
    assert summary["generators"]["looper"]["ledger"]["ok"] >= 200


@pytest.mark.parametrize(("actors", "told"), [(1, "its plan could not be read on the cluster"), (3, "its Ray actor")])
def test_an_actor_killed_as_soon_as_it_is_there(cluster: RayCluster, folder: Path, actors: int, told: str) -> None:
    """The one that reads the plan, or one that has a node or is about to: others that come up late are stopped as well."""
    process = wasp(cluster.address, folder, "-e", "SETUP_S=60")
    wait_until(lambda: len(actor_processes()) == actors)
    os.kill(actor_processes()[0], signal.SIGKILL)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 4, out
    assert told in str(summary_of(folder)["reasons"])


def test_a_command_killed_before_the_start(cluster: RayCluster, folder: Path) -> None:
    """Its driver, actors and nodes end."""
    process = wasp(cluster.address, folder, "-e", "SETUP_S=60")
    wait_until(lambda: users_are_set_up(folder))
    process.kill()
    process.communicate()
    wait_until(lambda: not node_processes() and not processes("ray_driver"))


def test_a_killed_driver_is_told(cluster: RayCluster, folder: Path) -> None:
    """The process that speaks with Ray: what nodes had told is kept, and they end with their actors."""
    process = wasp(cluster.address, folder, "-p", "seconds=60")
    wait_for_load(process, folder)
    time.sleep(2)  # a state a second is told
    killed("ray_driver")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 4, out
    summary = summary_of(folder)
    assert "the process that is Ray's driver ended with -9" in summary["reasons"][0]
    assert summary["ledger"]["ok"] > 0


def test_a_host_without_memory(cluster: RayCluster, folder: Path) -> None:
    """Ray's memory monitor kills the actor: the node ends with its pipe, the reason names the monitor and the cure."""
    host = cluster.cluster.add_node(num_cpus=2, resources={"full": 1}, object_store_memory=80 * 2**20, env_vars=STRICT)
    try:
        summary = in_python(cluster.address, folder, nodes=1, resources={"full": 1}, params={"seconds": "30"})
    finally:
        cluster.cluster.remove_node(host)
    assert summary["verdict"] in ("error", "invalid")
    assert "Ray's memory monitor killed it" in summary["reasons"][0], summary["reasons"]


def test_a_node_that_the_kernel_kills(cluster: RayCluster, folder: Path) -> None:
    """Its process itself, as for want of memory: its actor says how it ended."""
    process = wasp(cluster.address, folder, "-p", "seconds=60")
    wait_for_load(process, folder)
    os.kill(node_processes()[0], signal.SIGKILL)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 3, out
    assert any("its process was ended by SIGKILL" in reason for reason in summary_of(folder)["reasons"])
