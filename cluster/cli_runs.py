"""`wasp cluster list | status | logs | attach | stop | clean | control`: commands for runs that are there already."""

from __future__ import annotations

import os
import queue
from pathlib import Path
from typing import Any

import click

from wasp_ray.clock import sleep_s
from wasp_ray.cluster import attaching
from wasp_ray.cluster.backend import Line
from wasp_ray.cluster.cli import conclude, kube_of, where_options
from wasp_ray.cluster.credentials import Credentials
from wasp_ray.cluster.kube import Kube
from wasp_ray.cluster.logs import LogFollower
from wasp_ray.cluster.naming import object_name
from wasp_ray.cluster.pods import PodState
from wasp_ray.cluster.runs import RunState, find_run, list_runs, remove_run, stop_run
from wasp_ray.cluster.snapshot import MARK
from wasp_ray.errors import BadInput, NodeFailed
from wasp_ray.execution import Finished, Outputs
from wasp_ray.report.bundle_writer import BundleWriter, shown_path
from wasp_ray.report.options import result_options
from wasp_ray.report.terminal import TerminalView, say, show_table

LOOK_S = 0.5


@click.command("list", epilog="""\b
Example:
  wasp cluster list -n wasp
""")  # fmt: skip
@where_options
def list_command(**where: Any) -> int:
    """The runs of a namespace."""
    kube = kube_of(**where)
    runs = list_runs(kube)
    if not runs:
        click.echo(f"no runs in namespace {kube.namespace} of {kube.credentials.name}")
    for run in runs:
        click.echo(f"{run.run:<40} {run.phase:<12} {run.jobs:>5} nodes  {run.created}  {run.test()}")
    return 0


@click.command(epilog="""\b
Example:
  wasp cluster status nightly-7
""")  # fmt: skip
@click.argument("run")
@where_options
def status(run: str, **where: Any) -> int:
    """One run: its phase and what each of its pods does."""
    kube = kube_of(**where)
    state = find_run(kube, run)
    click.echo(
        f"run {state.run}: {state.phase}, {state.jobs} nodes of {state.image()}, {state.test()}, since {state.created}"
    )
    if state.data.get("start_at"):
        click.echo(f"started at {float(state.data['start_at']):.3f} (seconds since 1970, by the API server's clock)")
    for pod in state.pods:
        click.echo(f" node {pod.node or '?':>4}  {pod.name:<50} {pod.host:<20} {doing(pod)}")
    return 0


def doing(pod: PodState) -> str:
    """What a pod does, in words."""
    if pod.ended:
        return pod.ended
    if pod.waiting:
        return f"waiting: {pod.waiting}"
    return "ready" if pod.ready else "running"


@click.command(epilog="""\b
Examples:
  wasp cluster logs nightly-7            what users of all nodes have printed
  wasp cluster logs nightly-7 -f --node 3
""")  # fmt: skip
@click.argument("run")
@click.option("-f", "--follow", is_flag=True, help="Until the run ends.")
@click.option("--node", type=click.IntRange(1), help="Of this node alone.")
@click.option("--all", "everything", is_flag=True, help="The nodes' own messages too.")
@where_options
def logs(run: str, follow: bool, node: int | None, everything: bool, **where: Any) -> int:
    """What the nodes of a run printed, each line with its node in front."""
    kube = kube_of(**where)
    state = find_run(kube, run)
    pods = [pod for pod in state.pods if pod.started and (node is None or pod.node == node)]
    if not pods and not follow:
        raise BadInput(f"run {run} has no container that ran yet: see `wasp cluster status {run}`")

    def show(number: int | None, text: str) -> None:
        if everything or not text.startswith(MARK):
            click.echo(f"{number}/{text}")

    if not follow:
        for pod in pods:
            for text in kube.log(pod.name, "wasp").decode("utf-8", "replace").splitlines():
                show(pod.node, text)
        return 0
    lines: queue.SimpleQueue[Line] = queue.SimpleQueue()
    follower = LogFollower(kube.credentials.copy(), kube.namespace, lines.put)
    try:
        while any(not pod.ended for pod in state.pods) or not state.pods or not lines.empty():
            for pod in state.pods:
                if pod.started and pod.node is not None and node in (None, pod.node):
                    follower.follow(pod.node, pod.uid, pod.name)
            sleep_s(LOOK_S)
            while not lines.empty():
                line = lines.get()
                show(line.node, line.text)
            state = find_run(kube, run)
    except KeyboardInterrupt:
        pass
    finally:
        follower.close()
    return 0


