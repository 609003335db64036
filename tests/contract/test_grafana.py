"""Dashboards and alert rules in Grafana 10 to 13, as its documentation describes it; no real Grafana was there to ask."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.harness.processes import free_port
from support.grafana import TOKEN, VERSIONS, FakeGrafana, Trouble, loki_source
from support.http_keys import authority, server_context

from wasp_ray.errors import BadInput, WaspError
from wasp_ray.grafana.command import LoadedDashboard
from wasp_ray.grafana.dashboard import dashboard_json

LOAD = """
from wasp_ray import Alert, Dashboard, Generator, Gun, Profile, plain
print("imported")

class Search(Gun):
    async def call(self): ...

profile = Profile(Generator("search", gun=Search, schedule=plain(1, "1s")), name="shop")
other = Profile(Generator("search", gun=Search, schedule=plain(1, "1s")), name="other")
dashboard = Dashboard(profile, alerts=[
    Alert.percentile("fast", 99, above="300ms", generator="search", held="30s", requirement="baseline"),
    Alert.failures("few failures", above="1%"),
    Alert.logql("calls", 'sum(count_over_time({profile="$profile"}[1m]))', below=1),
])
fewer = Dashboard(profile, alerts=[Alert.failures("few failures", above="2%")])
none = Dashboard(profile)
"""


@pytest.fixture
def load(tmp_path: Path) -> str:
    """A load file with dashboards."""
    path = tmp_path / "load.py"
    path.write_text(LOAD)
    return str(path)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token, and no address."""
    monkeypatch.setenv("GRAFANA_TOKEN", TOKEN)


@pytest.fixture
def grafana(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGrafana]:
    """Of version 12."""
    with FakeGrafana() as made:
        monkeypatch.setenv("GRAFANA_URL", made.url)
        yield made


def deploy(spec: str, datasource: str | None = None) -> list[str]:
    """What it tells."""
    told: list[str] = []
    LoadedDashboard(spec, {}).deploy(datasource, told.append)
    return told


