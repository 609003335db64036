"""Loki and Prometheus behave here as the tests of sinks rely on: real limits, real rules, every way for metrics to come in."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from support.books import wait_until
from support.loki import Loki
from support.loki_client import PAGE, Line
from support.prometheus import Prometheus
from support.query_answers import Refused, Sample, ask

pytestmark = pytest.mark.waits

SOME_MORE_THAN_A_PAGE = PAGE + 700
STARTED_NS = 1_700_000_000_000_000_000


def lines(number: int, *, text: str = "line {}", **labels: str) -> list[Line]:
    """Lines of one stream, a millisecond apart and the last one now."""
    labels = {"service_name": "shop", **labels}
    now = time.time_ns()
    return [Line(now - (number - 1 - i) * 1_000_000, text.format(i), labels, {"seq": str(i)}) for i in range(number)]


def refusal(loki: Loki, pushed: list[Line], **limits: Any) -> tuple[int, str]:
    """Status and text of a push by a new tenant with these limits."""
    with pytest.raises(Refused) as refused:
        loki.tenant(**limits).push(pushed)
    return refused.value.status, refused.value.text


def test_lines_read_back_are_those_pushed(loki: Loki) -> None:
    """Times, texts, labels and structured metadata come back as they were, over several pages and streams."""
    tenant = loki.tenant()
    half = SOME_MORE_THAN_A_PAGE // 2
    pushed = [*lines(half, kind="stats"), *lines(half, kind="responses")]
    tenant.push(pushed)
    found = tenant.lines('{service_name="shop"}')
    metadata = [line.metadata | {"detected_level": "unknown"} for line in pushed]
    assert sorted(found, key=str) == sorted(
        (Line(line.at_ns, line.text, line.labels, more) for line, more in zip(pushed, metadata, strict=True)), key=str
    )
    assert [line.at_ns for line in found] == sorted(line.at_ns for line in pushed)
    assert tenant.query('sum by (kind) (count_over_time({service_name="shop"}[1h]))') == [
        Sample({"kind": "responses"}, half),
        Sample({"kind": "stats"}, half),
    ]
    assert sorted(series["kind"] for series in tenant.series('{service_name="shop"}')) == ["responses", "stats"]


def test_tenants_do_not_see_each_other(loki: Loki) -> None:
    """A line of one tenant is not there for another, and without a tenant nothing is answered."""
    loki.tenant().push(lines(1))
    assert loki.tenant().lines('{service_name="shop"}') == []
    with pytest.raises(Refused, match="401"):
        ask("GET", f"{loki.url}/loki/api/v1/labels")


def test_a_low_rate_limit_is_a_429(loki: Loki) -> None:
    """More bytes than the tenant may send are refused; others are not affected."""
    much = lines(100, text="x" * 1000)
    status, text = refusal(loki, much, ingestion_rate_mb=0.01, ingestion_burst_size_mb=0.02)
    assert (status, "ingestion rate limit exceeded" in text.lower()) == (429, True), text
    loki.tenant().push(much)


def test_too_many_streams_are_a_429(loki: Loki) -> None:
    """The streams of one tenant are limited, and the text says so."""
    many = [line for i in range(5) for line in lines(1, node=str(i))]
    status, text = refusal(loki, many, max_global_streams_per_user=3)
    assert (status, "stream limit exceeded" in text.lower()) == (429, True), text


def test_one_line_too_long_is_a_400_and_the_other_is_stored(loki: Loki) -> None:
    """A batch of which a part is refused is stored in part."""
    tenant = loki.tenant(max_line_size=50)
    short, long = lines(1)[0], lines(1, text="x" * 51)[0]
    with pytest.raises(Refused, match="max entry size") as refused:
        tenant.push([short, long])
    assert refused.value.status == 400
    assert [line.text for line in tenant.lines('{service_name="shop"}')] == [short.text]


def test_a_rule_of_loki_fires(loki: Loki) -> None:
    """The ruler evaluates each second and its rules API says what fires, with labels."""
    tenant = loki.tenant()
    expression = 'sum by (kind) (count_over_time({service_name="shop"} |= "failed" [5m])) > 2'
    tenant.write_rules(
        "nfr", [{"alert": "Failures", "expr": expression, "labels": {"requirement_name": "few failures"}}]
    )
    wait_until(lambda: [rule.state for rule in tenant.rules()] == ["inactive"])
    tenant.push(lines(3, text="failed {}", kind="stats"))
    wait_until(lambda: [rule.state for rule in tenant.rules()] == ["firing"])
    (rule,) = tenant.rules()
    assert (rule.group, rule.name, rule.problem) == ("nfr", "Failures", "")
    assert rule.active == [{"alertname": "Failures", "kind": "stats", "requirement_name": "few failures"}]


def test_loki_keeps_its_lines_when_it_is_killed_and_started_again(tmp_path: Path) -> None:
    """Same address, same lines: what was answered with 204 is there after a SIGKILL and after a flush and an orderly stop."""
    with Loki(tmp_path) as loki:
        tenant = loki.tenant()
        tenant.push(lines(10))
        loki.kill()
        loki.start()
        assert len(tenant.lines('{service_name="shop"}')) == 10
        loki.flush()
        loki.stop()
        with pytest.raises(requests.ConnectionError):
            tenant.lines('{service_name="shop"}')
        loki.start()
        assert len(tenant.lines('{service_name="shop"}')) == 10


class Metrics(BaseHTTPRequestHandler):
    """One counter."""

    def do_GET(self) -> None:
        """Any path will do."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(b"# TYPE scraped_calls counter\nscraped_calls_total 42\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""


