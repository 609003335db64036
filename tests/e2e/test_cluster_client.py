"""The Python client as users run it: the example's client, its two load files in one image, and a wasp.toml."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.harness.cluster import Kubernetes
from e2e.team import WASP, Team, run_id

EXAMPLE = Path(__file__).parents[2] / "examples" / "cluster"
IMAGE = "wasp-e2e-example:latest"

pytestmark = pytest.mark.builds


@pytest.fixture(scope="module")
def example_image(kubernetes: Kubernetes) -> str:
    """The folder of the example as an image: its load files, what they import, their data."""
    if not kubernetes.is_own:
        pytest.skip("the image of the example is built for the node of the harness only")
    if os.environ.get("WASP_E2E_IMAGE_READY"):
        return IMAGE
    command = [*WASP, "cluster", "image", "build", "--build-root", str(EXAMPLE), "--tag", IMAGE, "--offline"]
    environment = {**os.environ, **kubernetes.docker_host()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    kubernetes.import_into_cluster(IMAGE)
    return IMAGE


@pytest.fixture
def environment(team: Team, example_image: str, target: str) -> dict[str, str]:
    """Of a client: everything by variables."""
    return {**team.environment(), "WASP_CLUSTER_IMAGE": example_image, "TARGET_URL": target}


def client(team: Team, environment: dict[str, str], *command: str, cwd: Path | None = None) -> subprocess.Popen[str]:
    """A program in the background."""
    return subprocess.Popen(
        [sys.executable, *command], cwd=cwd or team.folder, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


def test_one_client_runs_every_test_of_its_group(team: Team, environment: dict[str, str]) -> None:
    """As a script and under pytest, at once; what differs comes by variables. A failed verdict fails the pytest."""
    shutil.copy(EXAMPLE / "cluster_test.py", team.folder)
    script = str(EXAMPLE / "cluster_test.py")
    pytest_here = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "cluster_test.py")
    going = {
        "rate": client(
            team, {**environment, "WASP_CLUSTER_OUT": "rate", "WASP_CLUSTER_PARAMS": "rate=80\nseconds=5"}, script
        ),
        "users": client(
            team,
            {
                **environment,
                "WASP_CLUSTER_TEST": "node_users.py",
                "WASP_CLUSTER_OUT": "users",
                "WASP_CLUSTER_JOBS": "2",
            },
            *pytest_here,
        ),
        "strict": client(
            team,
            {**environment, "WASP_CLUSTER_THRESHOLDS": '["failed > 50%"]', "WASP_CLUSTER_PARAMS": '{"seconds": 3}'},
            *pytest_here,
        ),
    }
    said = {name: process.communicate(timeout=150)[0] for name, process in going.items()}
    assert [process.returncode for process in going.values()] == [0, 0, 1], said
    assert said["rate"] == "" and "1 passed" in said["users"]  # a library prints nothing
    assert "RunFailed" in said["strict"] and "failed > 50%" in said["strict"], said["strict"]
    search = team.summary("rate")["generators"]["search"]
    assert search["ledger"]["scheduled"] == search["ledger"]["started"] > 300
    assert len(search["segments"]) == 2 and len(team.summary("rate")["nodes"]) == 2
    users = team.summary("users")["generators"]["shop"]
    assert users["users"]["planned_max"] == 4 and users["users"]["setup_failed"] == 0  # each had its row of the file
    assert set(users["groups"]) >= {"login", "search"} and users["groups"]["search"]["failed"] < 20
    assert team.left_behind() == []


SCRIPT = """
from wasp_ray.cluster import ClusterConfig, ClusterProfile

if __name__ == "__main__":
    result = ClusterProfile(ClusterConfig(keep_jobs=True)).run()
    print(result.verdict, result.exit_code, result.ledger.ok, result.path)
    assert result.generators["search"].response.p99 > 0 and len(result.summary["nodes"]) == 3
"""


def test_wasp_toml_says_it_all_and_kept_runs_are_cleaned(team: Team, environment: dict[str, str]) -> None:
    """From a folder below; paths begin at the file; the client says only to keep. `clean` removes what was kept."""
    run, below = run_id(), team.folder / "tests" / "load"
    below.mkdir(parents=True)
    (team.folder / ".git").mkdir()  # how far up the file is looked for
    (below / "client.py").write_text(SCRIPT)
    values = json.loads(environment["WASP_CLUSTER_VALUES"])
    lines = [
        "[cluster]", f'namespace = "{team.namespace}"', f'image = "{IMAGE}"', "jobs = 3",
        'test = "node_rate.py"', 'timeout = "5m"', f'run_id = "{run}"', 'thresholds = ["failed < 10%"]',
        'env_from = ["configmap/targets"]', "[cluster.params]", "rate = 60", "seconds = 4", "[cluster.values]",
        'imagePullPolicy = "Never"', "hostNetwork = true", f'extraEnv = {toml_table(values["extraEnv"])}',
    ]  # fmt: skip
    (team.folder / "wasp.toml").write_text("\n".join(lines))
    targets = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "targets", "namespace": team.namespace}}
    team.kubernetes.apply({**targets, "data": {"TARGET_URL": environment["TARGET_URL"]}})
    bare = {n: v for n, v in environment.items() if not n.startswith("WASP_CLUSTER_") and n != "TARGET_URL"}
    said = client(team, bare, "client.py", cwd=below).communicate(timeout=150)[0]
    assert said.startswith("passed 0 ") and said.strip().endswith("None"), said
    assert f"wasp-{run}" in {job["metadata"]["name"] for job in team.objects("jobs")} and len(team.objects("pods")) == 3
    listed = subprocess.run([*WASP, "cluster", "list"], cwd=below, env=bare, capture_output=True, text=True, timeout=60)
    assert run in listed.stdout and "node_rate.py" in listed.stdout, listed.stdout + listed.stderr
    cleaned = subprocess.run(
        [*WASP, "cluster", "clean"], cwd=below, env=bare, capture_output=True, text=True, timeout=60
    )
    assert cleaned.returncode == 0 and f"run {run} is removed" in cleaned.stdout, cleaned.stdout + cleaned.stderr
    team.wait_for(lambda: team.left_behind() == [], "nothing is left")


def toml_table(texts: dict[str, str]) -> str:
    """An inline table."""
    return "{" + ", ".join(f'{name} = "{value}"' for name, value in texts.items()) + "}"
