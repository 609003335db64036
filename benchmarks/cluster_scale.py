"""What a run costs the API server and its controller: 1 and 4 real pods, 10, 100 and 1,000 simulated ones.

The nodes of simulated pods are in cluster_nodes.py. Beside it what the seed's barrier would ask for, where each node lists
all pods once a second until all run: by the moments at which these very pods ran, and the size of a real list.
"""

from __future__ import annotations

import bisect
import http.client
import json
import math
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.cluster import ready_at, start_written_at, told
from benchmarks.cluster_meter import Meter
from benchmarks.cluster_nodes import Order
from benchmarks.figure import Figure
from benchmarks.kubernetes import (
    KWOK_LABEL,
    ROOT,
    Audit,
    HarnessError,
    Kubernetes,
    Kwok,
    Team,
    Watched,
    cluster,
    free_port,
    run_watched,
    running_kwok,
    team,
)
from wasp_ray.cluster.rights import NODE

REAL, SIMULATED = (1, 4), (10, 100, 1000)
LOAD = ("-p", "rate=40", "-p", "seconds=10", "-p", "users=4")
RUN_TIMEOUT_S = 900.0
KWOK_NODES = 10
GZIP_FROM = 128 * 1024
RESULTS = Path("bench-results/cluster-scale.json")
Recorded = dict[str, list[dict[str, Any]]]


@dataclass(slots=True)
class Cost:
    """One run of `pods` nodes. `until_start`: from the command to the written start_at, all requests are finished or open."""

    pods: int
    simulated: bool
    controller_requests: int = 0
    node_requests: int = 0
    controller_requests_until_start: int = 0
    node_requests_until_start: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)
    controller_bytes: int = 0
    node_bytes: int = 0
    bytes_until_start: int = 0
    deploy_s: float = 0.0  # from the command to the last node's word that it is ready
    run_s: float = 0.0  # the command in all
    written_after_s: float = 0.0
    peak_rss_bytes: int = 0
    cores: float = 0.0  # of the controller, mean
    cores_busiest: float = 0.0  # in its busiest 5 s
    polled_requests: int = 0
    polled_bytes: int = 0
    list_bytes: int = 0  # of one list of all pods, as JSON
    list_bytes_sent: int = 0  # of the same when the client takes gzip
    list_s: float = 0.0

    @property
    def requests(self) -> int:
        """Of the controller and of the nodes."""
        return self.controller_requests + self.node_requests

    @property
    def requests_until_start(self) -> int:
        """Of these, those that came before start_at was written."""
        return self.controller_requests_until_start + self.node_requests_until_start


def scale() -> list[Figure]:
    """Real pods first, whose output the simulated ones repeat."""
    costs: list[Cost] = []
    with cluster() as kubernetes:
        with team(kubernetes) as who:
            for pods in REAL:
                costs.append(_real(kubernetes, who, pods))
            recorded = _recorded(who.folder / f"out-{REAL[-1]}/nodes/1/pod.log", f"real-{REAL[-1]}")
        for pods in SIMULATED:
            with team(kubernetes) as who:
                costs.append(_simulated(kubernetes, who, pods, recorded))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([asdict(cost) for cost in costs], indent=1))
    return _figures(costs)


def _figures(costs: list[Cost]) -> list[Figure]:
    most = costs[-1]
    mib = most.peak_rss_bytes / 2**20
    until, until_x = growth(costs, lambda c: c.requests_until_start)
    whole, whole_x = growth(costs, lambda c: c.requests)
    return [
        *(Figure(f"{_kind(c)} pods {c.pods}: API requests of the run", c.requests, "", "", True) for c in costs),
        Figure("requests for one more pod, until the start", until, "", "constant", until_x <= 1.1, "10-100 pods", until_x),
        Figure("requests for one more pod, whole run", whole, "", "constant", whole_x <= 1.5, "10-100 pods", whole_x),
        Figure(
            f"last of {most.pods} pods ready to start_at written", most.written_after_s, "s", "<= 1 s", most.written_after_s <= 1
        ),
        Figure(f"controller of {most.pods} pods, peak RSS", mib, "MiB", "<= 200 MB", most.peak_rss_bytes <= 200e6),
        Figure("  its CPU, mean", most.cores, "cores", "<= 1", most.cores <= 1),
        Figure("  its CPU, busiest 5 s", most.cores_busiest, "cores", "", True),
        Figure(
            "  bytes until the start", most.bytes_until_start / 1e6, "MB", "", True, "polling barrier",
            most.bytes_until_start / max(1, most.polled_bytes),
        ),
    ]  # fmt: skip


