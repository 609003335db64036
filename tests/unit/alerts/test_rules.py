"""What is read of the answers of rules APIs: which rules, what fires, and what is not known."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rules_server import alert, answer, rule

from wasp_ray.alerts.rules import DEFAULT_INTERVAL_S, Rule, alerts_of, of_run, rules_of, seconds

ANY: dict[str, str] = {"requirement_name": "baseline"}


def only(*rules: dict[str, Any], labels: dict[str, str] | None = None, dashboard: str = "") -> Rule:
    """The one rule that matches."""
    (found,) = rules_of(answer(*rules), ANY if labels is None else labels, dashboard)
    return found


@pytest.mark.parametrize(
    ("labels", "dashboard", "matches"),
    [
        ({"requirement_name": "baseline"}, "", True),
        ({"requirement_name": "stress"}, "", False),
        ({"requirement_name": "baseline", "team": "shop"}, "", False),
        ({"alertname": "Latency"}, "", True),
        ({}, "wasp", True),
        ({}, "other", False),
        ({"requirement_name": "baseline"}, "wasp", True),
        ({"requirement_name": "stress"}, "wasp", False),
    ],
)
def test_a_rule_has_all_labels_and_the_dashboard(labels: dict[str, str], dashboard: str, matches: bool) -> None:
    """As in Go WASP both must be met where both are given."""
    assert len(rules_of(answer(rule()), labels, dashboard)) == matches


def test_recording_rules_and_those_without_labels_are_no_matches() -> None:
    """Null labels and annotations come from Grafana for rules that have none."""
    others = [{"type": "recording", "name": "sum", "health": "ok"}, rule(labels=None, annotations=None)]
    assert rules_of(answer(*others), ANY, "") == rules_of(answer(*others), {}, "wasp") == []


@pytest.mark.parametrize(
    ("rule_state", "alerts", "state", "firing"),
    [
        ("inactive", [], "inactive", 0),
        ("inactive", ["Normal"], "inactive", 0),
        ("inactive", ["Normal (NoData)", "Normal (MissingSeries)"], "inactive", 0),
        ("pending", ["Pending"], "pending", 0),
        ("pending", ["pending", "inactive"], "pending", 0),
        ("firing", ["Alerting", "Normal"], "firing", 1),
        ("firing", ["Alerting (NoData)", "Alerting (Error)"], "firing", 2),
        ("firing", ["firing"], "firing", 1),
        ("recovering", ["Recovering"], "firing", 1),
        ("firing", [], "firing", 1),
        ("inactive", ["NoData"], "inactive", 0),
    ],
)
def test_states_of_all_servers_are_read(rule_state: str, alerts: list[str], state: str, firing: int) -> None:
    """Grafana's alerts have other words than its rules, and reasons behind them."""
    instances = [alert(word, instance=str(number)) for number, word in enumerate(alerts)]
    found = only(rule(state=rule_state, alerts=instances))
    assert (found.state, len(found.firing), found.problem) == (state, firing, "")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (rule(health="err", lastError="no such host"), "its health is 'err': no such host"),
        (rule(health="error"), "its health is 'error'"),
        (rule(health="nodata"), "its health is 'nodata'"),
        (rule(health="unknown"), "its health is 'unknown'"),
        (rule(lastEvaluation="0001-01-01T00:00:00Z"), "it was not evaluated yet"),
        (rule(isPaused=True), "it is paused"),
        (rule(state="odd"), "its state is 'odd', which is not known here"),
        (rule(alerts=[alert("Odd")]), "its state is 'Odd', which is not known here"),
    ],
)
def test_what_says_nothing_is_a_problem(data: dict[str, Any], problem: str) -> None:
    """Grafana calls rules that are paused or were never evaluated healthy and inactive."""
    assert only(data).problem == problem