@pytest.fixture
def metrics_port() -> Iterator[int]:
    """Of a small server with /metrics."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Metrics) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.02,))
        serving.start()
        yield server.server_port
        server.shutdown()
        serving.join()


def test_prometheus_scrapes_metrics_until_it_is_told_to_stop(prometheus: Prometheus, metrics_port: int) -> None:
    """A target that appears while it runs is scraped with its labels; one that is gone has no series any more."""
    prometheus.scrape("node-1", metrics_port, run="r1")
    wait_until(lambda: prometheus.query('scraped_calls_total{run="r1"}'))
    (sample,) = prometheus.query('scraped_calls_total{run="r1"}')
    assert (sample.value, sample.labels["name"]) == (42, "node-1")
    prometheus.stop_scraping("node-1")
    wait_until(lambda: prometheus.query('scraped_calls_total{run="r1"}') == [])


def otlp_sum(name: str, value: int, *, delta: bool, at_ns: int) -> dict[str, Any]:
    """One point of a counter, as OTLP's JSON has it."""
    point = {"startTimeUnixNano": str(STARTED_NS), "timeUnixNano": str(at_ns), "asInt": str(value)}
    counted = {"dataPoints": [point], "aggregationTemporality": 1 if delta else 2, "isMonotonic": True}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return {
        "resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [{"name": name, "sum": counted}]}]}]
    }


@pytest.mark.parametrize(("temporality", "total"), [("cumulative", 7), ("delta", 12)])
def test_prometheus_takes_otlp(prometheus: Prometheus, temporality: str, total: int) -> None:
    """Of the values 5 and 7 the last one counts when they are cumulative, and their sum when they are deltas."""
    for value in (5, 7):
        body = otlp_sum(f"otlp.{temporality}", value, delta=temporality == "delta", at_ns=time.time_ns())
        ask("POST", f"{prometheus.url}/api/v1/otlp/v1/metrics", json=body)
    query = f"otlp_{temporality}_total"
    wait_until(lambda: [sample.value for sample in prometheus.query(query)] == [total])
    assert [sample.labels["job"] for sample in prometheus.query(query)] == ["shop"]


def field(number: int, content: bytes) -> bytes:
    """A protobuf field of fewer than 128 bytes."""
    return bytes([number << 3 | 2, len(content)]) + content


def test_prometheus_takes_remote_write(prometheus: Prometheus) -> None:
    """A sample that is pushed can be asked for."""
    labels = field(1, field(1, b"__name__") + field(2, b"written_total"))
    at_ms = bytearray([2 << 3])
    left = time.time_ns() // 1_000_000
    while left > 127:
        at_ms.append(left & 127 | 128)
        left >>= 7
    value = bytes([1 << 3 | 1]) + struct.pack("<d", 4.5)
    message = field(1, labels + field(2, value + bytes([*at_ms, left])))
    assert len(message) <= 60  # so that one literal of snappy holds it
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
    snappy = bytes([len(message), len(message) - 1 << 2]) + message
    ask("POST", f"{prometheus.url}/api/v1/write", data=snappy, headers=headers)
    assert [sample.value for sample in prometheus.query("written_total")] == [4.5]


def test_a_rule_of_prometheus_fires(prometheus: Prometheus) -> None:
    """Rules that are written while it runs are evaluated at once."""
    prometheus.write_rules(
        "nfr", [{"alert": "Always", "expr": "vector(1) > 0", "labels": {"requirement_name": "none"}}]
    )
    wait_until(lambda: [rule.state for rule in prometheus.rules()] == ["firing"])
    assert prometheus.rules()[0].active == [{"alertname": "Always", "requirement_name": "none"}]
