"""Alerts of a load file as rules of Loki's own ruler: some fire after a real run, the others do not."""

from __future__ import annotations

import json
import operator
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from support import loads
from support.books import wait_until
from support.loki import Loki as Server
from support.loki_client import LokiClient
from support.query_answers import Rule, Sample

from wasp_ray import Alert, AlertCheck, Generator, Loki, Profile, plain
from wasp_ray.grafana.rules import grafana_rule, ruler_file

pytestmark = pytest.mark.waits

QUIET = (
    Alert.failures("no more than most", above="90%", over="10m"),
    Alert.failures("search never fails", above=0, generator="search", over="10m"),
    Alert.timeouts("no timeouts", above=0, over="10m"),
    Alert.percentile("fast enough", 99, above="10s", over="10m"),
    Alert.percentile("no such group", 50, above=0, group="nowhere", over="10m"),
    Alert.logql("some calls", 'sum(count_over_time({profile="$profile", kind="responses"}[10m]))', below=10),
)
LOUD = (
    Alert.failures("few failures", above="1%", over="10m"),
    Alert.percentile("faster than light", 99, above="1ms", generator="search", group="search", over="10m"),
    Alert.logql("few calls", 'sum(count_over_time({profile="$profile", kind="responses"}[10m]))', above=10),
    Alert.logql("many calls", 'sum(count_over_time({profile="$profile", kind="responses"}[10m]))', below=1_000_000),
)
ALERTS = (*QUIET, *LOUD)
NAME = 'the "shop"'


@pytest.fixture(scope="module")
def tenant(loki: Server) -> Iterator[LokiClient]:
    """With a run in it, a third of whose users' calls fail."""
    made = loki.tenant()
    result = Profile(
        Generator("search", gun=loads.Sleepy, schedule=plain(50, "2s")),
        Generator("people", user=loads.Failing, schedule=plain(1, "2s")),
        name=NAME, sinks=[Loki(url=made.url, tenant_id=made.tenant)],
    ).run()  # fmt: skip
    assert not result.summary["sinks"]["loki"]["not_delivered"]
    yield made


def by_generator(samples: list[Sample]) -> set[str]:
    """Which series there are."""
    return {sample.labels.get("generator", "") for sample in samples}


def test_the_ruler_fires_what_passes_its_limit_and_nothing_else(tenant: LokiClient) -> None:
    """The file as it is printed, but for its interval; the last rule is evaluated after all others."""
    told = yaml.safe_load(ruler_file(NAME, ALERTS))
    (group,) = told["groups"]
    assert (group["name"], group["interval"]) == (f"wasp_ray {NAME}", "10s")
    tenant.write_rules("load", group["rules"])

    def rules() -> dict[str, Rule]:
        return {rule.name: rule for rule in tenant.rules()}

    wait_until(lambda: rules().get(LOUD[-1].name, QUIET_RULE).state == "firing", 60)
    found = rules()
    assert [rule.problem for rule in found.values()] == [""] * len(ALERTS)
    assert {name for name, rule in found.items() if rule.state == "firing"} == {alert.name for alert in LOUD}
    (active,) = found["few failures"].active
    assert active["requirement_name"] == "few failures" and active["generator"] == "people"
    assert active["profile"] == NAME and active["source"] == "wasp_ray"


QUIET_RULE = Rule("", "", "inactive", "")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_a_rule_of_grafana_means_the_same(tenant: LokiClient, alert: Alert) -> None:
    """Its query with its threshold gives the series that the ruler's expression gives."""
    rule: dict[str, Any] = grafana_rule(NAME, alert, folder_uid="f", datasource_uid="d")
    query, condition = (part["model"] for part in rule["data"])
    assert rule["condition"] == condition["refId"] and condition["expression"] == query["refId"]
    (evaluator,) = (one["evaluator"] for one in condition["conditions"])
    passes = {"gt": operator.gt, "lt": operator.lt}[evaluator["type"]]
    now = time.time_ns()
    shown = [sample for sample in tenant.query(query["expr"], now) if passes(sample.value, evaluator["params"][0])]
    fired = tenant.query(alert.rule(NAME), now)
    assert by_generator(shown) == by_generator(fired) and bool(fired) is (alert in LOUD)


@pytest.mark.parametrize(
    ("alert", "verdict"), [(LOUD[0], "failed"), (QUIET[0], "passed")], ids=lambda value: str(value)[:6]
)
def test_a_run_fails_by_the_rules_of_its_own_dashboard(loki: Server, alert: Alert, verdict: str) -> None:
    """An AlertCheck that names the dashboard finds them in Loki's ruler."""
    tenant = loki.tenant()
    (group,) = yaml.safe_load(ruler_file("own", (alert,)))["groups"]
    tenant.write_rules("own", group["rules"])
    wait_until(lambda: tenant.rules(), 60)
    check = AlertCheck(kind="loki", url=tenant.url, tenant_id=tenant.tenant, dashboard_uid="wasp-own")
    result = Profile(
        Generator("people", user=loads.Failing, schedule=plain(1, "8s"), think_time="10ms"),
        name="own", thresholds=[check], sinks=[Loki(url=tenant.url, tenant_id=tenant.tenant)],
    ).run()  # fmt: skip
    assert result.verdict == verdict, result.reasons
    assert any(alert.name in reason for reason in result.reasons) is (verdict == "failed")


def test_rules_are_plain_data(tenant: LokiClient) -> None:
    """Of both kinds, with the profile's name as it is."""
    rule = grafana_rule(NAME, LOUD[0], folder_uid="f", datasource_uid="d")
    assert json.loads(json.dumps(rule)) == rule and rule["labels"]["profile"] == NAME
