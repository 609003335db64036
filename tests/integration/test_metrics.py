"""Metrics in a real Prometheus, scraped and by OTLP: counts and sums are those of summary.json, quantiles within a bucket."""

from __future__ import annotations

import socket
import time
from bisect import bisect_left
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from http.client import HTTPException
from typing import Any
from urllib.request import urlopen

import pytest
import requests
from e2e.harness.processes import free_port
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from support import loads
from support.books import check_books, is_over, wait_for_start, wait_until
from support.prometheus import Prometheus as Server

from wasp_ray import BadInput, Generator, Otlp, Profile, Prometheus, RunResult, plain, steps
from wasp_ray.sinks.metrics import BOUNDS_S

pytestmark = pytest.mark.waits


def profile(name: str, *sinks: Any, seconds: int = 4) -> Profile:
    """A rate whose warm-up is no part of the groups, users with groups, statuses, bytes and a counter, and failing ones."""
    schedule = plain(50, "1s", name="warm", warmup=True) + plain(200, seconds - 1)
    generators = (
        Generator("search", gun=loads.Sleepy, schedule=schedule, labels={"team-name": "a"}),
        Generator("people", user=loads.Grouped, schedule=steps(1, 1, 2, each=seconds / 2)),
        Generator("bad", user=loads.Failing, schedule=plain(2, seconds)),
    )
    return Profile(*generators, name=name, labels={"branch": "main"}, sinks=sinks)


def check_sink(result: RunResult, name: str) -> None:
    """Each state has arrived, itself or in a later one: one in the load at least, and the last one."""
    books = result.summary["sinks"][name]
    assert books["accepted"] == books["delivered"] >= 2 and not books["not_delivered"], books


def last(name: str, metric: str) -> str:
    """Of each series of a profile the last value, also after its target has gone."""
    return f'last_over_time({metric}{{profile="{name}"}}[5m])'


def ask(server: Server, query: str, *by: str) -> dict[tuple[str, ...], float]:
    """Values by labels."""
    return {tuple(sample.labels[label] for label in by): sample.value for sample in server.query(query)}


def summed(server: Server, name: str, metric: str, *by: str) -> dict[tuple[str, ...], float]:
    """Over the nodes."""
    return ask(server, f"sum by ({', '.join(by)}) ({last(name, metric)})", *by)


def check_counters(server: Server, result: RunResult, name: str) -> None:
    """Those of calls by the ledger, those of requests by their groups."""
    generators: Mapping[str, Any] = result.summary["generators"]
    calls = summed(server, name, "wasp_ray_calls_total", "generator", "outcome")
    for outcome in ("ok", "failed", "timeout", "killed", "interrupted", "lost"):
        for generator, found in generators.items():
            assert calls.get((generator, outcome), 0) == found["ledger"][outcome], (generator, outcome)
    for metric, column in (("scheduled", "scheduled"), ("started", "started")):
        found = summed(server, name, f"wasp_ray_calls_{metric}_total", "generator")
        assert found == {(generator,): item["ledger"][column] for generator, item in generators.items()}
    groups = {(name, group): item for name, found in generators.items() for group, item in found["groups"].items()}
    by = ("generator", "group")
    assert summed(server, name, "wasp_ray_requests_total", *by) == {key: item["count"] for key, item in groups.items()}
    for metric, column in (("received", "bytes_in"), ("sent", "bytes_out")):
        told = summed(server, name, f"wasp_ray_{metric}_bytes_total", *by)
        assert {key: told.get(key, 0) for key in groups} == {key: item[column] for key, item in groups.items()}
    statuses = summed(server, name, "wasp_ray_responses_total", *by, "status")
    assert statuses == {(*key, code): n for key, item in groups.items() for code, n in item["status"].items()}
    things = generators["people"]["counters"]["things"]
    assert summed(server, name, "wasp_ray_counters_total", "counter") == {("things",): things}


def check_histograms(server: Server, result: RunResult, name: str) -> None:
    """Counts, sums, and quantiles as histogram_quantile has them."""
    for generator, item in result.summary["generators"].items():
        for group, found in item["groups"].items():
            for series in ("service", "response"):
                times, wanted = f"wasp_ray_request_{series}_time_seconds", found[f"{series}_s"]
                key, by = (generator, group), ("generator", "group")
                assert summed(server, name, f"{times}_count", *by)[key] == found["count"]
                total = summed(server, name, f"{times}_sum", *by)[key]
                assert total == pytest.approx(wanted["mean"] * found["count"], rel=1e-9)
                for q, percentile in ((0.5, "p50"), (0.99, "p99")):
                    buckets = f"sum by (generator, group, le) ({last(name, f'{times}_bucket')})"
                    check_quantile(ask(server, f"histogram_quantile({q}, {buckets})", *by)[key], wanted[percentile])


