"""How `wasp run` is asked for the same loads, and what its summary says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers_clients import SCRIPTS, Job, Start, Told
from benchmarks.peers_tools import Tools
from wasp_ray.worker.context import WorkerContext

BEYOND = 100_000
"""Calls a second asked of a gun that is to go as fast as it can: with its slots full it is as closed as the others."""


def has_aiohttp() -> bool:
    """Whether actors have sessions of aiohttp."""
    return hasattr(WorkerContext, "aiohttp")


def ours(kind: str, *, pacing_s: float = 0.0) -> Callable[[Tools, Job], Start]:
    """`async` users in one process, an async `gun`, `sync` users, or users with `aiohttp`; the whole of `wasp run`."""

    def start(tools: Tools, job: Job) -> Start:
        out = job.folder / "run"
        shutil.rmtree(out, ignore_errors=True)
        params = {"kind": kind, "case": job.case, "base": job.base, "path": job.path, "seconds": f"{job.seconds:g}"}
        params |= {"users": str(job.users)}
        if job.case == "tls":
            params["ca"] = str(job.ca)
        if kind == "gun":
            params["rate"] = str(job.rate or BEYOND)
            params["limit"] = str(job.users)
        elif job.think_s:
            params["think_s"] = f"{job.think_s:g}"
        if pacing_s:
            params["pacing_s"] = f"{pacing_s:g}"
        given = [part for name, value in params.items() for part in ("-p", f"{name}={value}")]
        command = [str(tools.wasp), "run", f"{SCRIPTS / 'ours.py'}:profile", *given, "--quiet", "--out", str(out)]
        return Start(command, {}, lambda log: _read(out / "summary.json"))

    return start


def _read(path: Path) -> Told:
    summary = json.loads(path.read_text())
    found = summary["generators"]["g"]
    group = next((group for name, group in found["groups"].items() if name != "setup"), None)
    response = group["response_s"] if group else {}
    latency = {name: response[name] * 1e3 for name in ("p50", "p90", "p99", "max") if name in response}
    more = {
        "verdict": summary["verdict"],
        "reasons": summary["reasons"],
        "ledger": found["ledger"],
        "dropped_by": found["dropped_by"],
        "start_delay_s": found["start_delay_s"],
        "service_p99_ms": group["service_s"]["p99"] * 1e3 if group else None,
        "planned_rate": found["planned_rate"],
        "delivered_rate": found["delivered_rate"],
    }
    return Told(found["ledger"]["ok"], latency, more)
