"""Runs on a real Ray of three raylets: one start, one verdict, and nothing left of them, however they end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.books import wait_until
from support.ray_cluster import RayCluster, actor_processes, node_processes
from support.ray_runs import WASP, in_python, summary_of, wait_for_load, wasp

pytestmark = [pytest.mark.waits, pytest.mark.xdist_group("ray")]


def test_one_run_on_three_hosts(cluster: RayCluster, folder: Path) -> None:
    """The load is split exactly over nodes of three raylets; neighbours and variables are there; one bundle."""
    process = wasp(cluster.address, folder, "-e", "TARGET=here")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    summary = summary_of(folder)
    assert summary["generators"]["quick"]["ledger"]["ok"] == 300
    assert [node["node"] for node in summary["nodes"]] == [1, 2, 3]
    assert 0 <= summary["start_skew_s"]["max"] < 0.5
    said = [
        line.split(": raylet ")[1].split()
        for line in (folder / "out/logs/users.log").read_text().splitlines()
        if ": raylet " in line
    ]
    assert len({words[0] for words in said}) == 3
    assert all(words[1:] == ["data", "beside", "target", "here"] for words in said)


def test_sigterm_is_a_stop_as_well(cluster: RayCluster, folder: Path) -> None:
    """Ray takes that signal for itself when a driver connects: exit 143, results kept."""
    process = wasp(cluster.address, folder, "-p", "seconds=60")
    wait_for_load(process, folder)
    process.terminate()
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 143, out
    assert summary_of(folder)["ledger"]["ok"] > 0
    assert not node_processes()


def test_a_killed_command_leaves_nothing_behind(cluster: RayCluster, folder: Path) -> None:
    """Ray's driver ends with it, actors with its job, nodes with their actors."""
    process = wasp(cluster.address, folder, "-p", "seconds=60")
    wait_for_load(process, folder)
    process.kill()
    process.communicate()
    wait_until(lambda: not node_processes() and not actor_processes())


def test_what_has_no_place_says_what_was_asked_and_what_there_is(cluster: RayCluster, folder: Path) -> None:
    """Four hosts of three, until the deadline."""
    summary = in_python(cluster.address, folder, nodes=4, deploy_timeout="20s")
    assert summary["verdict"] == "error"
    (reason,) = summary["reasons"]
    assert "asked were 4 places with CPU 1, each on a host of its own" in reason
    assert "the cluster has 3 hosts with CPU 2, of which CPU " in reason and "SPREAD" in reason


def test_nodes_share_hosts_when_asked(cluster: RayCluster, folder: Path) -> None:
    """Four nodes on three hosts with SPREAD; each does all of a load per node."""
    summary = in_python(cluster.address, folder, nodes=4, strategy="SPREAD", load="per-node", params={"seconds": "1"})
    assert summary["verdict"] == "passed", summary["reasons"]
    assert summary["generators"]["quick"]["ledger"]["ok"] == 600


def test_a_submitted_job_may_have_a_working_dir_of_its_own(cluster: RayCluster, folder: Path) -> None:
    """What `ray job submit --working-dir` sets for its driver gives way to the load file's folder."""
    job = {"RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps({"runtime_env": {"working_dir": "gcs://_ray_pkg_none.zip"}})}
    summary = in_python(cluster.address, folder, job, nodes=1, params={"seconds": "1"})
    assert summary["verdict"] == "passed", summary["reasons"]


def test_another_version_on_the_cluster_is_named(cluster: RayCluster, folder: Path) -> None:
    """Both versions and the cure; nothing runs."""
    other = folder / "other/wasp_ray-0.0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: wasp-ray\nVersion: 0.0.1\n")
    environment = {"env_vars": {"PYTHONPATH": str(other.parent)}}
    summary = in_python(cluster.address, folder, nodes=1, runtime_env=environment)
    assert summary["verdict"] == "error" and summary["ledger"]["started"] == 0
    assert "wasp_ray 0.0.1 is installed on host" in summary["reasons"][0], summary["reasons"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--ray-address", "127.0.0.1:1"], 4, "no Ray cluster at 127.0.0.1:1"),
        (["--ray-address", "ray://127.0.0.1:10001"], 2, "found a URL"),
        (["--ray-address", "127.0.0.1:1", "--once"], 2, "leave one of them out"),
    ],
)
def test_no_cluster_is_told_at_once(folder: Path, arguments: list[str], code: int, told: str) -> None:
    """With the address and the cure."""
    done = subprocess.run(
        [*WASP, "run", "load.py", "--on", "ray", *arguments], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert told in (done.stderr if code == 2 else done.stdout)


def test_a_missing_ray_names_the_extra(folder: Path) -> None:
    """Where Ray cannot be imported."""
    code = "import sys; sys.modules['ray'] = None; from wasp_ray.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "load.py", "--on", "ray"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "pip install 'wasp-ray[ray]'" in done.stderr
