"""A chart of somebody's own may leave out what every run needs; what is there stays as it is."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wasp_ray.cluster.config import Values
from wasp_ray.cluster.manifests import completed, controller_objects, run_objects

GIVEN = {
    "run": "shop-x7k2", "sync": "a1b2c3d4", "image": "registry.example/load:1", "test.name": "load.py", "jobs": 2,
    "secretEnv": {"API_KEY": "tok-8f3a"}, "extraEnv": {"PLAIN": "seen"},
}  # fmt: skip


def bare_job(number: int, sync: str = "a1b2c3d4", **pod: Any) -> dict[str, Any]:
    """As a chart that knows two values would write it."""
    env = [{"name": "WASP_NODE_ID", "value": str(number)}, {"name": "PLAIN", "value": "mine"}]
    containers = [{"name": "wasp", "image": "i", "env": env}, {"name": "sidecar", "image": "s"}]
    template = {"metadata": {"labels": {"sync": sync}}, "spec": {"containers": containers, **pod}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"mine-{number}"},
        "spec": {"template": template},
    }


def test_config_map_secret_labels_account_and_variables_are_added() -> None:
    """So that options mean the same with every chart, and `list`, `attach` and `stop` find the run."""
    objects = completed([{"kind": "Service", "metadata": {"name": "s"}}, bare_job(1), bare_job(2)], Values.of(GIVEN))
    assert [obj["kind"] for obj in objects] == ["Job", "Job", "Service", "ConfigMap", "Secret"]
    job = objects[1]
    assert job["metadata"]["labels"]["wasp.dev/run"] == "shop-x7k2" and job["metadata"]["labels"]["sync"] == "a1b2c3d4"
    pod = job["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "wasp-node" and pod["containers"][1] == {"name": "sidecar", "image": "s"}
    env = {item["name"]: item for item in pod["containers"][0]["env"]}
    assert len(env) == len(pod["containers"][0]["env"])
    assert {"WASP_RUN", "WASP_SYNC", "WASP_JOBS", "WASP_NAMESPACE", "WASP_POD_UID", "WASP_LOG_LEVEL"} <= set(env)
    assert env["API_KEY"]["valueFrom"]["secretKeyRef"]["name"] == "wasp-shop-x7k2"
    assert env["PLAIN"]["value"] == "mine" and env["WASP_NODE_ID"]["value"] == "2" and "WASP_NODE_INDEX" not in env


def test_what_is_there_stays() -> None:
    """An account of its own; Jobs that are no nodes."""
    other = bare_job(2, sync="else")
    first, second = completed([bare_job(1, serviceAccountName="mine"), other], Values.of(GIVEN))[:2]
    assert first["spec"]["template"]["spec"]["serviceAccountName"] == "mine" and second == other


@settings(deadline=None)
@given(jobs=st.integers(1, 50), secret=st.booleans(), url=st.sampled_from(["", "https://loki.example"]))
def test_the_built_in_objects_lack_nothing(jobs: int, secret: bool, url: str) -> None:
    """Nor do those of charts/wasp, which are the same."""
    values = Values.of({**GIVEN, "jobs": jobs, "env.loki.url": url, "secretEnv": {"A": "b"} if secret else {}})
    objects = run_objects(values) + controller_objects(values)
    assert sorted(map(str, completed(objects, values))) == sorted(map(str, objects))