def check_quantile(found: float, wanted: float) -> None:
    """In the bucket of the exact one; a bound may be 0.8 % and a percentile of ours 0.4 % off."""
    low, high = bisect_left(BOUNDS_S, wanted * 0.988), bisect_left(BOUNDS_S, wanted * 1.012)
    assert (BOUNDS_S[low - 1] if low else 0.0) <= found <= BOUNDS_S[high], (found, wanted)


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_what_otlp_brings_is_what_the_summary_says(temporality: Any, prometheus: Server) -> None:
    """To the last call, in either temporality, with the labels of the run."""
    sink = Otlp(endpoint=f"{prometheus.url}/api/v1/otlp", temporality=temporality, interval="1s")
    result = profile(temporality, sink).run()
    check_books(result)
    check_sink(result, "otlp")
    assert result.summary["sinks"]["otlp"]["errors"] == 0
    started = result.ledger.started  # deltas are there some moments after the answer
    wait_until(lambda: summed(prometheus, temporality, "wasp_ray_calls_started_total") == {(): started})
    check_counters(prometheus, result, temporality)
    check_histograms(prometheus, result, temporality)
    (series,) = prometheus.query(f'wasp_ray_calls_started_total{{profile="{temporality}", generator="search"}}')
    labels = {"branch": "main", "team_name": "a", "run": result.summary["run_id"], "node": "1", "job": "wasp_ray"}
    assert labels.items() <= series.labels.items()


def test_what_is_scraped_is_what_the_summary_says(prometheus: Server) -> None:
    """The last numbers wait to be read; users, plans and calls in flight are there while the load is."""
    port = free_port()
    prometheus.scrape("scraped", port)
    going = profile("scraped", Prometheus(port=port), seconds=6).start()
    wait_for_start(going)
    wait_until(lambda: summed(prometheus, "scraped", "wasp_ray_users", "generator").get(("people",)) == 2)
    planned = summed(prometheus, "scraped", "wasp_ray_planned_users", "generator")
    assert planned == {("people",): 2, ("bad",): 2}
    planned = summed(prometheus, "scraped", "wasp_ray_planned_calls_per_second", "generator")
    assert planned == {("search",): 200}
    result = going.wait(60)
    check_books(result)
    check_sink(result, "prometheus")
    check_counters(prometheus, result, "scraped")
    check_histograms(prometheus, result, "scraped")


def test_nodes_of_one_machine_are_scraped_at_ports_in_a_row(prometheus: Server) -> None:
    """The sum over their labels is the summary's."""
    first = ports_in_a_row(2)
    for port in (first, first + 1):
        prometheus.scrape(f"nodes-{port}", port)
    result = profile("nodes", Prometheus(port=first)).run(nodes=2)
    check_books(result)
    check_sink(result, "prometheus")
    check_counters(prometheus, result, "nodes")
    check_histograms(prometheus, result, "nodes")
    nodes = summed(prometheus, "nodes", "wasp_ray_calls_started_total", "node")
    assert set(nodes) == {("1",), ("2",)} and min(nodes.values()) > 0


def ports_in_a_row(number: int) -> int:
    """The first of so many that are free."""
    while True:
        port = free_port()
        with ExitStack() as bound:
            try:
                for one in range(port, port + number):
                    bound.enter_context(socket.create_server(("127.0.0.1", one)))
            except OSError:
                continue
            return port


@pytest.mark.parametrize("runtime", ["process", "inline"])
def test_the_page_is_in_the_format_that_is_asked_for(runtime: str) -> None:
    """The old text or OpenMetrics; where somebody reads, the last numbers wait to be read."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    generator = Generator("search", gun=loads.Sleepy, schedule=plain(50, "3s"))
    going = Profile(generator, sinks=[Prometheus(port=port)]).start(runtime=runtime)
    wait_for_start(going)
    wait_until(lambda: "wasp_ray_calls_started_total{" in requests.get(url, timeout=5).text)
    page = requests.get(url, timeout=5, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert page.headers["Content-Type"].startswith("application/openmetrics-text") and page.text.endswith("# EOF\n")
    families = {family.name: family for family in text_string_to_metric_families(page.text)}  # type: ignore[no-untyped-call]
    assert families["wasp_ray_call_service_time_seconds"].type == "histogram"
    assert families["wasp_ray_calls_started"].type == "counter"
    while not is_over(going):
        with suppress(OSError, HTTPException), urlopen(url, timeout=5) as last:  # fails when the run has just ended
            last.read()
        time.sleep(0.1)
    check_sink(going.wait(60), "prometheus")


def test_what_nobody_reads_is_told_and_ends_at_once() -> None:
    """The summary has all the same the numbers; the run does not wait for a reader that never was there."""
    generator = Generator("search", gun=loads.Sleepy, schedule=plain(50, "1s"))
    began = time.monotonic()
    result = Profile(generator, sinks=[Prometheus(port=free_port(), on_sink_error="invalid")]).run()
    assert time.monotonic() - began < 30
    books = result.summary["sinks"]["prometheus"]
    assert books["not_delivered"] == {"not_scraped": books["accepted"]} and "never read" in books["problems"][0]
    assert result.verdict == "invalid" and result.ledger.ok == 50


def test_a_port_that_is_taken_is_told_before_the_load() -> None:
    """With the cure."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        generator = Generator("search", gun=loads.Sleepy, schedule=plain(50, "1s"))
        with pytest.raises(BadInput, match=rf"port {port} of 127.0.0.1 is taken: name a free one"):
            Profile(generator, sinks=[Prometheus(port=port)]).run()
