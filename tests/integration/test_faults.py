"""Real processes that die, hang and misbehave: the books stay exact, nothing is left behind."""

from __future__ import annotations

import os
import random
import resource
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support import loads, witness
from support.books import check_books, pid_of, pids_of, wait_until
from support.processes import is_alive

from wasp_ray import Generator, Profile, RunResult, plain, ramp

CHAOS_S = 30 if os.environ.get("WASP_REQUIRE_ALL") == "1" else 8  # CI sets it


def run(*generators: Generator, **options: Any) -> RunResult:
    """A run whose books must close."""
    result = Profile(*generators).run(**options)
    check_books(result)
    return result


def started(*generators: Generator) -> Any:
    """A run in the background and the pid of its zygote."""
    return Profile(*generators).start()


def wait_for_workers(going: Any, number: int, deadline_s: float = 15.0) -> list[int]:
    """Pids of the workers, once there are so many."""
    wait_until(lambda: going.elapsed_s is not None and len(pids_of(going, "worker")) >= number, deadline_s)
    return pids_of(going, "worker")


def test_workers_killed_at_random_leave_the_ledger_exact() -> None:
    """SIGKILL of any user or rate worker, for a while: every call is in one column."""
    going = started(
        Generator("users", user=loads.Looper, schedule=plain(6, f"{CHAOS_S}s"), params={"s": 0.002}),
        Generator("packs", user=loads.AsyncLooper, schedule=plain(8, f"{CHAOS_S}s"), users_per_process=4),
        Generator("gun", gun=loads.Sleepy, schedule=plain(500, f"{CHAOS_S}s")),
        Generator("blocking", gun=loads.Blocking, schedule=plain(100, f"{CHAOS_S}s")),
    )
    wait_for_workers(going, 8)
    rng, killed = random.Random(5), 0
    give_up = time.monotonic() + CHAOS_S - 2
    while time.monotonic() < give_up:
        pids = pids_of(going, "worker")
        if pids:
            try:
                os.kill(rng.choice(pids), signal.SIGKILL)
                killed += 1
            except ProcessLookupError:
                pass
        time.sleep(rng.uniform(0.05, 0.3))
    result = going.wait(120)
    check_books(result)
    ledger = result.ledger
    assert killed > 10
    assert 0 < ledger.killed < 200 * killed
    assert result.generators["gun"].ledger.scheduled == 500 * CHAOS_S
    assert ledger.lost == 0
    assert sum(g["users"]["replaced"] for g in result.summary["generators"].values()) >= killed * 0.7


@pytest.mark.parametrize("how", ["exit", "segfault", "sigkill"])
def test_a_crash_loop_ends_its_generator_as_invalid(how: str) -> None:
    """Five deaths in a row without a completed call; the last signal is told."""
    result = run(Generator("u", user=loads.Crashing, schedule=plain(1, "30s"), params={"how": how}))
    assert result.verdict == "invalid" and result.exit_code == 3
    told = {"exit": "exit code 3", "segfault": "SIGSEGV", "sigkill": "SIGKILL"}[how]
    assert any(told in reason for reason in result.reasons), result.reasons
    assert result.ledger.killed == 5
    assert result.summary["duration_s"] < 20


def test_a_call_hung_in_c_code_is_killed_at_its_timeout() -> None:
    """Every call is a timeout; the user keeps its id."""
    result = run(
        Generator("u", user=loads.HungSync, schedule=plain(1, "1200ms"), call_timeout="300ms", graceful_stop="500ms")
    )
    ledger = result.ledger
    assert ledger.timeout >= 2 and ledger.ok == ledger.killed == 0
    assert result.verdict == "failed"


@pytest.mark.parametrize("gun", [loads.SwallowsCancel, loads.BlocksLoop])
def test_async_calls_that_cannot_be_cancelled_are_killed(gun: type) -> None:
    """Swallowed cancellation and a blocked loop end with the process, and are timeouts or killed with it."""
    generator = Generator(
        "g", gun=gun, schedule=plain(4, "1s"), call_timeout="200ms", graceful_stop="1s", min_delivered=0
    )
    result = run(generator)
    assert result.ledger.timeout >= 1
    assert result.ledger.scheduled == 4
    assert result.summary["duration_s"] < 10


