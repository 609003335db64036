"""CPU time in the summary: that of the load alone, of all processes; and waiting for a core, inside calls alone."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from support import cpu_loads
from support.books import check_books
from support.runtimes import Runtime

from wasp_ray import Generator, Profile, RunResult, plain
from wasp_ray.load.actors import Gun, VirtualUser
from wasp_ray.wire.arena import Arena, Header, lay_out
from wasp_ray.worker.cpu import SAMPLE_NS, CallWait, SampledCallWait

SETUP_S, CALL_S = 0.6, 0.1


def calls_of(user: type[VirtualUser], calls: int, **options: Any) -> Profile:
    params = {"setup_s": SETUP_S, "call_s": CALL_S}
    return Profile(Generator("u", user=user, schedule=plain(1, "60s"), max_calls=calls, params=params, **options))


def check_cpu(result: RunResult, least_s: float) -> None:
    """At least `least_s`, and less than the setup besides that would make it; no more cores than there are."""
    assert least_s <= result.summary["generators"]["u"]["cpu_s"] < least_s + 0.8 * SETUP_S
    (node,) = result.summary["nodes"]
    assert node["cpu_s"] >= least_s
    assert 0 < node["cpu_cores"] <= 1.05 * (os.cpu_count() or 1)


@pytest.mark.parametrize("user", [cpu_loads.BurnsInSetup, cpu_loads.BurnsInAsyncSetup])
def test_cpu_of_users_is_that_of_the_load(home: Runtime, user: type[VirtualUser]) -> None:
    """CPU time of the setup before t = 0 is none of the Generator's; that of calls is."""
    check_cpu(home.run(calls_of(user, 3)), 3 * CALL_S)


def test_cpu_of_a_pack_is_that_of_the_load(runtime: Runtime) -> None:
    """As of users in processes of their own: none of the two setups before t = 0."""
    params = {"setup_s": SETUP_S / 2, "call_s": CALL_S}
    generator = Generator(
        "u", user=cpu_loads.BurnsInAsyncSetup, schedule=plain(2, "60s"), max_calls=4, users_per_process=2, params=params
    )  # fmt: skip
    check_cpu(runtime.run(Profile(generator)), 4 * CALL_S)


@pytest.mark.parametrize("gun", [cpu_loads.BurningGun, cpu_loads.BurningAsyncGun])
def test_cpu_of_guns_is_that_of_the_load(runtime: Runtime, gun: type[Gun]) -> None:
    """As of users, with one worker."""
    slots: dict[str, Any] = {"max_workers": 1} if gun is cpu_loads.BurningGun else {"max_in_flight": 1}
    params = {"setup_s": SETUP_S, "call_s": CALL_S}
    generator = Generator("u", gun=gun, schedule=plain(5, "600ms"), params=params, min_delivered=0, **slots)
    result = runtime.run(Profile(generator))
    check_cpu(result, result.ledger.started * CALL_S)


def test_cpu_of_a_killed_user_counts(home: Runtime) -> None:
    """Its process (or the thread that was given up) reports nothing any more."""
    result = home.run(Profile(Generator(
        "u", user=cpu_loads.BurnsUntilKilled, schedule=plain(1, "500ms"), graceful_stop="300ms", params={"setup_s": SETUP_S}
    )))  # fmt: skip
    assert result.ledger.interrupted == 1
    assert 0.05 < result.summary["generators"]["u"]["cpu_s"] < 0.05 + 0.8 * SETUP_S + 0.8


def test_cpu_of_a_node_that_is_one_process_is_counted_once() -> None:
    """Zygote, aggregator and workers are threads of it: the kernel knows what all of them took."""
    before_s = time.process_time()
    with Runtime("inline") as inline:
        result = inline.run(calls_of(cpu_loads.BurnsInSetup, 15))
    spent_s = time.process_time() - before_s
    assert 15 * CALL_S <= result.summary["nodes"][0]["cpu_s"] <= spent_s


