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
