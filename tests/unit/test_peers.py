"""The benchmark against the peers: what it reads out of their reports, the truth it compares with, what it draws.

The tools themselves run in `make bench-peers` only.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy
import pytest

sys.path.append(str(Path(__file__).parents[2]))  # benchmarks are not installed with the wheel

from benchmarks import peers_chart, peers_clients, peers_report
from benchmarks.peers_clients import Job
from benchmarks.peers_latency import true_ms
from benchmarks.peers_tools import Tools

WRK = """Running 3s test @ http://127.0.0.1:20000/plain
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   250.00us   100.00us   4.06ms   90.00%
    Req/Sec   136.6k     5.0k   140.0k    80.00%
  Latency Distribution
     50%  109.00us
     75%  150.00us
     90%    1.25ms
     99%    1.02s
  1000 requests in 3.00s, 64.00MB read
  Non-2xx or 3xx responses: 30
"""


@pytest.fixture
def tools() -> Tools:
    """Paths that nobody opens."""
    return Tools(
        *(Path(f"/nowhere/{name}") for name in ("wrk", "nginx", "k6", "vegeta", "locust", "molotov", "python"))
    )


def job(folder: Path, **more: Any) -> Job:
    """A plain GET."""
    return Job("get", "http://127.0.0.1:1", 3.0, folder, folder, **more)


def test_wrk_is_read(tools: Tools, tmp_path: Path) -> None:
    """Calls without the wrong ones, latencies in ms whatever unit they came in."""
    (tmp_path / "said").write_text(WRK)
    told = peers_clients.wrk(tools, job(tmp_path)).read(tmp_path / "said")
    assert told.calls == 970
    assert told.latency_ms == {"p50": 0.109, "p90": 1.25, "p99": 1020.0, "max": 4.06}


def test_locust_is_read(tools: Tools, tmp_path: Path) -> None:
    """Its histogram gives the percentiles; lines before the JSON are passed over."""
    times = {"1": 90, "5": 8, "900": 2}
    stats = {"num_requests": 100, "num_failures": 3, "response_times": times, "max_response_time": 904.5}
    (tmp_path / "said").write_text("Type     Name\n" + json.dumps([stats]) + "\n")
    told = peers_clients.locust("fast")(tools, job(tmp_path)).read(tmp_path / "said")
    assert told.calls == 97
    assert told.latency_ms == {"p50": 1.0, "p90": 1.0, "p99": 900.0, "max": 904.5}


@pytest.mark.parametrize("users", [0, 32])
def test_vegeta_has_as_many_workers_as_users(tools: Tools, tmp_path: Path, users: int) -> None:
    """Without users it may take as many as it likes."""
    command = peers_clients.vegeta(tools, job(tmp_path, users=users, rate=1000)).command
    assert ("-max-workers" in command) == bool(users)
    assert command[command.index("-rate") + 1] == "1000/1s"


def test_the_truth_of_a_stall() -> None:
    """A call due in a stall is answered at its end, all others in the usual time."""
    due = numpy.arange(10) * 1e8  # one in 100 ms
    found = true_ms(due, [(3e8, 6e8)], 0.5)
    assert found.tolist() == [0.5, 0.5, 0.5, 300, 200, 100, 0.5, 0.5, 0.5, 0.5]


def results() -> dict[str, Any]:
    """As the benchmark writes them, made up."""

    def made(rates: dict[str, float]) -> dict[str, Any]:
        return {name: {"rate": rate, "cpu_us": 1e6 / rate, "rounds": [{}] * 3} for name, rate in rates.items()}

    told = {"p50": 0.2, "p90": 0.3, "p99": 905.0, "max": 1000.0}
    true = {**told, "p99": 900.0}
    stalled = {"how": "plain", "calls": 1, "in_stalls": 1, "told_ms": told, "logged_ms": told, "true_ms": true}
    one = {"rate": 24_000.0, "delivered": 0.96, "due_error_p99_ms": 2.5, "rounds": [{}]}
    return {
        "get": made(
            {"ours, users": 60_000, "wrk": 120_000, "k6": 15_000, "vegeta": 45_000, "Locust FastHttpUser": 9_000}
        ),
        "json": made({"ours, users": 30_000, "k6": 10_000}),
        "rates": {"ours, gun": {"25000": one}, "k6": {"25000": {**one, "due_error_p99_ms": None}}},
        "latency": {"tools": {"ours, gun": stalled}},
        "memory": {"k6": {"user_bytes": 204_800.0}},
    }


def test_targets_are_met_or_not() -> None:
    """Each by its own bound, and only those for which something was measured."""
    met = {figure.name.strip(): figure.met for figure in peers_report.figures(results())}
    assert met == {
        "plain GET, async users": True,
        "plain GET, to wrk": False,
        "plain GET, to k6": True,
        "plain GET, to vegeta": False,
        "plain GET, to Locust FastHttpUser": False,
        "GET, JSON parsed, to k6": True,
        "25,000/s asked: delivered": False,
        "25,000/s asked: due-time error p99": False,
        "stalls, wasp_ray, async gun: response p99": True,
    }


def test_tables_are_whole() -> None:
    """Every row of a table has as many cells as its head."""
    found = results()
    tables = (
        peers_report.throughput_table(found), peers_report.cost_table(found), peers_report.rate_table(found),
        peers_report.latency_table(found), peers_report.short_table(found),
        peers_report.target_table(peers_report.figures(found)),
    )  # fmt: skip
    for lines in tables:
        assert len({line.count("|") for line in lines}) == 1, lines


def test_a_table_replaces_the_one_before(tmp_path: Path) -> None:
    """And nothing else of the page."""
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- cost -->\nold\n<!-- /cost -->\nafter\n")
    for _ in range(2):
        peers_report.write_between(page, "cost", ["| a |", "|---|"])
    assert page.read_text() == "before\n<!-- cost -->\n\n| a |\n|---|\n\n<!-- /cost -->\nafter\n"


def test_the_picture_is_one() -> None:
    """Well-formed, and nothing lies outside of it."""
    picture = ElementTree.fromstring(peers_chart.draw(results()))
    for rect in picture.iter("{http://www.w3.org/2000/svg}rect"):
        assert float(rect.attrib["x"]) + float(rect.attrib["width"]) <= peers_chart.WIDTH
