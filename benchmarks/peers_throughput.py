"""As fast as 32 connections can, all tools in turn, several rounds; and the memory that a user takes."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers_clients import CONNECTIONS, Job, Start, bare_aiohttp, k6, locust, molotov, vegeta, wrk
from benchmarks.peers_measure import OTHERS_CPU, Measured, ToolError, measure_undisturbed
from benchmarks.peers_ours import has_aiohttp, ours
from benchmarks.peers_targets import Nginx
from benchmarks.peers_tools import Tools

Tool = Callable[[Tools, Job], Start]
OURS = {"ours, users": ours("async"), "ours, gun": ours("gun"), "ours, sync users": ours("sync")}
PEERS: dict[str, Tool] = {
    "wrk": wrk, "vegeta": vegeta, "k6": k6, "Locust FastHttpUser": locust("fast"), "Locust HttpUser": locust("http"),
    "molotov": molotov,
}  # fmt: skip
CANNOT_PARSE = {"wrk", "vegeta"}
SLOW = {"Locust HttpUser", "molotov"}
"""Compared in three cases only: there is little to learn from them in the others, and the run has to end."""
CASES = {
    "get": "plain GET",
    "json": "GET, JSON parsed and checked",
    "post": "POST JSON",
    "1k": "GET of 1 KB",
    "64k": "GET of 64 KB",
    "tls": "plain GET over TLS",
}
FEW_USERS, MANY_USERS, THINK_S = 10, 210, 0.5
AFTER_S = 0.7
"""A tool goes on for so long after the window, so that what it does at its end is not in it."""


@dataclass(frozen=True)
class Lengths:
    """Of a run, seconds."""

    rounds: int
    warm_s: float
    window_s: float

    @property
    def whole_s(self) -> float:
        """What the tool is asked for."""
        return self.warm_s + self.window_s + AFTER_S


def tools_of(case: str) -> dict[str, Tool]:
    """Those that can do it. aiohttp's own rate is measured where ours through it is: with plain GETs."""
    found: dict[str, Tool] = {**OURS, **PEERS}
    if case == "json":
        found = {name: tool for name, tool in found.items() if name not in CANNOT_PARSE}
    if case not in ("get", "json", "post"):
        found = {name: tool for name, tool in found.items() if name not in SLOW}
    if case == "get":
        found["aiohttp, bare loop"] = bare_aiohttp
        if has_aiohttp():
            found["ours, through aiohttp"] = ours("aiohttp")
    return found


def throughput(
    case: str, tools: Tools, target: Nginx, folder: Path, core: int, lengths: Lengths
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """By tool: medians of its rounds, and the rounds."""
    rounds: dict[str, list[Measured]] = {}
    told: dict[str, list[float]] = {}
    for number in range(lengths.rounds):
        for name, tool in tools_of(case).items():
            place = folder / f"{case}-{number}-{name.replace(' ', '-').replace(',', '')}"
            place.mkdir()
            job = Job(case, target.url(tls=case == "tls"), lengths.whole_s, place, target.ca)
            asked = tool(tools, job)
            log = place / "said"
            try:
                made = measure_undisturbed(
                    asked.command, asked.env, target, core, log, warm_s=lengths.warm_s, window_s=lengths.window_s
                )
                told.setdefault(name, []).append(asked.read(log).calls / made.calls)
            except ToolError as exc:
                if name.startswith("ours"):
                    raise  # a comparison with nothing is none
                print(f"  {case} {name}: {exc}", flush=True)
                continue
            rounds.setdefault(name, []).append(made)
    found = {
        name: {**_medians(made), "told_of_counted": statistics.median(told[name])} for name, made in rounds.items()
    }
    for name, got in found.items():
        print(
            f"  {case:<5} {name:<22} {got['rate']:>9,.0f}/s  ({got['slowest']:,.0f} to {got['fastest']:,.0f})"
            f"  {got['cpu_us']:6.1f} us of CPU/call, target's core {got['target_cpu']:4.0%}",
            flush=True,
        )
    return found


def _medians(made: Sequence[Measured]) -> dict[str, Any]:
    """Of the rounds that were left alone, if there are any."""
    calm = [one for one in made if one.others_cpu <= OTHERS_CPU] or made
    each = [asdict(one) for one in calm]
    medians = {name: statistics.median(one[name] for one in each) for name in each[0]}
    rates = [one["rate"] for one in each]
    return {**medians, "slowest": min(rates), "fastest": max(rates), "left_out": len(made) - len(calm), "rounds": each}


def memory(tools: Tools, target: Nginx, folder: Path, core: int) -> dict[str, dict[str, float]]:
    """PSS of a tool's processes with 10 and with 210 users that wait 0.5 s after each plain GET; bytes."""
    candidates = {name: tool for name, tool in {**OURS, **PEERS}.items() if name != "ours, gun"}
    found: dict[str, dict[str, float]] = {}
    for name, tool in candidates.items():
        sizes = []
        for users in (FEW_USERS, MANY_USERS):
            place = folder / f"memory-{users}-{name.replace(' ', '-').replace(',', '')}"
            place.mkdir()
            job = Job("get", target.url(), 4.0, place, target.ca, users, think_s=THINK_S)
            asked = tool(tools, job)
            made = measure_undisturbed(asked.command, asked.env, target, core, place / "said", warm_s=1.5, window_s=0.5)
            sizes.append(made.pss_bytes)
        each = (sizes[1] - sizes[0]) / (MANY_USERS - FEW_USERS)
        found[name] = {"few_bytes": sizes[0], "many_bytes": sizes[1], "user_bytes": each}
        print(
            f"  {name:<22} {sizes[0] / 2**20:6.1f} MiB with {FEW_USERS} users, {sizes[1] / 2**20:6.1f} with {MANY_USERS}:"
            f" {each / 1024:7.1f} KiB a user",
            flush=True,
        )
    return found


__all__ = ["CASES", "CONNECTIONS", "Lengths", "memory", "throughput", "tools_of"]
