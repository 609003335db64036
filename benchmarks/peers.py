"""`python -m benchmarks.peers [--quick] [--only get,rates]`: our HTTP client against its peers, in one run.

Prints medians, ratios and the targets; writes bench-results/peers.json, to which a run of parts adds its own. The whole takes
under 20 minutes, `--quick` 5; how it measures: docs/peers.md. The picture and the page: `python -m benchmarks.peers_chart`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import peers_latency
from benchmarks.figure import table
from benchmarks.peers_measure import ToolError, cores
from benchmarks.peers_rates import rates
from benchmarks.peers_report import figures
from benchmarks.peers_targets import nginx
from benchmarks.peers_throughput import CASES, Lengths, memory, throughput
from benchmarks.peers_tools import prepare, versions

RESULTS = Path("bench-results/peers.json")
FULL, QUICK = Lengths(3, 0.7, 2.0), Lengths(1, 0.5, 0.8)
FULL_GET, FULL_RATES = Lengths(4, 0.7, 2.0), Lengths(3, 1.5, 2.5)
PARTS = (*CASES, "rates", "latency", "memory")


def main() -> int:
    """Runs the parts; benchmarks do not fail by their figures, but without ours there are none (1)."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description="Our HTTP client against its peers."
    )
    parser.add_argument("--only", help=f"parts, by commas: {', '.join(PARTS)}")
    parser.add_argument(
        "--quick", action="store_true", help="one short round of each: shows that it works, not how fast"
    )
    asked = parser.parse_args()
    chosen = asked.only.split(",") if asked.only else list(PARTS)
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    found = json.loads(RESULTS.read_text()) if asked.only and RESULTS.exists() else {}
    RESULTS.parent.mkdir(exist_ok=True)
    try:
        _run(found, chosen, quick=asked.quick)
    except ToolError as exc:
        print(f"peers: {exc}", file=sys.stderr)
        return 1
    reached = figures(found)
    found["figures"] = [asdict(figure) for figure in reached]
    RESULTS.write_text(json.dumps(found, indent=1))
    print(table(reached))
    print(f"written to {RESULTS}")
    return 0


def _run(found: dict[str, Any], chosen: list[str], *, quick: bool) -> None:
    """Adds the parts to `found`, which is written after each."""
    tools = prepare()
    client, server = cores()
    available = os.sched_getaffinity(0)
    began = time.monotonic()
    found |= {"versions": versions(tools), "measured_on": datetime.now(UTC).date().isoformat(), "quick": quick}
    with ExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, available)
        os.sched_setaffinity(0, {server})
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wasp-peers-")))
        (folder / "nginx").mkdir()
        target = stack.enter_context(nginx(tools, folder / "nginx", server))
        parts: dict[str, Callable[[], Any]] = {
            "rates": lambda: rates(tools, target, folder, client, QUICK if quick else FULL_RATES),
            "latency": lambda: peers_latency.measure_all(tools, folder, (client, server), quick=quick),
            "memory": lambda: memory(tools, target, folder, client),
        }
        for part in chosen:
            print(f"{part} ... ({time.monotonic() - began:.0f} s)", flush=True)
            if part in CASES:
                lengths = QUICK if quick else FULL_GET if part == "get" else FULL
                found[part] = throughput(part, tools, target, folder, client, lengths)
            else:
                found[part] = parts[part]()
            RESULTS.write_text(json.dumps(found, indent=1))
    print(f"all measured in {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
