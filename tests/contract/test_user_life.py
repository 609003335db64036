"""What every user does in the same way: blocking, async, and packed in one process, in processes and threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.runtimes import Runtime
from support.user_loads import Async, Blocking, Line, lines_of

from wasp_ray import Generator, Profile, RunResult, plain
from wasp_ray.schedule import Schedule


class Users:
    """One kind of user in one runtime, with a file in which its users write what they do."""

    def __init__(self, kind: str, runtime: Runtime, file: Path) -> None:
        self.is_async, self._pack, self._runtime, self._file = (
            kind != "sync",
            3 if kind == "packed" else 1,
            runtime,
            file,
        )

    def run(self, schedule: Schedule, *, who: int = 1, **options: Any) -> RunResult:
        """A run of these users whose books close; what is no option of a Generator is a parameter of the users."""
        params: dict[str, Any] = {name: options.pop(name) for name in ("setups", "calls", "s") if name in options}
        actor = Async if self.is_async else Blocking
        generator = Generator(
            "u", user=actor, schedule=schedule, users_per_process=self._pack,
            params={"file": str(self._file), "who": who, **params}, **options,
        )  # fmt: skip
        return self._runtime.run(Profile(generator), seed=7)

    def lines(self, step: str = "", user: int | None = None) -> list[Line]:
        """What was written, of all users or one, all steps or one kind."""
        return [line for line in lines_of(self._file) if step in ("", line.step) and user in (None, line.user)]

    def steps(self, user: int) -> list[str]:
        """The steps of a user in their order, calls in a row as one."""
        out: list[str] = []
        for line in self.lines(user=user):
            if not (line.step == "call" and out and out[-1] == "call"):
                out.append(line.step)
        return out


@pytest.fixture(params=["sync", "async", "packed"])
def kind(request: pytest.FixtureRequest) -> str:
    """Of users."""
    return str(request.param)


@pytest.fixture(params=["process", "inline"])
def users(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> Iterator[Users]:
    """Every kind in every runtime."""
    with Runtime(request.param) as runtime:
        yield Users(kind, runtime, tmp_path / "steps")


LIFE = ["setup", "ready", "call", "teardown"]


@pytest.mark.usefixtures("short_setup_backoff")
def test_a_setup_that_fails_is_retried_and_the_load_waits_for_it(users: Users) -> None:
    """Its mates are set up once; nobody calls before all of them are ready."""
    result = users.run(plain(3, "400ms"), setups={0: "raise", 1: "restart"})
    assert result.verdict == "passed", result.reasons
    assert result.generators["u"].data["users"]["setup_failed"] == 2
    assert [users.steps(user) for user in range(3)] == [LIFE, ["setup", "setup", *LIFE], LIFE]
    assert min(line.at for line in users.lines("call")) > max(line.at for line in users.lines("ready"))


@pytest.mark.usefixtures("short_setup_backoff")
def test_a_setup_that_never_succeeds_ends_the_generator_with_its_reason(users: Users) -> None:
    """After four attempts, whatever its mates do."""
    result = users.run(plain(3, "30s"), setups={-1: "raise"})
    assert result.verdict == "error"
    assert any("setup failed 4 times" in reason and "planned" in reason for reason in result.reasons), result.reasons
    assert users.steps(1) == ["setup"] * 4 and result.generators["u"].data["users"]["setup_failed"] == 4


def test_a_user_that_stops_in_its_setup_stays_away_and_nobody_waits_for_it(users: Users) -> None:
    """Nothing failed."""
    result = users.run(plain(3, "400ms"), setups={-1: "stop"})
    assert result.verdict == "passed", result.reasons
    assert [users.steps(user) for user in range(3)] == [LIFE, ["setup"], LIFE]
    assert result.generators["u"].data["users"]["setup_failed"] == 0


@pytest.mark.usefixtures("short_setup_backoff")
def test_a_setup_that_fails_after_a_restart_is_a_failed_setup_and_no_death(users: Users) -> None:
    """Mates work on, and users that the schedule wants later come."""
    result = users.run(plain(2, "1s") + plain(3, "1500ms"), calls={2: "restart"}, setups={1: "raise"}, max_calls=None)
    found = result.generators["u"]
    assert found.ledger.failed > 0 and found.ledger.failed + found.ledger.ok == found.ledger.started
    assert found.data["users"]["setup_failed"] == 1 and found.data["users"]["replaced"] == 0
    assert users.steps(1)[:7] == [*LIFE, "setup", *LIFE[:2]]
    assert users.steps(0) == users.steps(2) == LIFE


def test_a_user_that_stops_itself_does_not_come_back_when_more_users_are_wanted_again(users: Users) -> None:
    """Those that left because the schedule wanted fewer do, with another random stream."""
    result = users.run(plain(3, "200ms") + plain(1, "1200ms") + plain(3, "200ms"), calls={1: "stop"}, s=0.02)
    assert result.verdict == "passed", result.reasons
    assert users.steps(0) == users.steps(1) == LIFE and users.steps(2) == LIFE * 2
    draws = Counter(line.draw for line in users.lines())
    assert max(draws.values()) == 1, "two lives drew the same numbers"


def test_calls_have_graceful_stop_and_one_cancellation_to_clean_up_after(users: Users) -> None:
    """Cleanups of async calls are finished; a blocking call is killed."""
    result = users.run(plain(3, "300ms"), calls={1: "hang"}, graceful_stop="300ms")
    assert result.generators["u"].ledger.interrupted == 1
    assert result.summary["duration_s"] < 15
    if users.is_async:
        assert [len(users.lines(step, 1)) for step in ("cancelled", "cleaned", "teardown")] == [1, 1, 1]


def test_a_user_that_leaves_within_the_load_has_graceful_stop_as_well(users: Users) -> None:
    """The others call on, and the run is not longer for it."""
    result = users.run(plain(2, "300ms") + plain(1, "2500ms"), calls={1: "hang"}, graceful_stop="300ms")
    assert result.generators["u"].ledger.interrupted == 1
    assert result.summary["duration_s"] < 15 and "call" in users.steps(0)
    if users.is_async:
        assert [len(users.lines(step, 1)) for step in ("cancelled", "cleaned", "teardown")] == [1, 1, 1]
        assert users.lines("cleaned")[0].at < users.lines("call", 0)[-1].at


def test_every_pace_that_fell_due_is_scheduled_and_those_not_started_are_the_targets(users: Users) -> None:
    """A call of 450 ms makes about four of five paces late; a threshold on drops sees them."""
    result = users.run(plain(1, "2s"), who=-1, pacing="100ms", s=0.45)
    found = result.generators["u"]
    first = users.lines("call")[0].at
    assert 19 <= found.ledger.scheduled <= 21, (found.ledger, first)
    assert found.ledger.started <= 6 and found.ledger.dropped == found.ledger.scheduled - found.ledger.started
    assert found.data["dropped_by"] == {"user_busy": found.ledger.dropped}


def test_users_that_wait_take_no_cpu_and_do_not_disturb_their_mates(users: Users) -> None:
    """Think time: one that waited busily would take the whole core of its process for two seconds."""
    result = users.run(plain(6, "2s"), who=-1, think_time="150ms", s=0.0)
    assert 12 <= result.generators["u"].ledger.ok <= 6 * 15
    assert result.summary["generators"]["u"]["cpu_s"] < 1.0