@pytest.mark.parametrize("root", ["", "/tools/grafana"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_second_deploy_is_an_update(version: str, root: str, load: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folder, dashboard and rules are made once, under uids that stay; also below a path."""
    with FakeGrafana(version, root) as grafana:
        monkeypatch.setenv("GRAFANA_URL", grafana.url + "/")
        first = deploy(load)
        rules = dict(grafana.rules)
        second = deploy(load)
    (folder,) = grafana.folders.values()
    assert folder["title"] == "Load tests" and folder["uid"].startswith("wasp-load-tests")
    assert grafana.dashboards["wasp-shop"]["version"] == 2 and len(grafana.dashboards) == 1
    assert grafana.dashboards["wasp-shop"]["folderUid"] == folder["uid"]
    assert grafana.dashboards["wasp-shop"]["dashboard"] == dashboard_json("shop") | {"id": None}
    assert grafana.rules.keys() == rules.keys() and len(rules) == 3
    assert grafana.intervals == {(folder["uid"], "wasp_ray shop"): 10}
    assert {rule["labels"]["requirement_name"] for rule in rules.values()} == {"baseline", "few failures", "calls"}
    assert {rule["data"][0]["datasourceUid"] for rule in rules.values()} == {"loki-1"}
    address = f"http://127.0.0.1:{grafana.port}{root}/d/wasp-shop/slug"
    assert first[0] == f"dashboard 'shop', version 1: {address}" and second[0].endswith(f"version 2: {address}")
    assert all(request.headers["Authorization"] == f"Bearer {TOKEN}" for request in grafana.requests)


def test_rules_that_are_left_out_are_removed_and_those_of_others_stay(grafana: FakeGrafana, load: str) -> None:
    """Of the same group only, also when none is left."""
    deploy(load)
    (folder,) = grafana.folders
    grafana.rules["mine"] = {"uid": "mine", "title": "Mine", "folderUID": folder, "ruleGroup": "by hand"}
    assert "removed: 2" in deploy(f"{load}:fewer")[1]
    kept = {rule["title"]: rule for rule in grafana.rules.values()}
    assert kept.keys() == {"Mine", "shop: few failures"}
    assert kept["shop: few failures"]["data"][1]["model"]["conditions"][0]["evaluator"]["params"] == [0.02]
    deploy(f"{load}:none")
    assert grafana.rules.keys() == {"mine"}


def test_a_dashboard_without_alerts_needs_no_rights_to_alerts(grafana: FakeGrafana, load: str) -> None:
    """Nor to data sources."""
    grafana.troubles += [Trouble("provisioning|datasources", 403, {"message": "You'll need additional permissions"})]
    assert len(deploy(f"{load}:profile")) == 1
    assert len(deploy(f"{load}:other")) == 1
    assert grafana.dashboards.keys() == {"wasp-shop", "wasp-other"}


def test_a_folder_that_a_token_may_not_see_is_made_when_it_is_not_there(grafana: FakeGrafana, load: str) -> None:
    """Grafana says 403 for what is not there, too."""
    grafana.troubles += [Trouble("GET /api/folders", 403, {"message": "Access denied"}, times=1)]
    deploy(f"{load}:none")
    assert len(grafana.folders) == 1


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (Trouble("folders", 401, {"message": "Invalid API key"}), r"401 Invalid API key.*GRAFANA_TOKEN.*make a new one"),
        (Trouble("folders", 403, {"message": "Permissions needed: folders:create"}), r"403.*folders:create.*role Editor"),
        (Trouble("POST /api/folders", 409, {"message": "the same name"}), r"409.*Dashboard\(folder=\.\.\.\)"),
        (Trouble("POST /api/folders", 412, {"message": "changed"}), r"412.*Dashboard\(folder=\.\.\.\)"),
        (Trouble("db", 412, {"message": "same uid", "status": "name-exists"}), r"412 same uid \(name-exists\).*rename"),
        (Trouble("db", 400, {"message": "Cannot save provisioned dashboard"}), r"400 Cannot save provisioned dashboard"),
        (Trouble("db", 500, {"message": "boom"}), r"500 boom; Grafana's own log"),
        (Trouble("db", 429, {"message": "slow down"}), r"429 slow down.*later"),
        (Trouble("datasources", 403, {"message": "denied"}), r"403 denied.*--datasource UID"),
        (Trouble("POST.*rules", 400, {"message": "bad rule"}), r"alert-rules: Grafana answered 400 bad rule"),
        (Trouble("health", 404, "<html>"), r"found 404 and a page that is no JSON.*path it is served under"),
        (Trouble("health", 404, {"message": "Not found"}), r"404 Not found.*path it is served under"),
        (Trouble("health", 200, {"status": "UP"}), r"found something else"),
        (Trouble("health", 302, "", {"Location": "/login"}), r"found a page for logging in.*path it is served under"),
        (Trouble("health", 301, "", {"Location": "https://g.test/x"}), r"redirect to https://g\.test: set GRAFANA_URL"),
    ],
    ids=lambda value: f"{value.status} {value.matching}" if isinstance(value, Trouble) else "",
)  # fmt: skip
def test_what_is_refused_is_told_with_the_cure(grafana: FakeGrafana, load: str, trouble: Trouble, told: str) -> None:
    """Never with the token."""
    grafana.troubles.append(trouble)
    with pytest.raises(WaspError, match=told) as refused:
        deploy(load)
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize(
    ("sources", "told"),
    [([], "no data source of type Loki"), ([loki_source("a"), loki_source("b")], r"--datasource UID: a \(Loki a\), b")],
)
def test_alerts_need_one_loki(grafana: FakeGrafana, load: str, sources: list[dict[str, Any]], told: str) -> None:
    """Nothing was changed when it cannot be told which; naming it helps."""
    grafana.sources = sources
    with pytest.raises(BadInput, match=told):
        deploy(load)
    assert not grafana.folders and not grafana.dashboards
    if sources:
        deploy(load, "b")
        assert {rule["data"][0]["datasourceUid"] for rule in grafana.rules.values()} == {"b"}


def test_a_grafana_below_another_path_is_told(load: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page that a proxy gives instead is no answer."""
    with FakeGrafana(root="/grafana") as grafana:
        monkeypatch.setenv("GRAFANA_URL", grafana.url.removesuffix("/grafana"))
        with pytest.raises(WaspError, match=r"as https://example/grafana"):
            deploy(load)


@pytest.mark.parametrize(
    ("url", "token", "told"),
    [
        ("", TOKEN, "GRAFANA_URL is not set"),
        ("grafana.test", TOKEN, "expected the root of Grafana"),
        ("http://u:s3cret@h", TOKEN, "GRAFANA_URL holds a password"),
        ("http://127.0.0.1:9", "", "GRAFANA_TOKEN is not set.*Service accounts"),
        ("http://127.0.0.1:9", "a\nb", "GRAFANA_TOKEN holds a line end"),
    ],
)
def test_what_the_environment_lacks_is_told(
    url: str, token: str, told: str, load: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is asked, without a secret."""
    monkeypatch.setenv("GRAFANA_URL", url)
    monkeypatch.setenv("GRAFANA_TOKEN", token)
    with pytest.raises(BadInput, match=told) as refused:
        deploy(load)
    assert "s3cret" not in str(refused.value)


def test_no_grafana_there_is_told(load: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens; and a host that has no address."""
    for url in (f"http://127.0.0.1:{free_port()}", "http://no-such-host.invalid"):
        monkeypatch.setenv("GRAFANA_URL", url)
        with pytest.raises(WaspError, match=r"nothing answers \(.+\): is GRAFANA_URL right"):
            deploy(load)


def test_certificates_are_checked(load: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any) -> None:
    """An unknown authority is told with the cure, which helps; so is a server that speaks no TLS."""
    keys = authority(tmp_path_factory)
    with FakeGrafana(tls=server_context(keys)) as grafana:
        monkeypatch.setenv("GRAFANA_URL", grafana.url)
        with pytest.raises(WaspError, match=r"certificate is not trusted.*SSL_CERT_FILE"):
            deploy(load)
        monkeypatch.setenv("SSL_CERT_FILE", str(keys.certificate))
        done = wasp("load.py", "--deploy", cwd=Path(load).parent)
        assert done.returncode == 0, done.stderr
    with FakeGrafana() as grafana:
        monkeypatch.setenv("GRAFANA_URL", grafana.url.replace("http:", "https:"))
        with pytest.raises(WaspError, match="http:// instead of https://"):
            deploy(load)


def wasp(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`wasp dashboard ...`, as a shell starts it."""
    command = [sys.executable, "-m", "wasp_ray", "dashboard", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)


def test_the_command_prints_writes_and_deploys(grafana: FakeGrafana, load: str, tmp_path: Path) -> None:
    """Stdout is JSON alone, whatever the load file prints."""
    printed = wasp("load.py", cwd=tmp_path)
    assert json.loads(printed.stdout) == dashboard_json("shop") and "imported" in printed.stderr
    assert wasp("load.py:other", "-o", "other.json", cwd=tmp_path).returncode == 0
    assert json.loads((tmp_path / "other.json").read_text())["uid"] == "wasp-other"
    rules = json.loads(wasp("load.py", "--rules", cwd=tmp_path).stdout)
    assert [rule["alert"] for rule in rules["groups"][0]["rules"]] == ["fast", "few failures", "calls"]
    done = wasp("load.py", "--deploy", cwd=tmp_path)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2), done.stderr
    assert TOKEN not in done.stdout + done.stderr and len(grafana.rules) == 3


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["load.py:nothing"], 2, "has no `nothing`"),
        (["load.py:Search"], 2, "expected a Dashboard or a Profile"),
        (["load.py:none", "--rules"], 2, "has no alerts"),
        (["load.py", "--deploy", "--rules"], 2, "leave one of them out"),
        (["load.py", "--datasource", "a"], 2, "datasource without --deploy"),
        (["load.py", "-o", "nowhere/x.json"], 2, "cannot be written"),
        (["load.py", "--deploy"], 4, "401 Invalid API key"),
    ],
)
def test_exit_codes_of_the_command(
    words: list[str],
    code: int,
    told: str,
    grafana: FakeGrafana,
    load: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """2 for bad input, 4 when Grafana does not take it."""
    monkeypatch.setenv("GRAFANA_TOKEN", "glsa_old")
    done = wasp(*words, cwd=tmp_path)
    assert done.returncode == code and re.search(told, done.stderr), done.stderr
    assert not done.stdout
