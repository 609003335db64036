"""How far nodes' clocks are from the controller's, from the stamps on what they tell. Pure.

A line that was stamped at s by the node's clock and arrived at a by the controller's took a - s by the two: its way, which
is never less than nothing, plus what the node's clock is behind. The smallest such delay of many has the shortest way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

KEPT = 60
"""Delays of a node by which the error is guessed: a minute of heartbeats."""
WARN_S = 1.0


class Clock(NamedTuple):
    """`offset_s`: a node's clock minus the controller's, at most the shortest way too low; `error_s`: how much ways vary."""

    offset_s: float
    error_s: float


@dataclass(slots=True)
class _Delays:
    smallest_s: float = float("inf")
    last: list[float] = field(default_factory=list)


class Clocks:
    """Told by the controller's loop. History that is read late does no harm: it has no smallest delay."""

    def __init__(self) -> None:
        self._delays: dict[int, _Delays] = {}

    def heard(self, node: int, stamped_s: float, arrived_s: float) -> None:
        """One line of a node: both by wall clocks, in seconds since 1970."""
        found = self._delays.setdefault(node, _Delays())
        found.smallest_s = min(found.smallest_s, arrived_s - stamped_s)
        found.last = [*found.last[1 - KEPT :], arrived_s - stamped_s]

    def known(self) -> Mapping[int, Clock]:
        """Of each node that was heard."""
        return {
            node: Clock(-found.smallest_s, max(0.0, median(found.last) - found.smallest_s))
            for node, found in sorted(self._delays.items())
        }


def clock_warnings(clocks: Mapping[int, Clock]) -> list[str]:
    """Of nodes whose clocks differ from one another by more than a second beyond what is known of them.

    The controller's own clock does not matter: it is not the one that nodes start by.
    """
    if len(clocks) < 2:
        return []
    middle_s = median(clock.offset_s for clock in clocks.values())
    off = {node: clock.offset_s - middle_s for node, clock in clocks.items()}
    named = [
        f"node {node} {off[node]:+.1f} s" for node, clock in clocks.items() if abs(off[node]) - clock.error_s > WARN_S
    ]
    if not named:
        return []
    return [
        f"clocks of nodes differ from the others': {', '.join(named)}: times in their logs and windows are off by that"
    ]
