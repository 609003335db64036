"""Segments with warmup=True in real runs: in the ledger and the segments, in no group, percentile or threshold.

The truth comes from files that the calls write to. The row of a gun's call has its tick number, so it says in which segment the
call was due.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support import loads
from support.books import check_books, wait_for_start

from wasp_ray import Generator, Gun, Profile, Run, plain, rows

WARM, MEASURED = 20, 120
"""Calls of the segments, of 1 and 2 s. A warm call takes so long that it ends among the measured ones, and fails."""
WARM_S = 1.5
FAILS = 12
"""Measured calls that fail."""


class Call(NamedTuple):
    """A line of a witness."""

    tick: int
    fails: bool
    step_s: float


def ticks() -> list[dict[str, Any]]:
    """A row for each call."""
    warm = [{"n": n, "s": WARM_S, "fails": True} for n in range(WARM)]
    return warm + [{"n": WARM + n, "s": 0.005, "fails": n % 10 == 0} for n in range(MEASURED)]


def witnessed(file: Path) -> tuple[list[Call], list[Call]]:
    """What ran: warm and measured calls."""
    lines = [line.split() for line in file.read_text().splitlines()]
    calls = [Call(int(tick), fails == "1", int(ns) / 1e9) for tick, fails, ns in lines]
    return [call for call in calls if call.tick < WARM], [call for call in calls if call.tick >= WARM]


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("gun", [loads.WarmingGun, loads.WarmingSyncGun], ids=["async gun", "sync gun"])
def test_calls_of_a_warm_up_are_in_the_ledger_and_in_nothing_else(gun: type[Gun], nodes: int, tmp_path: Path) -> None:
    """A call belongs to the segment in which it was due, also when it ends in the next one."""
    generator = Generator(
        "g", gun=gun, schedule=plain(WARM, "1s", name="warm", warmup=True) + plain(MEASURED // 2, "2s", name="full"),
        params={"file": str(tmp_path / "calls")}, feeders={"ticks": rows(ticks())},
    )  # fmt: skip
    expressions = [
        f"failed of g == {FAILS}",
        "failed of g/step < 20%",
        "max(service) of g < 1s",
        "max(service) of g/step < 1s",
    ]
    result = Profile(generator, thresholds=expressions).run(nodes=nodes)
    check_books(result)
    assert result.verdict == "passed", result.reasons
    assert [threshold["passed"] for threshold in result.summary["thresholds"]] == [True] * len(expressions)

    warm, measured = witnessed(tmp_path / "calls")
    assert (len(warm), len(measured)) == (WARM, MEASURED)
    found, step = result.generators["g"], result.generators["g"].groups["step"]
    assert found.ledger.failed == sum(call.fails for call in warm + measured)
    assert found.ledger.ok + found.ledger.failed == found.ledger.scheduled == len(warm + measured)
    assert (step.count, step.failed) == (len(measured), sum(call.fails for call in measured))

    times = sorted(call.step_s for call in measured)
    assert times[0] <= step.service.min and times[len(times) // 2 - 1] <= step.service.p50 * 1.005
    assert times[-1] <= step.service.max < min(call.step_s for call in warm)

    parts = result.summary["generators"]["g"]["segments"]
    assert [(part["name"], part["failed"]) for part in parts] == [("warm", len(warm)), ("full", FAILS)]
    assert parts[0]["service_s"]["min"] >= min(call.step_s for call in warm) > parts[1]["service_s"]["max"]


def start_ns_of(going: Run) -> int:
    """Return t = 0 of a run that has begun, by this machine's clock, or up to 0.1 ms before it."""
    while True:
        before = time.monotonic_ns()
        elapsed_s = going.elapsed_s
        assert elapsed_s is not None
        if time.monotonic_ns() - before < 100_000:
            return before - math.ceil(elapsed_s * 1e9)


def test_calls_of_users_in_a_warm_up_are_in_the_ledger_and_in_nothing_else(tmp_path: Path) -> None:
    """At the edge one call of each user is uncertain: it began a moment before its first line."""
    schedule = plain(2, "1s", warmup=True) + plain(2, "1s")
    generator = Generator("u", user=loads.WarmingUser, schedule=schedule, params={"file": str(tmp_path / "calls")})
    going = Profile(generator).start()
    wait_for_start(going)
    edge_ns = start_ns_of(going) + 10**9
    result = going.wait(30)
    check_books(result)
    began = [int(line) for line in (tmp_path / "calls").read_text().splitlines()]
    measured = sum(at_ns >= edge_ns for at_ns in began)
    assert result.generators["u"].ledger.ok == len(began)
    assert measured - 2 <= result.generators["u"].groups["u"].count <= measured < len(began)
