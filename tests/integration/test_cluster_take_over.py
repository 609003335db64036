"""A controller that dies is followed by `attach`, which comes to the same verdict whatever can still be read of the logs.

The real commands against a Kubernetes API on this machine; what nodes say is scripted.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from support.books import wait_until
from support.cluster_commands import Commands, ended, killed
from support.kube_server import NAMESPACE, KubeServer
from support.rules_server import alert, rule, rules_server
from support.scripted_nodes import WITHIN_S, ScriptedNodes, plan_of

from wasp_ray import AlertCheck, __version__
from wasp_ray.cluster.record import packed, unpacked
from wasp_ray.execution.reporter import NO_PLAN

pytestmark = [pytest.mark.waits, pytest.mark.timeout(900)]


def test_a_threshold_counts_though_the_plan_can_no_longer_be_read_from_the_logs(
    kube: KubeServer, commands: Commands
) -> None:
    """The controller dies in the run, the first lines of all logs are rotated away: 90 % of the calls failed, so did the run."""
    first = commands.start_run("shop-1")
    nodes = ScriptedNodes(kube, "shop-1", plan_of(2))
    nodes.come_up()
    nodes.until(lambda data: data["start_at"])
    killed(first)
    nodes.rotate_logs()
    nodes.finish()
    kube.lapse("shop-1")
    code, said = commands.attach("shop-1")
    summary = commands.summary()
    assert (summary["ledger"]["started"], summary["ledger"]["failed"]) == (1000, 900)
    assert (code, summary["verdict"]) == (1, "failed"), said
    assert any("failed < 1%" in reason for reason in summary["reasons"]), summary["reasons"]
    assert kube.names() == []


def test_plan_and_causes_are_written_no_later_than_what_follows_from_them(kube: KubeServer, commands: Commands) -> None:
    """The plan comes before the start or with it, the cause in the very write that stops: no controller dies between them."""
    process = commands.start_run("shop-1", "--timeout", "1s")
    nodes = ScriptedNodes(kube, "shop-1", plan_of(2))
    nodes.come_up()
    nodes.until(lambda data: data["abort"])
    nodes.finish(stopped=True)
    code, said = ended(process)
    assert code == 4, said
    patches = [body["data"] for method, kind, body in kube.writes if (method, kind) == ("PATCH", "configmaps")]
    (started,) = [at for at, data in enumerate(patches) if "start_at" in data]
    before = {name: text for data in patches[: started + 1] for name, text in data.items()}
    assert unpacked(before["plan"])["thresholds"] == ["failed < 1%"] and before["version"] == __version__
    (stopped,) = [data for data in patches if "abort" in data]
    assert "within its timeout, 1 s" in stopped["causes"]


def test_a_run_whose_plan_nobody_knows_is_an_error(kube: KubeServer, commands: Commands) -> None:
    """As one that a controller without a record began: no threshold can be judged, so it must not pass."""
    first = commands.start_run("shop-1")
    nodes = ScriptedNodes(kube, "shop-1", plan_of(2))
    nodes.come_up()
    nodes.until(lambda data: data["start_at"])
    killed(first)
    nodes.rotate_logs()
    nodes.finish(ok=500, failed=0)
    del kube.objects[("configmaps", "wasp-shop-1")]["data"]["plan"]
    kube.lapse("shop-1")
    code, said = commands.attach("shop-1")
    assert (code, commands.summary()["reasons"]) == (4, [NO_PLAN]), said


def timeout(process: subprocess.Popen[str], nodes: ScriptedNodes) -> None:
    """The run takes longer than it may."""


def interrupted(process: subprocess.Popen[str], nodes: ScriptedNodes) -> None:
    """Ctrl-C in the terminal."""
    process.send_signal(signal.SIGINT)


def node_lost(process: subprocess.Popen[str], nodes: ScriptedNodes) -> None:
    """The kernel kills a node's container."""
    nodes.kube.end_pod(nodes.pods[1], 137)


def pod_gone(process: subprocess.Popen[str], nodes: ScriptedNodes) -> None:
    """A node's pod is deleted by force: nothing of it is left to look at."""
    nodes.kube.remove_pod(nodes.pods[1])


def node_failed(process: subprocess.Popen[str], nodes: ScriptedNodes) -> None:
    """A node could not do its part, and says so in its result."""
    nodes.say(1, "result", {**nodes.result(1, 10, 0, True).to_data(), "errors": ["no login for you"]})
    nodes.kube.end_pod(nodes.pods[1])


