"""What an AlertCheck may say, and where and as whom it is asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from wasp_ray import AlertCheck, Generator, Gun, Profile, plain
from wasp_ray.alerts.server import problems_here, server_of
from wasp_ray.errors import WaspError
from wasp_ray.load.build import make_plan

LABELS = {"requirement_name": "baseline"}


class Quick(Gun):
    """Does nothing."""

    def call(self) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "it names no rules"),
        ({"labels": LABELS, "kind": "datadog"}, "kind='datadog'"),
        ({"labels": {"a": 1}}, "labels={'a': 1}"),
        ({"labels": "a"}, "labels='a'"),
        ({"dashboard_uid": 3}, "dashboard_uid=3"),
        ({"labels": LABELS, "url": "grafana.example"}, "url='grafana.example': expected the root"),
        ({"labels": LABELS, "url": "http://u:secret-7@grafana.example"}, "it holds a password"),
        ({"labels": LABELS, "url": "http://[x"}, "url=...:"),
        ({"labels": LABELS, "tenant_id": "team"}, "tenant_id=... with kind='grafana'"),
    ],
)
def test_bad_options_are_told(options: dict[str, Any], problem: str) -> None:
    """With the cure, all before a run, and never a password."""
    found = Profile(Generator("g", gun=Quick, schedule=plain(1, "1s")), thresholds=[AlertCheck(**options)]).validate()
    assert any(text.startswith("Profile AlertCheck: ") and problem in text for text in found), found
    assert "secret-7" not in str(found)


def test_a_check_is_plain_data_in_the_plan() -> None:
    """Beside the thresholds; `--once` has neither."""
    check = AlertCheck(labels=LABELS, dashboard_uid="wasp", kind="prometheus", url="https://prometheus.example")
    profile = Profile(Generator("g", gun=Quick, schedule=plain(1, "1s")), thresholds=["failed == 0", check])
    assert profile.validate() == []
    plan = json.loads(json.dumps(make_plan(profile, {}).to_data()))
    assert plan["thresholds"] == ["failed == 0"]
    assert plan["alerts"] == [check.to_plan().to_data()] and AlertCheck(**plan["alerts"][0]) == check


@pytest.mark.parametrize(
    ("options", "environment", "url", "headers"),
    [
        (
            {"dashboard_uid": "wasp"}, {"GRAFANA_URL": "https://g.example/", "GRAFANA_TOKEN": "t"},
            "https://g.example/api/prometheus/grafana/api/v1/rules", {"Authorization": "Bearer t"},
        ),
        (
            {"kind": "prometheus", "url": "https://mimir.example/prometheus", "tenant_id": "team"},
            {"PROMETHEUS_BASIC_AUTH": "u:p", "PROMETHEUS_URL": "https://other.example"},
            "https://mimir.example/prometheus/api/v1/rules", {"Authorization": "Basic dTpw", "X-Scope-OrgID": "team"},
        ),
        (
            {"kind": "loki"}, {"LOKI_URL": "https://loki.example/loki/api/v1/push", "LOKI_TENANT_ID": "team"},
            "https://loki.example/prometheus/api/v1/rules", {"X-Scope-OrgID": "team"},
        ),
    ],
)  # fmt: skip
def test_the_environment_says_where_and_as_whom(
    options: dict[str, Any], environment: dict[str, str], url: str, headers: dict[str, str]
) -> None:
    """What the Profile says goes first; Loki's push URL will do."""
    server = server_of(AlertCheck(labels=LABELS, **options).to_plan(), environment)
    assert server.rules_url == url and server.headers == {"Accept": "application/json", **headers}


OWN = {"GRAFANA_URL": "https://g.example/own", "GRAFANA_TOKEN": "secret-7", "GITHUB_TOKEN": "secret-8"}
API = "/api/prometheus/grafana/api/v1/rules"


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("", "https://g.example/own" + API),
        ("https://g.example", "https://g.example" + API),
        ("https://g.example/", "https://g.example" + API),
        ("https://G.EXAMPLE:443/team", "https://g.example/team" + API),
        ("https://g.ex\tample/team", "https://g.example/team" + API),
    ],
)
def test_a_plan_from_an_image_is_asked_for_at_the_origin_that_the_environment_names(url: str, asked: str) -> None:
    """Scheme, host and port are those of the variable, written as there; the path may be another one."""
    server = server_of(replace(AlertCheck(labels=LABELS).to_plan(), url=url), OWN, is_foreign=True)
    assert server.rules_url == asked and server.headers["Authorization"] == "Bearer secret-7"


@pytest.mark.parametrize(
    ("spec", "environment", "problem"),
    [
        ({"url": "https://evil.example"}, OWN, "found GRAFANA_URL='https://g.example/own'; set GRAFANA_URL to"),
        ({"url": "http://g.example"}, OWN, "comes from the image"),
        ({"url": "https://g.example:8443"}, OWN, "comes from the image"),
        ({"url": "https://g.example:99999"}, OWN, "comes from the image"),
        ({"url": "https://g.example.evil.example"}, OWN, "comes from the image"),
        ({"url": "https://g.example@evil.example"}, OWN, "it holds a password"),
        ({"url": "https://evil.example\\@g.example"}, OWN, "it holds a password"),
        ({"url": "http://169.254.169.254"}, {}, "found no GRAFANA_URL"),
        ({"url": "https://evil.example", "kind": "loki"}, OWN, "set LOKI_URL to 'https://evil.example'"),
        ({"url": "https://evil.example", "kind": "github"}, OWN, "kind='github': expected one of"),
    ],
)
def test_a_plan_from_an_image_does_not_choose_where_credentials_go(
    spec: dict[str, Any], environment: dict[str, str], problem: str
) -> None:
    """Another origin than the environment's is refused: no request and no token leaves, and the cure is named."""
    (found,) = problems_here([replace(AlertCheck(labels=LABELS).to_plan(), **spec)], environment, is_foreign=True)
    assert problem in found and "secret-" not in found


def test_a_load_file_of_ones_own_may_name_any_server() -> None:
    """With the credentials of the environment, as before."""
    server = server_of(AlertCheck(labels=LABELS, url="https://other.example").to_plan(), OWN)
    assert server.rules_url == "https://other.example" + API and server.headers["Authorization"] == "Bearer secret-7"


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({}, "expected url=... or GRAFANA_URL"),
        ({"GRAFANA_URL": "ftp://g.example"}, "GRAFANA_URL='ftp://g.example'"),
        ({"GRAFANA_URL": "https://u:secret-7@g.example"}, "holds a password"),
        ({"GRAFANA_URL": "https://g.example", "GRAFANA_TOKEN": "secret-7", "GRAFANA_BASIC_AUTH": "a:b"}, "found both"),
        ({"GRAFANA_URL": "https://g.example", "GRAFANA_TOKEN": "secret-7\n"}, "control character"),
    ],
)
def test_an_environment_that_cannot_work_is_told(environment: dict[str, str], problem: str) -> None:
    """By name of the variable, never with its secret."""
    check = AlertCheck(labels=LABELS).to_plan()
    with pytest.raises(WaspError) as found:
        server_of(check, environment)
    assert problem in str(found.value) and "secret-7" not in str(found.value)
    assert problem in problems_here([check], environment)[0]
