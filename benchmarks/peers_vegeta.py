"""Evaluates what vegeta recorded, with vegeta's own commands; and how late its calls began, which it does not report."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy

from benchmarks.peers_clients import Told

TIMEOUT_S = 120
MIN_OK, MAX_OK = 200, 399


def evaluate(vegeta: Path, results: Path, rate: int) -> Told:
    """`rate` 0: nothing was due at any time."""
    report = [str(vegeta), "report", "-type", "json", str(results)]
    told: dict[str, Any] = json.loads(subprocess.run(report, capture_output=True, check=True, timeout=TIMEOUT_S).stdout)
    took = told["latencies"]
    latency = {"p50": took["50th"], "p90": took["90th"], "p99": took["99th"], "max": took["max"]}
    right = sum(count for code, count in told["status_codes"].items() if MIN_OK <= int(code) <= MAX_OK)
    more: dict[str, Any] = {"due_error_p99_ms": due_error_p99_ms(vegeta, results, rate)} if rate else {}
    results.unlink()
    return Told(right, {name: ns / 1e6 for name, ns in latency.items()}, more)


def due_error_p99_ms(vegeta: Path, results: Path, rate: int) -> float:
    """Call number i is due i / rate after the first; its timestamp is when it began."""
    encode = [str(vegeta), "encode", "-to", "csv", str(results)]
    rows = subprocess.run(encode, capture_output=True, check=True, timeout=TIMEOUT_S).stdout.splitlines()
    began = numpy.empty(len(rows), dtype=numpy.int64)
    number = numpy.empty(len(rows), dtype=numpy.int64)
    for place, row in enumerate(rows):
        fields = row.split(b",")
        began[place], number[place] = int(fields[0]), int(fields[8])
    late = began - (number * 1_000_000_000) // rate
    return float(numpy.percentile(late - late.min(), 99) / 1e6)
