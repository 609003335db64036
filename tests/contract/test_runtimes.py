"""What every runtime keeps: one suite, run by forks, inline, and for users by processes that somebody else starts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from support import loads
from support.books import check_books, wait_for_start, wait_until
from support.runtimes import Runtime

from wasp_ray import Generator, Profile, RunResult, between, pause, plain, rows


def run(runtime: Runtime, *generators: Generator, **options: Any) -> RunResult:
    """A run of these Generators whose books must close."""
    return runtime.run(Profile(*generators, **options), seed=7)


def test_an_async_gun_fires_every_call_of_its_schedule(runtime: Runtime) -> None:
    """1,000 calls in 1 s are 1,000 calls."""
    result = run(runtime, Generator("g", gun=loads.Quick, schedule=plain(1000, "1s")))
    assert result.verdict == "passed", result.reasons
    assert result.generators["g"].ledger.ok == 1000
    assert result.generators["g"].groups["g"].count == 1000


def test_a_sync_gun_fires_every_call_of_its_schedule(runtime: Runtime) -> None:
    """Blocking calls are spread over workers, as many as it takes."""
    result = run(runtime, Generator("g", gun=loads.Blocking, schedule=plain(100, "1s"), params={"s": 0.05}))
    assert result.verdict == "passed", result.reasons
    assert result.generators["g"].ledger.ok == 100


def test_users_loop_until_the_end_and_their_calls_are_counted(home: Runtime) -> None:
    """Three users with calls of 10 ms make at most 100 calls a second each, and not many fewer."""
    result = run(home, Generator("u", user=loads.Looper, schedule=plain(3, "1s")))
    assert result.verdict == "passed", result.reasons
    assert 30 <= result.generators["u"].ledger.ok <= 300


def test_async_users_share_a_process_when_asked(home: Runtime) -> None:
    """Ten users in packs of four."""
    generator = Generator("u", user=loads.AsyncLooper, schedule=plain(10, "1s"), users_per_process=4)
    result = run(home, generator)
    assert result.verdict == "passed", result.reasons
    assert result.summary["generators"]["u"]["users"]["active_max"] == 10
    assert 100 < result.generators["u"].ledger.ok <= 1000


def test_calls_that_raise_are_failed_and_told_with_a_traceback(home: Runtime) -> None:
    """Every third call fails; the error is listed once with its count."""
    result = run(home, Generator("u", user=loads.Failing, schedule=plain(1, "600ms")))
    ledger = result.generators["u"].ledger
    assert ledger.failed == (ledger.ok + ledger.failed) // 3
    (error,) = result.summary["generators"]["u"]["errors"]
    assert error["error"] == "ValueError: third"
    assert error["count"] == ledger.failed
    assert "loads.py" in error["example"] and "booking.py" not in error["example"]


def test_requests_are_counted_by_group_and_never_in_the_ledger(home: Runtime) -> None:
    """Groups nest, records and hand-made Responses have their own entries, counters add up."""
    result = run(home, Generator("u", user=loads.Grouped, schedule=plain(1, "500ms")))
    generator = result.generators["u"]
    calls = generator.ledger.ok
    assert calls > 5
    assert {name: group.count for name, group in generator.groups.items()} == {
        "outer": calls, "inner": calls, "timed": calls, "own": calls, "setup": 1,
    }  # fmt: skip
    assert generator.groups["timed"].status == {"201": calls}
    assert generator.groups["timed"].service.p50 == pytest.approx(0.25, rel=0.005)
    assert generator.data["counters"] == {"things": 2 * calls}
    assert generator.groups["own"].data["bytes_out"] == 5 * calls


def test_a_request_that_failed_makes_its_call_failed(home: Runtime) -> None:
    """One entry in the group, one failed call in the ledger."""
    result = run(home, Generator("u", user=loads.FailingGroup, schedule=plain(1, "300ms")))
    generator = result.generators["u"]
    assert generator.ledger.ok == 0 and generator.ledger.failed > 3
    assert generator.groups["step"].failed == generator.ledger.failed == generator.groups["step"].count
    assert set(generator.groups) == {"step", "setup"}
    assert result.verdict == "failed" and result.exit_code == 1


def test_tasks_are_drawn_by_weight_and_are_their_calls_groups(home: Runtime) -> None:
    """Three to one, over 400 calls."""
    result = run(home, Generator("u", user=loads.Tasks, schedule=plain(2, "60s"), max_calls=400))
    groups = result.generators["u"].groups
    assert groups["browse"].count + groups["buy"].count == 400
    assert 0.65 < groups["browse"].count / 400 < 0.85  # 4.6 standard deviations


def test_each_row_of_a_feeder_is_used_once_over_all_users(home: Runtime) -> None:
    """100 rows over four users: 100 ok calls, then the Generator ends by itself."""
    feeders = {"people": rows([{"name": f"n{i}"} for i in range(100)])}
    result = run(home, Generator("u", user=loads.Feeds, schedule=plain(4, "20s"), feeders=feeders))
    assert result.verdict == "passed", result.reasons
    assert result.generators["u"].ledger.ok == 100
    assert result.summary["duration_s"] < 20


def test_a_gun_takes_the_row_of_its_tick(runtime: Runtime) -> None:
    """Cyclic rows never end: two rows over 50 ticks are each used 25 times."""
    feeders = {"people": rows([{"name": "a"}, {"name": "b"}], order="cycle")}
    result = run(runtime, Generator("g", gun=loads.FeedsGun, schedule=plain(50, "1s"), feeders=feeders))
    assert result.generators["g"].ledger.ok == 50
    assert result.generators["g"].data["counters"] == {"row a": 25, "row b": 25}


def test_shared_data_is_bytes_that_nobody_can_write(home: Runtime) -> None:
    """A read-only view."""
    result = run(home, Generator("u", user=loads.Shared, schedule=plain(1, "200ms"), shared_data=b"hello"))
    assert result.verdict == "passed", result.reasons


def test_context_stop_ends_its_generator_and_the_run_is_judged_as_usual(home: Runtime) -> None:
    """Three calls, then the end, passed."""
    result = run(home, Generator("u", user=loads.Stopping, schedule=plain(1, "20s")))
    assert result.verdict == "passed", result.reasons
    assert result.generators["u"].ledger.ok == 3
    assert any("seen enough" in warning for warning in result.warnings)


def test_users_that_stop_themselves_are_not_replaced(home: Runtime) -> None:
    """Three users, two calls each, and the run ends early."""
    result = run(home, Generator("u", user=loads.StopsItself, schedule=plain(3, "20s")))
    assert result.generators["u"].ledger.started == 6
    assert result.summary["duration_s"] < 20


def test_restart_user_books_a_failure_and_sets_up_again(home: Runtime, tmp_path: Path) -> None:
    """Three restarts: torn down and set up again each time, after 0.1, 0.2 and 0.4 s or more."""
    file = tmp_path / "steps"
    generator = Generator("u", user=loads.Restarting, schedule=plain(1, "60s"), params={"file": str(file)}, max_calls=7)
    found = run(home, generator).generators["u"]
    assert (found.ledger.ok, found.ledger.failed) == (4, 3)
    assert found.data["errors"][0]["error"] == "session is gone"
    names, instants = zip(*(line.split() for line in file.read_text().splitlines()), strict=True)
    assert names == ("setup", "teardown") * 4 and found.groups["setup"].count == 4
    waits = [float(after) - float(before) for before, after in zip(instants[1:-1:2], instants[2::2], strict=True)]
    assert all(waited >= least for waited, least in zip(waits, (0.1, 0.2, 0.4), strict=True)), waits


def test_fail_on_error_stops_at_the_first_failed_call(home: Runtime) -> None:
    """Failed, with the reason."""
    result = run(home, Generator("u", user=loads.Failing, schedule=plain(1, "20s"), fail_on_error=True))
    assert result.verdict == "failed", result.reasons
    assert result.generators["u"].ledger.failed == 1
    assert any("fail_on_error" in reason for reason in result.reasons)


def test_max_calls_ends_the_generator_after_so_many_calls(home: Runtime) -> None:
    """Over all users, and for ticks."""
    result = run(
        home,
        Generator("u", user=loads.Looper, schedule=plain(3, "20s"), max_calls=20),
        Generator("g", gun=loads.Quick, schedule=plain(50, "20s"), max_calls=10),
        Generator("b", gun=loads.Blocking, schedule=plain(50, "20s"), max_calls=10),
    )
    assert result.generators["b"].ledger.ok == 10
    assert result.generators["u"].ledger.started == 20
    assert result.generators["g"].ledger.started == result.generators["g"].ledger.scheduled == 10
    assert result.summary["duration_s"] < 20


def test_an_async_call_is_a_timeout_at_its_deadline(runtime: Runtime) -> None:
    """Booked with the time until the deadline."""
    generator = Generator("g", gun=loads.Sleepy, schedule=plain(20, "500ms"), params={"s": 5}, call_timeout="200ms")
    result = run(runtime, generator)
    assert result.generators["g"].ledger.timeout == 10
    assert result.generators["g"].groups["g"].service.max == pytest.approx(0.2, rel=0.01)


def test_a_blocking_call_that_hangs_is_a_timeout_and_its_user_is_replaced(home: Runtime, tmp_path: Path) -> None:
    """Others are not touched; the replaced user hangs again. The run is stopped when it hangs for the third time."""
    file = tmp_path / "hangs"
    generator = Generator(
        "u", user=loads.HungNow, schedule=plain(2, "60s"), params={"file": str(file)}, call_timeout="300ms", graceful_stop="1s",
    )  # fmt: skip
    going = home.start(Profile(generator))
    wait_until(lambda: file.exists() and len(file.read_text().splitlines()) >= 3)
    going.stop()
    result = going.wait(30)
    check_books(result)
    ledger = result.generators["u"].ledger
    assert ledger.timeout >= 2 and ledger.ok > 5, ledger
    assert ledger.failed == ledger.killed == ledger.lost == 0
    assert result.summary["generators"]["u"]["users"]["replaced"] >= 2


@pytest.mark.usefixtures("short_setup_backoff")
def test_a_setup_that_fails_for_good_is_an_error_with_the_traceback(home: Runtime) -> None:
    """Retried three times, then the run ends with what setup raised."""
    result = run(home, Generator("u", user=loads.BadSetup, schedule=plain(1, "30s")))
    assert result.verdict == "error" and result.exit_code == 4
    assert any("no login for you" in reason for reason in result.reasons)
    assert result.summary["generators"]["u"]["users"]["setup_failed"] == 4
    assert {each["first_at_s"] for each in result.summary["generators"]["u"]["errors"]} == {
        0.0
    }  # the load has not begun


def test_users_idle_in_a_pause_segment(home: Runtime) -> None:
    """About half the calls of the same time without the pause."""
    schedule = plain(1, "400ms") + pause("800ms") + plain(1, "400ms")
    result = run(home, Generator("u", user=loads.Looper, schedule=schedule))
    first, _, last = result.summary["generators"]["u"]["segments"]
    assert result.generators["u"].ledger.ok < 90
    assert first["delivered_rate"] and last["delivered_rate"]
    assert result.generators["u"].groups["setup"].count == 1


def test_think_time_and_pacing_slow_a_user_down(home: Runtime) -> None:
    """Ten paces a second are at most ten calls a second and the first one, and on a busy machine not many fewer."""
    result = run(
        home,
        Generator("paced", user=loads.Looper, schedule=plain(1, "1s"), pacing="100ms"),
        Generator("thinking", user=loads.AsyncLooper, schedule=plain(1, "1s"), think_time=between("80ms", "120ms")),
    )
    assert 5 <= result.generators["paced"].ledger.ok <= 11
    assert 4 <= result.generators["thinking"].ledger.ok <= 12


def test_a_long_call_is_interrupted_when_graceful_stop_has_run_out(home: Runtime) -> None:
    """Sync by force, async by cancelling; the calls would take 20 s."""
    result = run(
        home,
        Generator("sync", user=loads.SlowCall, schedule=plain(1, "300ms"), graceful_stop="300ms"),
        Generator("async", user=loads.SlowAsync, schedule=plain(1, "300ms"), graceful_stop="300ms"),
    )
    assert result.generators["sync"].ledger.interrupted == 1
    assert result.generators["async"].ledger.interrupted == 1
    assert result.summary["duration_s"] < 15


def test_thresholds_decide_the_verdict(runtime: Runtime) -> None:
    """One holds, one does not, one matches nothing."""
    thresholds = ["p99 of g < 2s", "max of g < 1us", "p50 of g/none < 1s"]
    result = run(runtime, Generator("g", gun=loads.Sleepy, schedule=plain(50, "500ms")), thresholds=thresholds)
    assert [t["passed"] for t in result.summary["thresholds"]] == [True, False, False]
    assert result.verdict == "failed" and result.exit_code == 1


def test_equal_seeds_give_equal_random_streams_and_users_have_their_own(home: Runtime, tmp_path: Path) -> None:
    """Four users draw three numbers each, in two runs with one seed and in one with another."""

    def drawn(name: str, seed: int) -> dict[str, list[str]]:
        file = tmp_path / name
        generator = Generator("u", user=loads.Random, schedule=plain(4, "60s"), params={"file": str(file)})
        check_books(home.start(Profile(generator), seed=seed).wait(60))
        lines = sorted(line.split() for line in file.read_text().splitlines())
        return {user: sorted(number for known, number in lines if known == user) for user in "0123"}

    first = drawn("first", 7)
    assert first == drawn("second", 7) != drawn("third", 8)
    assert len({number for numbers in first.values() for number in numbers}) == 12


def test_equal_seeds_give_equal_poisson_arrivals(runtime: Runtime) -> None:
    """The number of calls is drawn as well."""
    generator = Generator("g", gun=loads.Quick, schedule=plain(200, "1s"), arrivals="poisson", seed=3)
    first, second = run(runtime, generator), run(runtime, generator)
    assert first.ledger.scheduled == second.ledger.scheduled != 200


def test_pause_and_resume_stop_the_schedules_clock(runtime: Runtime) -> None:
    """The calls are those of the schedule, the run is longer by the pause."""
    going = runtime.start(Profile(Generator("g", gun=loads.Quick, schedule=plain(100, "1s"))))
    wait_for_start(going)
    time.sleep(0.3)
    going.pause()
    time.sleep(1.0)
    going.resume()
    result = going.wait(30)
    check_books(result)
    assert result.ledger.ok == 100
    assert result.verdict == "passed", result.reasons
    assert result.summary["duration_s"] > 1.4  # 2 s where the pause begins and ends at once


def test_stop_ends_a_run_early_with_exact_books(home: Runtime) -> None:
    """scheduled is what was due by the stop."""
    profile = Profile(
        Generator("g", gun=loads.Quick, schedule=plain(500, "30s")),
        Generator("u", user=loads.Looper, schedule=plain(2, "30s")),
    )
    going = home.start(profile)
    wait_for_start(going)
    time.sleep(0.8)
    going.stop()
    result = going.wait(30)
    check_books(result)
    assert 0 < result.ledger.scheduled < 15_000
    assert result.summary["duration_s"] < 20


def test_every_user_is_torn_down_at_the_normal_end(home: Runtime, tmp_path: Path) -> None:
    """Once each."""
    file = tmp_path / "torn"
    run(home, Generator("u", user=loads.TearsDown, schedule=plain(3, "300ms"), params={"file": str(file)}))
    assert file.read_text().splitlines() == ["torn down"] * 3


def test_paused_users_take_no_cpu(home: Runtime) -> None:
    """In a pause of three seconds: who waits busily takes whatever the machine gives, for 2 s here at least a third of a core."""
    going = home.start(Profile(Generator("u", user=loads.Looper, schedule=plain(10, "200ms") + pause("3s"))))
    wait_for_start(going)
    time.sleep(0.7)
    began, cpu_s = time.monotonic(), time.process_time()
    time.sleep(2.0)
    assert time.process_time() - cpu_s < 0.2 * (time.monotonic() - began)
    result = going.wait(60)
    check_books(result)
    assert result.summary["generators"]["u"]["cpu_s"] < 1.0


def test_without_shared_memory_the_inline_runtime_is_used_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS."""
    monkeypatch.setattr("wasp_ray.wire.arena.has_memfd", lambda: False)
    result = Profile(Generator("u", user=loads.Looper, schedule=plain(1, "200ms"))).run()
    assert any("memfd" in warning for warning in result.warnings)


def test_setup_of_the_profile_runs_once_and_its_result_reaches_the_users(
    home: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON-able data; teardown runs once, too."""
    file = tmp_path / "steps"
    monkeypatch.setenv("WITNESS", str(file))
    generator = Generator("u", user=loads.KnowsSetup, schedule=plain(3, "200ms"))
    result = run(home, generator, setup=loads.make_token, teardown=loads.drop_token)
    assert result.verdict == "passed", result.summary["generators"]["u"]["errors"]
    assert file.read_text().split() == ["setup", "teardown"]


def test_a_setup_of_the_profile_that_raises_is_an_error(home: Runtime) -> None:
    """With what it raised."""
    bad = run(home, Generator("u", user=loads.KnowsSetup, schedule=plain(1, "200ms")), setup=loads.no_token)
    assert bad.verdict == "error" and any("no token" in reason for reason in bad.reasons)