def test_one_hung_call_makes_no_timeouts_of_the_calls_beside_it(tmp_path: Path) -> None:
    """The process of a call that swallows its cancellation is killed: its neighbours are killed, not timeouts."""
    file = tmp_path / "calls"
    result = run(
        Generator(
            "g", gun=witness.OneSwallows, schedule=plain(40, "7s"), params={"file": str(file), "s": 0.5},
            call_timeout="3s", graceful_stop="5s",
        )
    )  # fmt: skip
    ledger, noted = result.ledger, witness.noted(file)
    assert 0 <= ledger.started - noted["b"] <= 1 and 0 <= noted["e"] - ledger.ok <= 1  # killed between note and record
    assert ledger.timeout == 1 and ledger.killed == ledger.started - ledger.ok - 1 > 3, ledger
    assert result.generators["g"].service.p99 < 2


def test_a_call_that_begins_while_its_process_is_being_killed_is_no_timeout(tmp_path: Path) -> None:
    """The hung call ended before the SIGKILL came: its record counts, and the next call was killed long before its deadline."""
    file = tmp_path / "calls"
    going = started(
        Generator(
            "u", user=witness.FirstIsLong, schedule=plain(1, "60s"), call_timeout="2s", max_calls=6,
            params={"file": str(file), "long": 3.0, "s": 1.0},
        )
    )  # fmt: skip
    wait_until(lambda: witness.noted(file)["b"] == 1)
    zygote = pid_of(going, "zygote")
    os.kill(zygote, signal.SIGSTOP)  # who kills the worker is late
    try:
        wait_until(lambda: witness.noted(file)["b"] >= 2)
    finally:
        os.kill(zygote, signal.SIGCONT)
    ledger = going.wait(60).ledger
    assert (ledger.timeout, ledger.killed) == (0, 1) and ledger.ok == witness.noted(file)["e"], ledger


@pytest.mark.usefixtures("short_setup_backoff")
def test_a_setup_that_hangs_is_a_setup_failure() -> None:
    """Killed at setup_timeout, retried, then an error."""
    result = run(Generator("u", user=loads.HungSetup, schedule=plain(1, "30s"), setup_timeout="300ms"))
    assert result.verdict == "error"
    assert any("setup_timeout" in reason for reason in result.reasons), result.reasons


def test_a_teardown_that_hangs_is_ended() -> None:
    """At teardown_timeout; the calls before it count."""
    result = run(Generator("u", user=loads.SlowTeardown, schedule=plain(1, "300ms"), teardown_timeout="300ms"))
    assert result.verdict == "passed", result.reasons
    assert result.ledger.ok > 5


def test_a_dead_aggregator_ends_the_load_as_an_error_with_its_gap_counted() -> None:
    """What it had not told is lost, and the books still close."""
    going = started(Generator("u", user=loads.Looper, schedule=plain(2, "30s")))
    wait_for_workers(going, 2)
    time.sleep(1.5)
    os.kill(pid_of(going, "aggregator"), signal.SIGKILL)
    result = going.wait(30)
    check_books(result)
    assert result.verdict == "error"
    assert any("aggregator" in reason for reason in result.reasons)
    assert result.ledger.started > 50


def test_a_dead_zygote_takes_its_workers_along_and_is_an_error() -> None:
    """Calls in flight are killed ones."""
    going = started(Generator("u", user=loads.Looper, schedule=plain(2, "30s")))
    pids = wait_for_workers(going, 2)
    time.sleep(0.5)
    os.kill(pid_of(going, "zygote"), signal.SIGKILL)
    result = going.wait(30)
    check_books(result)
    assert result.verdict == "error"
    assert any("zygote" in reason for reason in result.reasons)
    assert not [pid for pid in pids if is_alive(pid)]


@pytest.mark.parametrize("order", [("zygote", "aggregator"), ("aggregator", "zygote")])
def test_a_run_ends_as_an_error_when_both_engine_processes_die(order: tuple[str, str]) -> None:
    """The aggregator stood still, so it never answered for the workers of whoever died first."""
    going = started(
        Generator("u", user=loads.Looper, schedule=plain(2, "120s")),
        Generator("g", gun=loads.Sleepy, schedule=plain(50, "120s")),
    )
    wait_for_workers(going, 3)
    time.sleep(0.5)
    pids = {name: pid_of(going, name) for name in order}
    os.kill(pids["aggregator"], signal.SIGSTOP)
    os.kill(pids[order[0]], signal.SIGKILL)
    wait_until(lambda: not pids_of(going, order[0]))
    if order[0] == "zygote":
        wait_until(lambda: not pids_of(going, "worker"))
    os.kill(pids[order[1]], signal.SIGKILL)
    result = going.wait(60)
    check_books(result)
    assert result.verdict == "error" and result.exit_code == 4
    assert any(order[0] in reason for reason in result.reasons), (
        result.reasons
    )  # the other one may die at the end of the run