@click.command(epilog="""\b
Examples:
  wasp cluster attach nightly-7          after --detach, or when the terminal that ran it is gone
""")  # fmt: skip
@click.argument("run")
@click.option("--keep", is_flag=True, help="Remove nothing at the end.")
@result_options
@where_options
def attach(
    run: str, keep: bool, out: Path | None, quiet: bool | None, namespace: str | None, context: str | None,
    kubeconfig: Path | None, **paths: Path | None,
) -> int:  # fmt: skip
    """Wait for a run's verdict: of a detached one, or by taking over from a controller that is no more."""
    outputs = Outputs(**paths)
    outputs.check(out)
    kube = kube_of(namespace, context, kubeconfig)
    state = find_run(kube, run)
    if attaching.is_detached(kube, run):
        found = attaching.wait_for_result(kube, run, click.echo)
        try:
            code = _show_result(found, out, outputs)
        except (LookupError, TypeError, ValueError, AttributeError) as exc:
            exc.add_note(attaching.unread_result(run, found))
            raise
        if not keep:
            remove_run(kube, run)
        return code
    execution = attaching.taken_over(
        kube, state, TerminalView(bool(quiet), False), click.echo, keep=keep, out=out, outputs=outputs
    )
    return conclude(execution, out)


def _show_result(found: dict[str, Any], out: Path | None, outputs: Outputs) -> int:
    from wasp_ray.clock import stamp

    summary, code = found["summary"], int(found["exit_code"])
    bundle = BundleWriter.create(out, summary["profile"], stamp())
    bundle.write_json("summary.json", summary)
    bundle.write_json("plan.json", found["plan"])
    outputs.write(Finished(summary, code, bundle.path, out), say)
    show_table(summary, code, shown_path(bundle.path, out))
    return code


@click.command(epilog="""\b
Examples:
  wasp cluster stop nightly-7
  wasp cluster stop nightly-7 --if-exists    no error when it is gone, as at the end of a CI job
""")  # fmt: skip
@click.argument("run")
@click.option("--if-exists", is_flag=True, help="No error when there is no such run.")
@click.option("--now", is_flag=True, help="No time for calls in flight.")
@where_options
def stop(run: str, if_exists: bool, now: bool, **where: Any) -> int:
    """End a run; its controller keeps the results. A run without one is removed."""
    kube = kube_of(**where)
    try:
        state = find_run(kube, run)
    except BadInput:
        if if_exists:
            click.echo(f"there is no run {run}")
            return 0
        raise
    stop_run(kube, run, at_once=now)
    click.echo(f"run {run} is told to stop")
    if attaching.is_detached(kube, run):
        click.echo(f"its verdict: wasp cluster attach {run}")
        return 0
    try:
        attaching.wait_for_lease(kube, run, click.echo)
    except NodeFailed as exc:  # its controller has finished it
        click.echo(str(exc))
        return 0
    attaching.stop_and_remove(kube, run, click.echo, drain_s=state.terms().drain_s)
    click.echo(f"run {run} is removed")
    return 0


@click.command(epilog="""\b
Examples:
  wasp cluster clean                  every run that nobody controls any more
  wasp cluster clean --all            running ones too
""")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Also runs that have a controller.")
@where_options
def clean(everything: bool, **where: Any) -> int:
    """Remove what runs have left in a namespace."""
    kube = kube_of(**where)
    removed = 0
    for state in list_runs(kube):
        if everything or not _is_controlled(kube, state):
            removed += remove_run(kube, state.run)
            click.echo(f"run {state.run} is removed")
        else:
            click.echo(f"run {state.run} has a controller: left alone (--all removes it too)")
    click.echo(f"{removed} runs removed from namespace {kube.namespace}")
    return 0


def _is_controlled(kube: Kube, state: RunState) -> bool:
    """Whether somebody renews its lease, or its controller's Job goes on."""
    job = kube.get("Job", f"{object_name(state.run)}-controller")
    if job is not None:
        return not any(c["type"] in ("Failed", "Complete") for c in job.get("status", {}).get("conditions") or [])
    first = kube.get("Lease", object_name(state.run))
    if first is None or not first["spec"].get("holderIdentity"):
        return False
    sleep_s(attaching.RENEWED_WITHIN_S)
    second = kube.get("Lease", object_name(state.run))
    return second is not None and second["spec"].get("renewTime") != first["spec"].get("renewTime")


@click.command(hidden=True)
@click.option("--run", required=True)
def control(run: str) -> int:
    """The controller as a Job in the cluster: runs to the verdict, leaves the result, removes nothing."""
    kube = Kube(Credentials(), os.environ.get("WASP_NAMESPACE") or "wasp")
    state = find_run(kube, run)
    execution = attaching.taken_over(
        kube, state, TerminalView(False, False), click.echo, keep=True, wants_bundle=False,
        refusal=attaching.refusal_of(state),
    )  # fmt: skip
    outcome = execution.run()
    if execution.failure is not None:  # another one has the run, or may attach to it: this is not its result
        raise execution.failure
    attaching.leave_result(kube, run, outcome, attaching.owner_of(state.job))
    code: int = outcome.judged.exit_code
    show_table(outcome.summary, code, None)
    return code


COMMANDS = (list_command, status, logs, attach, stop, clean, control)
