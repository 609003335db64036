"""Wake-ups of an async gun, with the timer of Linux and without it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from support import loads
from support.books import check_books

from wasp_ray import Generator, Profile, plain
from wasp_ray.clock import now_ns
from wasp_ray.worker.ticker import Ticker

MS = 10**6


@pytest.fixture(params=["timerfd", "no timerfd"])
def _timer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Linux, and as on macOS."""
    if request.param == "no timerfd":
        monkeypatch.setattr("wasp_ray.worker.ticker.HAS_TIMERFD", False)


def play(game: Callable[[Ticker, list[int]], None], wanted: int) -> list[int]:
    """When a ticker fired, once it did so `wanted` times; `game` arms it, and again at each time."""

    async def run() -> list[int]:
        fired: list[int] = []
        enough = asyncio.Event()

        def fire() -> None:
            fired.append(now_ns())
            game(ticker, fired)
            if len(fired) >= wanted:
                enough.set()

        ticker = Ticker(fire)
        game(ticker, fired)
        try:
            await asyncio.wait_for(enough.wait(), 20)
        finally:
            ticker.close()
        return fired

    return asyncio.run(run())


@pytest.mark.usefixtures("_timer")
def test_an_instant_that_is_armed_again_when_it_fires_fires_again() -> None:
    """As a gun does that was woken before its next call is due, or whose slots are all taken: each time the same instant."""
    at = now_ns() + 5 * MS

    def game(ticker: Ticker, fired: list[int]) -> None:
        if len(fired) < 3:
            ticker.arm(at)

    assert len(play(game, 3)) == 3


@pytest.mark.usefixtures("_timer")
def test_a_later_arming_replaces_the_one_before() -> None:
    """It fires once, at the last instant."""
    first = now_ns()

    def game(ticker: Ticker, fired: list[int]) -> None:
        if not fired:
            for after_ms in (60_000, 1, 30):
                ticker.arm(first + after_ms * MS)

    (fired,) = play(game, 1)
    assert fired >= first + 29 * MS


@pytest.mark.usefixtures("_timer")
def test_arming_the_armed_instant_again_changes_nothing() -> None:
    """It fires once."""

    async def run() -> int:
        fired = 0

        def fire() -> None:
            nonlocal fired
            fired += 1

        ticker = Ticker(fire)
        at = now_ns() + MS
        ticker.arm(at)
        ticker.arm(at)
        while not fired:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)
        ticker.close()
        return fired

    assert asyncio.run(run()) == 1


@pytest.mark.usefixtures("_timer")
def test_a_closed_ticker_does_not_fire() -> None:
    """Whatever was armed."""

    async def run() -> list[int]:
        fired: list[int] = []
        ticker = Ticker(lambda: fired.append(1))
        ticker.arm(now_ns() + MS)
        ticker.close()
        await asyncio.sleep(0.02)
        return fired

    assert asyncio.run(run()) == []


@pytest.mark.usefixtures("_timer")
def test_a_gun_starts_its_calls_when_they_are_due() -> None:
    """In the inline runtime, the one without timerfd: it does not stand still until its load ends."""
    result = Profile(Generator("g", gun=loads.Sleepy, schedule=plain(333, "3s"))).run(runtime="inline")
    check_books(result)
    assert result.verdict == "passed" and result.ledger.ok == 999, result.reasons
    assert result.summary["generators"]["g"]["start_delay_s"]["p50"] < 0.5
