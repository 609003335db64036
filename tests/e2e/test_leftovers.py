"""Whatever happens to a harness, the next start works and a stop leaves nothing; strangers are never touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from e2e.harness import cgroups
from e2e.harness.access import ApiError
from e2e.harness.cluster import Kubernetes
from e2e.harness.errors import HarnessError
from e2e.harness.leftovers import left_behind
from e2e.harness.places import State
from e2e.harness.pods import phase, pod, wait_for
from e2e.harness.processes import Daemon, end, recorded, start, start_time, wait_until

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.builds, pytest.mark.nightly]


@pytest.fixture
def state(kubernetes: Kubernetes) -> Iterator[State]:
    """A state folder of its own, so that these clusters run beside that of the session (which has built everything)."""
    if not kubernetes.is_own:
        pytest.skip("needs a kubelet of our own")
    folder = Path(tempfile.mkdtemp(prefix="wasp-e2e-"))
    state = State(folder / "s")
    yield state
    Kubernetes(state).clean_leftovers()
    shutil.rmtree(folder)


def harness(state: State, command: str) -> subprocess.Popen[str]:
    """The command line, on that state folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.harness", command],
        cwd=ROOT,
        env={**os.environ, "WASP_E2E_STATE": str(state.folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """What it printed; it must have worked."""
    text, _ = process.communicate(timeout=180)
    assert process.returncode == 0, text
    return text


def kill_after(process: subprocess.Popen[str], delay_s: float) -> None:
    """SIGKILL at that moment, or when it has ended before."""
    try:
        process.wait(delay_s)
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate(timeout=30)


def test_a_harness_killed_at_any_moment_starts_again_and_leaves_nothing(state: State) -> None:
    """SIGKILL while it starts, while pods run, while it stops; then a start, a pod, and a stop."""
    for delay_s in (0.3, 1.0, 2.0, 3.0, 4.0):
        kill_after(harness(state, "up"), delay_s)
    for delay_s in (0.2, 0.6, 1.0):
        finish(harness(state, "up"))
        kubernetes = Kubernetes.attach(state)
        assert kubernetes is not None
        run_a_pod(kubernetes)
        kubernetes.docker_host()
        kill_after(harness(state, "down"), delay_s)
    finish(harness(state, "up"))
    kubernetes = Kubernetes.attach(state)
    assert kubernetes is not None
    run_a_pod(kubernetes)
    assert [line for line in left_behind(state) if line.startswith("mount")], "a running pod has mounts"
    finish(harness(state, "down"))
    assert left_behind(state) == []


def run_a_pod(kubernetes: Kubernetes) -> None:
    """A pod with a network and mounts of its own that runs on and on."""
    kubernetes.wait_for_service_account("default")
    try:
        kubernetes.access.request("POST", "/api/v1/namespaces/default/pods", pod("long", ["sleep", "600"]))
    except ApiError as error:  # there still, where the stop was killed before it had begun
        if error.status != 409:
            raise
    wait_for(lambda: phase(kubernetes.access, "default", "long") == "Running", "the pod runs")


def test_two_who_start_a_cluster_at_once_share_it(state: State) -> None:
    """The second waits for the first and takes what that started; so does a session, and its stop leaves it running."""
    first, second = harness(state, "up"), harness(state, "up")
    assert finish(first).splitlines()[-1] == finish(second).splitlines()[-1]
    daemons = recorded(state)
    with Kubernetes(state) as kubernetes:
        assert "node1" in kubernetes.kubectl("get", "nodes")
    assert recorded(state) == daemons and all(daemon.is_alive() for daemon in daemons)
    assert "running" in finish(harness(state, "status"))
    finish(harness(state, "down"))
    assert left_behind(state) == []


def test_stop_leaves_nothing_and_says_who_holds_the_cluster(state: State) -> None:
    """A session's own cluster is not there for others; after `stop()` no process, mount, group, bridge or file is left."""
    with Kubernetes(state) as kubernetes:
        run_a_pod(kubernetes)
        assert Kubernetes.attach(state) is None
        daemons = recorded(state)
        assert {daemon.name for daemon in daemons} >= {"etcd", "kube-apiserver", "containerd", "kubelet"}
        assert all(daemon.is_alive() for daemon in daemons)
        assert f"pid {os.getpid()}" in state.lock.read_text()
    assert left_behind(state) == []
    assert not any(daemon.is_alive() for daemon in daemons)
    kubernetes.stop()


def test_a_failed_start_names_the_log_and_leaves_nothing(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that ends at once: its last words are in the error."""
    monkeypatch.setattr("e2e.harness.control_plane.SERVICE_RANGE", "nonsense")
    with pytest.raises(
        HarnessError, match=r"kube-apiserver ended .*kube-apiserver\.log ends with:(.|\n)*not a valid cidr"
    ):
        Kubernetes(state).start()
    assert left_behind(state) == []
    assert state.log("kube-apiserver").exists()


def test_a_pid_that_was_given_to_a_stranger_is_not_killed(state: State) -> None:
    """A record counts only together with its start time; a daemon of ours is ended by it."""
    Kubernetes(state).clean_leftovers()
    cgroups.make(state.cgroup)
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        ours = start(state, "ours", ["sleep", "60"])
        begun = start_time(stranger.pid)
        assert begun is not None
        record = Daemon("stranger", stranger.pid, begun - 1)
        state.path("processes", "stranger.json").write_text(json.dumps(asdict(record)))
        with pytest.raises(HarnessError, match=r"never: not within 0 s; .*ours\.log"):
            wait_until(lambda: False, 0.2, "never", state.log("ours"), ours)
        end(state)
        assert not ours.is_alive() and stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
