"""Runs that meet a fault: each in a namespace of its own, through a fault proxy of its own, several at a time.

A `Case` says what is done to a run and what must come of it; `played` plays it and gives what was seen.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e.harness.access import ApiError
from e2e.harness.cluster import Kubernetes
from e2e.harness.faults import Fault
from e2e.harness.proxy import Proxy
from e2e.team import Team, make_team, run_id
from support.processes import processes_with

Obj = dict[str, Any]


@dataclass
class Stage:
    """A run that goes on, for who disturbs it."""

    team: Team
    proxy: Proxy
    run: str
    process: subprocess.Popen[str]

    def until_started(self, spare_s: float = 1.0) -> None:
        """Until the common start is past by so much."""

        def start_at() -> str:
            maps = [o for o in self.team.objects("configmaps") if o["metadata"]["name"] == f"wasp-{self.run}"]
            return str(maps[0]["data"]["start_at"]) if maps else ""

        at_s = float(self.team.wait_for(start_at, "the start is fixed", 60, self.process))
        time.sleep(max(0.0, at_s + spare_s - time.time()))

    def pod(self, node: int, phase: str = "Running") -> str:
        """The name of a node's pod, once it is in that phase."""
        wanted = f"wasp-{self.run}-{node - 1}-"

        def found() -> str | None:
            for pod in self.team.objects("pods"):
                if pod["metadata"]["name"].startswith(wanted) and pod["status"].get("phase") == phase:
                    return str(pod["metadata"]["name"])
            return None

        return str(self.team.wait_for(found, f"a pod of node {node} is {phase}", 60, self.process))

    def path(self, node: int) -> str:
        """Of that pod at the API server."""
        return f"/api/v1/namespaces/{self.team.namespace}/pods/{self.pod(node)}"

    def admin(self, method: str, path: str, body: object = None) -> None:
        """As the administrator, past the proxy."""
        self.team.kubernetes.access.request(method, path, body)

    def signal_node(self, node: int, number: signal.Signals) -> None:
        """To every process of a node's container, as the kernel or its host would."""
        pod = self.pod(node)
        pids = processes_with(f"WASP_POD_NAME={pod}")
        assert pids, f"no process of {pod}"
        for pid in pids:
            with suppress(ProcessLookupError):  # the first one's end may have been that of the others
                os.kill(pid, number)


@dataclass(frozen=True)
class Case:
    """One fault. `told` is searched for in all that the command printed; `check` is given the summary."""

    name: str
    exit_code: int = 0
    told: str = ""
    within_s: float = 110
    test: str = "load.py:light"
    jobs: int = 2
    options: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    faults: Callable[[], list[Fault]] = list
    env: Callable[[], Mapping[str, str]] = dict
    before: Callable[[Team], None] = lambda team: None
    during: Callable[[Stage], None] = lambda stage: None
    after: Callable[[Stage], None] = lambda stage: None
    check: Callable[[Obj], None] = lambda summary: None
    has_summary: bool = True


@dataclass
class Seen:
    """What came of a case."""

    exit_code: int
    said: str
    took_s: float
    summary: Obj | None
    left: list[str]
    orphans: list[int]

    def verify(self, case: Case) -> None:
        """It ended as it should, in time, with closed books, and nothing is left."""
        print(f"{case.name}: exit {self.exit_code} after {self.took_s:.1f} s\n{self.said}")
        assert self.exit_code == case.exit_code, self.said
        assert re.search(case.told, " ".join(self.said.split())), f"expected {case.told!r} in:\n{self.said}"
        assert self.took_s < case.within_s, f"took {self.took_s:.1f} s:\n{self.said}"
        assert self.left == [] and self.orphans == [], self.said
        assert (self.summary is not None) == case.has_summary, self.said
        if self.summary is not None:
            case.check(self.summary)


def played(kubernetes: Kubernetes, case: Case, folder: Path) -> Seen:
    """Plays it to its end, and removes its namespace."""
    namespace = f"fault-{secrets.token_hex(4)}"
    kubernetes.access.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    try:
        kubernetes.wait_for_service_account(namespace)
        with Proxy(kubernetes.access, kubernetes.authority) as proxy:
            return _played(case, make_team(kubernetes, namespace, folder, proxy), proxy)
    finally:
        kubernetes.access.request("DELETE", f"/api/v1/namespaces/{namespace}")


def _played(case: Case, team: Team, proxy: Proxy) -> Seen:
    team.values = dict(case.values)
    case.before(team)
    run, began = run_id(), time.monotonic()
    proxy.set(*case.faults())
    process = team.start(
        "run", case.test, "--run-id", run, "--jobs", str(case.jobs), "--out", "out", "--timeout", "90s", *case.options,
        **case.env(),
    )  # fmt: skip
    stage = Stage(team, proxy, run, process)
    try:
        case.during(stage)
        said = process.communicate(timeout=case.within_s)[0]
    except BaseException:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            print(process.communicate()[0])
        raise
    took_s = time.monotonic() - began
    proxy.set()
    case.after(stage)
    bundle = next((name for name in ("attached", "out") if (team.folder / name / "summary.json").is_file()), None)
    summary = None if bundle is None else team.summary(bundle)
    return Seen(process.returncode, said, took_s, summary, team.left_behind(), orphans(team))


def orphans(team: Team, within_s: float = 5.0) -> list[int]:
    """Processes of this team's pods that are there after so long."""
    give_up = time.monotonic() + within_s
    while (found := processes_with(f"WASP_NAMESPACE={team.namespace}")) and time.monotonic() < give_up:
        time.sleep(0.2)
    return found


def quota(team: Team, name: str, hard: Obj, **spec: Any) -> None:
    """A ResourceQuota that is in force."""
    path = f"/api/v1/namespaces/{team.namespace}/resourcequotas"
    team.kubernetes.access.request("POST", path, {"metadata": {"name": name}, "spec": {"hard": hard, **spec}})

    def in_force() -> bool:
        found = team.kubernetes.access.request("GET", f"{path}/{name}")
        return bool(found.get("status", {}).get("hard"))

    team.wait_for(in_force, f"quota {name} is in force", 30)


def limit_range(team: Team, limit: Obj) -> None:
    """A LimitRange."""
    path = f"/api/v1/namespaces/{team.namespace}/limitranges"
    team.kubernetes.access.request("POST", path, {"metadata": {"name": "bounds"}, "spec": {"limits": [limit]}})


def attach(stage: Stage) -> None:
    """Brings the run to its verdict as somebody who may."""
    done = stage.team.wasp("attach", stage.run, "--out", "attached")
    assert done.returncode == 0, done.stdout + done.stderr


def delete_pod(stage: Stage, node: int = 1, **options: Any) -> None:
    """As `kubectl delete pod`."""
    stage.admin("DELETE", stage.path(node), options or None)


def evict(stage: Stage, node: int = 1) -> None:
    """As `kubectl drain` does."""
    path = stage.path(node)
    meta = {"name": path.rpartition("/")[2], "namespace": stage.team.namespace}
    try:
        stage.admin("POST", f"{path}/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta})
    except ApiError as exc:
        raise AssertionError(f"not evicted: {exc}") from exc
