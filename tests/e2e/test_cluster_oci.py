"""Charts of a registry (oci://) by the real helm, 3 and 4: found as helm finds them, and run to their verdict."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from e2e.harness import tools
from e2e.harness.registry import Registry
from e2e.team import Team

from wasp_ray.cluster.config import Values
from wasp_ray.cluster.helm import Helm, find_helm, render
from wasp_ray.errors import BadInput

CHART = Path(__file__).parents[2] / "charts" / "wasp"
VALUES = {"run": "shop-x7k2", "sync": "a1b2c3d4", "image": "registry.example/load:1", "test.name": "load.py"}
TELLS_ITS_VERSION = """
apiVersion: v1
kind: ConfigMap
metadata: {name: version, labels: {version: {{ .Chart.Version | replace "+" "_" }}}}
"""
CLIENT = """
from wasp_ray.cluster import ClusterConfig, ClusterProfile

if __name__ == "__main__":
    result = ClusterProfile(ClusterConfig(test="load.py:quick", chart="CHART", jobs=2, out="client")).run()
    print(result.verdict)
"""


@dataclass(frozen=True)
class Shelf:
    """What the registry has: charts/wasp 0.1.0, and four versions of a chart that tells its own; digests by version."""

    registry: Registry
    digests: dict[str, str]

    @property
    def wasp(self) -> str:
        """The address of charts/wasp."""
        return f"oci://{self.registry.host}/charts/wasp"

    @property
    def versions(self) -> str:
        """The address of the other one."""
        return f"oci://{self.registry.host}/team/wasp"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """A registry with charts, pushed by helm after `helm registry login`."""
    folder, helm = tmp_path_factory.mktemp("registry"), tools.built(tools.HELM3)
    telling = folder / "wasp"
    shutil.copytree(CHART, telling)
    (telling / "templates" / "version.yaml").write_text(TELLS_ITS_VERSION)
    with Registry(folder) as registry:
        registry.push(helm, CHART, "charts", "0.1.0")
        versions = ("1.0.0", "1.0.3+b.7", "1.1.0", "2.0.0-rc.1")
        yield Shelf(registry, {version: registry.push(helm, telling, "team", version) for version in versions})


@pytest.fixture(params=[tools.HELM3, tools.HELM4], ids=["helm3", "helm4"])
def helm(request: pytest.FixtureRequest) -> Helm:
    """Each helm."""
    return find_helm(str(tools.built(request.param)))


def put(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    """Into this process' environment, from where helm gets it."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_a_chart_of_a_registry_renders_as_its_folder(shelf: Shelf, helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    """What helm says of pulling is no object."""
    put(monkeypatch, shelf.registry.environment())
    values = Values.of(VALUES)
    found = render(shelf.wasp, values, "load", helm=helm)
    assert found and found == render(str(CHART), values, "load", helm=helm)


ADDRESSES = {
    "without a version, the newest that is released": ("", "1.1.0"),
    "a version": (":1.0.0", "1.0.0"),
    "a version that is not yet released": (":2.0.0-rc.1", "2.0.0-rc.1"),
    "a version with build metadata": (":1.0.3+b.7", "1.0.3_b.7"),
    "a range": (":~1.0", "1.0.3_b.7"),
    "a digest": ("@DIGEST", "1.0.0"),
    "a version and its digest": (":1.0.0@DIGEST", "1.0.0"),
}


@pytest.mark.parametrize("named", ADDRESSES)
def test_a_version_is_named_in_the_address(
    named: str, shelf: Shelf, helm: Helm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tag, range or digest."""
    put(monkeypatch, shelf.registry.environment())
    end, version = ADDRESSES[named]
    chart = shelf.versions + end.replace("DIGEST", shelf.digests["1.0.0"])
    objects = render(chart, Values.of(VALUES), "load", helm=helm)
    assert [o["metadata"]["labels"]["version"] for o in objects if o["metadata"]["name"] == "version"] == [version]


TROUBLES: dict[str, tuple[str, dict[str, Any], str]] = {
    "no login": ("/charts/wasp", {"logged_in": False}, "log in to the registry with `helm registry login`"),
    "another's authority": ("/charts/wasp:0.1.0", {"trusted": False}, "SSL_CERT_FILE"),
    "no such chart": ("/charts/wesp", {}, "check the chart's address and version"),
    "no such version": ("/charts/wasp:0.1.7", {}, "check the chart's address and version"),
    "nothing in the range": ("/charts/wasp:^3", {}, "check the chart's address and version"),
    "another digest": ("/charts/wasp:0.1.0@sha256:" + "0" * 64, {}, "check the chart's address and version"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_a_registry_refuses_names_the_cure(
    trouble: str, shelf: Shelf, helm: Helm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For what goes wrong between helm and registries."""
    path, options, cure = TROUBLES[trouble]
    put(monkeypatch, shelf.registry.environment(**options))
    with pytest.raises(BadInput) as caught:
        render(f"oci://{shelf.registry.host}{path}", Values.of(VALUES), "load", helm=helm)
    assert cure in str(caught.value)


def test_a_registry_without_tls_is_for_helm_3_on_loopback(
    shelf: Shelf, helm: Helm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Helm 4 asks for an option there; what may be done without it is said."""
    put(monkeypatch, shelf.registry.environment(logged_in=False))
    chart, values = f"oci://{shelf.registry.plain_host}/charts/wasp", Values.of(VALUES)
    if helm.version < (4, 0):
        assert render(chart, values, "load", helm=helm) == render(str(CHART), values, "load", helm=helm)
        return
    with pytest.raises(BadInput, match="helm pull --plain-http"):
        render(chart, values, "load", helm=helm)


def test_a_chart_of_a_registry_runs_to_its_verdict(shelf: Shelf, team: Team) -> None:
    """By the command and the newest version with helm 3, by a Python client and a tag with helm 4; nothing is left."""
    before = shelf.registry.pulled("charts/wasp", "0.1.0")
    client = team.folder / "client.py"
    client.write_text(CLIENT.replace("CHART", f"{shelf.wasp}:0.1.0"))
    process = subprocess.Popen(
        [sys.executable, "-P", str(client)], cwd=team.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env={**team.environment(), **with_helm(tools.HELM4, shelf)},
    )  # fmt: skip
    done = team.run("load.py:quick", "--chart", shelf.wasp, **with_helm(tools.HELM3, shelf))
    said = process.communicate(timeout=150)[0]
    assert done.returncode == 0, done.stdout + done.stderr
    assert process.returncode == 0 and said.split() == ["passed"], said
    for out in ("out", "client"):
        summary = team.summary(out)
        assert summary["verdict"] == "passed" and len(summary["nodes"]) == 2
        assert summary["generators"]["quick"]["ledger"]["ok"] == 300
    assert shelf.registry.pulled("charts/wasp", "0.1.0") >= before + 2
    assert team.left_behind() == []


def with_helm(program: tools.GoProgram, shelf: Shelf) -> dict[str, Any]:
    """The environment of a command that finds this helm, logged in."""
    return {**shelf.registry.environment(), "PATH": f"{tools.built(program).parent}:{os.environ['PATH']}"}
