"""Event loops that a call blocks: noticed, named with the cure, and no fault of the target or the machine."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from support import loop_loads
from support.runtimes import Runtime

from wasp_ray import Generator, Gun, Profile, RunResult, VirtualUser, plain, ramp
from wasp_ray.wire.arena import Arena, Entry, Header, lay_out
from wasp_ray.wire.record import HOOK_BITS, Hook
from wasp_ray.worker import loop_watch
from wasp_ray.worker.call_state import CallState, current_call
from wasp_ray.worker.cpu import CallWait
from wasp_ray.worker.loop_watch import BLOCK_NS, LoopWatch, give_turn, timed

MS = 10**6


def blocks_of(result: RunResult) -> dict[str, Any]:
    found: dict[str, Any] = result.summary["generators"]["g"]["loop_blocks"]
    return found


def check_no_block(result: RunResult, runtime: Runtime) -> None:
    """Nothing is counted, but for a step of the inline runtime that waited for the interpreter lock on a busy machine."""
    blocks = blocks_of(result)
    if runtime.name != "inline" or blocks["count"] != 1:
        assert blocks == {"count": 0, "call_s": 0.0, "max_s": 0.0, "max_in": None}


def check_blocked(result: RunResult, actor: type) -> None:
    """Invalid for the blocks, with their cure; neither the target nor the machine is blamed."""
    assert result.verdict == "invalid", result.reasons
    (reason,) = [text for text in result.reasons if "blocked its event loop" in text]
    assert f"call() of {actor.__name__} blocked its event loop for up to " in reason
    assert "use `def call`, or an async client" in reason
    assert not any("use a lower rate" in text or "waited for the target" in text for text in result.reasons)
    blocks = blocks_of(result)
    assert (
        blocks["count"] > 1 and 0.05 < blocks["max_s"] < 2 and blocks["max_in"] == "call"
    )  # less what it waited for a core


@pytest.mark.parametrize("pack", [1, 5])
@pytest.mark.parametrize("user", [loop_loads.BlockingUser, loop_loads.BlockingAtOnceUser])
def test_users_that_block_their_loop_make_the_run_invalid(runtime: Runtime, user: type[VirtualUser], pack: int) -> None:
    """Each call blocks for 110 ms, before its first wait or after it; a pack's calls wait for each other."""
    generator = Generator(
        "g", user=user, schedule=plain(pack, "1s"), users_per_process=pack, params={"s": 0.11}
    )  # fmt: skip
    check_blocked(runtime.run(Profile(generator)), user)


@pytest.mark.parametrize("gun", [loop_loads.BlockingGun, loop_loads.BlockingAtOnceGun])
def test_guns_that_block_their_loop_are_told_so(runtime: Runtime, gun: type[Gun]) -> None:
    """Half of the calls are late or dropped for it: use `def call`, instead of a lower rate."""
    generator = Generator("g", gun=gun, schedule=plain(40, "2s"), max_in_flight=2, params={"s": 0.11})
    check_blocked(runtime.run(Profile(generator)), gun)


def test_short_steps_are_no_block(runtime: Runtime) -> None:
    """Ten users of a pack that wake up at once and take 20 ms each keep the loop for 200 ms, but none of them blocks it."""
    generator = Generator("g", user=loop_loads.ShortSteps, schedule=plain(10, "1s"), users_per_process=10)
    result = runtime.run(Profile(generator))
    assert result.verdict == "passed", result.reasons
    check_no_block(result, runtime)


@pytest.mark.parametrize(("s", "is_blocked"), [(0.02, False), (0.08, True)])
def test_tasks_of_a_call_are_steps_of_their_own(runtime: Runtime, s: float, is_blocked: bool) -> None:
    """Ten tasks of 20 ms keep the loop for 200 ms and block nothing; those of 80 ms do, from the second call on at the latest."""
    generator = Generator("g", user=loop_loads.BlockingChildren, schedule=plain(1, "60s"), max_calls=4, params={"s": s})
    result = runtime.run(Profile(generator))
    assert result.ledger.ok == 4
    if is_blocked:
        assert result.verdict == "invalid", result.reasons
        assert "call() of BlockingChildren blocked its event loop for up to" in " ".join(result.reasons)
        assert blocks_of(result)["count"] > 5
    else:
        assert result.verdict == "passed", result.reasons
        check_no_block(result, runtime)