@dataclass(frozen=True)
class End:
    """How a run is ended, and what must come of it."""

    options: tuple[str, ...]
    act: Callable[[subprocess.Popen[str], ScriptedNodes], None]
    code: int
    verdict: str
    lost: bool = False  # node 1 has nothing more to report
    stops: bool = True
    rotates: bool = True


ENDS = {
    "its timeout passes": End(("--timeout", "2s"), timeout, 4, "error"),
    "somebody presses Ctrl-C": End((), interrupted, 130, "interrupted"),
    "a node is killed and the others are stopped": End((), node_lost, 3, "invalid", lost=True),
    "the pod of a node is gone and the others are stopped": End((), pod_gone, 3, "invalid", lost=True),
    "the pod of a node is gone and the others continue": End(
        ("--set", "onLostNode=continue"), pod_gone, 3, "invalid", lost=True, stops=False
    ),
    "a node reports an error": End((), node_failed, 4, "error", lost=True, rotates=False),
}


@pytest.mark.parametrize("name", ENDS)
def test_attach_comes_to_the_verdict_and_reasons_of_the_first_controller(
    name: str, kube: KubeServer, commands: Commands
) -> None:
    """Once the cause is recorded the first controller may die: `attach` reports the same, though older lines are rotated away."""
    end, plan = ENDS[name], plan_of(2, ["failed < 50%"])
    going = {run: commands.start_run(run, *end.options, "--out", run) for run in ("lives", "dies")}
    for run, process in going.items():
        nodes = ScriptedNodes(kube, run, plan)
        nodes.come_up()
        nodes.until(lambda data: data["start_at"])
        end.act(process, nodes)
        nodes.until(lambda data: data["abort"] if end.stops else "was lost" in data.get("causes", ""))
        if run == "dies":
            killed(process)
            if end.rotates:
                nodes.rotate_logs()
        nodes.finish(*((2,) if end.lost else ()), ok=500, failed=0, stopped=end.stops)
    kube.lapse("dies")
    going["dies"] = commands.start("attach", "dies", "--out", "attached")
    reports = []
    for run, out in (("lives", "lives"), ("dies", "attached")):
        code, said = ended(going[run])
        summary = commands.summary(out)
        assert (code, summary["verdict"]) == (end.code, end.verdict), said
        reports.append([text.replace(run, "RUN") for text in summary["reasons"]])
    assert reports[0] == reports[1]


def test_alerts_are_asked_for_by_who_takes_over(kube: KubeServer, commands: Commands) -> None:
    """By the recorded plan; from where they cannot be asked for, nothing is taken over and no node is stopped."""
    with rules_server() as grafana:
        check = AlertCheck(labels={"requirement_name": "baseline"})
        first = commands.start_run("shop-1", GRAFANA_URL=grafana.url)
        nodes = ScriptedNodes(kube, "shop-1", plan_of(2, [check]))
        nodes.come_up()
        nodes.until(lambda data: data["start_at"])
        killed(first)
        nodes.rotate_logs()
        kube.lapse("shop-1")
        code, said = commands.attach("shop-1")
        assert code == 2 and "GRAFANA_URL" in said, said
        assert kube.config_map("shop-1")["abort"] == "" and "pods/wasp-shop-1-0-x" in kube.names()
        grafana.rules = [rule(state="firing", alerts=[alert(job="shop")])]
        again = commands.start("attach", "shop-1", "--out", "attached", GRAFANA_URL=grafana.url)
        asked = len(grafana.requests)
        wait_until(lambda: len(grafana.requests) > asked, WITHIN_S)
        nodes.finish(ok=500, failed=0)
        code, said = ended(again)
    assert code == 1 and "fired" in said, said


def test_a_recorded_verdict_stays_though_its_cause_can_no_longer_be_seen(kube: KubeServer, commands: Commands) -> None:
    """As an alert that fired in a run that was kept, and is quiet by now."""
    process = commands.start_run("shop-1", "--keep")
    nodes = ScriptedNodes(kube, "shop-1", plan_of(2))
    nodes.come_up()
    nodes.until(lambda data: data["start_at"])
    nodes.finish(ok=500, failed=0)
    code, said = ended(process)
    assert code == 0, said
    kept = kube.config_map("shop-1")
    assert json.loads(kept["verdict"]) == {"verdict": "passed", "reasons": []} and kept["phase"] == "done"
    kube.objects[("configmaps", "wasp-shop-1")]["data"]["verdict"] = packed(
        {"verdict": "failed", "reasons": ["it fired"]}
    )
    code, said = commands.attach("shop-1")
    assert (code, commands.summary()["reasons"]) == (1, ["it fired"]), said


