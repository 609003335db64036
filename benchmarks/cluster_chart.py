"""Draws docs/img/cluster-scale.svg from bench-results/cluster-scale.json: `python -m benchmarks.cluster_chart`.

Colours are of middle lightness and there is no background, so that it reads on white and on black.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WIDTH, HEIGHT = 760, 330
PANEL_W, TOP, BOTTOM = 290, 70, 270
INK, OURS, POLLED = "#808080", "#2f8f5b", "#d2691e"
Points = list[tuple[float, float]]


def draw(costs: Sequence[dict[str, Any]]) -> str:
    """Two panels: requests and bytes until the start against the number of pods, both axes logarithmic."""
    simulated = [c for c in costs if c["simulated"]]
    pods = [c["pods"] for c in simulated]
    ours = [c["controller_requests_until_start"] + c["node_requests_until_start"] for c in simulated]
    panels = (
        ("API requests until the start", ours, [c["polled_requests"] for c in simulated], _count),
        ("bytes until the start", [c["bytes_until_start"] for c in simulated], [c["polled_bytes"] for c in simulated], _bytes),
    )  # fmt: skip
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
        f'<g fill="{OURS}"><rect x="70" y="14" width="14" height="14"/><text x="90" y="26">wasp_ray: one object that all watch'
        "</text></g>",
        f'<g fill="{POLLED}"><rect x="400" y="14" width="14" height="14"/><text x="420" y="26">polling: each node lists all pods'
        " each second</text></g>",
    ]
    for number, (title, mine, theirs, label) in enumerate(panels):
        both = ((OURS, list(zip(pods, mine, strict=True))), (POLLED, list(zip(pods, theirs, strict=True))))
        parts += _panel(70 + number * (PANEL_W + 90), title, both, label)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(left: int, title: str, lines: Sequence[tuple[str, Points]], label: Any) -> list[str]:
    values = [value for _, points in lines for _, value in points]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    xs = sorted({x for _, points in lines for x, _ in points})
    x_low, x_high = math.log10(xs[0]) - 0.15, math.log10(xs[-1]) + 0.15

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - x_low) / (x_high - x_low)
        return left + PANEL_W * across, BOTTOM - (BOTTOM - TOP) * (math.log10(y) - low) / (high - low)

    out = [f'<text x="{left}" y="{TOP - 14}" fill="{INK}" font-weight="bold">{title}</text>']
    for power in range(low, high + 1):
        y = at(xs[0], 10.0**power)[1]
        out.append(
            f'<line x1="{left}" y1="{y:.1f}" x2="{left + PANEL_W}" y2="{y:.1f}" stroke="{INK}" stroke-opacity="0.3"/>'
        )
        out.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end" fill="{INK}">{label(10.0**power)}</text>')
    for x in xs:
        out.append(f'<text x="{at(x, 1)[0]:.1f}" y="{BOTTOM + 20}" text-anchor="middle" fill="{INK}">{x:,}</text>')
    out.append(f'<text x="{left + PANEL_W / 2}" y="{BOTTOM + 42}" text-anchor="middle" fill="{INK}">pods</text>')
    for colour, points in lines:
        placed = [at(x, y) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        for (x, y), (pods, value) in zip(placed, points, strict=True):
            out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
            is_higher = y <= min(
                at(number, other)[1] for _, others in lines for number, other in others if number == pods
            )
            below = -9 if is_higher else 18
            out.append(
                f'<text x="{x:.1f}" y="{y + below:.1f}" text-anchor="middle" font-size="11" fill="{colour}">{label(value)}'
                "</text>"
            )
    return out


def _count(value: float) -> str:
    return f"{value:,.0f}" if value < 1e6 else f"{value / 1e6:,.3g} M"


def _bytes(value: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:,.3g} {unit}"
    return f"{value:,.0f} B"


def write() -> Path:
    """From the last results."""
    path = Path("docs/img/cluster-scale.svg")
    path.write_text(draw(json.loads(Path("bench-results/cluster-scale.json").read_text())))
    return path


if __name__ == "__main__":
    print(write())