def test_one_block_is_a_warning(runtime: Runtime) -> None:
    """It names the cause; the run is judged as any."""
    generator = Generator(
        "g", user=loop_loads.BlockingUser, schedule=plain(1, "60s"), max_calls=5, params={"s": 0.3, "once": True}
    )  # fmt: skip
    result = runtime.run(Profile(generator))
    assert result.verdict == "passed", result.reasons
    assert blocks_of(result)["count"] == 1
    assert [w for w in result.warnings if "call() of BlockingUser blocked its event loop for up to " in w]


def test_a_setup_that_blocks_calls_beside_it_is_named(runtime: Runtime) -> None:
    """A user that joins a pack blocks the calls of the others in its setup."""
    generator = Generator("g", user=loop_loads.BlocksInSetup, schedule=ramp(1, 2, "3s"), users_per_process=2)
    result = runtime.run(Profile(generator))
    blocks = blocks_of(result)
    assert blocks["count"] == 1 or (
        runtime.name == "inline" and blocks["count"] > 1
    )  # a step may wait for the interpreter lock
    assert blocks["max_in"] == "setup" and 0.05 < blocks["max_s"] < 2
    (warning,) = [w for w in result.warnings if "setup() of BlocksInSetup blocked its event loop for up to " in w]
    assert "use an async client in it" in warning


