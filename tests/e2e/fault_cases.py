"""The faults that runs meet in test_cluster_faults.py, and what must come of each: exit code, what is told, books, bounds.

API: what the way to the API server does. NODES: what becomes of pods. docs/cluster-faults.md tells users the same.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from e2e.faulty import Case, Obj, Stage, attach, delete_pod, evict, limit_range, quota
from e2e.harness import tools
from e2e.harness.faults import Fault
from e2e.team import Team

CHART = Path(__file__).parents[2] / "charts" / "wasp"
MEMORY = {"resources": {"limits": {"memory": "400Mi"}, "requests": {"memory": "64Mi"}}}


def always(*faults: Fault) -> Callable[[], list[Fault]]:
    """Fresh ones for a case: they count whom they met."""
    return lambda: [Fault(**{name: getattr(fault, name) for name in Fault.__dataclass_fields__}) for fault in faults]


def whole(summary: Obj) -> None:
    """Nothing was lost: every call of both nodes is there and went well."""
    assert summary["verdict"] == "passed", summary["reasons"]
    assert summary["ledger"]["ok"] == summary["ledger"]["scheduled"] == 80, summary["ledger"]


def in_the_run(*faults: Fault, for_s: float | None = None, cut: str = "") -> Callable[[Stage], None]:
    """Faults that begin when the load has; `cut`: open connections that are cut then."""

    def disturb(stage: Stage) -> None:
        stage.until_started()
        stage.proxy.set(*always(*faults)())
        if cut:
            stage.proxy.cut("*", cut)
        if for_s is not None:
            time.sleep(for_s)
            stage.proxy.set()

    return disturb


def books_by_last_word(summary: Obj) -> None:
    """All calls are counted though no result was heard."""
    assert summary["verdict"] == "invalid" and summary["ledger"]["ok"] == summary["ledger"]["scheduled"] == 80


API = [
    Case("a quarter of all requests is answered 500", faults=always(Fault("answer", probability=0.25)), check=whole),
    Case(
        "a quarter of all requests is answered 429 with Retry-After",
        faults=always(Fault("answer", status=429, retry_after_s=1, probability=0.25)),
        check=whole,
    ),
    Case("every request takes 300 ms longer", faults=always(Fault("delay", seconds=0.3)), check=whole),
    Case(
        "the API server is away for 15 s in the run",
        during=in_the_run(Fault("refuse"), for_s=15, cut=""),
        test="load.py:light",
        options=("-p", "seconds=20", "-p", "rate=4"),
        check=whole,
    ),
    Case(
        "answers to writes are lost",
        faults=always(Fault("drop", "POST", "jobs|configmaps|leases", times=4), Fault("drop", "PATCH", times=3)),
        check=whole,
    ),
    Case("requests hang", within_s=120, faults=always(Fault("hang", "GET", times=1), Fault("hang", "PATCH", times=1)), check=whole),
    Case("watches are dropped after each event", faults=always(Fault("drop", "WATCH", after=1, times=30)), check=whole),
    Case("the watch of the pods is half-open", faults=always(Fault("stall", "WATCH", "/pods", times=1)), check=whole),
    Case(
        "a node's watch is half-open when the start is told",
        3,
        "start came too late",
        within_s=110,
        faults=always(Fault("stall", "WATCH", "configmaps", times=1, after=1)),
    ),
    Case("watches are refused with 410", faults=always(Fault("answer", "WATCH", status=410, times=6)), check=whole),
    Case("watches end with 410 in mid-stream", faults=always(Fault("gone", "WATCH", after=1, times=8)), check=whole),
    Case(
        "a relist is stale",
        faults=always(
            Fault("gone", "WATCH", "/pods", after=4, times=2), Fault("stale", "GET", r"/pods\?", times=3)
        ),
        check=whole,
    ),
    Case("events are repeated", faults=always(Fault("repeat", "WATCH", copies=3)), check=whole),
    Case("events are missing", faults=always(Fault("skip", "WATCH", "/pods", after=1, lines=3)), check=whole),
    Case("a third of all requests is answered 401", faults=always(Fault("answer", status=401, probability=0.3)), check=whole),
    Case(
        "the token expires for good in the run",
        4,
        "log in again.*wasp cluster attach",
        during=in_the_run(Fault("answer", status=401), cut=""),
        options=("-p", "seconds=40", "-p", "rate=2"),
        after=attach,
        check=whole,
    ),
    Case("log streams are cut again and again", faults=always(Fault("drop", "GET", "/log", after=8)), check=whole),
    Case("log streams stall", faults=always(Fault("stall", "GET", "/log.*follow", after=3, times=2)), check=whole),
    Case(
        "logs cannot be read any more from mid-run on",
        3,
        "result of node 1 was not heard",
        within_s=90,
        during=in_the_run(Fault("answer", "GET", "/log"), cut="/log"),
        check=books_by_last_word,
    ),
    Case(
        "logs can never be read",
        4,
        "its log cannot be read: HTTP 500",
        faults=always(Fault("answer", "GET", "/log")),
        options=("--deploy-timeout", "20s"),
    ),
]  # fmt: skip


def both_counted(summary: Obj) -> None:
    """The other node's calls are there, and of the lost one what it told."""
    assert summary["verdict"] == "invalid" and len(summary["nodes"]) == 2 and summary["ledger"]["ok"] > 0


