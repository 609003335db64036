"""Nodes on a local Ray of three raylets: how closely they start, and what a node does there beside one without Ray."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from benchmarks.figure import Figure

NODES, STARTS, PAIRS = 3, 20, 5
STORE_BYTES = 80 * 2**20
RUN_TIMEOUT_S = 120.0
LOAD = """
from wasp_ray import *

class Quick(Gun):
    async def call(self):
        pass

class Loop(VirtualUser):
    def call(self):
        pass

starts = Profile(Generator("quick", gun=Quick, schedule=plain(90, "1s")))
empty = Profile(Generator("loop", user=Loop, schedule=plain(1, "5s")))
"""


def ray() -> list[Figure]:
    """20 starts of three nodes, then five pairs of a node with and without Ray, in turns."""
    with _cluster() as address, tempfile.TemporaryDirectory() as folder:
        Path(folder, "load.py").write_text(LOAD)
        spreads = [_spread_s(address, Path(folder)) for _ in range(STARTS)]
        pairs = [_pair(address, Path(folder), number % 2 == 1) for number in range(PAIRS)]
    spread = max(spreads)  # nearest rank: of fewer than 100 values the largest
    ratio = statistics.median(with_ray / without for with_ray, without in pairs)
    rate = statistics.median(with_ray for with_ray, _ in pairs)
    return [
        Figure("start spread of 3 nodes on Ray, p99", spread * 1e3, "ms", "<= 20 ms", spread <= 0.020, rounds=STARTS),
        Figure("  median", statistics.median(spreads) * 1e3, "ms", "", True, rounds=STARTS),
        Figure(
            "empty calls of a user, node on Ray", rate / 1e3, "k/s", ">= 0.95 x", ratio >= 0.95, "without Ray", ratio, PAIRS
        ),
    ]  # fmt: skip


@contextmanager
def _cluster() -> Iterator[str]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    host: dict[str, Any] = {"num_cpus": 2, "object_store_memory": STORE_BYTES}
    cluster: Any = Cluster(initialize_head=True, head_node_args={**host, "include_dashboard": False})
    try:
        for _ in range(NODES - 1):
            cluster.add_node(**host)
        cluster.wait_for_nodes()
        yield cluster.address
    finally:
        cluster.shutdown()


def _spread_s(address: str, folder: Path) -> float:
    """Between the first and the last node's first call, each after its own due time; they have one clock."""
    nodes = _run(folder, "starts", "--on", "ray", "--ray-address", address, "--nodes", str(NODES))["nodes"]
    skews = [node["start_skew_s"] for node in nodes]
    print(f"  spread {(max(skews) - min(skews)) * 1e3:.2f} ms", flush=True)
    return float(max(skews) - min(skews))


def _pair(address: str, folder: Path, ray_first: bool) -> tuple[float, float]:
    """Calls a second with Ray and without."""
    on_ray = ("--on", "ray", "--ray-address", address)
    found = {way: _rate(_run(folder, "empty", *way)) for way in ((on_ray, ()) if ray_first else ((), on_ray))}
    print(f"  {found[on_ray]:,.0f}/s on Ray, {found[()]:,.0f}/s without", flush=True)
    return found[on_ray], found[()]


def _rate(summary: dict[str, Any]) -> float:
    return float(summary["ledger"]["ok"] / summary["duration_s"])


def _run(folder: Path, name: str, *arguments: str) -> dict[str, Any]:
    result = folder / "result.json"
    command = [
        sys.executable,
        "-P",
        "-m",
        "wasp_ray",
        "run",
        f"load.py:{name}",
        "--quiet",
        "--json",
        str(result),
        *arguments,
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=RUN_TIMEOUT_S)
    if done.returncode != 0:
        raise RuntimeError(f"the run ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    summary: dict[str, Any] = json.loads(result.read_text())
    return summary
