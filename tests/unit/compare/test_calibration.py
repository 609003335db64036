"""How often the comparison is wrong, on a few seeded pairs; `make bench-compare` counts a thousand of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import compare as calibration
from benchmarks.compare import AT_MARGIN, Bound, Case, count
from benchmarks.compare_runs import AR1, DRIFT, INDEPENDENT, STALLS, Process
from wasp_ray.stats.compare import Answer

PAIRS = range(40)


@pytest.mark.parametrize("process", [INDEPENDENT, AR1, STALLS, DRIFT], ids=lambda process: process.name)
def test_a_change_of_exactly_the_margin_is_seldom_called_worse(process: Process) -> None:
    """In 2.5 % of pairs: more than four of 40 have a probability of a third of a percent."""
    assert count(Case(process, 200, AT_MARGIN, 0.5), PAIRS)["any worse"] <= 4


def test_equal_runs_are_mostly_not_worse() -> None:
    """Two thirds of pairs at least, in every measure, and none of them is worse in any."""
    found = count(Case(INDEPENDENT, 300, 1.0), PAIRS)
    assert found["all not worse"] >= 27
    assert found["any worse"] == 0


def test_a_change_of_ten_percent_is_mostly_found() -> None:
    """In the p95 of 30,000 calls a side."""
    assert count(Case(INDEPENDENT, 300, 1.1), PAIRS)["p95 worse"] >= 30


def test_a_bootstrap_of_single_calls_mistakes_stalls_for_changes() -> None:
    """The reason why seconds are resampled: of pairs whose change is the margin, it calls one in four worse."""
    found = count(Case(STALLS, 200, AT_MARGIN), PAIRS)
    assert found["naive p99 worse"] >= 10
    assert found["p99 worse"] <= 4


def test_the_calibration_fails_when_a_bound_is_missed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its exit code is 1 then, its table says which, and the counts are written."""
    case = Case(INDEPENDENT, 60, 1.0)
    monkeypatch.setattr(
        calibration, "measured", lambda cases, pairs: {case: count(case, range(pairs)) for case in cases}
    )
    monkeypatch.setattr(calibration, "POWER", [case])
    monkeypatch.setattr(calibration, "FOLDER", tmp_path)
    monkeypatch.setattr("sys.argv", ["compare", "--pairs", "2"])
    for limit, code, word in ((0.0, 0, "yes"), (-1.0, 1, "NO")):
        monkeypatch.setattr(calibration, "BOUNDS", [Bound(case, "any", Answer.WORSE, True, limit)])
        assert calibration.main() == code
        assert f" {word} " in capsys.readouterr().out
    written = json.loads((tmp_path / "compare.json").read_text())
    assert [of["case"]["seconds"] for of in written] == [60, 60]
