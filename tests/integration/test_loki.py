"""Results in a real Loki: what it holds is what the ledger counts, and whatever it does the load is the same."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support import loads
from support.books import check_books, wait_for_start, wait_until
from support.loki import Loki as Server
from support.loki_client import LokiClient

from wasp_ray import BadInput, Generator, Loki, Profile, RunResult, pause, plain, ramp

pytestmark = pytest.mark.waits


def run(tenant: LokiClient, *generators: Generator, **options: Any) -> RunResult:
    """Into this tenant, in small batches; its books close."""
    sink = Loki(url=tenant.url, tenant_id=tenant.tenant, **{"batch_bytes": 50_000, "batch_wait": "200ms", **options})
    result = Profile(*generators, name="shop", labels={"branch": "main"}, sinks=[sink]).run()
    check_books(result)
    check_sink(result)
    return result


def check_sink(result: RunResult) -> Mapping[str, Any]:
    """Each line that was taken has come to one end."""
    books: Mapping[str, Any] = result.summary["sinks"]["loki"]
    assert books["accepted"] == books["delivered"] + sum(books["not_delivered"].values()), books
    return books


def quick(**options: Any) -> Generator:
    """200/s for 2 s."""
    return Generator("search", gun=loads.Sleepy, schedule=plain(200, "2s"), **options)


def told(tenant: LokiClient, kind: str) -> list[dict[str, Any]]:
    """The lines of a kind."""
    return [json.loads(line.text) for line in tenant.lines(f'{{profile="shop", kind="{kind}"}}')]


def test_what_loki_holds_is_what_the_ledger_counts(loki: Server) -> None:
    """Every call as a response, each second as stats, start and end as events; few labels, every line unique."""
    tenant = loki.tenant()
    users = Generator("people", user=loads.Failing, schedule=plain(2, "2s"), labels={"team": "a"})
    result = run(tenant, quick(), users)
    books = check_sink(result)
    assert not books["not_delivered"] and not books["maybe_double"] and not books["errors"]
    responses, stats, events = (told(tenant, kind) for kind in ("responses", "stats", "events"))
    assert len(responses) + len(stats) + len(events) == books["delivered"]
    assert sum(line["ends_call"] for line in responses) == result.ledger.started
    assert sum(line["failed"] for line in responses if line["ends_call"]) == result.ledger.failed > 0
    assert sum(line["calls"] for line in stats) == result.ledger.started
    assert sum(line["ok"] for line in stats) == result.ledger.ok
    assert [line["event"] for line in events if line["event"] != "error"] == ["start", "end"]
    assert (
        len({(line["node"], line["batch"], line["n"]) for line in (*responses, *stats, *events)}) == books["delivered"]
    )
    labels = {"service_name", "profile", "run", "kind", "node", "branch", "generator"}
    (series,) = tenant.series('{profile="shop", kind="responses", generator="search"}')
    assert set(series) == labels and series["branch"] == "main"
    (series,) = tenant.series('{profile="shop", kind="responses", generator="people"}')
    assert set(series) == {*labels, "team"}
    last = max((line for line in stats if line["current_instances"] == 2), key=lambda line: line["window"])
    assert last["failed"] <= result.generators["people"].ledger.failed


def test_percentiles_of_logql_are_those_of_the_summary(loki: Server) -> None:
    """Within the histogram's error and the distance between two neighbours of the sample."""
    tenant = loki.tenant()
    result = run(tenant, quick())
    durations = sorted(line["duration"] / 1e9 for line in told(tenant, "responses") if line["ends_call"])
    asked = '{profile="shop", kind="responses"} | json | ends_call="true" | unwrap duration [1h]'
    (found,) = tenant.query(f"quantile_over_time(0.5, {asked}) by (profile) / 1e9")
    assert found.value == pytest.approx(durations[len(durations) // 2], rel=0.02)
    assert found.value == pytest.approx(result.generators["search"].service.p50, rel=0.02)


def test_only_failures_and_stats_are_there_without_samples(loki: Server) -> None:
    """sample=0: of the successes nothing but their sums."""
    tenant = loki.tenant()
    users = Generator("people", user=loads.Failing, schedule=plain(2, "2s"), sample=0.0)
    result = run(tenant, users)
    calls = [line for line in told(tenant, "responses") if line["ends_call"]]
    assert len(calls) == result.ledger.failed > 0 and all(line["failed"] for line in calls)
    assert sum(line["ok"] for line in told(tenant, "stats")) == result.ledger.ok


def test_a_tenant_over_its_limit_costs_no_line(loki: Server) -> None:
    """429 until there is room again: all is delivered in the end, and the reason was told."""
    tenant = loki.tenant(ingestion_rate_mb=0.02, ingestion_burst_size_mb=0.025)
    result = run(tenant, quick())
    books = check_sink(result)
    assert books["errors"] > 0 and any("429" in problem for problem in books["problems"])
    assert not books["not_delivered"] and len(told(tenant, "responses")) == 402
    assert result.ledger.ok == 400


def test_lines_that_loki_refuses_are_counted_and_the_others_are_there(loki: Server) -> None:
    """400: part of a batch is stored; it is never sent again."""
    tenant = loki.tenant(max_line_size=330)
    result = run(tenant, Generator("long", user=loads.LongErrors, schedule=plain(1, "1s"), think_time=0.02))
    books = check_sink(result)
    stored = sum(len(told(tenant, kind)) for kind in ("responses", "stats", "events"))
    assert books["not_delivered"].keys() == {"rejected"} and books["delivered"] == stored > 0
    assert books["maybe_double"] == 0


def test_batches_that_are_too_large_are_halved(loki: Server) -> None:
    """413 for anything beyond a limit of this server: smaller ones get through."""
    tenant = loki.tenant(max_line_size=0)
    result = run(tenant, quick(), batch_bytes=4_000_000, batch_wait="5s")
    assert not check_sink(result)["not_delivered"] and len(told(tenant, "responses")) == 402


def test_a_server_that_comes_late_and_leaves_in_between_gets_everything(tmp_path: Path) -> None:
    """Down at the start and killed in the middle: the load is the same, all lines are delivered at the end."""
    server = Server(tmp_path / "loki")
    with server:
        tenant = server.tenant()
        server.kill()
        sink = Loki(url=tenant.url, tenant_id=tenant.tenant, batch_bytes=20_000, batch_wait="100ms")
        schedule = (
            plain(200, "2s") + pause("2s") + plain(200, "2s")
        )  # too few seconds of calls to be invalid by lateness
        generator = Generator("search", gun=loads.Sleepy, schedule=schedule)
        going = Profile(generator, name="shop", sinks=[sink]).start()
        wait_for_start(going)
        time.sleep(1.5)
        server.start()
        wait_until(lambda: len(told(tenant, "responses")) > 100)
        server.kill()
        time.sleep(1.0)
        server.start()
        result = going.wait(90)
        check_books(result)
        books = check_sink(result)
        assert (result.verdict, result.ledger.ok) == ("passed", 800), result.reasons
        assert books["errors"] > 0 and not books["not_delivered"], books
        stored = Counter(
            (line["batch"], line["n"]) for kind in ("responses", "stats", "events") for line in told(tenant, kind)
        )
        assert len(stored) == books["delivered"] == books["accepted"] > 800
        assert stored.total() - len(stored) <= books["maybe_double"]


@pytest.mark.parametrize(("policy", "verdict"), [("warn", "passed"), ("invalid", "invalid"), ("fail", "failed")])
def test_a_server_that_never_comes_ends_the_run_in_time(
    policy: Any, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not delivered is told with its reason, and judged as asked for."""
    monkeypatch.setattr("wasp_ray.node.exports.FLUSH_S", 1.0)
    sink = Loki(url="http://127.0.0.1:9", on_sink_error=policy)
    began = time.monotonic()
    result = Profile(quick(), name="shop", sinks=[sink]).run()
    assert time.monotonic() - began < 30
    books = check_sink(result)
    assert books["delivered"] == 0 and set(books["not_delivered"]) == {"unreachable"}
    assert result.verdict == verdict and result.ledger.ok == 400
    assert any("lines were not delivered (unreachable" in text for text in (*result.reasons, *result.warnings))


@pytest.mark.parametrize(
    ("options", "env", "told"),
    [
        ({}, {}, "LOKI_URL"),
        ({"url": "http://127.0.0.1:9"}, {"LOKI_TOKEN": "s3cret", "LOKI_BASIC_AUTH": "a:s3cret"}, "leave one out"),
        ({"url": "http://127.0.0.1:9"}, {"LOKI_TOKEN": "s3cret\r\nX: y"}, "control character"),
    ],
)
def test_what_the_environment_lacks_is_told_before_the_load(
    options: dict[str, Any], env: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2's exception, without a value of the credentials."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInput) as refused:
        Profile(quick(), sinks=[Loki(**options)]).run()
    assert told in str(refused.value) and "s3cret" not in str(refused.value)


def test_a_refused_run_can_be_made_again_with_the_same_folder(tmp_path: Path) -> None:
    """Its plan is not left in it."""
    with pytest.raises(BadInput):
        Profile(quick(), sinks=[Loki()]).run(out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_wrong_options_are_told_with_the_cure() -> None:
    """A password in the URL is not shown."""
    wrong = Loki(url="ftp://u:s3cret@x", headers={"authorization": "x"}, batch_bytes=1, in_flight=0, batch_wait="soon")
    problems = Profile(quick(), sinks=[wrong]).validate()
    assert len(problems) == 6 and "s3cret" not in " ".join(problems[1:])


@pytest.mark.parametrize(("load", "nodes"), [("total", 1), ("total", 2), ("per-node", 2)])
def test_a_second_is_told_with_what_was_planned_in_it(loki: Server, load: str, nodes: int) -> None:
    """Not with the plan of the time when its window was closed; the nodes' lines add up to the whole load."""
    tenant = loki.tenant()
    sink = Loki(url=tenant.url, tenant_id=tenant.tenant)
    generator = Generator("search", gun=loads.Sleepy, schedule=ramp(1, 61, "6s"))
    check_books(Profile(generator, name="shop", sinks=[sink]).run(nodes=nodes, load=load))
    most = nodes if load == "per-node" else 1
    planned: dict[int, float] = {}
    for line in told(tenant, "stats"):
        planned[line["window"]] = planned.get(line["window"], 0.0) + line["planned"]
        assert line["generator_kind"] == "rate" and line["before"]["calls_total"] == line["calls_total"] - line["calls"]
    in_load = {at: rate for at, rate in planned.items() if at < 6}
    assert len(in_load) == 6 and in_load[5] > 41 * most
    assert all(rate <= most * (1 + 10 * (at + 1)) for at, rate in in_load.items()), in_load