def test_cpu_before_the_load_is_no_cpu_of_a_short_run(runtime: Runtime) -> None:
    """A run of one call that lasts some ms, after a setup of 0.6 s, uses no more cores than there are."""
    result = runtime.run(Profile(Generator(
        "u", user=cpu_loads.BurnsInSetup, schedule=plain(1, "60s"), max_calls=1, params={"setup_s": SETUP_S, "call_s": 0.0}
    )))  # fmt: skip
    check_cpu(result, 0.0)


def test_waiting_for_a_core_in_setup_is_no_wait_of_calls() -> None:
    """Setups that compete for the cores wait for seconds in all; calls that do nothing do not, so there is no warning either."""
    result = Profile(Generator(
        "u", user=cpu_loads.WaitsInSetup, schedule=plain(8, "60s"), max_calls=8, params={"setup_s": 0.4}
    )).run()  # fmt: skip
    check_books(result)
    waited_s = result.summary["generators"]["u"]["counters"]["waited in setup, us"] / 1e6
    assert waited_s > 0.5
    assert result.summary["generators"]["u"]["cpu_wait_s"] < 0.2 * waited_s
    assert not any("waiting for a core" in warning for warning in result.warnings)


class _Statistics:
    """A schedstat file that a test writes, and the header of a ring."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.arena = Arena.create(lay_out([(1, 8, 1)]), shared=False)
        self.header = self.arena.slabs[0].header_word(0)

    def waited(self, ns: int) -> None:
        with open(self._path, "r+" if self._path.exists() else "w") as file:
            file.write(f"{5 * ns:020} {ns:020} 7\n")

    def word(self, word: int) -> int:
        return self.arena.read(0, 0, word)


@pytest.fixture
def statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Statistics:
    """Instead of the kernel's."""
    path = tmp_path / "schedstat"
    monkeypatch.setattr("wasp_ray.worker.cpu.SCHEDSTAT", str(path))
    made = _Statistics(path)
    made.waited(0)
    return made


def test_waits_between_measurements_do_not_count(statistics: _Statistics) -> None:
    """Only what a thread waits between `begin` and `end` is in the header."""
    wait = CallWait(statistics.arena.words, statistics.header)
    for at, step in ((100, wait.begin), (130, wait.end), (500, wait.begin), (507, wait.end)):
        statistics.waited(at)
        step()
    assert (statistics.word(Header.CALL_WAIT_NS), statistics.word(Header.CALL_WAIT_FROM)) == (37, 0)
    wait.begin()
    assert statistics.word(Header.CALL_WAIT_FROM) == 508  # for the node, should the process die now
    wait.close()


def test_a_measured_call_stands_for_those_before_it(statistics: _Statistics) -> None:
    """Of ten calls the last is measured again: it counts for nine; with three in flight a third of its wait is each one's."""
    wait = SampledCallWait(statistics.arena.words, statistics.header)
    wait.begin_call(1)
    statistics.waited(10)
    assert wait.end_call(1_000, 1) == 1_000 + SAMPLE_NS
    assert statistics.word(Header.CALL_WAIT_NS) == 10
    wait.begin_call(10)
    statistics.waited(22)
    wait.end_call(2_000, 3)
    assert statistics.word(Header.CALL_WAIT_NS) == 10 + 12 * 9 // 3
    wait.close()


def test_without_statistics_nothing_was_waited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A kernel without schedstat, or a descriptor that user code has closed, is no error."""
    monkeypatch.setattr("wasp_ray.worker.cpu.SCHEDSTAT", str(tmp_path / "none"))
    arena = Arena.create(lay_out([(1, 8, 1)]), shared=False)
    wait = CallWait(arena.words, arena.slabs[0].header_word(0))
    wait.begin()
    wait.end()
    wait.close()
    assert arena.read(0, 0, Header.CALL_WAIT_NS) == 0