def test_nodes_of_another_version_are_refused_before_the_start(kube: KubeServer, commands: Commands) -> None:
    """Exit 4 with both versions and the commands that make them one; no load was started, nothing is left."""
    process = commands.start_run("shop-1")
    nodes = ScriptedNodes(kube, "shop-1", plan_of(2), version="9.8.7")
    nodes.come_up()
    nodes.until(lambda data: data["abort"])
    assert kube.config_map("shop-1")["start_at"] == ""
    for pod in nodes.pods.values():
        kube.end_pod(pod)
    code, said = ended(process)
    (reason,) = commands.summary("out")["reasons"]
    assert code == 4 and "9.8.7" in reason and __version__ in reason, said
    assert "wasp cluster image build --build-root DIR --tag registry.example/load:1 --push" in reason
    assert "pip install 'wasp-ray[cluster]==9.8.7'" in reason
    assert kube.names() == []


def test_attach_leaves_a_run_alone_whose_nodes_are_of_another_version(kube: KubeServer, commands: Commands) -> None:
    """Exit 4 with both versions; who installs that version can still attach."""
    first = commands.start_run("shop-1")
    nodes = ScriptedNodes(kube, "shop-1", plan_of(2))
    nodes.come_up()
    nodes.until(lambda data: data["start_at"])
    killed(first)
    before = kube.names()
    kube.objects[("configmaps", "wasp-shop-1")]["data"]["version"] = "9.8.7"
    kube.lapse("shop-1")
    code, said = commands.attach("shop-1")
    assert code == 4 and "9.8.7" in said and __version__ in said and "wasp cluster attach shop-1" in said, said
    assert kube.names() == before and kube.config_map("shop-1")["abort"] == ""


def test_a_detached_controller_refuses_a_run_that_another_version_made(kube: KubeServer, commands: Commands) -> None:
    """Nothing is started; `attach` reports it with exit 4, both versions and the cure."""
    code, said = commands.run("run", "load.py", "--image", "load:1", "--jobs", "2", "--run-id", "shop-1", "--detach")
    assert code == 0, said
    data = kube.objects[("configmaps", "wasp-shop-1")]["data"]
    data["order"] = json.dumps({**json.loads(data["order"]), "version": "9.8.7"})
    control = commands.start("control", "--run", "shop-1", WASP_NAMESPACE=NAMESPACE)
    nodes = ScriptedNodes(kube, "shop-1", plan_of(2))
    nodes.until(lambda data: data["abort"])
    nodes.come_up()
    assert kube.config_map("shop-1")["start_at"] == ""
    for pod in nodes.pods.values():
        kube.end_pod(pod)
    code, said = ended(control)
    assert code == 4, said
    code, said = commands.attach("shop-1")
    reason = commands.summary()["reasons"][0]
    assert code == 4 and "9.8.7" in reason and __version__ in reason and "load:1 --push" in reason, said


def test_an_exception_that_nobody_foresaw_leaves_the_run_with_its_logs(kube: KubeServer, commands: Commands) -> None:
    """Exit 5 with the commands that come next; the lease is free, so that `stop` need not wait for it."""
    process = commands.start_run("shop-1")
    nodes = ScriptedNodes(kube, "shop-1", plan_of(2))
    nodes.come_up()
    nodes.until(lambda data: data["start_at"])
    before = kube.names()
    nodes.finish(1, ok=500, failed=0, invented="by another version")
    code, said = ended(process)
    assert code == 5 and "TypeError" in said and "invented" in said, said
    for command in ("attach shop-1", "logs shop-1 --all", "stop shop-1"):
        assert f"`wasp cluster {command}`" in said, said
    assert kube.names() == before and kube.pods["wasp-shop-1-0-x"].lines
    assert kube.objects[("leases", "wasp-shop-1")]["spec"].get("holderIdentity") is None
    nodes.finish(2, ok=500, failed=0)
    code, said = commands.run("stop", "shop-1")
    assert code == 0 and kube.names() == [], said
