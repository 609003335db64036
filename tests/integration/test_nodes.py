"""Several nodes as processes of this machine: one start, one set of books, one verdict."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from support import loads
from support.books import check_books, wait_until
from support.processes import is_alive

from wasp_ray import BadInput, Generator, Profile, RunResult, open_bundle, plain, ramp, rows

WASP = [sys.executable, "-P", "-m", "wasp_ray"]
LOAD = """
import time
from wasp_ray import *

class Looper(VirtualUser):
    def setup(self):
        print("node", self.context.node_id, "of", self.context.nodes, "user", self.context.user_id, flush=True)
    def call(self):
        time.sleep(0.01)

class Quick(Gun):
    async def call(self):
        pass

profile = Profile(
    Generator("quick", gun=Quick, schedule=ramp(0, 200, "1s") + plain(200, "SECONDS")),
    Generator("looper", user=Looper, schedule=plain(5, "SECONDS")),
)
"""


def nodes_run(nodes: int, *generators: Generator, **options: Any) -> RunResult:
    """A run whose books close on every node and in all."""
    result = Profile(*generators).run(nodes=nodes, **options)
    check_books(result)
    parts = [node["ledger"] for node in result.summary["nodes"]]
    assert len(parts) == nodes
    for column, number in vars(result.ledger).items():
        assert number == sum(part[column] for part in parts), column
    return result


def test_the_whole_load_is_split_exactly() -> None:
    """Every tick and every user once over all nodes; the start is common."""
    result = nodes_run(
        3,
        Generator("gun", gun=loads.Quick, schedule=ramp(0, 300, "1s") + plain(300, "1s")),
        Generator("sync", gun=loads.Blocking, schedule=plain(50, "2s"), params={"s": 0.001}),
        Generator("users", user=loads.Looper, schedule=plain(7, "2s")),
    )
    assert result.verdict == "passed", result.reasons
    assert result.generators["gun"].ledger.ok == 450 and result.generators["sync"].ledger.ok == 100
    assert result.summary["generators"]["users"]["users"]["planned_max"] == 7
    assert sorted(node["node"] for node in result.summary["nodes"]) == [1, 2, 3]
    assert 0 <= result.summary["start_skew_s"]["max"] < 1  # a node takes more than that to come up


def test_each_node_does_all_of_a_load_per_node() -> None:
    """Three times the calls and users; arrivals of a Poisson process are each node's own."""
    generators = (
        Generator("gun", gun=loads.Quick, schedule=plain(100, "1s"), arrivals="poisson"),
        Generator("users", user=loads.Looper, schedule=plain(2, "1s")),
    )
    result = nodes_run(3, *generators, load="per-node", seed=5)
    counts = [node["ledger"]["scheduled"] for node in result.summary["nodes"]]
    assert result.summary["load"] == "per-node" and len(set(counts)) > 1
    assert result.generators["gun"].ledger.scheduled == pytest.approx(300, abs=90)
    assert result.summary["generators"]["users"]["users"]["planned_max"] == 6


def test_rows_are_used_once_over_all_nodes() -> None:
    """30 rows, 3 nodes, each row in one call."""
    people = rows([{"n": n} for n in range(30)])
    result = nodes_run(3, Generator("u", user=loads.CountsRows, schedule=plain(6, "20s"), feeders={"people": people}))
    counters = result.summary["generators"]["u"]["counters"]
    assert {name: n for name, n in counters.items() if name.startswith("row")} == {f"row {n}": 1 for n in range(30)}


def test_percentiles_are_those_of_all_calls() -> None:
    """One node is slow: the merged histogram holds both."""
    result = nodes_run(2, Generator("u", user=loads.SlowOnNodeTwo, schedule=plain(2, "2s")))
    service = result.generators["u"].service
    assert service.min < 0.02 < 0.1 < service.max
    histogram = result.totals.generators["u"].call.service
    assert histogram.count == result.ledger.ok


def test_a_failed_setup_on_one_node_is_an_error_of_the_run() -> None:
    """The others never start."""
    result = Profile(Generator("u", user=loads.BadOnNodeTwo, schedule=plain(2, "5s"))).run(nodes=2)
    assert result.verdict == "error" and result.exit_code == 4
    assert any("node 2" in reason and "no login" in reason for reason in result.reasons), result.reasons
    assert result.ledger.started == 0


