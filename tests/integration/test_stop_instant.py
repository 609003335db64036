"""A stop cuts the ticks of every worker at one instant, whatever process is held up then: the ledger closes against a witness."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from support import loads, witness
from support.books import check_books, wait_until
from support.processes import descendants

from wasp_ray import Generator, Gun, Profile, RunResult, plain
from wasp_ray.execution import Reporter


def check(result: RunResult, file: Path, killed: int = 0) -> None:
    """The books close, and started is the number of calls that the witness saw.

    Of each worker that was killed, one call may have been counted as begun and not come to its note.
    """
    check_books(result)
    assert 0 <= result.ledger.started - witness.noted(file)["b"] <= killed


def slowly(*orders: Callable[[], None]) -> None:
    """Gives orders to a node whose loop is held up for 200 ms between its look at the clock and its look at the orders."""
    given = threading.Event()

    def update(*reported: object) -> None:
        if not given.is_set():
            time.sleep(0.2)
            for order in orders:
                order()
            given.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reporter, "update", update)
        assert given.wait(20)


@pytest.mark.parametrize("gun", [witness.AsyncGun, witness.SyncGun])
@pytest.mark.parametrize("stops", [1, 2])
def test_a_node_that_is_slow_to_stop_does_not_start_calls_behind_the_stop(
    gun: type[Gun], stops: int, tmp_path: Path
) -> None:
    """One stop, or two at once."""
    file = tmp_path / "calls"
    going: Any = Profile(Generator("g", gun=gun, schedule=plain(500, "60s"), params={"file": str(file)})).start()
    wait_until(lambda: witness.noted(file)["b"] > 100)
    slowly(*[going.stop] * stops)
    check(going.wait(60), file, killed=8 * (stops - 1))


@pytest.mark.parametrize("gun", [witness.AsyncGun, witness.SyncGun])
def test_a_slow_node_stops_in_a_pause_where_the_pause_began(gun: type[Gun], tmp_path: Path) -> None:
    """No call that is due behind the beginning of the pause was started, so none is missing when the pause ends in a stop."""
    file = tmp_path / "calls"
    going: Any = Profile(Generator("g", gun=gun, schedule=plain(500, "60s"), params={"file": str(file)})).start()
    wait_until(lambda: witness.noted(file)["b"] > 100)
    slowly(going.pause)
    time.sleep(1.0)
    before = witness.noted(file)["b"]
    time.sleep(0.5)
    assert witness.noted(file)["b"] == before
    going.stop()
    result = going.wait(60)
    check(result, file)
    assert result.ledger.dropped == 0


@pytest.mark.parametrize("runtime", ["process", "inline"])
@pytest.mark.parametrize("gun", [witness.AsyncGun, witness.SyncGun])
def test_a_pause_after_a_generator_stopped_itself_changes_nothing_of_it(
    gun: type[Gun], runtime: str, tmp_path: Path
) -> None:
    """Its ledger closes as if there had been no pause."""
    file = tmp_path / "calls"
    going: Any = Profile(
        Generator("g", gun=gun, schedule=plain(100, "60s"), params={"file": str(file), "calls": 4, "how": "stop"}),
        Generator("other", gun=loads.Quick, schedule=plain(20, "3s")),
    ).start(runtime=runtime)
    wait_until(lambda: witness.noted(file)["e"] >= 4)
    time.sleep(0.02)  # the node looks for that every 10 ms
    going.pause()
    time.sleep(1.0)
    going.resume()
    result = going.wait(60)
    check_books(result)
    assert result.generators["g"].ledger.started == witness.noted(file)["b"]
    assert result.generators["other"].ledger.ok == 60


def load(folder: Path) -> list[Generator]:
    """Guns and paced users that end by themselves in different ways at different times, and some that are stopped."""
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("async", {"gun": witness.AsyncGun, "schedule": plain(200, "60s")}),
        ("sync", {"gun": witness.SyncGun, "schedule": plain(200, "60s")}),
        ("user", {"user": witness.SyncUser, "schedule": plain(4, "60s"), "pacing": "10ms"}),
        ("pack", {"user": witness.AsyncUser, "schedule": plain(4, "60s"), "pacing": "10ms", "users_per_process": 2}),
    ]
    out = []
    for name, kind in kinds:
        for how, calls in (("stop", 15), ("stop", 60), ("fail", 30), ("never", 0)):
            label = f"{name}-{how}-{calls}"
            params = {"file": str(folder / label), "how": how, "calls": calls, "s": 0.001}
            out.append(Generator(label, **kind, params=params, fail_on_error=how == "fail"))
    return out


@contextmanager
def held_up(others: set[int], seed: int) -> Iterator[None]:
    """Stops three processes of the run for up to 200 ms, and at once three more, as long as it lasts; none of the `others`."""
    over, rng = threading.Event(), random.Random(seed)

    def hold() -> None:
        while not over.is_set():
            pids = sorted(descendants() - others)
            chosen = rng.sample(pids, min(len(pids), 3))
            for pid in chosen:
                send(pid, signal.SIGSTOP)
            over.wait(rng.choice((0.002, 0.02, 0.2)))
            for pid in chosen:
                send(pid, signal.SIGCONT)

    def send(pid: int, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize(("nodes", "stops"), [(1, 2), (2, 1)])
def test_stops_of_every_kind_cut_exactly_while_processes_are_held_up(nodes: int, stops: int, tmp_path: Path) -> None:
    """Workers, zygotes and (with two nodes) the generator processes stand still for 2 to 200 ms again and again."""
    others = descendants()
    going: Any = Profile(*load(tmp_path)).start(nodes=nodes)
    last = tmp_path / "async-never-0"
    wait_until(lambda: witness.noted(last)["b"] > 50, 60)
    with held_up(others, seed=nodes * 10 + stops):
        wait_until(lambda: witness.noted(last)["b"] > 300, 120)
        for _ in range(stops):
            going.stop()
            time.sleep(0.01)
        time.sleep(0.5)
    result = going.wait(120)
    check_books(result)
    assert not [reason for reason in result.reasons if "ledger" in reason]
    for name, generator in result.generators.items():
        killed = generator.ledger.killed + generator.ledger.interrupted
        begun = witness.noted(tmp_path / name)["b"]
        assert 0 <= generator.ledger.started - begun <= killed, (name, generator.ledger, begun)