def test_an_aggregator_that_stands_still_for_good_ends_the_run_as_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for longer than a minute, here 2 s."""
    monkeypatch.setattr("wasp_ray.node.node.ANSWER_TIMEOUT_S", 2.0)
    going = started(Generator("u", user=loads.Looper, schedule=plain(2, "120s")))
    pids = wait_for_workers(going, 2)
    os.kill(pid_of(going, "aggregator"), signal.SIGSTOP)
    os.kill(pids[0], signal.SIGKILL)
    result = going.wait(60)
    check_books(result)
    assert result.verdict == "error" and any("did not answer for 2 s" in reason for reason in result.reasons)


def test_a_stopped_aggregator_loses_nothing() -> None:
    """3 s of SIGSTOP: invalid, since nobody watched, but every call is there."""
    going = started(Generator("g", gun=loads.Quick, schedule=plain(2000, "6s")))
    wait_for_workers(going, 1)
    time.sleep(1.0)
    pid = pid_of(going, "aggregator")
    os.kill(pid, signal.SIGSTOP)
    time.sleep(3.0)
    os.kill(pid, signal.SIGCONT)
    result = going.wait(60)
    check_books(result)
    assert result.ledger.ok == 12_000
    assert result.verdict == "invalid" and any("aggregator" in reason for reason in result.reasons), result.reasons


def test_a_user_is_never_in_two_calls_after_a_timeout(tmp_path: Path) -> None:
    """A replaced user calls only when the process of its last call is gone."""
    result = run(
        Generator(
            "u", user=loads.LooksForItself, schedule=plain(3, "3s"), call_timeout="250ms", graceful_stop="500ms",
            params={"file": str(tmp_path / "calls")},
        )
    )  # fmt: skip
    noted = Counter((tmp_path / "calls").read_text().splitlines())
    assert noted.keys() == {"0 alone", "1 alone", "2 alone"}
    assert noted["0 alone"] == result.ledger.started - result.ledger.ok >= 2


def test_users_come_and_go_with_the_schedule() -> None:
    """Up to eight and down again: each removed user is torn down, none is killed."""
    result = run(Generator("u", user=loads.Looper, schedule=ramp(0, 8, "1s") + ramp(8, 1, "1s") + plain(1, "500ms")))
    assert result.summary["generators"]["u"]["users"]["active_max"] == 8
    assert result.ledger.killed == result.ledger.interrupted == 0
    assert result.verdict == "passed"


def test_runs_work_in_a_thread_and_with_an_event_loop_running() -> None:
    """Signal handlers are set in the main thread only, and restored."""
    import asyncio

    before = signal.getsignal(signal.SIGINT)
    out: list[RunResult] = []
    generator = Generator("g", gun=loads.Quick, schedule=plain(50, "300ms"))
    thread = threading.Thread(target=lambda: out.append(run(generator)))
    thread.start()
    thread.join(30)

    async def inside() -> None:
        out.append(run(generator))
        out.append(run(generator, runtime="inline"))

    asyncio.run(inside())
    assert [result.verdict for result in out] == ["passed"] * 3
    assert signal.getsignal(signal.SIGINT) is before


def test_a_workers_process_imports_nothing_heavy() -> None:
    """A live child says so."""
    generator = Generator("u", user=loads.Modules, schedule=plain(1, "200ms"))
    from wasp_ray import RawSamples

    result = Profile(generator, sinks=[RawSamples()]).run(out=Path(os.environ["WASP_TEST_OUT"]))
    assert result.path is not None
    import gzip
    import json

    with gzip.open(result.path / "samples.jsonl.gz", "rt") as file:
        lines = [json.loads(line) for line in file]
    paths = {line["path"] for line in lines if line["ends_call"]}
    assert paths == {"none"}


@pytest.fixture(autouse=True)
def _out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for bundles."""
    monkeypatch.setenv("WASP_TEST_OUT", str(tmp_path / "bundle"))


def test_threads_inside_a_blocking_user_book_their_groups_in_its_call() -> None:
    """Three groups a call."""
    result = run(Generator("u", user=loads.Threaded, schedule=plain(1, "500ms")))
    assert result.generators["u"].groups["thread"].count == 3 * result.ledger.ok


def test_memory_stays_bounded_with_long_errors_and_a_new_path_every_call() -> None:
    """Errors of 1 MB with any character are cut; 8,000 distinct paths are more than a ring keeps apart."""
    result = run(Generator("g", gun=loads.LongStrings, schedule=plain(4000, "2s"), min_delivered=0))
    assert result.ledger.failed == 8000 or result.ledger.started < 8000
    assert result.ledger.lost == 0
    (error,) = result.summary["generators"]["g"]["errors"]
    assert len(error["error"].encode()) <= 512 and error["error"].endswith("…")


