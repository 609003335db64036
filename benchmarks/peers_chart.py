"""Draws docs/img/peers.svg from bench-results/peers.json and renews the tables of docs/peers.md and README.md.

`python -m benchmarks.peers_chart`. Colours are of middle lightness and there is no background: it reads on white and on black.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import peers_report as report

WIDTH, HEIGHT = 820, 560
LEFT, RIGHT, LABEL_W, BAR_W = 10, 430, 150, 170
BAR_H, STEP = 15, 21
TOP, LOWER = 60, 330
INK, GRID, OURS = "#808080", "#80808055", "#2f8f5b"
COLOURS = {"ours, gun": OURS, "vegeta": "#d2691e", "k6": "#7d5fc4"}
SHORT = {
    "ours, users": "wasp_ray users", "ours, gun": "wasp_ray gun", "ours, sync users": "wasp_ray sync users",
    "ours, through aiohttp": "wasp_ray aiohttp", "Locust FastHttpUser": "Locust Fast", "Locust HttpUser": "Locust",
    "aiohttp, bare loop": "bare aiohttp",
}  # fmt: skip
PAGE, README, RESULTS = Path("docs/peers.md"), Path("README.md"), Path("bench-results/peers.json")
PICTURE, PUBLISHED = Path("docs/img/peers.svg"), Path("docs/peers.json")


def draw(results: report.Results) -> str:
    """Four panels."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        _text(LEFT, 20, "Calls a second that one core makes, 32 connections", weight="bold", size=14),
    ]
    for left, case, title in ((LEFT, "get", "plain GET"), (RIGHT, "json", "GET, JSON parsed and checked")):
        parts += _bars(left, title, [(name, one["rate"], _thousands) for name, one in results.get(case, {}).items()])
    parts += _delivered(results.get("rates", {}))
    stalls = results.get("latency", {}).get("tools", {})
    if stalls:
        told = [(name, one["told_ms"]["p99"], _ms) for name, one in stalls.items()]
        true = next(iter(stalls.values()))["true_ms"]["p99"]
        parts += _bars(
            RIGHT,
            "p99 told when the target stalls for 1 s in 10",
            told,
            top=LOWER,
            line=(true, "the true p99"),
            ordered=False,
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bars(
    left: int, title: str, rows: Sequence[tuple[str, float, Any]], *, top: int = TOP, line: tuple[float, str] | None = None,
    ordered: bool = True,
) -> list[str]:  # fmt: skip
    """Horizontal ones, the longest first; `line`: a value to compare with, and its name."""
    out = [_text(left, top - 12, title, weight="bold")]
    shown = sorted(rows, key=lambda row: -row[1]) if ordered else rows
    longest = max([row[1] for row in rows] + ([line[0]] if line else []), default=1.0)
    for number, (name, value, told) in enumerate(shown):
        y, width = top + number * STEP, max(1.0, BAR_W * value / longest)
        colour = OURS if name.startswith("ours") else INK
        out.append(_text(left + LABEL_W - 8, y + 12, SHORT.get(name, name), anchor="end", colour=colour))
        out.append(f'<rect x="{left + LABEL_W}" y="{y}" width="{width:.1f}" height="{BAR_H}" fill="{colour}"/>')
        out.append(_text(left + LABEL_W + width + 6, y + 12, told(value), colour=colour))
    if line is not None:
        x, bottom = left + LABEL_W + BAR_W * line[0] / longest, top + len(shown) * STEP
        out.append(
            f'<line x1="{x:.1f}" y1="{top - 4}" x2="{x:.1f}" y2="{bottom}" stroke="#c03030" stroke-dasharray="4 3"/>'
        )
        out.append(_text(x, bottom + 14, f"{line[1]}: {_ms(line[0])}", anchor="middle", colour="#c03030"))
    return out


def _delivered(found: report.Results) -> list[str]:
    """Delivered against asked rate, a line a tool; the dashed line is what was asked."""
    if not found:
        return []
    left, top, width, height = LEFT + 60, LOWER, 270, 170
    asked = sorted({int(rate) for one in found.values() for rate in one})
    most = max(asked)

    def at(x: float, y: float) -> str:
        return f"{left + width * x / most:.1f},{top + height * (1 - min(y, most) / most):.1f}"

    out = [_text(LEFT, top - 12, "calls/s delivered of those asked, one core", weight="bold")]
    for rate in asked:
        x, y = at(rate, rate).split(",")
        if rate != 25_000:
            out.append(f'<line x1="{left}" y1="{y}" x2="{left + width}" y2="{y}" stroke="{GRID}"/>')
            out.append(_text(left - 6, float(y) + 4, _thousands(rate), anchor="end"))
            out.append(_text(float(x), top + height + 18, _thousands(rate), anchor="middle"))
    out.append(f'<polyline points="{at(0, 0)} {at(most, most)}" stroke="{INK}" stroke-dasharray="4 3" fill="none"/>')
    out.append(_text(left + width / 2, top + height + 36, "asked", anchor="middle"))
    for number, (name, by_rate) in enumerate(found.items()):
        colour = COLOURS.get(name, INK)
        points = [at(int(rate), one["rate"]) for rate, one in sorted(by_rate.items(), key=lambda item: int(item[0]))]
        out.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        for point in points:
            x, y = point.split(",")
            out.append(f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>')
        out.append(_text(left + 14, top + 14 + number * 17, SHORT.get(name, name), colour=colour, weight="bold"))
    return out


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", colour: str = INK, weight: str = "", size: int = 12
) -> str:
    more = f' font-weight="{weight}"' if weight else ""
    more += f' font-size="{size}"' if size != 12 else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{more}>{text}</text>'


def _thousands(value: float) -> str:
    return f"{value / 1e3:.0f} k" if value >= 9_950 or value % 1000 == 0 else f"{value / 1e3:.1f} k"


def _ms(value: float) -> str:
    return f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"


def publish() -> None:
    """Picture, data, tables."""
    results = report.load(RESULTS)
    if results["quick"]:
        sys.exit(f"{RESULTS} is of a quick run: its figures are not for show")
    PICTURE.write_text(draw(results))
    shutil.copyfile(RESULTS, PUBLISHED)
    tables = {
        "machine": [report.machine_line(results)],
        "throughput": report.throughput_table(results),
        "cost": report.cost_table(results),
        "rates": report.rate_table(results),
        "stalls": report.latency_table(results),
        "targets": report.target_table(report.figures(results)),
    }
    for mark, lines in tables.items():
        report.write_between(PAGE, mark, lines)
    report.write_between(README, "peers", report.short_table(results))
    print(f"written: {PICTURE}, {PUBLISHED}, {PAGE}, {README}")


if __name__ == "__main__":
    publish()