def _kind(cost: Cost) -> str:
    return "simulated" if cost.simulated else "real"


def growth(costs: list[Cost], count: Callable[[Cost], int]) -> tuple[float, float]:
    """What one more pod costs from 100 pods to 1,000, and how many times that is what it costs from 10 to 100."""
    few, some, many = costs[-3:]
    low = (count(some) - count(few)) / (some.pods - few.pods)
    high = (count(many) - count(some)) / (many.pods - some.pods)
    return high, high / low


# -- runs


def _real(kubernetes: Kubernetes, who: Team, pods: int) -> Cost:
    with Meter(kubernetes.port) as meter, Meter(kubernetes.port) as nodes:
        who.access, who.port = who.access.at(f"https://127.0.0.1:{meter.port}"), nodes.port
        audit, run, out = Audit(kubernetes), f"real-{pods}", who.folder / f"out-{pods}"
        done = run_watched(who, _arguments(run, pods, out), RUN_TIMEOUT_S)
        _check(done, run)
        ready_s = max(ready_at(out / f"nodes/{node}/pod.log", run) for node in range(1, pods + 1))
        return _cost(Cost(pods, False), who, audit, done, (meter, nodes), ready_s)


def _simulated(kubernetes: Kubernetes, who: Team, pods: int, recorded: Recorded, profile: Path | None = None) -> Cost:
    port, run, out = free_port(), f"simulated-{pods}", who.folder / "out"
    (who.folder / "values.json").write_text(json.dumps({"nodeSelector": {KWOK_LABEL: "true"}}))
    arguments = [*_arguments(run, pods, out), "--values", "values.json"]
    cost, audit = Cost(pods, True), Audit(kubernetes)
    with (
        Meter(kubernetes.port) as meter,
        Meter(kubernetes.port) as nodes,
        running_kwok(kubernetes, Kwok(nodes=KWOK_NODES, kubelet_port=port)),
        _nodes(kubernetes, who, (nodes.port, port), run, recorded),
        _listing(kubernetes, who, run, cost),
    ):
        who.access = who.access.at(f"https://127.0.0.1:{meter.port}")
        done = run_watched(who, arguments, RUN_TIMEOUT_S, profile)
        _check(done, run)
    times: list[dict[str, float]] = list(json.loads((who.folder / "timeline.json").read_text()).values())
    polled(cost, [t["created"] for t in times], [t["running"] for t in times])
    return _cost(cost, who, audit, done, (meter, nodes), max(t["ready"] for t in times))


def _arguments(run: str, pods: int, out: Path) -> list[str]:
    return ["load.py:quick", "--jobs", str(pods), "--run-id", run, "--out", str(out), *LOAD]


def _check(done: Watched, run: str) -> None:
    if done.code != 0:
        raise RuntimeError(f"run {run} ended with {done.code}: {done.said[-3000:]}")


def _cost(cost: Cost, who: Team, audit: Audit, done: Watched, meters: tuple[Meter, Meter], ready_s: float) -> Cost:
    time.sleep(1)  # the last lines of the audit log
    start_s, node_user = start_written_at(audit, who), f"system:serviceaccount:{who.namespace}:{NODE}"
    asked = audit.requests(who.user, node_user)
    kinds = Counter(f"{'node ' if a.user == node_user else ''}{a.verb} {a.resource}".strip() for a in asked)
    cost.by_kind = dict(sorted(kinds.items()))
    for name, user in (("controller", who.user), ("node", node_user)):
        of_user = [a for a in asked if a.user == user]
        setattr(cost, f"{name}_requests", len(of_user))
        setattr(cost, f"{name}_requests_until_start", sum(a.arrived_s <= start_s for a in of_user))
    cost.controller_bytes, cost.node_bytes = (meter.up + meter.down for meter in meters)
    cost.bytes_until_start = sum(meter.until(start_s) for meter in meters)
    cost.deploy_s, cost.run_s, cost.written_after_s = ready_s - done.began_s, done.wall_s, start_s - ready_s
    cost.peak_rss_bytes, cost.cores, cost.cores_busiest = done.peak_rss_bytes, done.cpu_s / done.wall_s, done.busiest(5)
    print(
        f"  {cost.pods} pods: {cost.requests} requests, ready after {cost.deploy_s:.1f} s, written"
        f" {cost.written_after_s * 1e3:.0f} ms later, {cost.peak_rss_bytes / 2**20:.0f} MiB, {cost.cores:.2f} cores",
        flush=True,
    )
    return cost


