"""What a command of the cluster must not do with its user's credentials, whatever an image, a folder or a chart says.

The real commands against a Kubernetes API on this machine; what nodes say is scripted.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from support.cluster_commands import Commands, ended
from support.kube_server import KubeServer
from support.rules_server import RULES, rules_server
from support.scripted_nodes import ScriptedNodes, plan_of

from wasp_ray import AlertCheck
from wasp_ray.cluster import helm
from wasp_ray.cluster.config import ClusterConfig
from wasp_ray.cluster.profile import Deployment

pytestmark = [pytest.mark.waits, pytest.mark.timeout(900)]

TOKEN = "glsa_very-secret-7"
LABELS = {"requirement_name": "baseline"}


@pytest.mark.parametrize("has_own", [True, False], ids=["with a Grafana of its own", "without one"])
def test_a_clients_token_does_not_go_where_the_image_wants_it(
    has_own: bool, kube: KubeServer, commands: Commands
) -> None:
    """Another server than the environment's is refused before the start: it receives no request at all."""
    with rules_server() as own, rules_server() as theirs:
        environment = {"GRAFANA_TOKEN": TOKEN, **({"GRAFANA_URL": own.url} if has_own else {})}
        process = commands.start_run("shop-1", **environment)
        nodes = ScriptedNodes(kube, "shop-1", plan_of(2, [AlertCheck(labels=LABELS, url=theirs.url)]))
        nodes.come_up()
        nodes.until(lambda data: data["abort"])
        for pod in nodes.pods.values():
            kube.end_pod(pod)
        code, said = ended(process)
        assert theirs.requests == [] and own.requests == []
    assert kube.config_map("shop-1") == {} and code == 2, said
    assert f"url='{theirs.url}' comes from the image" in said and "set GRAFANA_URL to" in said and TOKEN not in said


def test_a_url_of_the_image_at_the_clients_own_server_is_asked(kube: KubeServer, commands: Commands) -> None:
    """With the token: a path of the same origin is the same server."""
    with rules_server() as own:
        process = commands.start_run("shop-1", GRAFANA_URL=f"{own.url}/elsewhere", GRAFANA_TOKEN=TOKEN)
        nodes = ScriptedNodes(kube, "shop-1", plan_of(2, [AlertCheck(labels=LABELS, url=own.url)]))
        nodes.come_up()
        nodes.until(lambda data: data["start_at"])
        nodes.finish(ok=500, failed=0)
        code, said = ended(process)
        asked = {(path, headers["Authorization"]) for path, _, headers in own.requests}
    assert code != 2 and asked == {(RULES, f"Bearer {TOKEN}")}, said


def test_the_wasp_toml_that_was_used_is_named_once(commands: Commands) -> None:
    """On stderr, so that the YAML of a dry run stays whole; by its keys, without values."""
    file = commands.folder / "wasp.toml"
    file.write_text('[cluster]\nimage = "registry.example/load:1"\ncontext = "x"\n')
    for command, told in (
        (["run", "load.py", "--dry-run"], f"options from {file}: context, image\n"),
        (["list"], f"namespace or context from {file}\n"),
    ):
        code, said, errors = commands.outputs(*command)
        assert code == 0 and errors == told and str(file) not in said, errors
    assert commands.outputs("list", "--context", "x")[2] == ""


def test_a_dry_run_of_the_built_in_manifests_shows_no_secret(commands: Commands) -> None:
    """Neither in the Secret nor anywhere else; the rest can be read."""
    code, said, errors = commands.outputs(
        "run", "load.py", "--image", "load:1", "--secret", "API_KEY", "--dry-run", API_KEY=TOKEN
    )
    assert code == 0 and errors == "" and TOKEN not in said
    objects = {obj["kind"]: obj for obj in yaml.safe_load_all(said)}
    assert objects["Secret"]["data"] == {"API_KEY": "***"}
    assert objects["Job"]["spec"]["template"]["spec"]["containers"][0]["image"] == "load:1"


def test_secrets_that_a_chart_writes_elsewhere_are_masked_and_warned_of(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Charts may put a token into the Job, as Go WASP's does. (What helm itself renders: tests/e2e/test_helm.py.)"""

    def rendered(chart: str, values: Any, namespace: str, **options: Any) -> list[dict[str, Any]]:
        env = [{"name": "WASP_NODE_ID", "value": "1"}, {"name": "LOKI_TOKEN", "value": TOKEN}]
        spec = {"containers": [{"name": "wasp", "image": "load:1", "env": env}]}
        template = {"metadata": {"labels": {"sync": values.sync_label}}, "spec": spec}
        return [
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "theirs"}, "spec": {"template": template}}
        ]

    monkeypatch.setattr(helm, "render", rendered)
    config = ClusterConfig(
        image="load:1", test="load.py", chart="theirs", namespace="load", values={"env.loki.token": TOKEN},
        kubeconfig=commands.folder / "kubeconfig",
    )  # fmt: skip
    deployment = Deployment(config)
    (warning,) = deployment.prepare(print)
    assert "the chart writes secret values into Job theirs" in warning and TOKEN not in warning
    printed = deployment.printed()
    assert TOKEN not in printed and "name: LOKI_TOKEN" in printed
