"""One measured figure and the table of all."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """`ratio` is to `peer`, measured in the same run; `met`: whether the target holds here and now."""

    name: str
    value: float
    unit: str
    target: str
    met: bool
    peer: str = ""
    ratio: float | None = None
    rounds: int = 1


def table(figures: Sequence[Figure]) -> str:
    """A line a figure."""
    lines = [f"{'FIGURE':<46} {'MEASURED':>16}  {'TARGET':<14} {'MET':<4} RATIO"]
    for f in figures:
        ratio = f"{f.ratio:.2f} x {f.peer}" if f.ratio is not None else ""
        lines.append(
            f"{f.name:<46} {f.value:>10,.3g} {f.unit:<5}  {f.target:<14} {'yes' if f.met else 'NO':<4} {ratio}"
        )
    return "\n".join(lines)


def write(figures: Sequence[Figure], folder: Path) -> Path:
    """As JSON, for comparison with other days."""
    folder.mkdir(exist_ok=True)
    path = folder / "figures.json"
    machine = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.release()}
    path.write_text(json.dumps({"machine": machine, "figures": [asdict(f) for f in figures]}, indent=1))
    return path
