"""What a command of the cluster must not do with its user's credentials, whatever an image, a folder or a chart says.

The real commands against a Kubernetes API on this machine; what nodes say is scripted.
"""

from __future__ import annotations

import pytest
from support.cluster_commands import Commands, ended
from support.kube_server import KubeServer
from support.rules_server import RULES, rules_server
from support.scripted_nodes import ScriptedNodes, plan_of

from wasp_ray import AlertCheck

pytestmark = pytest.mark.waits

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


