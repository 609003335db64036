"""Thresholds that end a load, on every runtime and on several nodes: it ends, with a verdict and its reason; results are kept."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support import loads
from support.books import check_books
from support.runtimes import Runtime

from wasp_ray import Generator, Gun, Profile, RunResult, Threshold, plain, ramp
from wasp_ray.stats import threshold_watch

LONG = "120s"


class SlowFromThen(Gun):
    """Calls take 5 ms, and from three seconds after the first one on 100 ms."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.slow_from: float | None = None

    async def call(self) -> None:
        now = asyncio.get_running_loop().time()
        self.slow_from = self.slow_from or now + 3
        await asyncio.sleep(0.005 if now < self.slow_from else 0.1)


class FailsAlways(Gun):
    """Every call."""

    async def call(self) -> None:
        raise ValueError("no")


def ended_early(result: RunResult) -> float:
    """Seconds of the load, whose ledger closes."""
    check_books(result)
    duration_s = result.summary["duration_s"]
    assert duration_s < 60
    return float(duration_s)


def entry(result: RunResult, at: int = 0) -> dict[str, Any]:
    """A threshold's, in the summary."""
    found: dict[str, Any] = result.summary["thresholds"][at]
    return found


def test_abort_ends_the_load_and_fails_the_run(runtime: Runtime) -> None:
    """With the second in which it was broken; calls in flight have their grace."""
    gun = Generator("g", gun=SlowFromThen, schedule=plain(30, LONG), max_in_flight=20)
    result = runtime.run(Profile(gun, thresholds=["p50 < 50ms over 2s abort", "p99 < 10s"]))
    duration_s = ended_early(result)
    assert result.verdict == "failed", result.reasons
    (reason,) = result.reasons
    assert reason.startswith("p50 < 50ms over 2s abort: broken at ")
    found = entry(result)
    assert not found["passed"] and found["broken_for_s"] >= 1 and 0.05 < found["worst"] < 1
    assert 2 <= found["broken_at_s"] <= duration_s + 1
    assert entry(result, 1)["passed"] and entry(result, 1)["broken_at_s"] is None
    assert result.ledger.interrupted == 0


def test_stop_ends_the_load_with_a_capacity(runtime: Runtime) -> None:
    """A breakpoint test passes; it says which rate held."""
    gun = Generator("g", gun=SlowFromThen, schedule=ramp(10, 250, LONG), max_in_flight=20)
    result = runtime.run(Profile(gun, thresholds=[Threshold("p50 < 50ms", over="1s", on_break="stop")]))
    ended_early(result)
    assert result.verdict == "passed", result.reasons
    capacity = result.summary["capacity"]
    assert 10 <= capacity["held"] <= 130 and capacity["held"] <= capacity["broke"] <= 132
    assert entry(result)["passed"] and entry(result)["broken_at_s"] is not None


def test_a_breaker_ends_a_load_of_which_every_call_fails(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how to let it continue; the results are those of the calls until then."""
    monkeypatch.setattr(threshold_watch, "BREAKER_S", 3)
    result = runtime.run(Profile(Generator("g", gun=FailsAlways, schedule=plain(50, LONG))))
    ended_early(result)
    assert result.verdict == "failed" and result.ledger.failed == result.ledger.started > 100
    assert any("calls of the last 3 s failed" in reason and "--no-breaker" in reason for reason in result.reasons)


def test_without_a_breaker_it_continues(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the end of its schedule."""
    monkeypatch.setattr(threshold_watch, "BREAKER_S", 1)
    monkeypatch.setattr(threshold_watch, "BREAKER_CALLS", 10)
    result = runtime.run(Profile(Generator("g", gun=FailsAlways, schedule=plain(50, "6s")), breaker=False))
    assert result.ledger.failed == 300 and not any("breaker" in reason for reason in result.reasons)


def test_a_breach_ends_all_nodes() -> None:
    """The seconds of all nodes together are judged."""
    users = Generator("u", user=loads.Failing, schedule=plain(4, LONG))
    result = Profile(users, thresholds=["errors < 1% over 1s for 2s abort"]).run(nodes=2)
    ended_early(result)
    assert result.verdict == "failed" and entry(result)["broken_at_s"] >= 2
    assert len(result.summary["nodes"]) == 2
