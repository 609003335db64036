"""A cluster that cannot be asked: a run with a verdict, a bundle and a copy for CI, whatever it is that does not answer."""

from __future__ import annotations

import json
import os
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


@pytest.mark.parametrize(("listens", "why"), [(False, "Connection refused"), (True, "Read timed out")])
def test_a_run_without_an_api_server_is_an_error_with_a_summary(tmp_path: Path, listens: bool, why: str) -> None:
    """Nobody is there, or somebody who never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listens:
            server.listen(64)
        (tmp_path / "config").write_text(KUBECONFIG.replace("PORT", str(server.getsockname()[1])))
        done = subprocess.run(
            [
                sys.executable, "-P", "-m", "wasp_ray", "cluster", "run", "load.py", "--image", "load:1", "--jobs", "2",
                "--kubeconfig", "config", "--out", "out", "--json", "copy.json",
            ],
            cwd=tmp_path, capture_output=True, text=True, timeout=WITHIN_S, env={**os.environ, "COLUMNS": "400"},
        )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert why in done.stdout and "is the cluster up" in done.stderr and done.stderr.count("\n") == 1
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary == json.loads((tmp_path / "copy.json").read_text())
    assert summary["verdict"] == "error" and len(summary["reasons"]) == 1 and why in summary["reasons"][0]
