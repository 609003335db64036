"""User code that forks: its children write nothing for their parent, never continue as it, and are counted."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

import pytest
from support import forking_loads as loads
from support.runtimes import Runtime
from support.witness_loads import seen_in

from wasp_ray import Generator, Profile, RunResult, plain

FORKS = [
    "return", "exit", "exit_text", "hard_exit", "raise", "interrupt", "stop_user", "restart_user", "many_records", "grandchild",
    "multiprocessing", "pool", "thread", "recording_threads",
]  # fmt: skip
PROGRAMS = ["subprocess", "preexec", "spawnl", "mp_spawn", "mp_forkserver"]
CALLS = 4


@pytest.fixture(autouse=True)
def _forks_are_meant() -> Iterator[None]:
    """Python 3.12 and later warn of forks beside threads, of which the inline runtime has some."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        yield


@pytest.fixture(autouse=True)
def _servers_of_multiprocessing() -> Iterator[None]:
    """In the inline runtime they are children of this process, which keeps them for its life: they are stopped here."""
    yield
    servers: tuple[Any, ...] = (forkserver._forkserver, resource_tracker._resource_tracker)
    for server in servers:
        server._stop()  # as CPython's own tests do


def run(where: str, folder: Path, *generators: Generator, **options: Any) -> tuple[RunResult, Counter[str]]:
    """The result and what the witness saw; its ledger closes."""
    for generator in generators:
        generator.params = {**generator.params, "witness": str(folder / "witness")}
    with Runtime(where) as runtime:
        result = runtime.run(Profile(*generators, **options))
    return result, seen_in(folder / "witness")


def forks_told(result: RunResult) -> int:
    """The number in the warning; 0 without one."""
    found = [re.search(r"user code forked ([\d,]+) process", warning) for warning in result.warnings]
    return sum(int(match[1].replace(",", "")) for match in found if match)


def check(result: RunResult, seen: Counter[str], name: str) -> None:
    """Every call of the parent is ok, every child is counted as one, nothing that a child did is."""
    found = result.generators[name]
    assert found.ledger.ok == found.ledger.started == seen["call"] > 0, (found.ledger, seen, found.data["errors"])
    assert not [group for group in found.groups if "child" in group] and not found.data["counters"]
    assert forks_told(result) == seen["child"], result.warnings


@pytest.mark.parametrize("where", ["process", "inline", "placed"])
@pytest.mark.parametrize("how", FORKS)
def test_a_child_of_a_user_is_not_the_user(where: str, how: str, tmp_path: Path) -> None:
    """However it ends; the user's calls are those that it made itself, and it is torn down once."""
    generator = Generator("u", user=loads.User, schedule=plain(1, "120s"), max_calls=CALLS, params={"how": how})
    result, seen = run(where, tmp_path, generator)
    check(result, seen, "u")
    assert seen["call"] == result.generators["u"].groups["parent"].count == CALLS
    assert seen["child"] == CALLS * (2 if how == "pool" else 1) and seen["teardown"] == 1


@pytest.mark.parametrize("where", ["process", "inline"])
@pytest.mark.parametrize("how", ["return", "exit", "raise", "multiprocessing"])
def test_a_child_of_a_blocking_gun_takes_no_ticks(where: str, how: str, tmp_path: Path) -> None:
    """All of the schedule's are the parents'."""
    generator = Generator("g", gun=loads.BlockingGun, schedule=plain(20, "2s"), max_workers=3, params={"how": how})
    result, seen = run(where, tmp_path, generator)
    check(result, seen, "g")
    assert seen["call"] == seen["child"] == 40 - result.ledger.dropped


ASYNC = ["return", "exit", "raise", "interrupt", "hard_exit", "multiprocessing", "await", "to_thread"]


@pytest.mark.parametrize("where", ["process", "inline"])
@pytest.mark.parametrize("how", ASYNC)
def test_a_child_of_an_async_gun_leaves_the_loop_alone(where: str, how: str, tmp_path: Path) -> None:
    """Though it has it in common with its parent: no call of others continues in the child."""
    generator = Generator("g", gun=loads.AsyncGun, schedule=plain(20, "1s"), params={"how": how})
    result, seen = run(where, tmp_path, generator)
    check(result, seen, "g")
    assert seen["call"] == seen["child"] == result.generators["g"].groups["beside"].count == 20 - result.ledger.dropped
    assert not seen["a child went on"]