def test_since_when_an_alert_fires() -> None:
    """Prometheus and Loki tell when it became pending, Grafana when it came to its state; Go's year 1 is no time."""
    (prometheus,) = only(rule(state="firing", duration=30, alerts=[alert("firing", 1000.0)])).firing
    (grafana,) = only(rule(state="firing", duration=30, alerts=[alert("Alerting", 1000.0)])).firing
    assert (prometheus.since_s, grafana.since_s) == (1030.0, 1000.0)
    assert seconds("0001-01-01T00:00:00Z") is None and seconds(None) is None and seconds("2026-01-01T00:00:00") is None


@pytest.mark.parametrize(
    ("labels", "state"),
    [
        ({"run": "mine", "profile": "p", "generator": "g"}, "firing"),
        ({"run": "another", "profile": "p", "generator": "g"}, "inactive"),
        ({"run": "another"}, "firing"),
        ({"job": "shop"}, "firing"),
    ],
)
def test_alerts_of_other_runs_are_not_of_this_one(labels: dict[str, str], state: str) -> None:
    """They are known by the labels that all results of wasp_ray have; whatever else fires counts."""
    found = of_run(only(rule(state="firing", alerts=[alert("Alerting", None, "Latency", **labels)])), "mine")
    assert found.state == state and len(found.firing) == (state == "firing")
    waits = of_run(only(rule(state="pending", alerts=[alert("Pending", None, "Latency", **labels)])), "mine")
    assert waits.state == ("pending" if state == "firing" else "inactive")


def test_equal_rules_are_told_apart() -> None:
    """Two of one name in one group: the quiet one does not hide the one that fires."""
    found = rules_of(answer(rule(state="firing", alerts=[alert()]), rule()), ANY, "")
    assert len({found.key for found in found}) == 2 and {found.state for found in found} == {"firing", "inactive"}
    assert only(rule()).interval_s == 0.2
    assert rules_of(answer(rule(), interval_s=0), ANY, "")[0].interval_s == DEFAULT_INTERVAL_S


@pytest.mark.parametrize(
    "wrong",
    [
        None, [], "", {}, {"status": "success"}, {"status": "success", "data": {"groups": [{"rules": []}, 3]}},
        {"status": "success", "data": []}, answer({"type": "alerting"}), answer({**rule(), "state": None}),
        answer(rule(duration="x")),
        {"status": "error", "errorType": "server_error", "error": "failure getting rules"},
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused(wrong: object) -> None:
    """With its own words when it has any."""
    with pytest.raises(ValueError, match="failure getting rules" if "error" in str(wrong) else "rules API"):
        rules_of(wrong, {}, "")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(data=st.data())
def test_a_damaged_answer_is_read_or_refused(data: st.DataObject) -> None:
    """Any part may be any JSON: nothing but ValueError comes out, and a rule that was quiet stays so or has a problem."""
    good = answer(rule(alerts=[alert("Normal")]))
    damaged = copy.deepcopy(good)
    at: Any = damaged
    while isinstance(at, (dict, list)) and at:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else list(range(len(at)))))
        if data.draw(st.booleans()) or not isinstance(at[key], (dict, list)):
            at[key] = data.draw(JSON)
            break
        at = at[key]
    try:
        found = rules_of(damaged, {}, "wasp")
    except ValueError:
        return
    assert all(isinstance(item.state, str) for item in found)


def test_an_alertmanager_tells_what_fires() -> None:
    """Silenced or not; what stands in for a rule without data is no alert of it."""
    active = {**alert(), "startsAt": "2026-01-01T00:00:00.000Z", "status": {"state": "suppressed", "silencedBy": ["x"]}}
    stand_in = {**active, "labels": {**active["labels"], "alertname": "DatasourceNoData"}}
    (found,) = alerts_of([active, stand_in, {**active, "labels": {"alertname": "Other"}}], ANY, "")
    assert dict(found.labels)["alertname"] == "Latency" and found.since_s == 1767225600.0
    wrong: object
    for wrong in ({}, "x", [3], [{}], None):
        with pytest.raises(ValueError, match="Alertmanager"):
            alerts_of(wrong, ANY, "")
