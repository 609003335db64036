"""The model: what a run reports has to be what its own calls wrote down, whatever happens while it runs.

The witness is outside the engine: every call writes its begin and its end to a file of its own (actors.py), the driver
writes down its events and the deaths it sees (drive.py). From these lines alone the counts are computed anew (truth.py) and
compared with the summary (check.py).

A hypothesis state machine was considered and left: its rules run one after another in the test's own time, while a run goes
on in real time, so a rule would be applied to a state that has moved on, shrinking would repeat other timings, and what is
known to be wrong could only be recognised after the run. Here one example is one value (scenario.py): a whole run with its
events and their instants. It is drawn before the run, so known faults are predicates over it (known.py), it is a literal
that repeats the example (replay.py), and hypothesis shrinks it as data.

`make model` runs the pinned examples and MODEL_EXAMPLES random ones, or as many as MODEL_SECONDS allow, spread evenly over
the kinds of workers and runtimes. The seed is that of the commit.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from model import known, search
from model.check import CHECKS
from model.examples import EXAMPLES, FINDINGS
from model.scenario import KINDS, Runtime, problems

HOMES: list[tuple[Runtime, int]] = [("process", 1), ("inline", 1), ("process", 2)]
CELLS: list[search.Cell] = [(kind, runtime, nodes) for kind in KINDS for runtime, nodes in HOMES]
DEFAULT_EXAMPLES = 30
"""Random examples where neither a number nor a time is given."""


def _example(name: str) -> object:
    if name not in known.KNOWN:
        return name
    return pytest.param(name, marks=pytest.mark.xfail(strict=True, raises=search.Diverged, reason="known.py"))


@pytest.mark.parametrize("name", [_example(name) for name in EXAMPLES])
def test_a_pinned_scenario_is_counted_as_its_calls_wrote_it_down(name: str, tmp_path: Path) -> None:
    """A marked one still diverges in the checks of its finding, every other one in none."""
    scenario, mine = EXAMPLES[name], known.KNOWN.get(name)
    found = search.run(scenario, tmp_path)
    wrong = search.unknown(scenario, found) if mine is None else [each for each in found if mine.sees(each.check)]
    if wrong:
        raise search.Diverged(search.report(scenario, wrong, tmp_path))


@pytest.mark.timeout(0)
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"{cell[0]} {cell[1]} {cell[2]}".replace(" ", "-"))
def test_random_scenarios_are_counted_as_their_calls_wrote_them_down(cell: search.Cell, tmp_path: Path) -> None:
    """Every kind of worker, runtime and number of nodes for its part of the budget."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    seconds = os.environ.get("WASP_MODEL_SECONDS")
    if seconds:
        search.Search(cell, tmp_path, seconds=float(seconds) * workers / len(CELLS)).run()
    else:
        examples = int(os.environ.get("WASP_MODEL_EXAMPLES") or DEFAULT_EXAMPLES)
        search.Search(cell, tmp_path, examples=-(-examples // len(CELLS))).run()


def test_every_mark_names_a_pinned_example_of_its_own_region() -> None:
    """A mark without example could never be found to be closed."""
    for name, region in known.KNOWN.items():
        assert name in FINDINGS, name
        assert region.covers(FINDINGS[name]), name
        assert region.checks == known.ALL or set(region.checks.split(", ")) <= set(CHECKS), name
    assert not [name for name, scenario in EXAMPLES.items() if problems(scenario)]