@pytest.mark.parametrize("where", ["process", "inline", "placed"])
@pytest.mark.parametrize("how", ["return", "raise", "await"])
def test_a_child_of_an_async_user_leaves_its_pack_alone(where: str, how: str, tmp_path: Path) -> None:
    """Three users of one process, each of which forks."""
    generator = Generator(
        "u", user=loads.AsyncUser, schedule=plain(3, "120s"), users_per_process=3, max_calls=9, params={"how": how}
    )
    result, seen = run(where, tmp_path, generator)
    check(result, seen, "u")
    assert seen["call"] == seen["child"] == 9 and seen["teardown"] == 3 and not seen["a child went on"]


@pytest.mark.parametrize("where", ["process", "inline", "placed"])
@pytest.mark.parametrize("hook", ["setup", "teardown"])
@pytest.mark.parametrize("how", ["return", "exit", "raise", "multiprocessing"])
def test_a_child_of_a_setup_or_teardown_is_no_user(where: str, hook: str, how: str, tmp_path: Path) -> None:
    """One setup and one teardown, whose users call."""
    generator = Generator(
        "u", user=loads.User, schedule=plain(2, "120s"), max_calls=CALLS,
        params={"how": "subprocess", "hook": hook, "in_hook": how},
    )  # fmt: skip
    result, seen = run(where, tmp_path, generator)
    check(result, seen, "u")
    assert result.generators["u"].groups["setup"].count == 2 and not result.generators["u"].groups["setup"].failed
    assert seen["teardown"] == seen[f"{hook} over"] == seen["child"] == 2


@pytest.mark.parametrize("where", ["process", "inline", "placed"])
@pytest.mark.parametrize("how", PROGRAMS)
def test_programs_that_users_start_are_no_forks(where: str, how: str, tmp_path: Path) -> None:
    """Neither counted nor touched."""
    generator = Generator("u", user=loads.User, schedule=plain(1, "120s"), max_calls=CALLS, params={"how": how})
    result, seen = run(where, tmp_path, generator)
    assert seen.pop("child", 0) == (CALLS if how.startswith("mp_") else 0)
    check(result, seen, "u")
    assert seen["call"] == CALLS


@pytest.mark.parametrize("where", ["process", "inline"])
@pytest.mark.parametrize("how", ["subprocess", "subprocess_of_loop"])
def test_programs_that_an_event_loop_starts_are_no_forks(where: str, how: str, tmp_path: Path) -> None:
    """uvloop forks for them, with all hooks of Python."""
    generator = Generator("g", gun=loads.AsyncGun, schedule=plain(10, "1s"), params={"how": how})
    result, seen = run(where, tmp_path, generator)
    check(result, seen, "g")
    assert seen["call"] == 10 - result.ledger.dropped


@pytest.mark.parametrize("where", ["process", "inline"])
def test_a_child_of_the_profiles_setup_is_no_node(where: str, tmp_path: Path) -> None:
    """It ends where the setup returns; the parent's result reaches the users."""
    generator = Generator("u", user=loads.User, schedule=plain(1, "120s"), max_calls=1, params={"how": "subprocess"})
    result, seen = run(where, tmp_path, generator, setup=loads.profile_hook)
    assert result.verdict == "passed" and seen["call"] == 1, result.reasons


def test_forks_of_many_users_are_counted_one_by_one(tmp_path: Path) -> None:
    """In the summary, with their Generator's name."""
    generators = [
        Generator(name, user=loads.User, schedule=plain(4, "120s"), max_calls=number, params={"how": "exit"})
        for name, number in (("a", 30), ("b", 50))
    ]
    result, seen = run("process", tmp_path, *generators)
    assert seen["child"] == seen["call"] == 80
    for name, number in (("a", 30), ("b", 50)):
        text = f"Generator '{name}': user code forked {number} processes; their groups and records are not counted"
        assert text in result.summary["warnings"]
