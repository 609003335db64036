"""The targets of the HTTP client against what was measured, and the tables of docs/peers.md and README.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure
from benchmarks.peers_throughput import CASES

Results = dict[str, Any]
OURS = "ours, users"
TRUE_WITHIN = 0.02
NAMES = {
    OURS: "wasp_ray, async users", "ours, gun": "wasp_ray, async gun", "ours, sync users": "wasp_ray, sync users",
    "ours, through aiohttp": "wasp_ray, through aiohttp", "aiohttp, bare loop": "aiohttp, a bare loop",
}  # fmt: skip


def figures(results: Results) -> list[Figure]:
    """Those targets for which there is a measurement."""
    return [*_throughput_figures(results), *_rate_figures(results), *_latency_figures(results)]


def _throughput_figures(results: Results) -> list[Figure]:
    found = []
    get, parsed = results.get("get", {}), results.get("json", {})
    if OURS in get:
        mine = get[OURS]["rate"]
        found.append(_rate("plain GET, async users", mine, 60_000, get))
        for peer, least in (("wrk", 0.55), ("k6", 3), ("vegeta", 1.5), ("Locust FastHttpUser", 7)):
            found += _ratio("plain GET", get, OURS, peer, least)
    if "ours, sync users" in get:
        found.append(_rate("plain GET, sync users", get["ours, sync users"]["rate"], 15_000, get))
    found += _ratio("through aiohttp", get, "ours, through aiohttp", "aiohttp, bare loop", 0.85)
    return found + _ratio("GET, JSON parsed", parsed, OURS, "k6", 2)


def _rate(name: str, value: float, least: float, case: Results) -> Figure:
    peer = case.get("wrk")
    ratio = value / peer["rate"] if peer else None
    rounds = len(case[OURS]["rounds"]) if OURS in case else 1
    return Figure(name, value, "/s", f">= {least:,.0f}/s", value >= least, "wrk" if peer else "", ratio, rounds)


def _ratio(name: str, case: Results, mine: str, peer: str, least: float) -> list[Figure]:
    if mine not in case or peer not in case:
        return []
    ratio = case[mine]["rate"] / case[peer]["rate"]
    rounds = len(case[mine]["rounds"])
    return [Figure(f"  {name}, to {peer}", ratio, "x", f">= {least:g} x", ratio >= least, peer, ratio, rounds)]


def _rate_figures(results: Results) -> list[Figure]:
    mine = results.get("rates", {}).get("ours, gun", {})
    found = []
    for rate, most_ms in (("25000", 1.0), ("40000", None)):
        if rate not in mine:
            continue
        got, rounds = mine[rate], len(mine[rate]["rounds"])
        share, late = got["delivered"] * 100, got["due_error_p99_ms"]
        asked = f"{int(rate):,}/s asked"
        found.append(Figure(f"{asked}: delivered", share, "%", ">= 99 %", share >= 99, rounds=rounds))
        if late is not None:
            met = most_ms is None or late <= most_ms
            target = "told" if most_ms is None else f"<= {most_ms:g} ms"
            found.append(Figure(f"{asked}: due-time error p99", late, "ms", target, met, rounds=rounds))
    return found


def _latency_figures(results: Results) -> list[Figure]:
    found = []
    for name, one in results.get("latency", {}).get("tools", {}).items():
        if name.startswith("ours"):
            told, true = one["told_ms"]["p99"], one["true_ms"]["p99"]
            off = abs(told / true - 1)
            title = f"stalls, {NAMES.get(name, name)}: response p99"
            found.append(
                Figure(title, told, "ms", f"{true:.0f} ms +- 2 %", off <= TRUE_WITHIN, "the true one", told / true)
            )
    return found


# -- tables


def throughput_table(results: Results) -> list[str]:
    """A row a tool, a column a case: thousands of calls a second, and how many times as many ours makes."""
    cases = [case for case in CASES if case in results]
    names = list(dict.fromkeys(name for case in cases for name in results[case]))
    lines = [f"| thousand calls/s | {' | '.join(CASES[case] for case in cases)} |", "|---" * (len(cases) + 1) + "|"]
    for name in names:
        cells = []
        for case in cases:
            one = results[case].get(name)
            cells.append("" if one is None else f"{one['rate'] / 1e3:.1f}{_times(results[case], name)}")
        lines.append(f"| {NAMES.get(name, name)} | {' | '.join(cells)} |")
    return lines


def _times(case: Results, name: str) -> str:
    if name == OURS or OURS not in case:
        return ""
    return f" ({case[OURS]['rate'] / case[name]['rate']:.2g} x)"


def cost_table(results: Results) -> list[str]:
    """CPU a call by case, memory a user."""
    cases = [case for case in ("get", "json", "post", "tls") if case in results]
    memory = results.get("memory", {})
    names = list(dict.fromkeys([*(name for case in cases for name in results[case]), *memory]))
    head = [f"µs a call: {CASES[case]}" for case in cases]
    lines = [f"| | {' | '.join([*head, 'KiB a user'])} |", "|---" * (len(cases) + 2) + "|"]
    for name in names:
        cells = [f"{results[case][name]['cpu_us']:.1f}" if name in results[case] else "" for case in cases]
        cells.append(f"{memory[name]['user_bytes'] / 1024:,.0f}" if name in memory else "")
        lines.append(f"| {NAMES.get(name, name)} | {' | '.join(cells)} |")
    return lines


def rate_table(results: Results) -> list[str]:
    """Delivered share and due-time error by asked rate."""
    found = results.get("rates", {})
    asked = sorted({int(rate) for one in found.values() for rate in one})
    lines = [
        f"| delivered; due-time error p99 | {' | '.join(f'{rate:,}/s' for rate in asked)} |",
        "|---" * (len(asked) + 1) + "|",
    ]
    for name, by_rate in found.items():
        cells = []
        for rate in asked:
            one = by_rate.get(str(rate))
            late = "" if one is None or one["due_error_p99_ms"] is None else f"; {_short_ms(one['due_error_p99_ms'])}"
            cells.append("" if one is None else f"{one['delivered']:.1%}{late}")
        lines.append(f"| {NAMES.get(name, name)} | {' | '.join(cells)} |")
    return lines


def _short_ms(ms: float) -> str:
    return f"{ms:,.0f} ms" if ms >= 10 else f"{ms:.1f} ms"


def latency_table(results: Results) -> list[str]:
    """What each tool told against the truth."""
    found = results.get("latency", {}).get("tools", {})
    lines = [
        "| | asked by | calls | of them in a stall | p50 told | p90 told | p99 told | p99 in the target's log | max told |",
        "|---" * 9 + "|",
    ]
    for name, one in found.items():
        told = one["told_ms"]
        cells = [f"{told[share]:,.1f} ms" for share in ("p50", "p90", "p99")]
        cells += [f"{one['logged_ms']['p99']:,.1f} ms", f"{told['max']:,.0f} ms"]
        lines.append(
            f"| {NAMES.get(name, name)} | {one['how']} | {one['calls']:,} | {one['in_stalls']:,} | {' | '.join(cells)} |"
        )
    if found:
        true = next(iter(found.values()))["true_ms"]
        cells = [f"{true[share]:,.1f} ms" for share in ("p50", "p90", "p99")]
        lines.append(f"| **the truth** | due times and stalls | | | {' | '.join(cells)} | | {true['max']:,.0f} ms |")
    return lines


def short_table(results: Results) -> list[str]:
    """For the README: calls a second of one core."""
    cases = [case for case in ("get", "json", "post", "tls") if case in results]
    chosen = (OURS, "ours, sync users", "wrk", "vegeta", "k6", "Locust FastHttpUser")
    lines = [f"| calls/s of one core | {' | '.join(CASES[case] for case in cases)} |", "|---" * (len(cases) + 1) + "|"]
    for name in chosen:
        cells = [f"{results[case][name]['rate']:,.0f}" if name in results[case] else "" for case in cases]
        lines.append(f"| {NAMES.get(name, name)} | {' | '.join(cells)} |")
    return lines


def target_table(reached: Sequence[Figure]) -> list[str]:
    """Met or not."""
    lines = ["| target | measured | asked | met |", "|---|---|---|---|"]
    for figure in reached:
        unit = "" if figure.unit == "/s" else f" {figure.unit}"
        value = f"{figure.value:,.0f}/s" if figure.unit == "/s" else f"{figure.value:,.4g}{unit}"
        lines.append(f"| {figure.name.strip()} | {value} | {figure.target} | {'yes' if figure.met else 'no'} |")
    return lines


def machine_line(results: Results) -> str:
    """What it was measured with."""
    found = results["versions"]
    named = ("wrk", "nginx", "k6", "vegeta", "Locust", "molotov", "aiohttp", "httptools", "uvloop", "Python")
    measured = [tool for case in CASES for tool in results.get(case, {}).values()]
    measured += [one for by_rate in results.get("rates", {}).values() for one in by_rate.values()]
    left_out = sum(one["left_out"] for one in measured)
    windows = left_out + sum(len(one["rounds"]) for one in measured)
    tools = ", ".join(f"{name} {found[name].removeprefix('debian/').removeprefix('v')}" for name in named)
    return (
        f"Measured {results['measured_on']} on {found['cpu']}, two cores, Linux {found['kernel']}: {tools}. "
        f"Of {windows} windows {left_out} stayed disturbed and are left out."
    )


def write_between(path: Path, mark: str, lines: Sequence[str]) -> None:
    """Replaces what stands between `<!-- MARK -->` and `<!-- /MARK -->`."""
    text = path.read_text()
    begin, over = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(over)
    assert found and closed, f"{path} has no {begin.strip()} ... {over}"
    path.write_text("".join([before, begin, "\n", "\n".join(lines), "\n\n", over, after]))


def load(path: Path) -> Results:
    """What the benchmark wrote."""
    found: Results = json.loads(path.read_text())
    return found