# -- simulated nodes


def _recorded(log: Path, run: str) -> Recorded:
    found: Recorded = {}
    for message in told(log, run):
        found.setdefault(message.kind, []).append(message.data)
    return found


@contextmanager
def _nodes(kubernetes: Kubernetes, who: Team, ports: tuple[int, int], run: str, recorded: Recorded) -> Iterator[None]:
    """The process of cluster_nodes; its timeline is written at the end."""
    own, authority = kubernetes.access, kubernetes.authority
    authority.sign("fake-kubelet", "/CN=fake-kubelet", ["IP:127.0.0.1"])
    order = Order(
        server=f"https://127.0.0.1:{ports[0]}", direct=own.server, ca=str(own.ca), kubelet_token=own.token,
        node_token=kubernetes.service_account(who.namespace, NODE).token, certificate=str(authority.cert("fake-kubelet")),
        key=str(authority.key("fake-kubelet")), port=ports[1], namespace=who.namespace, run=run, recorded=recorded,
        timeline=str(who.folder / "timeline.json"),
    )  # fmt: skip
    file = who.folder / "order.json"
    file.write_text(json.dumps(asdict(order)))
    command = [sys.executable, "-m", "benchmarks.cluster_nodes", str(file)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "up\n"
        yield
    finally:
        process.communicate(timeout=60)


# -- the barrier that polls


@contextmanager
def _listing(kubernetes: Kubernetes, who: Team, run: str, cost: Cost) -> Iterator[None]:
    """One list of the run's pods as a node of the seed asks for it, once all of them run."""
    over = threading.Event()
    watcher = threading.Thread(target=_list_once, args=(kubernetes, who, run, cost, over), daemon=True)
    watcher.start()
    yield
    over.set()
    watcher.join(30)


def _list_once(kubernetes: Kubernetes, who: Team, run: str, cost: Cost, over: threading.Event) -> None:
    path = f"/api/v1/namespaces/{who.namespace}"
    while not over.wait(1.0):
        try:
            if kubernetes.access.request("GET", f"{path}/configmaps/wasp-{run}")["data"].get("start_at"):
                break
        except (OSError, HarnessError):
            continue
    over.wait(1.0)
    cost.list_bytes, _ = _list(kubernetes, f"{path}/pods?labelSelector=wasp.dev/run%3D{run}", "identity")
    cost.list_bytes_sent, cost.list_s = _list(kubernetes, f"{path}/pods?labelSelector=wasp.dev/run%3D{run}", "gzip")


def _list(kubernetes: Kubernetes, path: str, encoding: str) -> tuple[int, float]:
    """Bytes of the answer's body as they are sent, and seconds."""
    context = ssl.create_default_context(cafile=str(kubernetes.ca))
    connection = http.client.HTTPSConnection("127.0.0.1", kubernetes.port, context=context, timeout=60)
    began = time.monotonic()
    headers = {"Authorization": f"Bearer {kubernetes.access.token}", "Accept-Encoding": encoding}
    connection.request("GET", path, headers=headers)
    size = len(connection.getresponse().read())
    connection.close()
    return size, time.monotonic() - began


def polled(cost: Cost, created: list[float], running: list[float]) -> None:
    """What the seed's nodes would have asked for while these pods came up.

    Each lists all pods when it runs and every second after that until it finds all running. The API server sends a list
    gzipped when it has more than 128 KiB.
    """
    births, last = sorted(created), max(running)
    for began in running:
        for number in range(math.ceil(last - began) + 1):
            there = bisect.bisect_right(births, began + number)
            whole = cost.list_bytes * there / cost.pods
            cost.polled_requests += 1
            cost.polled_bytes += round(whole if whole < GZIP_FROM else cost.list_bytes_sent * there / cost.pods)
