"""Rates asked of the tools that take one: what the target really got, and how late the calls began."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from benchmarks.peers_clients import CONNECTIONS, Job, k6, vegeta
from benchmarks.peers_measure import OTHERS_CPU, ToolError, measure_undisturbed
from benchmarks.peers_ours import ours
from benchmarks.peers_targets import Nginx
from benchmarks.peers_throughput import Lengths, Tool
from benchmarks.peers_tools import Tools

RATES = (5_000, 10_000, 20_000, 40_000)
OUR_RATES = (5_000, 10_000, 20_000, 25_000, 40_000)
OPEN: dict[str, tuple[Tool, tuple[int, ...]]] = {
    "ours, gun": (ours("gun"), OUR_RATES),
    "vegeta": (vegeta, RATES),
    "k6": (k6, RATES),
}
"""Each with at most 32 calls in flight, on 32 connections, which all of them do best with: free to open as many as they like,
vegeta and ours deliver less of 20,000/s, since they then open connections instead of calling."""


def rates(tools: Tools, target: Nginx, folder: Path, core: int, lengths: Lengths) -> dict[str, dict[str, Any]]:
    """By tool and rate: medians."""
    made: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for number in range(lengths.rounds):
        for name, (tool, asked_rates) in OPEN.items():
            for rate in asked_rates:
                place = folder / f"rate-{number}-{rate}-{name.replace(' ', '-').replace(',', '')}"
                place.mkdir()
                try:
                    one = _one(
                        tool,
                        tools,
                        target,
                        Job("get", target.url(), lengths.whole_s, place, target.ca, CONNECTIONS, rate),
                        core,
                        lengths,
                    )
                except ToolError as exc:
                    if name.startswith("ours"):
                        raise
                    print(f"  {rate:,}/s {name}: {exc}", flush=True)
                    continue
                made.setdefault((name, rate), []).append(one)
    found: dict[str, dict[str, Any]] = {}
    for (name, rate), every in made.items():
        rounds = [one for one in every if one["others_cpu"] <= OTHERS_CPU] or every
        medians: dict[str, Any] = {
            value: statistics.median(one[value] for one in rounds)
            for value in ("rate", "delivered", "cpu_us", "tool_cpu", "p50_ms", "p99_ms")
        }
        late = [one["due_error_p99_ms"] for one in rounds if one["due_error_p99_ms"] is not None]
        medians["due_error_p99_ms"] = statistics.median(late) if late else None
        found.setdefault(name, {})[str(rate)] = {**medians, "left_out": len(every) - len(rounds), "rounds": rounds}
        error = f"{medians['due_error_p99_ms']:8.2f} ms" if late else "not told"
        print(
            f"  {name:<10} {rate:>6,}/s asked: {medians['rate']:>9,.0f}/s, {medians['delivered']:6.1%};"
            f" due-time error p99 {error}; {medians['tool_cpu']:4.0%} of the core",
            flush=True,
        )
    return found


def _one(tool: Tool, tools: Tools, target: Nginx, job: Job, core: int, lengths: Lengths) -> dict[str, Any]:
    asked, log = tool(tools, job), job.folder / "said"
    seen = measure_undisturbed(
        asked.command, asked.env, target, core, log, warm_s=lengths.warm_s, window_s=lengths.window_s
    )
    told = asked.read(log)
    error = told.more.get("due_error_p99_ms")
    if "start_delay_s" in told.more:
        late = told.more["start_delay_s"]["p99"]
        error = None if late is None else late * 1e3
    return {
        "rate": seen.rate,
        "delivered": seen.rate / job.rate,
        "cpu_us": seen.cpu_us,
        "tool_cpu": seen.tool_cpu,
        "others_cpu": seen.others_cpu,
        "due_error_p99_ms": error,
        "p50_ms": told.latency_ms["p50"],
        "p99_ms": told.latency_ms["p99"],
        "calls": seen.calls,
        "more": told.more,
    }
