"""The dashboard as data: stable names, what Grafana asks of its JSON, and what is wrong with alerts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wasp_ray import Alert, Dashboard, Generator, Gun, Profile, plain
from wasp_ray.grafana.dashboard import MAX_UID, dashboard_json, uid_of
from wasp_ray.grafana.rules import grafana_rule


class Search(Gun):
    """Nothing."""

    async def call(self) -> None:
        """Nothing."""


PROFILE = Profile(Generator("search", gun=Search, schedule=plain(1, "1s")), name="shop")


@pytest.mark.parametrize(
    ("name", "uid"),
    [("shop", "wasp-shop"), ("Shop!", "wasp-shop-950a3ecf"), ("x" * 50, f"wasp-{'x' * 26}-77cf1206")],
)
def test_uids_stay_the_same(name: str, uid: str) -> None:
    """On every machine and with every version: what is in a Grafana is found again."""
    assert uid_of(name) == uid and len(uid) <= MAX_UID


def test_names_that_look_alike_have_uids_of_their_own() -> None:
    """Two profiles never share a dashboard."""
    names = ["shop", "Shop", "shop ", "sh-op", "sh/op", "sh op", "", "🛒", "a" * 60, "a" * 61]
    assert len({uid_of(name) for name in names}) == len(names)


def test_the_json_is_what_grafana_takes() -> None:
    """Panels have numbers and places of their own; every data source is the variable."""
    told: dict[str, Any] = json.loads(json.dumps(dashboard_json("shop")))
    panels = told["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) and "id" not in told
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells) and max(x for x, _ in cells) < 24
    names = [variable["name"] for variable in told["templating"]["list"]]
    assert names == ["datasource", "profile", "branch", "commit", "run"]
    source = {"type": "loki", "uid": "${datasource}"}
    asked = [
        *panels,
        *told["templating"]["list"][1:],
        *told["annotations"]["list"],
        *(t for p in panels for t in p["targets"]),
    ]
    assert all(part["datasource"] == source for part in asked)
    assert told["schemaVersion"] == 38


@pytest.mark.parametrize(
    ("alert", "problem"),
    [
        (Alert.percentile("a", 0, above="1s"), "percentile 0: expected a number such as 99"),
        (Alert.percentile("a", 99, above="soon"), "above='soon': "),
        (Alert.percentile("a", 99, above=1, over="1s"), "over='1s': expected whole seconds, from 5s to 24h"),
        (Alert.percentile("a", 99, above=1, generator="x"), "generator='x': expected one of 'search'"),
        (Alert.failures("a", above="150%"), "expected a share below 1"),
        (Alert.failures("a", above=5), "expected a share below 1"),
        (Alert.timeouts("a", above="1%", held="1.5s"), "held='1.5s': expected whole seconds"),
        (Alert.timeouts("a", above="1%", held="x"), "held='x': "),
        (Alert.logql("a", "sum(x)"), "exactly one of above= and below="),
        (Alert.logql("a", "sum(x)", above=1, below=2), "exactly one of above= and below="),
        (Alert.logql("a", "", above=1), "expected LogQL"),
        (Alert.logql("a", "sum(x)", above=float("nan")), "above=nan: expected a number"),
        (Alert.logql("", "sum(x)", above=1), "expected a name"),
    ],
)
def test_what_is_wrong_with_an_alert_is_told(alert: Alert, problem: str) -> None:
    """By its name, one sentence."""
    (told,) = Dashboard(PROFILE, alerts=[alert]).problems()
    assert told.startswith(f"Alert {alert.name!r}: ") and problem in told


def test_what_is_wrong_with_a_dashboard_is_told() -> None:
    """All of it at once."""
    same = Alert.failures("same", above=0)
    wrong: Any = Dashboard("shop", alerts=[same, same, "x"], folder=" ")  # type: ignore[list-item]
    told = wrong.problems()
    assert len(told) == 4 and any("give each its own" in problem for problem in told)
    assert Dashboard(PROFILE, alerts=[same]).problems() == []


def test_the_limit_of_a_rule_is_in_the_unit_of_its_query() -> None:
    """Seconds for percentiles, shares for failures."""
    limits = [
        grafana_rule("shop", alert, folder_uid="f", datasource_uid="d")["data"][1]["model"]["conditions"][0][
            "evaluator"
        ]
        for alert in (Alert.percentile("a", 99.9, above="300ms"), Alert.failures("b", above="1%"))
    ]
    assert limits == [{"type": "gt", "params": [0.3]}, {"type": "gt", "params": [0.01]}]
