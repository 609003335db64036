"""A cluster that cannot be asked: a run with a verdict, a bundle and a copy for CI, whatever it is that does not answer."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.waits

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:PORT"}}]
users: [{name: u, user: {}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""
WITHIN_S = 90.0


COMMAND = [
    sys.executable, "-P", "-m", "wasp_ray", "cluster", "run", "load.py", "--image", "load:1", "--jobs", "2",
    "--kubeconfig", "config", "--out", "out", "--json", "copy.json",
]  # fmt: skip


@pytest.mark.parametrize(("listens", "why"), [(False, "Connection refused"), (True, "Read timed out")])
def test_a_run_without_an_api_server_is_an_error_with_a_summary(tmp_path: Path, listens: bool, why: str) -> None:
    """Nobody is there, or somebody who never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listens:
            server.listen(64)
        (tmp_path / "config").write_text(KUBECONFIG.replace("PORT", str(server.getsockname()[1])))
        env = {**os.environ, "COLUMNS": "400"}
        done = subprocess.run(COMMAND, cwd=tmp_path, capture_output=True, text=True, timeout=WITHIN_S, env=env)
    assert done.returncode == 4, done.stderr
    assert why in done.stdout and "is the cluster up" in done.stderr and done.stderr.count("\n") == 1
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary == json.loads((tmp_path / "copy.json").read_text())
    assert summary["verdict"] == "error" and len(summary["reasons"]) == 1 and why in summary["reasons"][0]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_signal_ends_the_wait_for_an_api_server(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """At once, as a run that was interrupted before its start."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        server.settimeout(WITHIN_S)
        (tmp_path / "config").write_text(KUBECONFIG.replace("PORT", str(server.getsockname()[1])))
        process = subprocess.Popen(COMMAND, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        asking, _ = server.accept()
        process.send_signal(number)
        said, _ = process.communicate(timeout=10)
        asking.close()
    assert process.returncode == code, said
    for name in ("out/summary.json", "copy.json"):
        summary = json.loads((tmp_path / name).read_text())
        assert (summary["verdict"], summary["reasons"]) == ("interrupted", [f"interrupted by {number.name}"])
