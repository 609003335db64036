"""The RayJob of the guide fits this wasp_ray: its command line, its image, the sizes that depend on each other."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from wasp_ray.cli import check_place, run
from wasp_ray.cluster.ray_config import RayConfig
from wasp_ray.execution import Settings

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "examples" / "kuberay"
GUIDE = (ROOT / "docs" / "kuberay.md").read_text()
SPEC: dict[str, Any] = yaml.safe_load((FOLDER / "rayjob.yaml").read_text())["spec"]
CLUSTER = SPEC["rayClusterSpec"]
HEAD = CLUSTER["headGroupSpec"]["template"]["spec"]
(WORKERS,) = CLUSTER["workerGroupSpecs"]
PODS = (SPEC["submitterPodTemplate"]["spec"], HEAD, WORKERS["template"]["spec"])


@pytest.fixture
def options() -> dict[str, Any]:
    """What `wasp run` makes of the entrypoint."""
    program, command, *words = shlex.split(SPEC["entrypoint"])
    assert (program, command) == ("wasp", "run")
    return run.make_context("run", words).params


def test_the_command_line_asks_for_a_node_on_each_worker(options: dict[str, Any]) -> None:
    """Of a load file that is in the image, on Ray."""
    assert (FOLDER / options["file"]).is_file()
    settings = Settings(source={"file": options["file"]}, nodes=options["nodes"])
    check_place(settings, options["place"], options["ray_address"])
    assert options["place"] == "ray" and RayConfig(test=options["file"], nodes=options["nodes"]).cpus == 1
    assert {WORKERS[name] for name in ("replicas", "minReplicas", "maxReplicas")} == {options["nodes"]}
    assert CLUSTER["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_a_wrong_option_would_be_seen() -> None:
    """The test above can fail."""
    with pytest.raises(click.NoSuchOption):
        run.make_context("run", ["load.py", "--hosts", "4"])


def test_variables_of_the_command_line_are_those_of_the_head(options: dict[str, Any]) -> None:
    """By name, so that no value is on a command line; what is secret comes from a Secret."""
    (container,) = HEAD["containers"]
    given = {variable["name"]: variable for variable in container["env"]}
    assert {"TARGET_URL", "API_TOKEN"} == set(options["env"]) <= set(given)
    assert "secretKeyRef" in given["API_TOKEN"]["valueFrom"] and "value" not in given["API_TOKEN"]


def test_results_go_where_a_pod_may_write(options: dict[str, Any]) -> None:
    """Its root is read-only."""
    for pod in PODS:
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]
    assert options["out"].is_relative_to("/tmp")


def test_one_image_for_all_whose_name_the_guide_has() -> None:
    """With the Ray of which KubeRay is told and with which we are tested."""
    (image,) = {container["image"] for pod in PODS for container in pod["containers"]}
    assert f"--build-root examples/kuberay --tag {image} " in GUIDE
    assert f"ray[default]=={CLUSTER['rayVersion']} " in (FOLDER / "requirements.txt").read_text()
    assert f"\nray=={CLUSTER['rayVersion']} " in (ROOT / "requirements" / "dev.txt").read_text()


def test_a_load_is_made_once() -> None:
    """Neither the cluster nor the submission is tried again, and all of it ends."""
    assert SPEC["backoffLimit"] == SPEC["submitterConfig"]["backoffLimit"] == 0
    assert (
        SPEC["shutdownAfterJobFinishes"] and SPEC["ttlSecondsAfterFinished"] > 0 and SPEC["activeDeadlineSeconds"] > 0
    )
    assert SPEC["submitterPodTemplate"]["spec"]["restartPolicy"] == "Never"