@pytest.mark.parametrize(("user", "fail_on_error"), [(loads.StopsOnNodeTwo, False), (loads.FailsOnNodeTwo, True)])
def test_a_generator_that_its_own_code_ends_on_one_node_ends_on_all(user: type, fail_on_error: bool) -> None:
    """context.stop() and fail_on_error are about the Generator, not about a node; others go on."""
    result = nodes_run(
        2,
        Generator("ends", user=user, schedule=plain(4, "60s"), fail_on_error=fail_on_error),
        Generator("goes-on", user=loads.Looper, schedule=plain(2, "6s")),
    )
    assert result.summary["duration_s"] < 40
    assert result.verdict == ("failed" if fail_on_error else "passed"), result.reasons
    assert result.generators["goes-on"].ledger.ok > 400
    assert all(node["ledger"]["ok"] > 100 for node in result.summary["nodes"])


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_threshold_on_rate_divides_by_the_schedule_of_its_generator(nodes: int) -> None:
    """20/s are 20/s, behind a warm-up and in a short Generator beside a long one, as delivered_rate says."""
    profile = Profile(
        Generator("warm", gun=loads.Quick, schedule=plain(20, "1s", warmup=True) + plain(20, "1s")),
        Generator("short", gun=loads.Quick, schedule=plain(20, "500ms")),
        thresholds=["rate of warm >= 19/s", "rate of short >= 19/s", "rate of warm/warm >= 19/s", "rate >= 14/s"],
    )
    result = profile.run(nodes=nodes)
    check_books(result)
    values = [threshold["value"] for threshold in result.summary["thresholds"]]
    assert values == pytest.approx([20, 20, 20, (20 + 10) / 1.5])
    assert values[1] == result.summary["generators"]["short"]["delivered_rate"]


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_run_that_is_stopped_before_its_start_does_not_pass(nodes: int) -> None:
    """On one node and on several: no call was made and no threshold evaluated, so it is an error."""
    profile = Profile(Generator("g", gun=loads.Quick, schedule=plain(10, "1s")), thresholds=["failed < 1%"])
    going = profile.start(nodes=nodes)
    going.stop()
    result = going.wait(60)
    assert (result.verdict, result.reasons) == ("error", ["stopped before the load began"]), result.reasons
    assert result.ledger.scheduled == 0


def test_bad_numbers_of_nodes_are_bad_input() -> None:
    """Told before anything starts."""
    profile = Profile(Generator("g", gun=loads.Quick, schedule=plain(1, "1s")))
    for options in ({"nodes": 0}, {"nodes": 2, "runtime": "inline"}, {"load": "half"}):
        with pytest.raises(BadInput):
            profile.run(**options)


def wasp(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """The command in a session of its own, as a terminal's foreground job."""
    return subprocess.Popen(
        [*WASP, *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def write(folder: Path, seconds: str) -> None:
    """The load file."""
    (folder / "load.py").write_text(textwrap.dedent(LOAD).replace("SECONDS", seconds))


def tree_of(pid: int) -> list[int]:
    """A process and all below it."""
    found, new = [], [pid]
    while new:
        found += new
        children: list[int] = []
        for parent in new:
            try:
                children += [int(c) for c in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
            except OSError:
                continue
        new = children
    return found


def wait_for_family(pid: int, size: int) -> list[int]:
    """The processes of a run, once there are so many."""
    wait_until(lambda: len(tree_of(pid)) >= size)
    return tree_of(pid)


def test_the_command_writes_one_bundle(tmp_path: Path) -> None:
    """Series of all nodes together, windows of each, output with its node in front, a table with the spread."""
    write(tmp_path, "2s")
    process = wasp("run", "load.py", "--nodes", "2", "--out", "out", cwd=tmp_path)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    windows = [json.loads(line) for line in (tmp_path / "out/series.jsonl").read_text().splitlines()]
    assert len({(w["generator"], w["at_s"]) for w in windows}) == len(windows)
    assert sum(w["calls"] for w in windows) == summary["ledger"]["started"]
    bundle = open_bundle(tmp_path / "out")
    assert bundle.window(0, 10).counts == summary["ledger"]
    assert [bundle.window(0, 10, node=node).counts for node in (1, 2)] == [node["ledger"] for node in summary["nodes"]]
    log = (tmp_path / "out/logs/users.log").read_text()
    assert "1/looper/0: node 1 of 2 user 0" in log and "2/looper/1: node 2 of 2 user 1" in log
    assert "start spread" in out and out.strip().splitlines()[-1].strip().startswith("PASSED")


def test_a_killed_controller_leaves_nothing_behind(tmp_path: Path) -> None:
    """Nodes end with the pipe of their orders."""
    write(tmp_path, "60s")
    process = wasp("run", "load.py", "--nodes", "2", cwd=tmp_path)
    family = wait_for_family(process.pid, 1 + 2 * 4 + 5)
    process.kill()
    process.communicate()
    assert len(family) >= 1 + 2 * 4 + 5
    wait_until(lambda: not [pid for pid in family if is_alive(pid)], 20.0)


def test_pause_and_resume_reach_every_node() -> None:
    """The schedule's clock stands still on all of them."""
    going = Profile(Generator("g", gun=loads.Quick, schedule=plain(100, "3s"))).start(nodes=2)
    wait_until(lambda: going.elapsed_s is not None)
    time.sleep(1.3)
    going.pause()
    time.sleep(1.5)
    going.resume()
    result = going.wait(30)
    check_books(result)
    assert result.ledger.ok == 300 and result.verdict == "passed", result.reasons
    assert result.summary["duration_s"] > 3.7  # 4.5 s where the pause begins and ends at once
