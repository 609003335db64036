"""What the engine is known to get wrong: for each finding the scenarios it touches and the checks that see it.

The key is the name of a pinned example, which is a strict expected failure as long as it stands here. The random search
runs scenarios of a region without its checks; regions without checks it avoids. To close a finding, delete its line: the
example becomes an ordinary test and the search covers the region.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from model import scenario as s
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


def _does(scenario: Scenario, what: str, *, early: bool = False) -> int:
    """How many events do `what`; `early`: before the load begins."""
    return sum(event.do == what and (event.after_ms < 0 or not early) for event in scenario.events)


def _hurries_inline(scenario: Scenario) -> bool:
    stops_at_once = _does(scenario, "stop") > 1 or _does(scenario, "stop", early=True)
    return scenario.runtime == "inline" and bool(stops_at_once)


@_any_load
def _users(load: Load, scenario: Scenario) -> bool:
    return not load.is_rate


@_any_load
def _paced(load: Load, scenario: Scenario) -> bool:
    return load.pacing_ms is not None


@_any_load
def _paced_restarts(load: Load, scenario: Scenario) -> bool:
    return load.pacing_ms is not None and s.has(load, s.Restart)


@_any_load
def _few_slots(load: Load, scenario: Scenario) -> bool:
    return load.max_in_flight is not None


@_any_load
def _cleans_up(load: Load, scenario: Scenario) -> bool:
    return load.is_async and not load.is_rate and load.cleanup_ms > 0


@_any_load
def _hung_inline(load: Load, scenario: Scenario) -> bool:
    return scenario.runtime == "inline" and s.has(load, s.Swallow, s.Block)


@_any_load
def _outlives_timeout_inline(load: Load, scenario: Scenario) -> bool:
    late = load.call_timeout_ms is not None and _longest_ms(load) >= load.call_timeout_ms
    return scenario.runtime == "inline" and not load.is_async and late


@_any_load
def _bad_setup_in_pack(load: Load, scenario: Scenario) -> bool:
    harmless = (s.Sleep, s.Busy, s.Group, s.Record)
    return load.kind == "packed" and any(not isinstance(step, harmless) for step in s.setup_steps(load))


@_any_load
def _bad_setup_after_restart(load: Load, scenario: Scenario) -> bool:
    return load.kind == "sync user" and s.has(load, s.Restart) and load.bad_setup is not None


@_any_load
def _idle_pack(load: Load, scenario: Scenario) -> bool:
    idle = any(isinstance(part, s.Idle) for part in load.schedule) or bool(_does(scenario, "pause"))
    return load.kind == "packed" and idle


@_any_load
def _pack_comes_and_goes(load: Load, scenario: Scenario) -> bool:
    values = _values(load)
    return load.kind == "packed" and values not in (sorted(values), sorted(values, reverse=True))


@_any_load
def _leavers_hang(load: Load, scenario: Scenario) -> bool:
    values = _values(load)
    return not load.is_rate and values != sorted(values) and s.has(load, s.Hang, s.Swallow, s.Block)


def _longest_ms(load: Load) -> int:
    return max((step.ms for step in s.call_steps(load) if isinstance(step, (s.Sleep, s.Busy))), default=0)


def _values(load: Load) -> list[int]:
    return [value for part in load.schedule if isinstance(part, s.Piece) for value in (part.start, part.end)]


# -- the marks: A and B are those of the review of the engine, R of that of the newcomer, N were found by this model

KNOWN: dict[str, Region] = {
    "A3 active_max is not measured": Region(_users, "users"),
    "A3 no users.delivered": Region(_users, "delivered"),
    "A4a a setup fails in a pack": Region(_bad_setup_in_pack, ALL),
    "A4b StopUser in a setup of a pack": Region(_bad_setup_in_pack, ALL),
    "A4c a setup fails after RestartUser in a pack": Region(_bad_setup_in_pack, ALL),
    "A5 a waiting pack spins": Region(_idle_pack, "lag, grace"),
    "B12 a thread that was given up calls on": Region(_outlives_timeout_inline, ALL),
    "B13 max_in_flight is rounded up": Region(_few_slots, "limits"),
    "B15 users are cancelled again and again": Region(_cleans_up, "order"),
    "B16 the pace outlives RestartUser": Region(_paced_restarts, "early, scheduled"),
    "R6 paces in a long call are not scheduled": Region(_paced, "scheduled"),
    "N1 an async gun that was given up fires on": Region(_hung_inline, ALL),
    "N2 a leaving user has no graceful_stop": Region(_leavers_hang, "grace"),
    "N3 a setup that fails after RestartUser is a death": Region(_bad_setup_after_restart, "setups, reasons"),
    "N4 two stops at once, inline": Region(_hurries_inline, ALL),
    "N5 a packed user comes back with the same stream": Region(_pack_comes_and_goes, "streams"),
}
