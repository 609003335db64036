"""Alerts as requirements on a run, with the rules of a real Prometheus and of a real Loki's ruler."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support import loads
from support.alert_loads import Breaks
from support.books import check_books, wait_for_start, wait_until
from support.loki import Loki as LokiServer
from support.prometheus import Prometheus

from wasp_ray import AlertCheck, Generator, Loki, Profile, RunResult, plain

pytestmark = pytest.mark.waits


class Shop(ThreadingHTTPServer):
    """Has one gauge, `shop_broken`; any POST breaks it."""

    daemon_threads = True
    broken = 0


class Handler(BaseHTTPRequestHandler):
    """See Shop."""

    server: Shop

    def do_GET(self) -> None:
        """/metrics."""
        self._answer(b"# TYPE shop_broken gauge\nshop_broken %d\n" % self.server.broken)

    def do_POST(self) -> None:
        """Breaks it."""
        self.server.broken = 1
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@contextmanager
def shop(prometheus: Prometheus, name: str) -> Iterator[Shop]:
    """A target of the load that is scraped twice a second."""
    with Shop(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.02,))
        serving.start()
        prometheus.scrape(name, server.server_port)
        try:
            wait_until(lambda: prometheus.query(f'shop_broken{{name="{name}"}}'))
            yield server
        finally:
            prometheus.stop_scraping(name)
            server.shutdown()
            serving.join()


def alert_rule(name: str, expression: str, for_: str = "0s", requirement: str = "") -> dict[str, Any]:
    """As a rules file has it."""
    labels = {"requirement_name": requirement or name}
    return {"alert": name, "expr": expression, "for": for_, "labels": labels}


def run(
    check: AlertCheck, *, at: int = 0, url: str = "http://127.0.0.1:1", seconds: str = "6s", **options: Any
) -> RunResult:
    """A load with one requirement, that breaks the shop at a call."""
    users = Generator("users", user=Breaks, schedule=plain(1, seconds), params={"at": at, "url": url})
    result = Profile(users, thresholds=["failed == 0", check]).run(**options)
    check_books(result)
    return result


def check_of(prometheus: Prometheus, requirement: str) -> AlertCheck:
    """Of the rules with this requirement."""
    return AlertCheck(kind="prometheus", url=prometheus.url, labels={"requirement_name": requirement})


def test_quiet_rules_pass(prometheus: Prometheus) -> None:
    """Seen quiet to the end, by an evaluation after the load."""
    with shop(prometheus, "quiet") as server:
        prometheus.write_rules("quiet", [alert_rule("Quiet", 'shop_broken{name="quiet"} > 0')])
        result = run(check_of(prometheus, "Quiet"), url=f"http://127.0.0.1:{server.server_port}")
    assert result.verdict == "passed", result.reasons
    (found,) = result.summary["alerts"]
    assert (found["state"], found["fired"], [rule["name"] for rule in found["rules"]]) == ("ok", [], ["Quiet"])


def test_what_fires_fails_the_run_by_name(prometheus: Prometheus) -> None:
    """With labels and the time; `for` has passed by then."""
    with shop(prometheus, "loud") as server:
        prometheus.write_rules("loud", [alert_rule("Loud", 'shop_broken{name="loud"} > 0', "400ms")])
        result = run(check_of(prometheus, "Loud"), at=10, url=f"http://127.0.0.1:{server.server_port}")
    assert (result.verdict, result.exit_code) == ("failed", 1), "\n".join(result.reasons) + str(
        result.summary["alerts"]
    )
    (reason,) = result.reasons
    assert "requirement_name=Loud" in reason and 'Loud{instance="127.0.0.1:' in reason and "fired at" in reason
    (fired,) = result.summary["alerts"][0]["fired"]
    assert fired["labels"]["name"] == "loud" and fired["at_s"] > 0.5


def test_an_alert_that_fires_after_the_load_is_waited_for(prometheus: Prometheus) -> None:
    """What breaks at the very end is pending for a second more than the load lasts."""
    with shop(prometheus, "late") as server:
        prometheus.write_rules("late", [alert_rule("Late", 'shop_broken{name="late"} > 0', "2s")])
        result = run(check_of(prometheus, "Late"), at=75, url=f"http://127.0.0.1:{server.server_port}", seconds="4s")
    assert result.verdict == "failed", "\n".join(result.reasons) + str(result.summary["alerts"])
    assert result.summary["alerts"][0]["fired"][0]["at_s"] > result.summary["duration_s"]


def test_an_alert_of_before_is_no_fault_of_the_load(prometheus: Prometheus) -> None:
    """It says nothing of it either: invalid, with the reason."""
    prometheus.write_rules("old", [alert_rule("Old", "vector(1) > 0")])
    wait_until(lambda: [rule.state for rule in prometheus.rules() if rule.name == "Old"] == ["firing"])
    threading.Event().wait(1.5)  # what begins within a second of t = 0 is counted as the load's
    result = run(check_of(prometheus, "Old"))
    assert (result.verdict, result.exit_code) == ("invalid", 3)
    assert 'Old{requirement_name="Old"} fired before the load began and until it ended' in result.reasons[0]


def test_no_rule_and_a_broken_rule_are_no_pass(prometheus: Prometheus) -> None:
    """Labels that no rule has; an expression that cannot be evaluated."""
    result = run(check_of(prometheus, "Nobody"), seconds="1s")
    assert result.verdict == "invalid" and "no alerting rule has these labels" in result.reasons[0]
    ambiguous = 'vector(1) + on() (vector(1) or label_replace(vector(1), "a", "1", "", ""))'
    prometheus.write_rules("sick", [alert_rule("Sick", ambiguous)])
    result = run(check_of(prometheus, "Sick"), seconds="1s")
    assert result.verdict == "invalid" and "Sick: its health is 'err': found duplicate series" in result.reasons[0]


def test_a_prometheus_that_was_away_for_a_while_is_told(tmp_path: Path) -> None:
    """With how long nothing was known; the end was seen, so the run passes."""
    with Prometheus(tmp_path) as prometheus:
        prometheus.write_rules("own", [alert_rule("Own", "vector(0) > 0")])
        wait_until(lambda: prometheus.rules())
        going = Profile(
            Generator("g", gun=loads.Quick, schedule=plain(20, "12s")), thresholds=[check_of(prometheus, "Own")]
        ).start()
        wait_for_start(going)
        threading.Event().wait(1.0)
        prometheus.stop()
        threading.Event().wait(1.0)
        prometheus.start()
        result = going.wait(60)
        assert result.verdict == "passed", "\n".join(result.reasons) + str(result.summary["alerts"])
        assert any("nothing was known of it for" in warning for warning in result.warnings), result.summary["alerts"]


def test_rules_of_loki_fire_by_what_the_run_itself_tells(loki: LokiServer) -> None:
    """The seed's path: results go to Loki, its ruler judges them, the verdict is of its alerts."""
    tenant = loki.tenant()
    expression = 'sum by (generator) (count_over_time({{profile="{}", kind="stats"}} [5m])) > {}'
    rules = [alert_rule("Some", expression.format("Some", 1)), alert_rule("Many", expression.format("Many", 10**6))]
    tenant.write_rules("nfr", rules)
    wait_until(lambda: len(tenant.rules()) == 2)

    def judged(requirement: str) -> RunResult:
        check = AlertCheck(kind="loki", url=loki.url, tenant_id=tenant.tenant, labels={"requirement_name": requirement})
        sink = Loki(url=loki.url, tenant_id=tenant.tenant, batch_wait="100ms")
        generator = Generator("shop", gun=loads.Quick, schedule=plain(20, "4s"))
        return Profile(generator, name=requirement, sinks=[sink], thresholds=[check]).run()

    assert judged("Many").verdict == "passed"
    failed = judged("Some")
    assert failed.verdict == "failed", (failed.reasons, failed.summary["alerts"])
    assert 'Some{generator="shop"' in failed.reasons[0]
