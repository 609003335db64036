"""What the engine is known to get wrong: for each finding the scenarios it touches and the checks that see it.

The key is the name of a pinned example, which is a strict expected failure as long as it stands here. The random search
runs scenarios of a region without its checks; regions without checks it avoids. To close a finding, delete its line: the
example becomes an ordinary test and the search covers the region.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from model.scenario import Load, Scenario

Covers = Callable[[Scenario], bool]
ALL = ""
"""instead of checks: the region is avoided"""


class Region(NamedTuple):
    """Scenarios that a finding touches; `checks`: names of CHECKS, separated by commas, or ALL."""

    covers: Covers
    checks: str

    def sees(self, check: str) -> bool:
        """Return whether a check belongs to the finding."""
        return self.checks == ALL or check in self.checks.split(", ")


def silenced(scenario: Scenario) -> set[str]:
    """Return the checks that say nothing about a scenario today."""
    return {check for region in KNOWN.values() if region.covers(scenario) for check in region.checks.split(", ")}


def avoided(scenario: Scenario) -> list[str]:
    """Return the findings for which the search leaves a scenario out."""
    return [name for name, region in KNOWN.items() if region.checks == ALL and region.covers(scenario)]


# -- the regions


def _any_load(covers: Callable[[Load, Scenario], bool]) -> Covers:
    """Turn a predicate over a load into one over a scenario."""
    return lambda scenario: any(covers(load, scenario) for load in scenario.loads)


# -- the marks: A and B are those of the review of the engine, R of that of the newcomer, N were found by this model

KNOWN: dict[str, Region] = {}
