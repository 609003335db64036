"""Every query of the dashboard, asked of a real Loki after a real run: its figures are those of the summary."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from support import loads
from support.books import check_books, wait_until
from support.grafana_queries import Shown, column, target, targets
from support.loki import Loki as Server
from support.loki_client import Line, LokiClient

from wasp_ray import Alert, Generator, Loki, Profile, RunResult, plain
from wasp_ray.grafana.dashboard import dashboard_json

pytestmark = pytest.mark.waits

DASHBOARD = dashboard_json("shop")
ANY = {"profile": "shop", "branch": ".*", "commit": ".*", "run": ".*"}
STATS = [name for name, found in targets(DASHBOARD) if 'kind="stats"' in found["expr"]]


@dataclass(frozen=True)
class Ran:
    """A run of two nodes, what it came to, and what shows it."""

    tenant: LokiClient
    result: RunResult
    shown: Shown

    def table(self, panel: str, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """A column of a table, by the values of labels."""
        found = self.shown.table(self.tenant, column(DASHBOARD, panel, name))
        return {tuple(sample.labels.get(label, "") for label in labels): sample.value for sample in found}

    def graph(self, panel: str, letter: str = "A", step_s: int = 1) -> dict[str, dict[int, float]]:
        """Values by second and Generator."""
        found = self.shown.graph(self.tenant, target(DASHBOARD, panel, letter), step_s)
        return {series.labels["generator"]: series.values for series in found}

    def by_generator(self, of: str) -> dict[tuple[str, ...], float]:
        """A column of the ledgers."""
        return {(name,): part["ledger"][of] for name, part in self.result.summary["generators"].items()}


@pytest.fixture(scope="module")
def ran(loki: Server) -> Iterator[Ran]:
    """A rate and users, part of whose calls fail; every call is a sample."""
    tenant = loki.tenant()
    result = Profile(
        Generator("search", gun=loads.Sleepy, schedule=plain(200, "6s")),
        Generator("people", user=loads.Failing, schedule=plain(4, "6s"), think_time=0.02),
        name="shop", labels={"branch": "main"}, sinks=[Loki(url=tenant.url, tenant_id=tenant.tenant)],
    ).run(nodes=2)  # fmt: skip
    check_books(result)
    assert not result.summary["sinks"]["loki"]["not_delivered"]
    now = int(time.time()) + 3  # the last second is told with its end, which is still to come
    yield Ran(tenant, result, Shown(now - 60, now, ANY))


@pytest.mark.parametrize("name", [name for name, _ in targets(DASHBOARD)])
@pytest.mark.parametrize("step_s", [1, 5])
def test_loki_answers_every_query(ran: Ran, name: str, step_s: int) -> None:
    """With at least one series, at the finest step and at a coarser one."""
    assert ran.shown.answer(ran.tenant, dict(targets(DASHBOARD))[name], step_s)


@pytest.mark.parametrize("of", ["ok", "failed", "timeout"])
def test_totals_are_those_of_the_ledger(ran: Ran, of: str) -> None:
    """Of each Generator and of each node."""
    assert ran.table("Calls by Generator", of, "generator") == ran.by_generator(of)
    run = ran.result.summary["run_id"]
    found = ran.table("Nodes", of, "run", "node")
    assert found == {(run, str(node["node"])): node["ledger"][of] for node in ran.result.summary["nodes"]}


def test_calls_are_those_that_were_started(ran: Ran) -> None:
    """All of them have ended."""
    assert ran.table("Calls by Generator", "calls", "generator") == ran.by_generator("started")
    assert sum(ran.table("Nodes", "calls", "run", "node").values()) == ran.result.ledger.started


@pytest.mark.parametrize("step_s", [1, 2, 5])
def test_the_delivered_rate_adds_up_to_all_calls(ran: Ran, step_s: int) -> None:
    """At any step, over both nodes; what was planned is there once."""
    delivered = ran.graph("Rate: planned and delivered", "B", step_s)
    for name, values in delivered.items():
        assert sum(values.values()) * step_s == pytest.approx(
            ran.result.summary["generators"][name]["ledger"]["started"]
        )
    planned = ran.graph("Rate: planned and delivered", "A", step_s)
    assert set(planned) == {"search"} and max(planned["search"].values()) == 200


def test_users_are_those_that_were_asked_for(ran: Ran) -> None:
    """Over both nodes; a Generator of a rate has none."""
    for letter in "AB":
        found = ran.graph("Users: planned and active", letter)
        assert set(found) == {"people"} and max(found["people"].values()) == 4
    assert ran.table("Nodes", "most users", "node") == {("1",): 2, ("2",): 2}


def test_percentiles_of_groups_are_those_of_the_summary(ran: Ran) -> None:
    """Of a Generator without failures, within the histogram's error and the distance of two neighbours."""
    group = ran.result.summary["generators"]["search"]["groups"]["search"]
    for label, field in (("service", "service_s"), ("from due", "response_s")):
        found = ran.table("Percentiles by group", f"p50 {label}", "generator", "group")
        assert found["search", "search"] == pytest.approx(group[field]["p50"], rel=0.02)


