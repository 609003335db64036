"""What each tool says of a target that stands still for 1 s in 10, beside the target's own log and the truth.

The truth is that of whoever arrives at a steady pace: a call due in a stall is answered at its end.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from benchmarks.peers_clients import CONNECTIONS, PERCENTILES, Job, Start, k6, locust, vegeta, wrk
from benchmarks.peers_measure import end, start
from benchmarks.peers_ours import ours
from benchmarks.peers_stalling import PERIOD_S
from benchmarks.peers_targets import HOST, running, wait_for
from benchmarks.peers_tools import Tools, free_port

RATE = 1000
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True)
class Setting:
    """How a tool is asked for RATE calls a second."""

    tool: Callable[[Tools, Job], Start]
    how: str
    users: int = CONNECTIONS
    rate: int = RATE


SETTINGS = {
    "ours, gun": Setting(ours("gun"), "plain(1000, ...)", users=0),
    "ours, users": Setting(
        ours("async", pacing_s=CONNECTIONS / RATE), f"{CONNECTIONS} users, pacing {CONNECTIONS} ms", rate=0
    ),
    "vegeta": Setting(vegeta, "-rate 1000/1s", users=0),
    "k6": Setting(k6, "constant-arrival-rate, 1,500 VUs", users=1500),
    "Locust FastHttpUser": Setting(locust("fast"), f"{CONNECTIONS} users, constant_throughput"),
    "wrk": Setting(wrk, f"{CONNECTIONS} connections, no rate", rate=0),
}


def measure_all(tools: Tools, folder: Path, cores: tuple[int, int], *, quick: bool) -> dict[str, Any]:
    """A run of two stalls a tool (quick: one)."""
    seconds = PERIOD_S if quick else 2 * PERIOD_S
    found: dict[str, Any] = {}
    for name, setting in SETTINGS.items():
        place = folder / f"latency-{name.replace(' ', '-').replace(',', '')}"
        place.mkdir()
        found[name] = _one(tools, setting, place, cores, seconds)
        told, logged, true = (found[name][of] for of in ("told_ms", "logged_ms", "true_ms"))
        print(
            f"  {name:<20} {found[name]['calls']:>8,} calls, {found[name]['in_stalls']:>6,} of them in stalls;"
            f" p99 told {told['p99']:7.1f} ms, the target's log {logged['p99']:7.1f} ms, true {true['p99']:7.1f} ms",
            flush=True,
        )
    return {"rate": RATE, "seconds": seconds, "tools": found}


def _one(tools: Tools, setting: Setting, folder: Path, cores: tuple[int, int], seconds: float) -> dict[str, Any]:
    port, log = free_port(), folder / "log.npz"
    command = [sys.executable, "-m", "benchmarks.peers_stalling", str(port), str(log)]
    with running(command, cores[1]):
        wait_for(lambda: socket.create_connection((HOST, port)).close())
        job = Job("get", f"http://{HOST}:{port}", seconds, folder, folder, setting.users, setting.rate)
        asked = setting.tool(tools, job)
        with (folder / "said").open("wb") as file:
            process = start(asked.command, asked.env, cores[0], file.fileno())
        try:
            process.wait(seconds + 60)
        finally:
            end(process)
        told = asked.read(folder / "said")
        time.sleep(0.1)
    with numpy.load(log) as logged:
        came, answered, stalls = logged["came"], logged["answered"], logged["stalls"]
    took = (answered - came) / 1e6
    due = numpy.arange(int(RATE * seconds)) / RATE * 1e9
    return {
        "how": setting.how,
        "calls": len(came),
        "in_stalls": int(sum(((came >= begin) & (came < over)).sum() for begin, over in stalls)),
        "told_ms": told.latency_ms,
        "logged_ms": _percentiles(took),
        "true_ms": _percentiles(true_ms(due, stalls - came[0], float(numpy.median(took)))),
        "more": told.more,
    }


def true_ms(due: Any, stalls: Any, usual_ms: float) -> Any:
    """Response times of calls due at `due` (ns from the first), from the stalls (begin, end; ns from the first call)."""
    response = numpy.full(len(due), usual_ms)
    for begin, over in stalls:
        inside = (due >= begin) & (due < over)
        response[inside] = (over - due[inside]) / 1e6
    return response


def _percentiles(ms: Any) -> dict[str, float]:
    """Nearest rank."""
    ordered = numpy.sort(ms)
    ranks = {name: max(0, int(numpy.ceil(SHARES[name] * len(ordered))) - 1) for name in PERCENTILES}
    return {name: float(ordered[rank]) for name, rank in ranks.items()}
