"""The random search: examples of one cell until a budget is spent, and a failure shrunk for a bounded time.

Everything is derived from one seed, so a session can be repeated; a failing example needs no seed, it is a literal.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import mkdtemp

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from model import known
from model.check import compare
from model.counts import Divergence
from model.drive import drive
from model.scenario import Kind, Runtime, Scenario, problems
from model.strategy import scenarios

FALLBACK_SEED = 20_240
"""Where there is no git."""
BATCH = 25
"""Examples of one hypothesis run; each run has a seed of its own."""
SHRINK_S = 60.0
Cell = tuple[Kind, Runtime, int]


class Diverged(AssertionError):
    """The summary of a run contradicts the witness."""


def run(scenario: Scenario, folder: Path) -> list[Divergence]:
    """Run a scenario and return every divergence, known or not."""
    return compare(scenario, drive(scenario, folder))


def unknown(scenario: Scenario, found: Sequence[Divergence]) -> list[Divergence]:
    """Return the divergences that no known finding explains."""
    quiet = known.silenced(scenario)
    return [each for each in found if each.check not in quiet]


def report(scenario: Scenario, found: Sequence[Divergence], folder: Path) -> str:
    """Return what a person needs to understand and repeat a failure."""
    lines = [f"{each.check}: {each.text}" for each in found]
    again = f"python -m tests.model.replay {shlex.quote(repr(scenario))}"
    return "\n".join([f"{len(found)} divergences", *lines, f"witness: {folder}", f"repeat: {again}"])


def base_seed() -> int:
    """Return the seed of this session: WASP_MODEL_SEED, or that of the commit."""
    given_seed = os.environ.get("WASP_MODEL_SEED")
    if given_seed:
        return int(given_seed)
    try:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return int(head.stdout.strip()[:12], 16)
    except (OSError, subprocess.SubprocessError, ValueError):
        return FALLBACK_SEED


def derived_seed(*parts: object) -> int:
    """Return a seed of its own for each cell and batch."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


class Search:
    """One cell: `examples` of it, or as many as `seconds` allow."""

    def __init__(self, cell: Cell, folder: Path, *, examples: int | None = None, seconds: float | None = None) -> None:
        self._cell, self._folder = cell, folder
        self._examples = examples
        self._until = time.monotonic() + seconds if seconds is not None else float("inf")
        self._results: dict[Scenario, str] = {}
        """a failed scenario -> its report, a good one -> "": hypothesis meets a scenario more than once"""
        self._give_up = float("inf")
        self.ran = 0

    def run(self) -> int:
        """Return how many examples ran. Raises Diverged with the smallest failing example that was found in time."""
        batch = 0
        while self._has_budget():
            most = BATCH if self._examples is None else min(BATCH, self._examples - self.ran)
            self._run_batch(derived_seed(base_seed(), self._cell, batch), most)
            batch += 1
        return self.ran

    def _has_budget(self) -> bool:
        return time.monotonic() < self._until and (self._examples is None or self.ran < self._examples)

    def _run_batch(self, batch_seed: int, most: int) -> None:
        @seed(batch_seed)
        @settings(
            max_examples=most,
            database=None,  # a session depends on its seed alone
            deadline=None,  # an example is a run of seconds
            phases=(Phase.generate, Phase.shrink),
            # runs of seconds are slow on purpose, and regions that known.py avoids are filtered out
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
            report_multiple_bugs=False,
            verbosity=Verbosity.quiet,
        )
        @given(scenarios(*self._cell))
        def one(scenario: Scenario) -> None:
            self._one(scenario)

        one()

    def _one(self, scenario: Scenario) -> None:
        if scenario not in self._results:
            out_of_time = time.monotonic() > self._give_up or not self._has_budget()
            if out_of_time and (self._give_up < float("inf") or not self._has_budget()):
                return
            self._results[scenario] = self._result(scenario)
            self.ran += 1
        if self._results[scenario]:
            self._give_up = min(self._give_up, time.monotonic() + SHRINK_S)
            raise Diverged(self._results[scenario])

    def _result(self, scenario: Scenario) -> str:
        assert not problems(scenario)
        folder = Path(mkdtemp(dir=self._folder))
        found = unknown(scenario, run(scenario, folder))
        return report(scenario, found, folder) if found else ""


Runner = Callable[[Scenario, Path], list[Divergence]]
