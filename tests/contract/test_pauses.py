"""A pause that comes before t = 0: held, and applied at the start, in every runtime and with several nodes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import witness_loads as loads
from support.books import check_books, is_over, wait_for_start
from support.runtimes import Runtime

from wasp_ray import Generator, Profile, RunResult, plain

HELD_S = 0.5
WHERE = [("process", 1), ("process", 3), ("inline", 1), ("placed", 1)]
IDS = [f"{name}-{nodes}" for name, nodes in WHERE]


@pytest.fixture(params=WHERE, ids=IDS)
def begun(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Begun]:
    """A run that has just been started."""
    name, nodes = request.param
    with Runtime(name) as runtime:
        made = Begun(runtime, nodes, tmp_path)
        yield made
        made.let()  # whatever waits there still, so that nothing is left of it
        made.run.stop()
        made.run.stop()
        made.run.wait(60)


class Begun:
    """A run of every kind of Generator, and what its calls wrote. Its load does not begin before `let`."""

    def __init__(self, runtime: Runtime, nodes: int, folder: Path) -> None:
        self.witness, self._gate = folder / "witness", folder / "gate"
        params = {"witness": str(self.witness), "gate": str(self._gate)}
        profile = Profile(
            Generator("gun", gun=loads.AsyncGun, schedule=plain(100, "1s"), params=params),
            Generator("blocking", gun=loads.SyncGun, schedule=plain(60, "1s"), params=params),
            Generator("user", user=loads.SyncUser, schedule=plain(3, "1s"), params=params, graceful_stop="1s"),
            Generator("packed", user=loads.AsyncUser, schedule=plain(6, "1s"), users_per_process=2, params=params),
        )
        self.run = runtime.start(profile, **({"nodes": nodes} if nodes > 1 else {}))

    def let(self) -> None:
        """Let the users' setup end, and with it the load begin."""
        self._gate.touch()

    def hold(self) -> None:
        """Let the load begin, wait for t = 0 and a while longer: no call began."""
        self.let()
        wait_for_start(self.run)
        time.sleep(HELD_S)
        assert not is_over(self.run), self.run.wait(1).reasons
        assert not loads.seen_in(self.witness)

    def result(self) -> RunResult:
        """How it ended: its ledger is what the witness saw."""
        result = self.run.wait(60)
        check_books(result)
        seen = loads.seen_in(self.witness)
        assert {name: g.ledger.ok for name, g in result.generators.items()} == {n: seen[n] for n in result.generators}
        return result


@pytest.mark.parametrize("after_s", [0.0, 0.3])
def test_a_pause_before_the_start_is_applied_at_the_start(begun: Begun, after_s: float) -> None:
    """Nothing becomes due until resume; then the whole schedule runs."""
    time.sleep(after_s)
    begun.run.pause()
    begun.hold()
    begun.run.resume()
    result = begun.result()
    assert result.verdict == "passed", result.reasons
    assert (result.generators["gun"].ledger.ok, result.generators["blocking"].ledger.ok) == (100, 60)
    assert result.summary["duration_s"] > HELD_S + 1.0


def test_a_resume_before_the_start_cancels_the_pause(begun: Begun) -> None:
    """The load begins as if nothing had been said."""
    for order in (begun.run.pause, begun.run.resume, begun.run.pause, begun.run.resume):
        order()
    begun.let()
    result = begun.result()
    assert result.verdict == "passed", result.reasons
    assert (result.generators["gun"].ledger.ok, result.generators["blocking"].ledger.ok) == (100, 60)


def test_a_stop_ends_a_load_that_is_held(begun: Begun) -> None:
    """Nothing was scheduled, nothing was called."""
    begun.run.pause()
    begun.hold()
    begun.run.stop()
    result = begun.result()
    assert result.ledger.scheduled == result.ledger.started == 0


@pytest.mark.parametrize("begun", WHERE[:3], indirect=True, ids=IDS[:3])
def test_a_pause_and_a_stop_before_the_start_end_the_run(begun: Begun) -> None:
    """As a stop alone does: nothing is waited for."""
    begun.run.pause()
    begun.run.stop()
    result = begun.result()
    assert result.ledger.scheduled == result.ledger.started == 0