def stopped_early(summary: Obj) -> None:
    """As on_lost_node=stop wants it."""
    both_counted(summary)
    assert summary["duration_s"] < 20, summary["duration_s"]


def went_on(summary: Obj) -> None:
    """As on_lost_node=continue wants it: the other node did all of its part."""
    both_counted(summary)
    assert any(node["ledger"]["ok"] == 40 for node in summary["nodes"]), summary["nodes"]


def frozen(stage: Stage) -> None:
    """Node 1 says nothing more and hears nothing."""
    stage.until_started(2)
    stage.signal_node(1, signal.SIGSTOP)


def after_start(act: Callable[..., None], **options: object) -> Callable[[Stage], None]:
    """In the middle of the load."""

    def disturb(stage: Stage) -> None:
        stage.until_started(2)
        act(stage, **options)

    return disturb


def lift_quota(stage: Stage) -> None:
    """When it has refused a pod."""
    stage.pod(1)
    time.sleep(3)
    stage.admin("DELETE", f"/api/v1/namespaces/{stage.team.namespace}/resourcequotas/late")


def with_sidecar(team: Team) -> None:
    """A chart of one's own, whose pods have a container that never ends."""
    chart = team.folder / "chart"
    shutil.copytree(CHART, chart)
    job = chart / "templates" / "job.yaml"
    sidecar = """      containers:
        - name: sidecar
          image: {{ include "wasp.image" . | quote }}
          imagePullPolicy: Never
          command: ["python", "-c", "import time; time.sleep(3600)"]
"""
    text = job.read_text()
    assert text.count("      containers:\n") == 1
    job.write_text(text.replace("      containers:\n", sidecar))


def with_helm() -> dict[str, str]:
    """Where the command looks for it."""
    return {"PATH": f"{tools.built(tools.HELM3).parent}:{os.environ['PATH']}"}


OOM_EXIT = 3 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 0
"""With cgroup v2 the kernel ends the whole container, which loses the node; before, the one process that asked too much."""
BY_SIGTERM = "node 1 was ended by SIGTERM from outside"
LONG = ("-p", "seconds=40", "-p", "rate=2")
NODES = [
    Case("processes of a node run out of memory", OOM_EXIT, "worker processes died|OOMKilled", test="load.py:hungry",
         values=MEMORY, options=("-p", "seconds=10"), check=lambda summary: None),
    Case("a node has less memory than it needs itself", 4, "OOMKilled|exit code 137|SIGKILL|memory",
         values={"resources": {"limits": {"memory": "24Mi"}}}),
    Case(
        "a node hangs",
        4,
        "not over within its timeout",
        options=("--timeout", "8s", *LONG),
        values={"drain": "5s"},
        during=frozen,
        check=lambda summary: None,
    ),
    Case("a pod is deleted in the run", 3, BY_SIGTERM, options=LONG, during=after_start(delete_pod), check=stopped_early),
    Case("a pod is deleted by force in the run", 3, f"node 1 was lost|{BY_SIGTERM}", options=LONG,
         during=after_start(delete_pod, gracePeriodSeconds=0), check=stopped_early),
    Case("a pod is evicted in the run", 3, BY_SIGTERM, options=LONG, during=after_start(evict), check=stopped_early),
    Case(
        "a pod is evicted in the run, continue",
        3,
        BY_SIGTERM,
        options=("-p", "seconds=8", "-p", "rate=10"),
        values={"onLostNode": "continue"},
        during=after_start(evict),
        check=went_on,
    ),
    Case("a pod is deleted in setup", 4, "node 1.*before the start", test="load.py:slow", during=delete_pod),
    Case("an image is not there", 4, "ErrImageNeverPull", within_s=40, options=("--image", "nobody/nothing:1")),
    Case("a quota leaves no room", 2, "ResourceQuota pods leaves 1 of 1 pods, the run needs 2", within_s=20,
         before=lambda team: quota(team, "pods", {"pods": "1"}), has_summary=False),
    Case("a scoped quota refuses a pod", 4, "exceeded quota: scoped", options=("--deploy-timeout", "15s"),
         before=lambda team: quota(team, "scoped", {"pods": "1"}, scopes=["Terminating"])),
    Case("a quota is lifted in time", before=lambda team: quota(team, "late", {"pods": "1"}, scopes=["Terminating"]),
         during=lift_quota, check=whole),
    Case("a LimitRange forbids the containers", 2, "LimitRange bounds allows max 64Mi memory", within_s=20, values=MEMORY,
         before=lambda team: limit_range(team, {"type": "Container", "max": {"memory": "64Mi"}}), has_summary=False),
    Case("a LimitRange forbids the pods", 4, "maximum memory usage per Pod is 64Mi", values=MEMORY,
         options=("--deploy-timeout", "15s"),
         before=lambda team: limit_range(team, {"type": "Pod", "max": {"memory": "64Mi"}})),
    Case("no host takes the pods", 4, "didn't match Pod's node affinity/selector", values={"nodeSelector": {"moon": "yes"}},
         options=("--deploy-timeout", "12s")),
    Case("a Secret that pods need is not there", 4, 'secret "nowhere" not found',
         options=("--env-from", "secret/nowhere", "--deploy-timeout", "15s")),
    Case("a sidecar never ends", before=with_sidecar, env=with_helm, options=("--chart", "chart"), check=whole),
    Case("a node cannot be set up", 4, "no login for you", test="load.py:broken"),
]  # fmt: skip
