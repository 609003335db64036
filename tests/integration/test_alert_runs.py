"""Runs with alerts to check: who asks, how often, what ends the wait, what is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import loads
from support.books import check_books, pid_of, wait_for_start, wait_until
from support.rules_server import RulesServer, alert, rule, rules_server

from wasp_ray import AlertCheck, BadInput, Generator, Profile, plain
from wasp_ray.clock import wall_s
from wasp_ray.execution.alerts import DIED, AlertChecks
from wasp_ray.execution.reporter import NOT_AWAITED

pytestmark = pytest.mark.waits

TOKEN = "glsa_very-secret-7"
LOAD = """
from wasp_ray import *

class Quick(Gun):
    async def call(self):
        pass

profile = Profile(
    Generator("quick", gun=Quick, schedule=plain(20, "1s")),
    thresholds=[AlertCheck(labels={"requirement_name": "baseline"})],
)
"""


@pytest.fixture
def grafana() -> Iterator[RulesServer]:
    """One with a quiet rule."""
    with rules_server() as server:
        yield server


def profile(grafana: RulesServer, seconds: str = "2s") -> Profile:
    """A load with one requirement."""
    check = AlertCheck(url=grafana.url, labels={"requirement_name": "baseline"})
    return Profile(Generator("g", gun=loads.Quick, schedule=plain(40, seconds)), thresholds=[check])


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_the_check_is_made_once_however_many_nodes_there_are(grafana: RulesServer, nodes: int) -> None:
    """By who makes the verdict: the server was asked as often as that counted."""
    result = profile(grafana).run(nodes=nodes)
    check_books(result)
    assert result.verdict == "passed", result.reasons
    (found,) = result.summary["alerts"]
    assert found["polls"] == len(grafana.requests) > 2


@pytest.mark.parametrize("nodes", [1, 2])
def test_what_fires_in_mid_run_fails_it(grafana: RulesServer, nodes: int) -> None:
    """On one node and on several."""
    going = profile(grafana, "3s").start(nodes=nodes)
    wait_until(lambda: (going.elapsed_s or 0) > 0.5)
    grafana.rules = [rule(state="firing", alerts=[alert(job="shop")])]
    result = going.wait(60)
    assert result.verdict == "failed", (result.reasons, result.summary["alerts"])
    assert 'Latency{job="shop", requirement_name="baseline"} fired at' in result.reasons[0]


def test_the_inline_runtime_checks_as_well(grafana: RulesServer) -> None:
    """In a process of its own there too."""
    result = profile(grafana, "6s").run(runtime="inline")
    assert (result.verdict, result.summary["alerts"][0]["state"]) == ("passed", "ok"), result.reasons


def test_a_stop_ends_the_wait_and_is_no_pass(grafana: RulesServer) -> None:
    """From Python: no signal tells that it was interrupted, so what was not waited for is invalid."""
    grafana.rules = [rule(duration=600)]
    going = profile(grafana, "6s").start()  # short gaps between two questions are no reason then
    wait_for_start(going)
    wait_until(lambda: [process.kind for process in going.processes()] == ["alerts"])  # the load is over
    asked = len(grafana.requests)
    wait_until(lambda: len(grafana.requests) > asked + 2)
    going.stop()
    result = going.wait(30)
    assert (result.verdict, result.ledger.ok) == ("invalid", 240)
    assert "its last evaluations after the load were not waited for" in result.reasons[0]


def test_a_killed_checker_is_no_pass(grafana: RulesServer) -> None:
    """Nothing else of the run suffers."""
    going = profile(grafana, "3s").start()
    wait_until(lambda: grafana.requests)
    os.kill(pid_of(going, "alerts"), signal.SIGKILL)
    result = going.wait(60)
    check_books(result)
    assert (result.verdict, result.ledger.ok) == ("invalid", 120)
    assert "the process that asks for alerts died" in result.reasons[0]


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_check_that_cannot_be_asked_for_is_bad_input(nodes: int) -> None:
    """Nothing is started without an address."""
    check = AlertCheck(labels={"requirement_name": "baseline"})
    with pytest.raises(BadInput, match="GRAFANA_URL in the environment"):
        Profile(Generator("g", gun=loads.Quick, schedule=plain(1, "1s")), thresholds=[check]).run(nodes=nodes)


def command(folder: Path, grafana: RulesServer, *arguments: str) -> subprocess.Popen[str]:
    """`wasp run` of the load file in a session of its own."""
    (folder / "load.py").write_text(LOAD)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "wasp_ray", "run", "load.py", "--out", "out", *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, "GRAFANA_URL": grafana.url, "GRAFANA_TOKEN": TOKEN},
    )  # fmt: skip


def interrupted_in_the_wait(process: subprocess.Popen[str]) -> str:
    """What it said, with Ctrl-C as soon as the load was over."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if "waiting" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    return said + process.communicate(timeout=60)[0]


@pytest.mark.parametrize("arguments", [(), ("--nodes", "2")])
def test_ctrl_c_ends_the_wait(tmp_path: Path, grafana: RulesServer, arguments: tuple[str, ...]) -> None:
    """`for` of ten minutes is not waited for; the results are whole, the verdict says what ended it."""
    grafana.rules = [rule(duration=600)]
    process = command(tmp_path, grafana, *arguments)
    said = interrupted_in_the_wait(process)
    assert process.returncode == 130, said
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert (summary["verdict"], summary["alerts"][0]["state"]) == ("interrupted", "unknown")
    assert summary["ledger"]["ok"] == 20


def test_a_run_that_is_killed_in_the_wait_has_left_its_results(tmp_path: Path, grafana: RulesServer) -> None:
    """They are not lost with it, and are no pass."""
    grafana.rules = [rule(duration=600)]
    process = command(tmp_path, grafana, "--json", "copy.json")
    assert process.stdout is not None
    next(line for line in process.stdout if "waiting" in line)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    for name in ("out/summary.json", "copy.json"):
        summary = json.loads((tmp_path / name).read_text())
        assert (summary["verdict"], summary["reasons"], summary["ledger"]["ok"]) == ("invalid", [NOT_AWAITED], 20)


def test_a_pipe_is_written_to_once(tmp_path: Path, grafana: RulesServer) -> None:
    """With the verdict, behind the wait."""
    process = command(tmp_path, grafana, "--quiet", "--json", "/dev/stdout")
    said = process.communicate(timeout=60)[0]
    assert said.count('"verdict": "passed"') == said.count('"verdict"') == 1, said


def test_the_token_is_in_its_header_only(tmp_path: Path, grafana: RulesServer) -> None:
    """In no file of the bundle, no output, no command line, whatever the answer is."""
    grafana.status = 401
    process = command(tmp_path, grafana)
    wait_until(lambda: grafana.requests)
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(TOKEN.encode() in line for line in lines)
    out = interrupted_in_the_wait(process)
    assert "401" in out and TOKEN not in out
    assert not any(TOKEN.encode() in path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert grafana.requests[0][2]["Authorization"] == f"Bearer {TOKEN}"


def test_a_load_that_is_over_before_its_alerts_are_asked_for_is_told_what_is_known() -> None:
    """All orders are there when the process first reads: none of them is lost."""
    check = AlertCheck(labels={"requirement_name": "baseline"}, url="http://127.0.0.1:9").to_plan()
    checks = AlertChecks([check], "run-1", lambda text: None)
    try:
        (result,) = checks.finish(wall_s() - 0.1, wall_s(), wait=False, cut=lambda: True)
    finally:
        checks.close()
    assert result["state"] == "unknown" and DIED not in result["unknown"]
