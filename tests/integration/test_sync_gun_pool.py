"""How many processes a blocking gun has: as many as its calls need, counted by what their setups write down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import witness
from support.books import check_books

from wasp_ray import Generator, Profile, RunResult, plain


def run(file: Path, rate: int, seconds: int, call_s: float, gun: type = witness.SyncGun, **options: Any) -> RunResult:
    """A blocking gun with the default of 200 processes at most."""
    params = {"file": str(file), "s": call_s}
    result = Profile(Generator("g", gun=gun, schedule=plain(rate, f"{seconds}s"), params=params, **options)).run()
    check_books(result)
    assert result.ledger.ok == witness.noted(file)["e"]
    return result


@pytest.mark.parametrize("call_s", [0.0001, 0.02])
def test_short_calls_need_few_processes(call_s: float, tmp_path: Path) -> None:
    """At 100/s calls of 20 ms keep two busy; the first seven are enough, but for a few on a machine that is busy."""
    result = run(tmp_path / "calls", 100, 3, call_s)
    assert result.ledger.ok == 300
    assert witness.noted(tmp_path / "calls")["setup"] <= 40


def test_a_slow_target_gets_its_processes_soon(tmp_path: Path) -> None:
    """At 40/s calls of 1 s keep 40 busy; ticks wait for a start of a process, not for the end of a call."""
    result = run(tmp_path / "calls", 40, 4, 1.0)
    assert result.ledger.ok == 160
    assert 40 <= witness.noted(tmp_path / "calls")["setup"] <= 120
    response, service = result.generators["g"].response, result.generators["g"].service
    assert response.p50 - service.p50 < 0.5


def test_a_further_process_whose_setup_fails_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that takes ten connections ends no run that needs twenty: its calls wait, and the warning says why."""
    monkeypatch.setattr("wasp_ray.runtime.fleet.SETUP_BACKOFF_NS", ())
    result = run(tmp_path / "calls", 50, 2, 0.4, witness.TenConnections, min_delivered=0, graceful_stop="20s")
    assert result.verdict == "passed", result.reasons
    (warning,) = [text for text in result.warnings if "too many connections" in text]
    assert warning.startswith("Generator 'g': setup of a further worker failed")
    assert result.generators["g"].response.max > 0.8
    assert witness.noted(tmp_path / "calls")["connected"] == 10


def test_a_first_process_whose_setup_fails_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for users: nothing has begun without it."""
    monkeypatch.setattr("wasp_ray.runtime.fleet.SETUP_BACKOFF_NS", ())
    params = {"file": str(tmp_path / "calls")}
    result = Profile(Generator("g", gun=witness.TenConnections, schedule=plain(400, "2s"), params=params)).run()
    assert result.verdict == "error" and any("too many connections" in reason for reason in result.reasons)
    assert witness.noted(tmp_path / "calls")["b"] == result.ledger.started == 0
