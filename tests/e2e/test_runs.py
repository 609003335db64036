"""Runs on a real Kubernetes, as a team with no more rights than it needs: from `wasp cluster run` to an empty namespace."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from e2e.team import Team, run_id

from wasp_ray.cluster.rights import CONTROLLER_RULES, NODE_RULES


def test_a_run_on_two_pods_passes_and_leaves_nothing_behind(team: Team) -> None:
    """One start, one set of books, one verdict; logs and events in the bundle, an empty namespace."""
    done = team.run("load.py")
    summary = team.passed(done)
    assert len(summary["nodes"]) == 2
    assert (
        summary["ledger"]["ok"] == summary["ledger"]["scheduled"]
        and summary["generators"]["quick"]["ledger"]["ok"] == 300
    )
    assert summary["versions"]["image"] == "wasp-e2e:latest"
    assert 0 <= summary["start_skew_s"]["max"] < 0.5
    bundle = team.folder / "out"
    log = (bundle / "logs/users.log").read_text()
    assert "hello from node 1 of 2" in log and "hello from node 2 of 2" in log
    assert "@wasp" in (bundle / "nodes/1/pod.log").read_text() and "Pod wasp-" in (bundle / "events.log").read_text()
    windows = [json.loads(line) for line in (bundle / "series.jsonl").read_text().splitlines()]
    assert sum(w["calls"] for w in windows) == summary["ledger"]["started"]
    assert team.left_behind() == []
    assert done.stdout.strip().splitlines()[-1].strip().startswith(summary["verdict"].upper())


def test_a_real_target_is_loaded_and_rows_are_used_once(team: Team, target: str) -> None:
    """HTTP over loopback; test data that travelled in the image."""
    done = team.run("load.py:http", "-e", f"TARGET_URL={target}", "-p", "rate=150")
    assert team.passed(done)["generators"]["get"]["ledger"]["ok"] > 590
    done = team.run("load.py:people", jobs=3, out="people")
    counters = team.passed(done, "people")["generators"]["person"]["counters"]
    assert counters == {f"person-{n}": 1 for n in range(1, 41)}


def test_the_requests_of_a_run_are_those_of_the_roles(team: Team) -> None:
    """Nothing missing (or it would fail), nothing spare: run, follow, list, status, logs, attach and clean together."""
    since = time.time()
    nodes = f"system:serviceaccount:{team.namespace}:wasp-node"
    run = run_id()
    process = team.start("run", "load.py:quick", "--jobs", "2", "--run-id", run, "-p", "seconds=20", "--secret", "API_KEY",
                         API_KEY="k")  # fmt: skip
    team.wait_for_phase(run, "running", process)
    assert run in team.wasp("list").stdout and "ready" in team.wasp("status", run).stdout
    assert "hello from node" in team.wasp("logs", run).stdout
    process.kill()
    process.communicate()
    attached = team.wasp("attach", run, "--out", "attached")
    team.passed(attached, "attached")
    assert team.left_behind() == []

    def used(user: str) -> set[tuple[str, str, str]]:
        asked = team.kubernetes.requests_of(user, since)
        assert [r for r in asked if r.code in (401, 403)] == []
        return {
            (r.group, f"{r.resource}/{r.subresource}".rstrip("/"), r.verb)
            for r in asked
            if r.namespace and r.resource != "selfsubjectaccessreviews"
        }

    for user, rules in ((nodes, NODE_RULES), (team.user, CONTROLLER_RULES)):
        allowed = {(group, resource, verb) for group, resource, verbs in rules for verb in verbs}
        assert used(user) == allowed, (sorted(used(user) - allowed), sorted(allowed - used(user)))


def test_two_runs_side_by_side_do_not_meet(team: Team) -> None:
    """Each has its own pods, start and books."""
    runs = [run_id(), run_id()]
    going = [
        team.start("run", "load.py:quick", "--jobs", "2", "--run-id", run, "--out", run, "-p", f"rate={rate}")
        for run, rate in zip(runs, (50, 90), strict=True)
    ]
    said = [process.communicate(timeout=150)[0] for process in going]
    assert [process.returncode for process in going] == [0, 0], said
    for run, rate in zip(runs, (50, 90), strict=True):
        assert team.summary(run)["generators"]["quick"]["ledger"]["ok"] == 3 * rate
    assert team.left_behind() == []


def test_a_taken_run_id_a_missing_namespace_and_missing_rights_are_told_before_anything_is_made(team: Team) -> None:
    """Exit 2, the cure named."""
    run = run_id()
    process = team.start("run", "load.py:quick", "--run-id", run, "-p", "seconds=30")
    team.wait_for_phase(run, "running", process)
    again = team.run("load.py", "--run-id", run, out="again")
    assert again.returncode == 2 and "already" in again.stderr, again.stderr
    assert process.poll() is None
    out = team.interrupt(process)
    assert process.returncode == 130, out
    elsewhere = team.run("load.py", "--namespace", "nowhere", out="nowhere")
    assert elsewhere.returncode == 2 and "not allowed in namespace nowhere" in elsewhere.stderr, elsewhere.stderr
    assert "wasp cluster setup" in elsewhere.stderr


def test_bad_input_in_the_image_is_exit_2(team: Team) -> None:
    """The nodes find it; nothing was started, nothing is left."""
    for test, told in (("nofile.py", "no such file"), ("load.py:nothing", "has no `nothing`")):
        done = team.run(test, out=test.replace(":", "-"))
        assert done.returncode == 2 and told in done.stderr, done.stdout + done.stderr
    done = team.run("load.py", "--threshold", "p99 of nobody < 1s", out="threshold")
    assert done.returncode == 2 and "nobody" in done.stderr, done.stderr
    assert team.left_behind() == []


def test_a_run_that_does_not_come_to_a_phase_is_shown_whole_and_at_once(team: Team) -> None:
    """To who reads the failure of a test: what the command said, and what became of its pods."""
    process = team.start("run", "load.py:quick", "--run-id", "never", "--out", "never", "--image", "nobody/nothing:1")
    with pytest.raises(AssertionError) as caught:
        team.wait_for_phase("never", "running", process)
    told = str(caught.value)
    assert "the command had ended" in told and "ERROR" in told and "exit 4" in told, told
    assert "event Pod wasp-never-0-" in told and "ErrImageNeverPull" in told, told
    assert process.returncode == 4 and team.left_behind() == []


def test_stop_ends_a_run_and_its_controller_keeps_the_results(team: Team) -> None:
    """From another terminal; again is no error with --if-exists."""
    run = run_id()
    process = team.start("run", "load.py:quick", "--run-id", run, "--out", "out", "-p", "seconds=60")
    team.wait_for_phase(run, "running", process)
    time.sleep(7)
    stopped = team.wasp("stop", run)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    out = process.communicate(timeout=60)[0]
    assert process.returncode == 0, out
    assert team.summary()["ledger"]["ok"] > 20
    assert team.wasp("stop", run).returncode == 2
    assert team.wasp("stop", run, "--if-exists").returncode == 0


def test_a_detached_run_is_finished_by_its_controller_in_the_cluster(team: Team) -> None:
    """`attach` gets the verdict and removes the run."""
    run = run_id()
    done = team.wasp("run", "load.py:quick", "--jobs", "2", "--run-id", run, "--detach", "--threshold", "failed > 1")
    assert done.returncode == 0 and f"attach {run}" in done.stdout, done.stdout + done.stderr
    attached = team.wasp("attach", run, "--out", "out")
    assert attached.returncode == 1, attached.stdout + attached.stderr
    summary = team.summary()
    assert summary["verdict"] == "failed" and summary["generators"]["quick"]["ledger"]["ok"] == 300
    team.wait_for(lambda: team.left_behind() == [], "nothing is left", 60)


def test_a_controller_killed_in_any_state_is_followed_by_attach(team: Team) -> None:
    """While deploying, before the release, in the run: the books are whole all the same."""
    for delay_s in (0.3, 1.5, 4.0, 9.0):
        run = run_id()
        process = team.start("run", "load.py:quick", "--jobs", "2", "--run-id", run, "-p", "seconds=6")
        team.wait_for(lambda: team.objects("jobs"), "the Job is there", process=process)
        time.sleep(delay_s)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        attached = team.wasp("attach", run, "--out", run)
        assert team.passed(attached, run)["generators"]["quick"]["ledger"]["ok"] == 400, delay_s
        assert team.left_behind() == []


def test_a_threshold_counts_though_its_plan_was_rotated_out_of_the_logs(team: Team) -> None:
    """The controller dies in the run, the first lines of all logs are gone: `attach` fails the run by its threshold."""
    if not team.kubernetes.is_own:
        pytest.skip("the logs of another cluster's nodes cannot be rotated from here")
    run = run_id()
    process = team.start(
        "run", "load.py:light", "--jobs", "2", "--run-id", run, "--threshold", "failed > 1%", "-p", "seconds=15"
    )
    team.wait_for_phase(run, "running", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    for pod in team.objects("pods"):
        team.kubernetes.rotate_log(team.namespace, pod["metadata"]["name"])
    assert '"kind":"plan"' not in team.wasp("logs", run, "--all").stdout
    attached = team.wasp("attach", run, "--out", "attached")
    summary = team.summary("attached")
    assert attached.returncode == 1 and summary["verdict"] == "failed", attached.stdout + attached.stderr
    assert any(reason.startswith("failed > 1%") for reason in summary["reasons"]), summary["reasons"]
    assert summary["ledger"]["ok"] == summary["ledger"]["scheduled"] == 300
    assert team.left_behind() == []
