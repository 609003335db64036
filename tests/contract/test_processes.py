"""The processes of a run in the background, as `Run.processes()` lists them, in every runtime."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from support import loads
from support.books import is_over, pid_of, wait_for_start, wait_until
from support.processes import descendants, is_alive
from support.runtimes import Runtime

from wasp_ray import Generator, Profile, RawSamples, plain


def profile() -> Profile:
    """Two users, four more in packs, and a gun with one worker, until they are stopped."""
    return Profile(
        Generator("users", user=loads.Looper, schedule=plain(2, "60s")),
        Generator("packs", user=loads.AsyncLooper, schedule=plain(4, "60s"), users_per_process=2),
        Generator("gun", gun=loads.Blocking, schedule=plain(1, "60s"), max_workers=1),
        sinks=[RawSamples()],
    )


@pytest.mark.parametrize("name", ["process", "placed", "inline"])
def test_every_process_of_a_run_is_listed_once_and_none_after_its_end(name: str, tmp_path: Path) -> None:
    """The engine processes and, with Generator and slot, the workers; in the inline runtime all are threads of this process."""
    before = descendants()
    with Runtime(name) as runtime:
        going = runtime.start(profile(), **({} if name == "placed" else {"out": tmp_path / "out"}))
        wait_for_start(going)
        listed = going.processes()
        workers = {(p.generator, p.slot) for p in listed if p.kind == "worker"}
        assert workers == {("users", 0), ("users", 1), ("packs", 0), ("packs", 1), ("gun", 0)}
        engines = sorted(p.kind for p in listed if p.kind != "worker")
        assert engines == ["aggregator", "exporter", "zygote"]
        pids = {p.pid for p in listed}
        if name == "inline":
            assert pids == {os.getpid()}
        else:
            assert len(pids) == len(listed) == 8 and pids == descendants() - before
        going.stop()
        going.wait(60)
        assert not going.processes()


def test_a_killed_worker_is_listed_under_its_slot_again_once_it_was_replaced() -> None:
    """With the pid of the new process."""
    with Runtime("process") as runtime:
        going = runtime.start(Profile(Generator("u", user=loads.Looper, schedule=plain(1, "60s"))))
        wait_for_start(going)
        (first,) = (process for process in going.processes() if process.kind == "worker")
        os.kill(first.pid, signal.SIGKILL)
        wait_until(lambda: any(p.slot == first.slot and p.pid != first.pid for p in going.processes()))
        (second,) = (process for process in going.processes() if process.kind == "worker")
        assert (second.slot, second.generator) == (first.slot, first.generator) and is_alive(second.pid)
        going.stop()
        assert going.wait(60).summary["generators"]["u"]["users"]["replaced"] == 1


def test_an_engine_process_that_died_is_not_listed_any_more() -> None:
    """The run ends because of it, and its other processes go as well."""
    with Runtime("process") as runtime:
        going = runtime.start(Profile(Generator("u", user=loads.Looper, schedule=plain(1, "60s"))))
        wait_for_start(going)
        os.kill(pid_of(going, "aggregator"), signal.SIGKILL)
        wait_until(lambda: "aggregator" not in {process.kind for process in going.processes()})
        assert going.wait(60).verdict == "error"


def test_time_is_counted_from_t_0_on_and_processes_may_be_listed_at_any_time() -> None:
    """Asked for again and again by another thread, from before the start to after the end."""
    with Runtime("process") as runtime:
        going = runtime.start(Profile(Generator("u", user=loads.SlowSetup, schedule=plain(2, "1s"))))
        assert going.elapsed_s is None
        seen: list[float] = []
        while not is_over(going):
            going.processes()
            if (elapsed_s := going.elapsed_s) is not None:
                seen.append(elapsed_s)
            threading.Event().wait(0.001)
        assert seen == sorted(seen) and seen[0] >= 0 and seen[-1] > 0.9
