"""The load files of examples for clusters run on one machine as they run in each pod, with the data that lies beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

pytestmark = pytest.mark.waits

FOLDER = Path(__file__).parents[2] / "examples" / "cluster"
WORDS = set(json.loads((FOLDER / "data" / "words.json").read_text()))
PEOPLE = {line.split(",")[0] for line in (FOLDER / "data" / "people.csv").read_text().splitlines()[1:]}


class Target(BaseHTTPRequestHandler):
    """Answers and counts what was searched for."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[Counter[str]] = Counter()
    tokens: ClassVar[set[str | None]] = set()

    def do_GET(self) -> None:
        """200 with a few bytes."""
        self.tokens.add(self.headers["Authorization"])
        self.asked[parse_qs(urlsplit(self.path).query)["q"][0]] += 1
        body = b"found"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def target() -> Iterator[str]:
    """The URL of a server on loopback."""
    Target.asked.clear()
    Target.tokens.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Target) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def run(file: str, folder: Path, target: str, *options: str) -> dict[str, Any]:
    """The summary of a run that must pass, started from another folder."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "wasp_ray",
        "run",
        str(FOLDER / file),
        "--quiet",
        "--json",
        "result.json",
        *options,
    ]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "TARGET_URL": target}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary: dict[str, Any] = json.loads((folder / "result.json").read_text())
    assert summary["verdict"] == "passed"
    return summary


def test_the_rate_searches_for_words_of_the_shared_file(tmp_path: Path, target: str) -> None:
    """What the target saw is what the ledger says, two nodes together."""
    summary = run("node_rate.py", tmp_path, target, "-p", "rate=40", "-p", "seconds=2", "--nodes", "2")
    assert summary["ledger"]["ok"] == summary["ledger"]["scheduled"] == sum(Target.asked.values()) >= 70
    assert set(Target.asked) <= WORDS and len(Target.asked) > 3


def test_no_two_users_have_the_same_row(tmp_path: Path, target: str) -> None:
    """Four users on two nodes: four people, each with calls of its own."""
    summary = run("node_users.py", tmp_path, target, "-p", "users=4", "-p", "seconds=2", "--nodes", "2")
    assert set(Target.asked) <= PEOPLE and len(Target.asked) == 4
    groups = summary["generators"]["shop"]["groups"]
    assert groups["search"]["status"] == {"200": sum(Target.asked.values())}
    assert groups["login"]["count"] == groups["search"]["count"]


def test_the_load_of_a_rayjob_has_its_token(tmp_path: Path, target: str) -> None:
    """From the environment, which a Secret fills in a pod."""
    options = ("-e", "API_TOKEN=t0ken", "-p", "rate=40", "-p", "seconds=2", "--nodes", "2")
    summary = run("../kuberay/load.py", tmp_path, target, *options)
    assert summary["ledger"]["ok"] == Target.asked["wasp"] >= 60 and Target.tokens == {"Bearer t0ken"}
