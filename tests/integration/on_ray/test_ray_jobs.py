"""Ways to a Ray: a submitted job, a Ray made for one run, an environment that Ray makes for the run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.books import wait_until
from support.ray_cluster import PATIENT, RayCluster, processes
from support.ray_runs import WASP, in_python, summary_of

pytestmark = [pytest.mark.waits, pytest.mark.xdist_group("own ray")]
USES_TINY = """
import tiny
from wasp_ray import *

class Looper(VirtualUser):
    def call(self):
        return Response(group=tiny.NAME)

profile = Profile(Generator("looper", user=Looper, schedule=plain(1, "1s"), pacing="100ms"))
"""
ASKS_RAY = """
import os
from wasp_ray import *

class Looper(VirtualUser):
    def setup(self):
        from ray._common.usage.usage_lib import usage_stats_enabled
        print("usage", usage_stats_enabled(), flush=True)

    def call(self):
        pass

profile = Profile(Generator("looper", user=Looper, schedule=plain(1, "1s"), pacing="100ms"))
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """Two hosts and what takes jobs."""
    with RayCluster(hosts=2, jobs=True, checks=PATIENT) as started:
        yield started


def test_a_submitted_job(cluster: RayCluster, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """`ray job submit` from a folder that travels: the run is on the job's cluster, its verdict is the job's."""
    out = tmp_path_factory.mktemp("job")
    command = [
        sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", cluster.dashboard, "--working-dir", str(folder),
        "--", *WASP, "run", "load.py", "--on", "ray", "--nodes", "2", "--out", str(out / "out"),
        "--threshold", "max of quick < 1us",
    ]  # fmt: skip
    for _ in range(20):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
        if "No available agent to submit job" not in done.stderr:
            break
        time.sleep(1)  # what takes jobs comes up after the cluster
    assert done.returncode == 1 and (out / "out/summary.json").exists(), done.stdout + done.stderr
    summary = summary_of(out)
    assert summary["verdict"] == "failed" and len(summary["reasons"]) == 1, summary["reasons"]
    assert summary["generators"]["quick"]["ledger"]["ok"] == 300 and len(summary["nodes"]) == 2


def test_a_ray_for_one_run(folder: Path) -> None:
    """`--ray-address local`: nothing of it is left, stdout is the run's alone, and it tells nobody of its use."""
    (folder / "load.py").write_text(ASKS_RAY)
    environment = {name: value for name, value in os.environ.items() if name != "RAY_USAGE_STATS_ENABLED"}
    done = subprocess.run(
        [*WASP, "run", "load.py", "--on", "ray", "--ray-address", "local", "--out", "out"],
        cwd=folder, capture_output=True, text=True, timeout=120, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert summary_of(folder)["ledger"]["ok"] > 0
    assert "usage False" in (folder / "out/logs/users.log").read_text()
    assert "raylet" not in done.stdout
    wait_until(lambda: not processes(f"{folder}"))


def test_an_environment_made_by_ray(folder: Path) -> None:
    """A wheel that is no package of this machine's, by runtime_env: installed on the host for the run.

    On a Ray of one host: several on one machine would make it in the same place at once.
    """
    wheel = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as made:
        made.writestr("tiny.py", 'NAME = "from the wheel"\n')
        made.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        made.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr(
            "tiny-1.0.dist-info/RECORD", "tiny.py,,\ntiny-1.0.dist-info/METADATA,,\ntiny-1.0.dist-info/WHEEL,,\n"
        )
    (folder / "load.py").write_text(USES_TINY)
    environment = {"pip": [f"${{RAY_RUNTIME_ENV_CREATE_WORKING_DIR}}/{wheel.name}"]}
    summary = in_python("local", folder, nodes=1, runtime_env=environment)
    assert summary["verdict"] == "passed", summary["reasons"]
    assert "from the wheel" in summary["generators"]["looper"]["groups"]
