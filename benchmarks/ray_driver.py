"""What the driver of a Ray run with 100 nodes costs: real Ray, a real actor a node, what nodes say played back (ray_simulated).

The driver is two processes: who runs the load test, which judges and shows, and the one that is Ray's driver.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from benchmarks.figure import Figure
from benchmarks.ray_simulated import record
from wasp_ray.execution import Settings

NODES, SECONDS, ROUNDS = 100, 20, 3
STORE_BYTES = 200 * 2**20
RUN_TIMEOUT_S = 280.0
SAMPLE_S = 0.5
TICK = os.sysconf("SC_CLK_TCK")
RESULTS = Path("bench-results/ray-driver.json")
LOAD = f"""
import asyncio, time
from wasp_ray import *

class Quick(Gun):
    async def call(self):
        await asyncio.sleep(0.002)

class Buyer(VirtualUser):
    def call(self):
        with self.group("login"):
            time.sleep(0.01)
        with self.group("buy"):
            time.sleep(0.02)

profile = Profile(
    Generator("quick", gun=Quick, schedule=plain({40 * NODES}, {SECONDS})),
    Generator("buyer", user=Buyer, schedule=plain({4 * NODES}, {SECONDS}), think_time=0.05),
)
"""
"""A node's share: 40 calls a second and 4 users, as of a pod in cluster_scale."""


@dataclass
class Round:
    """CPU seconds per second of the load."""

    controller: float
    driver: float
    actors: float
    ray: float  # its own processes: raylet, head, agents
    peak_rss_bytes: int


@dataclass
class Sampler:
    """Reads the CPU seconds of processes below this one: of `controller`, of Ray's driver, of actors, of all others."""

    controller: int
    seen: list[tuple[float, dict[int, float]]] = field(default_factory=list)
    kinds: dict[int, str] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)
    peak_rss_bytes: int = 0

    def run(self) -> None:
        """Until it is over; a thread's."""
        while not self.over.wait(SAMPLE_S):
            pids = _below(os.getpid())
            self.seen.append((time.time(), {pid: _cpu_s(pid) for pid in pids}))
            for pid in pids:  # a worker is named when it is given its actor, and has no name when it has ended
                if self.kinds.get(pid) in (None, "ray"):
                    self.kinds[pid] = "controller" if pid == self.controller else _kind(pid)
            ours = (pid for pid in pids if self.kinds[pid] in ("controller", "driver"))
            self.peak_rss_bytes = max(self.peak_rss_bytes, sum(map(_rss_bytes, ours)))

    def cores(self, kind: str, from_s: float, to_s: float) -> float:
        """The mean between two moments, of processes that lived to the second one."""
        within = [sample for sample in self.seen if from_s <= sample[0] <= to_s]
        (first_s, before), (last_s, after) = within[0], within[-1]
        used = sum(cpu_s - before.get(pid, 0.0) for pid, cpu_s in after.items() if self.kinds[pid] == kind)
        return used / (last_s - first_s)


def ray_driver() -> list[Figure]:
    """Three runs of 20 s of load, with new actors each."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])  # where actors find ray_simulated
    with tempfile.TemporaryDirectory() as folder:
        recorded = _recorded(Path(folder))
        cluster: Any = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 2, "object_store_memory": STORE_BYTES, "include_dashboard": False},
        )
        try:
            rounds = [_round(Path(folder), cluster.address, recorded, number) for number in range(ROUNDS)]
        finally:
            cluster.shutdown()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([asdict(found) for found in rounds], indent=1))
    both = statistics.median(r.controller + r.driver for r in rounds)
    driver, actors, own = (statistics.median(getattr(r, name) for r in rounds) for name in ("driver", "actors", "ray"))
    mib = max(r.peak_rss_bytes for r in rounds) / 2**20
    return [
        Figure(f"driver of {NODES} nodes on Ray, its CPU", both, "cores", "<= 1 core", both <= 1, rounds=ROUNDS),
        Figure("  of it, the process that is Ray's driver", driver, "cores", "", True, rounds=ROUNDS),
        Figure("  peak RSS", mib, "MiB", "", True, rounds=ROUNDS),
        Figure("  Ray's own processes beside it", own, "cores", "", True, rounds=ROUNDS),
        Figure(f"  the {NODES} actors, which say what nodes say", actors, "cores", "", True, rounds=ROUNDS),
    ]


def _recorded(folder: Path) -> Path:
    """What one of the nodes says, in a file."""
    (folder / "load.py").write_text(LOAD)
    found = record(Settings(source={"file": str(folder / "load.py")}, nodes=NODES, seed=1, user_dir=str(folder)))
    file = folder / "recorded.json"
    file.write_text(json.dumps(asdict(found)))
    return file


def _round(folder: Path, address: str, recorded: Path, number: int) -> Round:
    order = {
        "load": str(folder / "load.py"), "nodes": NODES, "address": address, "recorded": str(recorded),
        "out": str(folder / f"out-{number}"), "answer": str(folder / "answer.json"),
    }  # fmt: skip
    file = folder / "order.json"
    file.write_text(json.dumps(order))
    with (folder / "said.txt").open("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.ray_controller", str(file)],
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        sampler = Sampler(process.pid)
        thread = threading.Thread(target=sampler.run)
        thread.start()
        try:
            process.wait(RUN_TIMEOUT_S)
        finally:
            process.kill()  # does nothing to one that has ended
            process.wait()
            sampler.over.set()
            thread.join()
        said.seek(0)
        text = said.read()
    if process.returncode != 0:
        raise RuntimeError(f"the driver ended with {process.returncode}: {text[-3000:]}")
    return _judged(sampler, json.loads((folder / "answer.json").read_text()))


def _judged(sampler: Sampler, answer: Mapping[str, Any]) -> Round:
    if answer["verdict"] != "passed" or answer["nodes"] != NODES:
        raise RuntimeError(f"the run was no good: {answer}")
    window = (answer["start_s"], answer["start_s"] + SECONDS)
    kinds = ("controller", "driver", "actors", "ray")
    controller, driver, actors, own = (sampler.cores(kind, *window) for kind in kinds)
    found = Round(controller, driver, actors, own, sampler.peak_rss_bytes)
    shares = f"controller {controller:.2f}, Ray's driver {driver:.2f}, actors {actors:.2f}, Ray itself {own:.2f}"
    print(f"  {shares} cores", flush=True)
    return found


def _below(root: int) -> list[int]:
    """Pids of a process' children and theirs."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
    found: list[int] = []
    new = {root}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new}
        found += new
    return found


def _kind(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return "ray"
    return (
        "actors" if b"ray::SimulatedActor" in command else "driver" if b"benchmarks.ray_simulated" in command else "ray"
    )


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICK


def _rss_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
