"""How closely four real pods start together, and how soon after the last is ready; beside a barrier that polls."""

from __future__ import annotations

import json
import math
import random
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure
from benchmarks.kubernetes import Audit, HarnessError, Kubernetes, Team, cluster, run_watched, team
from wasp_ray.cluster.snapshot import Decoder

PODS, ROUNDS = 4, 20
LOAD = ("-p", "rate=40", "-p", "seconds=1", "-p", "users=4")
POLL_S = 1.0
RUN_TIMEOUT_S = 120.0
RESULTS = Path("bench-results/cluster-start.json")


@dataclass(frozen=True, slots=True)
class Start:
    """One run's start; seconds."""

    spread_s: float  # between the first and the last node's first call, each after its own due time
    polled_spread_s: float
    written_after_s: (
        float  # from the last node's word that it is ready to the answer of the request that wrote start_at
    )


class Pollers:
    """The nodes of the seed's barrier: each asks once a second, from an instant of its own, and starts when it sees it."""

    def __init__(self, kubernetes: Kubernetes, path: str, nodes: int) -> None:
        self._access, self._path = kubernetes.access, path
        self.seen: list[float] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._poll, daemon=True) for _ in range(nodes)]
        for thread in self._threads:
            thread.start()

    def _poll(self) -> None:
        self._over.wait(random.uniform(0, POLL_S))
        while not self._over.wait(POLL_S):
            try:
                if self._access.request("GET", self._path)["data"].get("start_at"):
                    self.seen.append(time.time())
                    return
            except (OSError, HarnessError):  # the ConfigMap is not there yet, or no more
                continue

    def spread_s(self) -> float:
        """Ends them."""
        self._over.set()
        for thread in self._threads:
            thread.join(5)
        return max(self.seen) - min(self.seen)


def start() -> list[Figure]:
    """20 runs of `wasp cluster run` on 4 pods of the node of the end-to-end tests."""
    with cluster() as kubernetes, team(kubernetes) as who:
        starts = [_round(kubernetes, who, number) for number in range(ROUNDS)]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([{name: getattr(s, name) for name in s.__slots__} for s in starts], indent=1))
    spread, polled = p99([s.spread_s for s in starts]), p99([s.polled_spread_s for s in starts])
    written = [s.written_after_s for s in starts]
    return [
        Figure(
            "start spread of 4 pods, p99", spread * 1e3, "ms", "<= 10 ms", spread <= 0.010, "polling barrier", spread / polled,
            ROUNDS,
        ),
        Figure("  the same of a barrier that polls", polled * 1e3, "ms", "", True, rounds=ROUNDS),
        Figure(
            "last of 4 pods ready to start_at written, worst", max(written) * 1e3, "ms", "<= 200 ms", max(written) <= 0.2,
            rounds=ROUNDS,
        ),
        Figure("  median", statistics.median(written) * 1e3, "ms", "", True, rounds=ROUNDS),
    ]  # fmt: skip


def p99(values: Sequence[float]) -> float:
    """Nearest rank: of fewer than 100 values the largest."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]


def _round(kubernetes: Kubernetes, who: Team, number: int) -> Start:
    run, out = f"start-{number}", who.folder / f"start-{number}"
    audit = Audit(kubernetes)
    pollers = Pollers(kubernetes, f"/api/v1/namespaces/{who.namespace}/configmaps/wasp-{run}", PODS)
    arguments = ["load.py:quick", "--jobs", str(PODS), "--run-id", run, "--out", str(out), *LOAD]
    done = run_watched(who, arguments, RUN_TIMEOUT_S)
    if done.code != 0:
        raise RuntimeError(f"run {run} ended with {done.code}: {done.said[-2000:]}")
    skews = [node["start_skew_s"] for node in json.loads((out / "summary.json").read_text())["nodes"]]
    ready_s = max(ready_at(out / f"nodes/{node}/pod.log", run) for node in range(1, PODS + 1))
    found = Start(max(skews) - min(skews), pollers.spread_s(), start_written_at(audit, who) - ready_s)
    print(
        f"  {run}: spread {found.spread_s * 1e3:.2f} ms, polled {found.polled_spread_s * 1e3:.0f} ms,"
        f" written after {found.written_after_s * 1e3:.0f} ms",
        flush=True,
    )
    return found


def told(log: Path, run: str) -> list[Any]:
    """The messages in a pod's log."""
    decoder = Decoder(run)
    heard = (decoder.read(line) for line in log.read_text().splitlines())
    return [message for message in heard if message is not None and not isinstance(message, str)]


def ready_at(log: Path, run: str) -> float:
    """When a node said that it is ready, by the clock that all here share."""
    return float(next(message.data["at"] for message in told(log, run) if message.kind == "ready"))


def start_written_at(audit: Audit, who: Team) -> float:
    """When the API server had answered the run's only change of its ConfigMap."""
    asked = [a for a in audit.requests(who.user) if (a.verb, a.resource) == ("patch", "configmaps")]
    return asked[0].answered_s