class _Loop:
    """A clock that steps move, the header of a ring, and the calls in flight that a test wants."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, schedstat: Path) -> None:
        self.now = 0
        self._schedstat = schedstat
        self.in_flight: list[int] = []
        self.arena = Arena.create(lay_out([(1, 8, 2)]), shared=False)
        slab = self.arena.slabs[0]
        self.wait = CallWait(self.arena.words, slab.header_word(0))
        monkeypatch.setattr("wasp_ray.worker.cpu.SCHEDSTAT", str(schedstat))
        monkeypatch.setattr(loop_watch, "now_ns", lambda: self.now)
        self.waited(0)
        host: Any = self
        self.watch = LoopWatch(host, self.in_flight, self.wait)
        self.entry, self.hook = slab.entry_word(0, 0), Hook.CALL

    def header(self, word: int) -> int:
        return self.arena.slabs[0].header_word(0) + word

    def pass_time(self, ns: int) -> None:
        """So much."""
        self.now += ns

    def waited(self, ns: int) -> None:
        """The loop's thread has waited for a core for so long."""
        with open(self._schedstat, "r+" if self._schedstat.exists() else "w") as file:
            file.write(f"0 {ns:020} 1\n")

    def words(self) -> tuple[int, int, int]:
        """Blocks, the call time that they cover, the longest one."""
        count, covered, longest = (
            self.arena.read(0, 0, word) for word in (Header.BLOCKS, Header.BLOCKED_NS, Header.LONGEST_BLOCK)
        )
        return count, covered, longest

    def run(self, coroutine: Callable[[], Any], make_loop: Callable[[], asyncio.AbstractEventLoop]) -> Any:
        """Its result."""

        async def main() -> Any:
            return await timed(coroutine(), self.watch, self.hook, self.entry)

        with asyncio.Runner(loop_factory=make_loop) as runner:
            return runner.run(main())


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def make_loop(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    """Both kinds of loops."""
    made: Callable[[], asyncio.AbstractEventLoop] = request.param
    return made


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[_Loop]:
    """With a clock of its own."""
    made = _Loop(monkeypatch, tmp_path / "schedstat")
    yield made
    made.wait.close()


def test_steps_are_timed_one_by_one(loop: _Loop, make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Steps of 40 ms are none, however many; one of 60 ms is; half a second in which the task waits is none of its steps."""

    async def work() -> str:
        for took in (40, 40, 60, 40):
            loop.now += took * MS
            asyncio.get_running_loop().call_soon(loop.pass_time, 500 * MS)
            await give_turn()
        return "done"

    assert loop.run(work, make_loop) == "done"
    assert loop.words() == (1, 60 * MS, 60 * MS << HOOK_BITS | Hook.CALL)


def test_a_block_covers_all_calls_in_flight(loop: _Loop, make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Three others wait for a step of 100 ms as well; in a setup only they do, and without any call nobody waits."""

    async def work() -> None:
        loop.now += 100 * MS
        await asyncio.sleep(0)

    loop.in_flight[:] = [1, 2, 3]
    loop.run(work, make_loop)
    assert loop.words()[:2] == (1, 400 * MS)
    loop.arena.words[loop.entry + Entry.NUMBER] = 1  # its own call is one of the three
    loop.run(work, make_loop)
    assert loop.words()[:2] == (2, 700 * MS)
    loop.hook, loop.entry = Hook.SETUP, 0
    loop.run(work, make_loop)
    assert loop.words()[:2] == (3, 1000 * MS)
    loop.in_flight.clear()
    loop.run(work, make_loop)
    assert loop.words()[:2] == (3, 1000 * MS)


def test_waiting_for_a_core_is_no_block(loop: _Loop, make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Of a step of 100 ms in which the thread waited for 60 ms, 40 ms are its own; what it waited before the last sweep is not."""
    loop.waited(500 * MS)

    async def work() -> None:
        loop.watch.sweep(loop.now, asyncio.get_running_loop())
        loop.now += 100 * MS
        loop.waited(560 * MS)
        await asyncio.sleep(0)
        loop.now += 100 * MS
        loop.waited(570 * MS)

    loop.run(work, make_loop)
    assert loop.words()[:2] == (1, 90 * MS)


def test_exceptions_and_cancellations_pass_through(
    loop: _Loop, make_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:  # fmt: skip
    """Both ways: what the task is sent reaches the coroutine, what that raises reaches the task, and the step counts."""
    seen: list[str] = []

    async def cancelled() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(30)
        except TimeoutError:
            seen.append("timeout")
        loop.now += 2 * BLOCK_NS
        raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        loop.run(cancelled, make_loop)
    assert seen == ["timeout"] and loop.words()[0] == 1


def test_a_task_that_is_cancelled_before_it_begins_drops_no_coroutine(
    loop: _Loop, make_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:  # fmt: skip
    """Tasks of a call are timed once the loop stood still: they have their own names, results and cancellations, as without it."""
    seen: list[str] = []

    async def child(number: int) -> int:
        await asyncio.sleep(0)
        return number

    async def work() -> None:
        running = asyncio.get_running_loop()
        loop.watch.sweep(loop.now, running)
        loop.watch.sweep(loop.now + 200 * MS, running)
        assert running.get_task_factory() is not None
        token = current_call.set(CallState(0))
        made = [asyncio.create_task(child(number), name=f"child {number}") for number in range(3)]
        made[1].cancel()
        seen.extend(getattr(task.get_coro(), "__qualname__", "").rpartition(".")[2] + task.get_name() for task in made)
        found = await asyncio.gather(*made, return_exceptions=True)
        seen.extend(type(one).__name__ if isinstance(one, BaseException) else str(one) for one in found)
        current_call.reset(token)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loop.run(work, make_loop)
        gc.collect()
    assert seen == ["childchild 0", "childchild 1", "childchild 2", "0", "CancelledError", "2"]


def test_a_coroutine_that_is_closed_runs_its_cleanup(loop: _Loop) -> None:
    """As without the watch; the time for which it waited is no step."""
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            seen.append("cleaned")

    async def main() -> None:
        await timed(work(), loop.watch, loop.hook, loop.entry)

    async def drop() -> None:
        outer = main()
        outer.send(None)
        loop.now += 10 * BLOCK_NS
        outer.close()

    asyncio.run(drop())
    assert seen == ["cleaned"] and loop.words()[0] == 0