def test_a_saturated_target_is_failed_with_the_reason_and_littles_law() -> None:
    """Every slot waits for the target: late calls are dropped by cause, and it is not our fault."""
    generator = Generator(
        "g", gun=loads.Sleepy, schedule=plain(100, "1s"), params={"s": 1.0}, max_in_flight=10, graceful_stop="3s"
    )
    result = run(generator)
    assert result.verdict == "failed" and result.exit_code == 1
    dropped = result.summary["generators"]["g"]["dropped_by"]
    assert set(dropped) == {"in_flight_limit"}
    assert any("Little" in reason for reason in result.reasons), result.reasons


def test_late_calls_are_dropped_when_asked() -> None:
    """on_late="drop": a tick without a free slot within 10 ms is dropped and counted."""
    generator = Generator(
        "g",
        gun=loads.Blocking,
        schedule=plain(50, "1s"),
        params={"s": 0.2},
        max_workers=2,
        on_late="drop",
        min_delivered=0,
    )
    result = run(generator)
    assert 4 <= result.ledger.started <= 14
    assert result.ledger.dropped == 50 - result.ledger.started
    assert set(result.summary["generators"]["g"]["dropped_by"]) == {"worker_limit"}


def test_late_calls_fire_and_their_response_time_tells_it() -> None:
    """Coordinated omission: a target that stands still for 500 ms shows in response, not in service."""
    generator = Generator(
        "g",
        gun=loads.Blocking,
        schedule=plain(20, "1s"),
        params={"s": 0.1},
        max_workers=1,
        graceful_stop="5s",
        min_delivered=0,
    )
    result = run(generator)
    response, service = result.generators["g"].response, result.generators["g"].service
    assert service.p50 == pytest.approx(0.1, rel=0.2)
    assert response.max > 0.5


def test_thirty_generators_run_side_by_side() -> None:
    """Each with its own pipe, slab and books."""
    generators = [
        Generator(f"g{i}", gun=loads.Blocking, schedule=plain(10, "500ms"), max_workers=2, params={"s": 0.001})
        for i in range(30)
    ]
    result = run(*generators)
    assert result.verdict == "passed", result.reasons
    assert result.ledger.ok == 150


@pytest.mark.parametrize("engine", ["zygote", "aggregator"])
def test_an_engine_that_dies_while_users_are_set_up_is_an_error(engine: str) -> None:
    """Nothing waits for ever for a process that is gone."""
    going = started(Generator("u", user=loads.SlowSetup, schedule=plain(40, "30s"), setup_concurrency=2))
    wait_until(lambda: pids_of(going, "worker"), 15)
    os.kill(pid_of(going, engine), signal.SIGKILL)
    result = going.wait(30)
    check_books(result)
    assert result.verdict == "error" and any(engine in reason for reason in result.reasons), result.reasons
    assert result.ledger.started == 0


def test_a_write_to_a_closed_connection_is_an_exception_and_no_death() -> None:
    """SIGPIPE is ignored in workers as in any Python."""
    result = run(Generator("u", user=loads.WritesToAClosedPeer, schedule=plain(1, "1s"), max_calls=20))
    assert result.ledger.ok == 20, result.summary["generators"]["u"]["errors"]


def test_users_with_threads_may_fork() -> None:
    """The hooks that the zygote keeps out of its own forks are there in what a worker forks."""
    result = run(Generator("u", user=loads.ForksBesideAThread, schedule=plain(1, "20s"), max_calls=3))
    assert result.ledger.ok == 3, result.summary["generators"]["u"]["errors"]


def test_users_that_fill_the_cpu_are_no_fault_of_the_run() -> None:
    """No CPU guard ends it: it passes, and the wait for the CPU is told beside its service times."""
    result = run(
        Generator("burn", user=loads.Burns, schedule=plain(12, "4s")),
        Generator("beat", gun=loads.Quick, schedule=plain(50, "4s")),
    )
    assert result.verdict == "passed", result.reasons
    assert result.generators["beat"].ledger.ok == 200
    burn = result.summary["generators"]["burn"]
    assert burn["cpu_s"] > 0 and burn["cpu_wait_s"] > 0.1 * 12 * 4
    assert burn["cpu_s"] + burn["cpu_wait_s"] > 0.5 * 12 * 4, "each user is on a core or waits for one"
    assert any("waiting for a core" in warning for warning in result.warnings), result.warnings


def test_users_may_have_as_many_descriptors_as_the_system_allows() -> None:
    """A soft limit of 1,024 is raised: a thousand connections in flight are no fault."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
    try:
        result = run(Generator("u", user=loads.Limits, schedule=plain(1, "300ms")))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert result.verdict == "passed", result.summary["generators"]["u"]["errors"]
