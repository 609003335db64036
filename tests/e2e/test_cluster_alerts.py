"""Alerts as requirements on a run in a cluster: asked for once, by who makes the verdict, with the token that it is given."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from e2e.team import Team, run_id
from support.rules_server import TOKEN, RulesServer, alert, rule, rules_server


@pytest.fixture
def grafana() -> Iterator[RulesServer]:
    """One with a quiet rule, on this machine's loopback interface, which is that of the pods as well."""
    with rules_server() as server:
        yield server


def test_the_controller_in_the_cluster_asks_for_alerts(team: Team, grafana: RulesServer) -> None:
    """Of a detached run: by the address and the secret that travel with the run; no node asks."""
    run = run_id()
    arguments = ("-e", f"GRAFANA_URL={grafana.url}", "--secret", "GRAFANA_TOKEN")
    done = team.wasp(
        "run", "load.py:watched", "--jobs", "2", "--run-id", run, "--detach", *arguments, GRAFANA_TOKEN=TOKEN
    )
    assert done.returncode == 0, done.stdout + done.stderr
    attached = team.wasp("attach", run, "--out", "out")
    (check,) = team.passed(attached)["alerts"]
    assert (check["state"], check["polls"]) == ("ok", len(grafana.requests))
    assert {headers["Authorization"] for _, _, headers in grafana.requests} == {f"Bearer {TOKEN}"}
    assert "none fired: alerts of grafana" in attached.stdout and TOKEN not in attached.stdout


def test_the_command_that_controls_a_run_asks_for_alerts(team: Team, grafana: RulesServer) -> None:
    """By its own environment; what fires fails the run by name, and nothing of the run is left while it waits."""
    grafana.rules = [rule(duration=60)]
    process = team.start("run", "load.py:watched", "--jobs", "2", "--out", "out", GRAFANA_URL=grafana.url)
    team.wait_for(lambda: grafana.requests and team.objects("jobs"), "the run is watched", process=process)
    team.wait_for(lambda: not team.objects("jobs"), "the run is removed", process=process)
    grafana.rules = [rule(state="firing", duration=60, alerts=[alert(job="shop")])]
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert 'Latency{job="shop"' in said and team.summary()["alerts"][0]["state"] == "fired"
    assert team.left_behind() == []
