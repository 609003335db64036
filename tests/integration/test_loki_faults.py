"""A Loki that answers as it likes: the load is the same, each line has one end, and the server's own count agrees."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support import loads
from support.books import check_books

from wasp_ray import Generator, Loki, Profile, RunResult, plain
from wasp_ray.cli import cli

pytestmark = pytest.mark.waits

CUT_AFTER, CUT_BEFORE, SLOW = -1, -2, -3
"""Instead of a status: the connection ends after or before the batch was stored; the answer takes a second."""


class Fickle(ThreadingHTTPServer):
    """Answers by its list, then 204. `stored`: how often each line was taken."""

    daemon_threads = True

    def __init__(self, answers: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.lock = answers, threading.Lock()
        self.stored: Counter[tuple[int, str, int]] = Counter()
        self.authorizations: set[str] = set()
        self.largest = 10**9
        self.forever = False  # the last answer is given from then on
        self.elsewhere: list[str] = []  # requests that came to where it redirects

    @property
    def url(self) -> str:
        """Its root."""
        return f"http://127.0.0.1:{self.server_port}"

    def store(self, body: bytes) -> None:
        """All lines of a push."""
        for stream in json.loads(gzip.decompress(body))["streams"]:
            for _, text in stream["values"]:
                line = json.loads(text)
                self.stored[line["node"], line["batch"], line["n"]] += 1


class Handler(BaseHTTPRequestHandler):
    """One push."""

    server: Fickle
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """What it has of a batch is not told; a redirect that was followed would come here, too."""
        if self.path.startswith("/elsewhere"):
            self.server.elsewhere.append(self.path)
        self.send_error(404)

    def do_POST(self) -> None:
        """As the list says."""
        if self.path.startswith("/elsewhere"):
            self.server.elsewhere.append(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            answers = self.server.answers
            status = (answers[0] if self.server.forever else answers.pop(0)) if answers else 204
            self.server.authorizations.add(self.headers.get("Authorization", ""))
            if status == 204 and len(body) > self.server.largest:
                status = 413
            if status in (204, CUT_AFTER, SLOW):
                self.server.store(body)
        if status in (CUT_AFTER, CUT_BEFORE):
            self.close_connection = True
            return
        if status == SLOW:
            time.sleep(1.0)
        self.send_response(204 if status == SLOW else status)
        if 300 <= status < 400:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def fickle() -> Iterator[Fickle]:
    """A server that answers 204 until it is told otherwise."""
    server = Fickle([])
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def run(server: Fickle, out: Path | None = None, **options: Any) -> RunResult:
    """300 calls with many small batches, one push at a time unless asked otherwise."""
    generator = Generator("search", gun=loads.Sleepy, schedule=plain(150, "2s"))
    sink = Loki(url=server.url, **{"batch_bytes": 5_000, "batch_wait": "100ms", "in_flight": 1, **options})
    result = Profile(generator, name="shop", sinks=[sink]).run(out=out)
    check_books(result)
    assert result.ledger.ok == 300 and result.ledger.scheduled == 300
    return result


@pytest.mark.parametrize(
    ("answers", "doubles", "errors"),
    [
        ([500, 503, 502], False, True),
        ([429] * 4, False, True),
        ([CUT_BEFORE], False, True),
        ([CUT_AFTER], True, True),
        ([204, CUT_AFTER, 500, CUT_BEFORE, 429], True, True),
        ([SLOW], False, False),
        ([401, 403], False, True),
        ([301, 302, 303, 307, 308], False, True),
        ([404, 405, 421], False, True),
    ],
    ids=str,
)
def test_all_lines_arrive_in_the_end(answers: list[int], doubles: bool, errors: bool, fickle: Fickle) -> None:
    """At least once; those that may be there twice are counted as such."""
    fickle.answers = answers
    books = run(fickle).summary["sinks"]["loki"]
    assert books["accepted"] == books["delivered"] == len(fickle.stored) and not books["not_delivered"]
    twice = sum(number > 1 for number in fickle.stored.values())
    assert (twice > 0) == doubles and twice <= books["maybe_double"]
    assert (books["errors"] > 0) == errors


def test_batches_beyond_the_servers_limit_are_halved_until_they_fit(fickle: Fickle) -> None:
    """413: nothing is lost and nothing doubled."""
    fickle.largest = 700
    books = run(fickle, batch_bytes=50_000).summary["sinks"]["loki"]
    assert books["delivered"] == len(fickle.stored) == sum(fickle.stored.values()) and not books["not_delivered"]
    assert books["errors"] > 5


def test_a_batch_that_is_refused_is_not_sent_again(fickle: Fickle) -> None:
    """400 is final: its lines are counted."""
    fickle.answers = [400]
    books = run(fickle).summary["sinks"]["loki"]
    assert books["not_delivered"].keys() == {"rejected"} and books["errors"] == 1
    assert books["delivered"] == len(fickle.stored) == books["accepted"] - books["not_delivered"]["rejected"]


@pytest.mark.parametrize(
    ("status", "reason", "told"),
    [
        (301, "redirected", "the server redirects (HTTP 301); set the final URL"),
        (302, "redirected", "the server redirects (HTTP 302); set the final URL"),
        (307, "redirected", "the server redirects (HTTP 307); set the final URL"),
        (401, "unauthorized", "401: the credentials were refused; check LOKI_TOKEN or LOKI_BASIC_AUTH"),
        (404, "client_error", "404: check the URL"),
        (405, "client_error", "405: check the URL"),
        (408, "client_error", "408: "),
        (421, "client_error", "421: check the URL"),
    ],
)
def test_a_server_that_refuses_for_the_whole_run_leaves_all_lines_in_the_bundle(
    status: int, reason: str, told: str, fickle: Fickle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counters close, no credentials follow a redirect, and `wasp push` brings each line to the server once it takes them."""
    monkeypatch.setattr("wasp_ray.node.exports.FLUSH_S", 0.5)
    monkeypatch.setenv("LOKI_TOKEN", "t0p")
    fickle.answers, fickle.forever = [status], True
    books = run(fickle, out=tmp_path / "out").summary["sinks"]["loki"]
    assert books["delivered"] == 0 and books["not_delivered"] == {reason: books["accepted"]}
    assert any(problem.startswith(told) for problem in books["problems"]), books["problems"]
    assert any("wasp push" in problem for problem in books["problems"]) and not fickle.elsewhere
    assert len(list((tmp_path / "out").rglob("spool/*/*.json.gz"))) > 1
    fickle.answers, fickle.forever = [], False
    pushed = CliRunner().invoke(cli, ["push", str(tmp_path / "out")])
    assert pushed.exit_code == 0 and f"{books['accepted']} delivered" in pushed.output, pushed.output
    assert len(fickle.stored) == sum(fickle.stored.values()) == books["accepted"]
    assert not (tmp_path / "out" / "spool").exists()


@pytest.mark.parametrize(
    ("name", "value", "sent"), [("LOKI_TOKEN", "t0p", "Bearer t0p"), ("LOKI_BASIC_AUTH", "u:t0p", "Basic dTp0MHA=")]
)
def test_credentials_come_from_the_environment_and_stay_there(
    name: str, value: str, sent: str, fickle: Fickle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent with every push; in no summary."""
    monkeypatch.setenv(name, value)
    result = run(fickle)
    assert fickle.authorizations == {sent}
    assert (
        result.plan is not None
        and "t0p" not in json.dumps(result.summary)
        and "t0p" not in json.dumps(result.plan.to_data())
    )
