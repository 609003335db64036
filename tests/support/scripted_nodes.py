"""Nodes of a run on the KubeServer that say what a test wants, in the protocol's own words: no load is made."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from support.books import wait_until
from support.kube_server import KubeServer, ScriptedPod
from support.run_seconds import seconds_of
from wasp_ray import AlertCheck, Generator, Gun, Profile, __version__, plain
from wasp_ray.cluster.agent import plan_hash
from wasp_ray.cluster.last_word import word_text
from wasp_ray.cluster.snapshot import Encoder
from wasp_ray.load.build import make_plan
from wasp_ray.node.options import NodeResult
from wasp_ray.plan import Plan
from wasp_ray.stats.tallies import Ledger
from wasp_ray.stats.totals import GeneratorTotals, NodeTotals

WITHIN_S = 300.0


class Quick(Gun):
    """Never called here."""

    def call(self) -> None:
        """Nothing."""


def plan_of(nodes: int, thresholds: Sequence[str | AlertCheck] = ("failed < 1%",)) -> Plan:
    """The plan of a rate of 100/s for 10 s, as nodes report it."""
    profile = Profile(
        Generator("search", gun=Quick, schedule=plain(100, "10s")), name="shop", thresholds=list(thresholds)
    )
    assert profile.validate() == []
    return make_plan(profile, {"seed": 7, "nodes": nodes})


class ScriptedNodes:
    """The pods of one run, by node 1 .. N."""

    def __init__(self, kube: KubeServer, run: str, plan: Plan, *, version: str = __version__) -> None:
        self.kube, self.run, self.plan, self.version = kube, run, plan, version
        self.pods: dict[int, ScriptedPod] = {}
        self._encoders: dict[int, Encoder] = {}

    def come_up(self) -> None:
        """Once the Job was let go, every node reports its plan and is ready."""
        self.appear()
        for node in self.pods:
            self.say(node, "ready", {"at": time.time()})

    def appear(self) -> None:
        """Once the Job was let go, every node reports its plan."""
        job: dict[str, Any] = {}

        def is_let_go() -> bool:
            job.update(self.kube.objects.get(("jobs", f"wasp-{self.run}"), {}))
            return bool(job) and job["spec"].get("suspend") is False

        wait_until(is_let_go, WITHIN_S)
        for node in range(1, self.plan.nodes + 1):
            self.pods[node] = self.kube.start_pod(self.run, node, job["metadata"]["labels"]["sync"])
            self._encoders[node] = Encoder(self.run, node, self.pods[node].uid)
            self.say(node, "plan", {
                "plan": self.plan.to_data(), "warnings": [], "hash": plan_hash(self.plan), "version": self.version,
                "python": "3.11", "host": f"host-{node}", "at": time.time(),
            })  # fmt: skip

    def until(self, what: Callable[[dict[str, str]], object]) -> None:
        """Until the run's ConfigMap says so."""
        wait_until(lambda: what(dict(self.kube.config_map(self.run))), WITHIN_S)

    def say(self, node: int, kind: str, data: dict[str, Any]) -> None:
        """One message."""
        self.kube.say(self.pods[node], *self._encoders[node].lines(kind, data))

    def rotate_logs(self) -> None:
        """What nodes have said up to now cannot be read any more."""
        for pod in self.pods.values():
            self.kube.rotate(pod)

    def finish(self, *nodes: int, ok: int = 50, failed: int = 450, stopped: bool = False, **more: Any) -> None:
        """These nodes report the results of their calls and end."""
        for node in nodes or self.pods:
            result = self.result(node, ok, failed, stopped)
            seconds = seconds_of([result])
            self.say(node, "windows", {name: [second.to_data() for second in some] for name, some in seconds.items()})
            self.say(node, "result", {**result.to_data(), **more})
            self.kube.end_pod(self.pods[node], message=word_text(result.totals, result.errors))

    def result(self, node: int, ok: int, failed: int, stopped: bool) -> NodeResult:
        """What a node comes to."""
        ledger = Ledger(scheduled=ok + failed, started=ok + failed, ok=ok, failed=failed)
        totals = NodeTotals(node=node, host=f"host-{node}")
        totals.generators["search"] = GeneratorTotals(kind="rate", ledger=ledger, delivered=ok + failed)
        return NodeResult(self.plan, totals, 10.0, time.time() - 10, stopped=stopped)
