"""`python -m benchmarks [NAME...]`: measures, prints the table, writes bench-results/figures.json."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import aggregation, calls, pacing, processes, soak
from benchmarks.figure import Figure, table, write

ALL = {
    "calls": calls.empty_calls,
    "start": processes.start_rate,
    "weight": processes.weight,
    "aggregator": aggregation.throughput,
    "rings": aggregation.quiet_rings,
    "pacing": pacing.due_error,
    "thousand": processes.thousand,
}


def cluster_start() -> list[Figure]:
    """Needs root and the harness of the end-to-end tests, which nothing else here does."""
    from benchmarks.cluster import start

    return start()


def cluster_scale() -> list[Figure]:
    """As cluster_start."""
    from benchmarks.cluster_scale import scale

    return scale()


def http_sessions() -> list[Figure]:
    """Needs nginx, which it installs where it may."""
    from benchmarks.http_sessions import sessions

    return sessions()


def all_sinks() -> list[Figure]:
    """Needs Go for the real Loki, which it builds once."""
    from benchmarks.sinks import sinks

    return sinks()


def on_ray() -> list[Figure]:
    """Starts a Ray of three raylets, which takes a quarter of a minute."""
    from benchmarks.ray import ray

    return ray()


def ray_driver() -> list[Figure]:
    """Starts a Ray of 100 actors for each of three runs: 4 GB and five minutes."""
    from benchmarks.ray_driver import ray_driver

    return ray_driver()


ON_DEMAND = {
    "ray": on_ray,
    "ray-driver": ray_driver,
    "sinks": all_sinks,
    "soak": soak.soak,
    "http-sessions": http_sessions,
    "cluster-start": cluster_start,
    "cluster-scale": cluster_scale,
}  # two to ten minutes each


def main() -> int:
    """Names of benchmarks as arguments; all but those on demand when none is given."""
    names = sys.argv[1:] or list(ALL)
    known = {**ALL, **ON_DEMAND}
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    figures: list[Figure] = []
    for name in names:
        print(f"{name} ...", flush=True)
        figures += known[name]()
    print(table(figures))
    print(f"written to {write(figures, Path('bench-results'))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
