"""Processes that stand still during a load: the load was not generated as specified, so the run is invalid, whoever stopped
them. A target that stands still is no fault of the run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import loads
from support.books import check_books, pids_of, wait_for_start, wait_until
from support.processes import descendants

from wasp_ray import Generator, Profile, RunResult, plain
from wasp_ray.node.machine import MachineWatch

pytestmark = pytest.mark.waits

FROZEN_S = 5.5
"""Touches six seconds of due calls wherever it begins; five slow ones make a run invalid."""
LATE = "calls started more than 50 ms late"
STOPPED = "a signal stopped a worker process"
NOT_POLLED = "the aggregator did not run"


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """An async gun has a worker a core."""
    monkeypatch.setattr("wasp_ray.node.shape.cores", lambda: 2)


def started(*generators: Generator) -> Any:
    """A run in the background whose load of 20 calls a second or more is 0.6 s old."""
    going = Profile(*generators).start()
    wait_for_start(going)
    wait_until(lambda: (going.elapsed_s or 0) > 0.6)
    return going


def freeze(pids: Iterable[int], seconds: float) -> None:
    """SIGSTOP, and SIGCONT after that time."""
    victims = list(pids)
    for pid in victims:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    for pid in victims:
        os.kill(pid, signal.SIGCONT)


def ended(going: Any) -> RunResult:
    """The result of a run whose ledger closes."""
    result: RunResult = going.wait(60)
    check_books(result)
    return result


def has_reason(result: RunResult, text: str) -> bool:
    """Whether one of the reasons has that text."""
    return any(text in reason for reason in result.reasons)


def test_a_load_whose_workers_were_frozen_is_invalid(tmp_path: Path) -> None:
    """Calls of the frozen seconds start or are dropped when the workers run again: each of those seconds is slow, in guns of
    every kind, also when a backlog fills the slots, and when one of two workers was frozen.
    """
    options: dict[str, Any] = {"schedule": plain(40, "8s"), "params": {"s": 0.001}}
    going = started(
        Generator("async", gun=loads.Sleepy, **options),
        Generator("crowded", gun=loads.Sleepy, max_in_flight=4, **options),
        Generator("dropping", gun=loads.Sleepy, on_late="drop", min_delivered=0, **options),
        Generator("sync", gun=loads.Blocking, max_workers=2, **options),
        Generator("half", gun=loads.RecordsPid, schedule=plain(40, "8s"), params={"file": str(tmp_path / "pids")}),
    )
    spared, _ = (int(pid) for pid in (tmp_path / "pids").read_text().split())
    freeze(set(pids_of(going, "worker")) - {spared}, FROZEN_S)
    result = ended(going)
    assert result.verdict == "invalid" and result.exit_code == 3
    for name in ("async", "crowded", "dropping", "sync", "half"):
        assert has_reason(result, f"'{name}': {LATE}"), (name, result.reasons)
        assert has_reason(result, f"'{name}': {STOPPED}"), (name, result.reasons)
        assert result.generators[name].ledger.scheduled == 320
    assert set(result.summary["generators"]["dropping"]["dropped_by"]) == {"generator"}


def test_a_load_that_ends_inside_a_freeze_is_invalid() -> None:
    """The last calls are never started: they are dropped through our own fault, not the target's, and their seconds are slow."""
    options: dict[str, Any] = {"schedule": plain(40, "6s"), "params": {"s": 0.001}, "min_delivered": 0}
    going = started(
        Generator("async", gun=loads.Sleepy, **options), Generator("sync", gun=loads.Blocking, max_workers=2, **options)
    )
    freeze(pids_of(going, "worker"), 8.0)
    result = ended(going)
    assert result.verdict == "invalid"
    for name in ("async", "sync"):
        assert has_reason(result, f"'{name}': {LATE}"), (name, result.reasons)
        dropped = result.summary["generators"][name]["dropped_by"]
        assert set(dropped) == {"generator"} and dropped["generator"] > 100, (name, dropped)


def test_a_run_whose_workers_were_stopped_for_a_moment_is_invalid() -> None:
    """Too few calls start late for the rule of five seconds, but a call in a stopped process seems to last as long."""
    going = started(
        Generator("user", user=loads.Looper, schedule=plain(1, "3s")),
        Generator("sync", gun=loads.Blocking, max_workers=2, schedule=plain(20, "3s")),
    )
    freeze(pids_of(going, "worker"), 1.5)
    result = ended(going)
    assert result.verdict == "invalid" and not has_reason(result, LATE), result.reasons
    assert has_reason(result, f"'user': {STOPPED}") and has_reason(result, f"'sync': {STOPPED}"), result.reasons


def test_a_target_that_stands_still_is_no_lateness_of_ours(tmp_path: Path) -> None:
    """Calls wait while every slot waits for the target: their delay shows in the response times, and nothing is invalid."""
    gate = tmp_path / "gate"
    gate.touch()
    options: dict[str, Any] = {"schedule": plain(20, "8s"), "params": {"file": str(gate)}, "min_delivered": 0}
    going = started(
        Generator("async", gun=loads.WaitsForFile, max_in_flight=4, **options),
        Generator("sync", gun=loads.BlocksForFile, max_workers=2, **options),
    )
    gate.unlink()
    time.sleep(FROZEN_S)
    gate.touch()
    result = ended(going)
    assert result.verdict == "passed", result.reasons
    for generator in result.generators.values():
        assert generator.response.max > FROZEN_S - 1


def test_a_machine_that_was_suspended_makes_a_run_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    """CLOCK_MONOTONIC stands still meanwhile, so no call is late: the two clocks of the system say it."""
    asleep = iter([70_000_000_000, 75_500_000_000])  # at t = 0 and at the end
    monkeypatch.setattr("wasp_ray.node.node.MachineWatch", lambda: MachineWatch(suspended=lambda: next(asleep)))
    result = Profile(Generator("g", gun=loads.Sleepy, schedule=plain(20, "500ms"))).run()
    check_books(result)
    assert (result.verdict, result.exit_code) == ("invalid", 3)
    assert has_reason(result, "this machine was suspended for 5.5 s during the load"), result.reasons


LOAD = """
    import asyncio, os
    from wasp_ray import Generator, Gun, Profile, plain

    class Witness(Gun):
        def setup(self):
            self.file = os.open("begun", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        async def call(self):
            os.write(self.file, b".")
            await asyncio.sleep(0.001)

    profile = Profile(Generator("g", gun=Witness, schedule=plain(40, "2s"), min_delivered=0))
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`wasp run` in a process of its own, whose load of 2 s has begun."""
    (tmp_path / "load.py").write_text(textwrap.dedent(LOAD))
    command = [sys.executable, "-m", "wasp_ray", "run", "load.py", "--out", "out"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: (tmp_path / "begun").exists() and (tmp_path / "begun").stat().st_size >= 10)
            yield process
        finally:
            for pid in {process.pid, *descendants(process.pid)} if process.poll() is None else ():
                os.kill(pid, signal.SIGCONT)
            process.kill()


def test_a_node_that_was_stopped_as_a_whole_is_invalid(node: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """As a frozen container is, here up to the end of its load: the aggregator finds the gap when it runs again."""
    freeze({node.pid, *descendants(node.pid)}, 2.5)
    assert node.wait(60) == 3
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert any(NOT_POLLED in reason for reason in summary["reasons"]), summary["reasons"]
