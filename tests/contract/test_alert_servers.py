"""Asking a Grafana for its rules over a real connection: its answers of versions 10 to 13, as they are documented, and every way in
which there is none. Prometheus and Loki's ruler are asked for real in tests/integration.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.rules_server import ALERTS, RULES, TOKEN, RulesServer, alert, rule, rules_server, stamp

from wasp_ray.alerts import api
from wasp_ray.alerts.check import AlertCheck
from wasp_ray.alerts.server import server_of
from wasp_ray.alerts.watch import AlertWatch

CHECK = AlertCheck(labels={"requirement_name": "baseline"}, dashboard_uid="wasp")
BASE = {"evaluationTime": 0.002, "lastEvaluation": "x", "labels": {"requirement_name": "baseline"}}
VERSIONS: dict[str, dict[str, Any]] = {
    "10": {"totals": {"alerting": 1}, "totalsFiltered": {"alerting": 1}},
    "11": {"uid": "bdxyz", "folderUid": "load", "totals": {"alerting": 1}, "activeAt": "2026-01-01T00:00:00Z"},
    "12": {"uid": "bdxyz", "folderUid": "load", "queriedDatasourceUIDs": ["prom"], "keepFiringFor": 300, "isPaused": False},
    "13": {
        "uid": "bdxyz", "folderUid": "load", "isPaused": False, "keepFiringFor": 300, "provenance": "api",
        "notificationSettings": {"receiver": "team"},
    },
}  # fmt: skip


@pytest.fixture
def grafana() -> Iterator[RulesServer]:
    """One that answers well."""
    with rules_server() as server:
        yield server


def looked(grafana: RulesServer, check: AlertCheck = CHECK, token: str = TOKEN) -> AlertWatch:
    """A watch after one request."""
    watch, plan = AlertWatch(), check.to_plan()
    server = server_of(plan, {"GRAFANA_URL": grafana.url + "/", "GRAFANA_TOKEN": token})

    async def once() -> None:
        async with api.new_session() as session:
            await api.look(session, server, plan, watch, time.time)

    asyncio.run(once())
    return watch


def unknown(watch: AlertWatch) -> str:
    """Why nothing is known after all."""
    result = watch.result(time.time() - 10, time.time())
    assert result["state"] == "unknown"
    return " ".join(result["unknown"])


@pytest.mark.parametrize("version", VERSIONS)
def test_answers_of_all_versions_are_read(grafana: RulesServer, version: str) -> None:
    """What fires has its labels and its time; what is quiet is quiet."""
    more = VERSIONS[version]
    grafana.rules = [rule(state="firing", alerts=[alert("Alerting", time.time() - 3, job="shop")], **more)]
    (fired,) = looked(grafana).result(time.time() - 10, time.time())["fired"]
    assert fired["labels"]["job"] == "shop" and 6 <= fired["at_s"] <= 8
    grafana.rules = [rule(state="inactive", alerts=[alert("Normal")], **more)]
    assert looked(grafana).news() == []
    grafana.rules = [rule(state="pending", alerts=[alert("Pending")], **more)]
    assert looked(grafana).news() == []


def test_an_alert_that_recovers_has_fired(grafana: RulesServer) -> None:
    """Grafana 12 keeps it for `keepFiringFor`."""
    grafana.rules = [rule(state="recovering", alerts=[alert("Recovering")])]
    assert looked(grafana).result(time.time() - 10, time.time())["state"] == "fired"


def test_the_request_has_the_token_and_the_dashboard(grafana: RulesServer) -> None:
    """One request; the token in its header only."""
    looked(grafana)
    ((path, query, headers),) = grafana.requests
    assert (path, query, headers["Authorization"]) == (RULES, {"dashboard_uid": "wasp"}, f"Bearer {TOKEN}")


@pytest.mark.parametrize(
    ("status", "text", "told"),
    [
        (401, "Invalid API key", "401: the credentials were refused; check GRAFANA_TOKEN or GRAFANA_BASIC_AUTH"),
        (403, "Permissions needed", "403: the credentials may not read alert rules"),
        (404, "Not found", "404: there is no rules API"),
        (429, "slow down", "429"),
        (500, "failure getting rules", "500: "),
        (503, "starting", "503"),
        (502, f"your headers: Bearer {TOKEN}", "502: its answer repeats the credentials"),
    ],
)
def test_refusals_are_told_with_their_cure(grafana: RulesServer, status: int, text: str, told: str) -> None:
    """Never taken for quiet, and without the token."""
    grafana.status, grafana.text = status, text
    found = unknown(looked(grafana))
    assert told in found and TOKEN not in found


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ("hang", "no answer within 0.3 s"),
        ("cut", "the connection ended before the answer"),
        ("half", "the connection ended before the answer"),
        ("login", "its answer is no JSON"),
        ("redirect", "the server redirects (HTTP 302)"),
    ],
)
def test_what_is_no_answer_is_never_quiet(
    grafana: RulesServer, trouble: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow, cut, half of it, a login page, a way to one, which is not followed."""
    monkeypatch.setattr(api, "REQUEST_S", 0.3)
    grafana.trouble = trouble
    assert told in unknown(looked(grafana))
    assert {path for path, _, _ in grafana.requests} == {RULES}


def test_nobody_there(grafana: RulesServer) -> None:
    """A port that nobody listens at."""
    check = AlertCheck(labels={"a": "b"}, url="http://127.0.0.1:1")
    assert "127.0.0.1:1" in unknown(looked(grafana, check))


def test_an_answer_without_end_is_given_up(grafana: RulesServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size is bounded."""
    monkeypatch.setattr(api, "MAX_ANSWER_BYTES", 100)
    assert "is larger than" in unknown(looked(grafana))


def test_no_rule_is_no_pass(grafana: RulesServer) -> None:
    """As when the token may not see its folder, which Grafana does not tell."""
    grafana.rules = [rule(labels={"requirement_name": "other"})]
    assert "no alerting rule has these labels" in unknown(looked(grafana))


def test_without_a_rules_api_the_alertmanager_tells_what_fires(grafana: RulesServer) -> None:
    """That nothing fires there is not enough to pass."""
    grafana.status, grafana.alerts = 404, []
    assert "only what fires is known" in unknown(looked(grafana))
    assert [path for path, _, _ in grafana.requests] == [RULES, ALERTS]
    fires = {"labels": alert()["labels"], "annotations": {"__dashboardUid__": "wasp"}, "startsAt": stamp()}
    grafana.alerts = [{**fires, "status": {"state": "active", "silencedBy": [], "inhibitedBy": []}}]
    assert looked(grafana).result(time.time() - 10, time.time())["state"] == "fired"


def test_a_server_whose_clock_is_off_is_understood(grafana: RulesServer) -> None:
    """An hour ahead: an alert since its 'hour ago' is one of just now."""
    now = time.time()
    grafana.date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now + 3600))
    grafana.rules = [rule(state="firing", alerts=[alert("Alerting", now + 3600 - 5)])]
    (fired,) = looked(grafana).result(now - 10, now)["fired"]
    assert 3 <= fired["at_s"] <= 7