def test_percentiles_by_second_are_within_those_of_the_run(ran: Ran) -> None:
    """The worst second's median is no better than the whole run's, and no worse than its slowest call."""
    call = ran.result.summary["generators"]["search"]["call"]["response_s"]
    worst = max(ran.graph("Response time of calls", "A")["search"].values())
    assert call["min"] <= worst <= call["max"] and worst >= call["p50"] * 0.99


def test_failures_are_those_of_the_ledger(ran: Ran) -> None:
    """As a rate from the stats and as a number by group from the responses."""
    failed = ran.result.generators["people"].ledger.failed
    assert sum(ran.graph("Failed calls", "A")["people"].values()) == failed > 0
    found = ran.shown.graph(ran.tenant, target(DASHBOARD, "Failures by group"))
    assert {series.labels["generator"] for series in found} == {"people"}
    assert sum(sum(series.values.values()) for series in found) == failed


def test_variables_are_filled_from_the_streams(ran: Ran) -> None:
    """A run that has no label `commit` is there all the same."""
    found = {}
    for variable in DASHBOARD["templating"]["list"][1:]:
        stream = ran.shown.filled(variable["query"]["stream"], 1)
        found[variable["name"]] = ran.tenant.label_values(variable["query"]["label"], stream)
    assert found == {"profile": ["shop"], "branch": ["main"], "commit": [], "run": [ran.result.summary["run_id"]]}


@pytest.mark.parametrize(
    ("variables", "there"), [({"branch": "main|other"}, True), ({"branch": "other"}, False), ({"run": "none"}, False)]
)
def test_variables_choose_runs(ran: Ran, variables: Mapping[str, str], there: bool) -> None:
    """Several values are a pattern."""
    shown = Shown(ran.shown.from_s, ran.shown.to_s, {**ANY, **variables})
    for _, query in targets(DASHBOARD):
        assert bool(shown.answer(ran.tenant, query)) is there


def test_start_and_end_are_annotated_once(ran: Ran) -> None:
    """Though each of the two nodes tells them; errors have their own marks."""
    (annotation,) = DASHBOARD["annotations"]["list"]
    lines = [line.text for line in ran.tenant.lines(ran.shown.filled(annotation["expr"], 1))]
    marks = [text.split(":")[0] for text in lines]
    assert marks.count("start") == marks.count("end") == 1 and marks.count("error") >= 1
    assert any("run " in text for text in lines)


def test_lines_that_are_there_twice_change_no_figure_of_the_stats(loki: Server, ran: Ran) -> None:
    """Loki stores them twice once its chunks were flushed, and every query gives what it gave."""

    def answers() -> dict[str, Any]:
        found = dict(targets(DASHBOARD))
        return {
            f"{name} {step_s}": ran.shown.answer(ran.tenant, found[name], step_s) for name in STATS for step_s in (1, 5)
        }

    def number() -> float:
        return sum(sample.value for sample in ran.tenant.query('sum(count_over_time({kind="stats"}[1h]))'))

    def pushed_again() -> bool:
        loki.flush()  # which goes on after its answer
        ran.tenant.push(stored)
        return number() >= 2 * lines

    before, lines = answers(), number()
    stored = ran.tenant.lines('{kind="stats"}')
    wait_until(pushed_again)
    assert answers() == before and len(before) == 2 * len(STATS)


def test_a_run_of_very_many_nodes_is_shown(loki: Server) -> None:
    """More than 50, where the node is no label, and more than the 500 series that Loki gives: all but the table of nodes."""
    tenant, now, nodes = loki.tenant(), time.time_ns(), 600
    labels = {"service_name": "wasp_ray", "kind": "stats", "profile": "shop", "run": "r", "generator": "g"}
    for at_s in range(3):
        counters = {"calls_total": 10 * (at_s + 1), "success": 9, "failed": 1, "callTimeout": 0}
        line = {
            **counters, "planned": 10, "current_instances": 1, "in_flight": 1, "response_s": {"p50": 1, "p95": 1, "p99": 1},
            "before": {"calls_total": 10 * at_s, "failed": 0, "callTimeout": 0},
        }  # fmt: skip
        kinds = ("rate", "users")
        end = now - (3 - at_s) * 1_000_000_000
        told = [json.dumps({**line, "node": node, "generator_kind": kinds[node % 2]}) for node in range(nodes)]
        tenant.push([Line(end, text, labels) for text in told])
    shown = Shown(now // 10**9 - 60, now // 10**9 + 1, ANY)
    for name, query in targets(DASHBOARD):
        if name in STATS and not name.startswith("Nodes"):
            assert shown.answer(tenant, query), name
    (calls,) = shown.table(tenant, column(DASHBOARD, "Calls by Generator", "calls"))
    assert calls.value == nodes * 30
    (delivered,) = shown.graph(tenant, target(DASHBOARD, "Rate: planned and delivered", "B"))
    assert sum(delivered.values.values()) == nodes * 30
    assert tenant.query(Alert.failures("few", above=0).rule("shop"))
