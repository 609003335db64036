"""Seconds of several nodes as seconds of the run, and whether they add up to its totals. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from functools import reduce
from operator import add

from wasp_ray.stats.outcomes import OUTCOMES
from wasp_ray.stats.seconds import Origin, Second, Seconds, SecondsByOrigin
from wasp_ray.stats.tallies import LEDGER_COLUMNS
from wasp_ray.stats.totals import NodeTotals

LAG_S = 10
"""A second is not held back for a node that is so far behind the others: its part follows by itself."""


class SecondMerger:
    """Holds a second until every node that is awaited has reported it. `nodes`: how many there are."""

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes
        self._held: dict[int, list[tuple[int, str, Second]]] = {}
        self._newest: dict[int, int] = {}  # second by node

    def add(self, node: int, closed: Seconds) -> None:
        """Take what a node reported, counted from 1; the seconds must not change any more."""
        for name, seconds in closed.items():
            for second in seconds:
                self._held.setdefault(second.at_s, []).append((node, name, second))
                self._newest[node] = max(self._newest.get(node, 0), second.at_s)

    def release(self, awaited: Collection[int]) -> SecondsByOrigin:
        """Return the seconds that are complete: those of all nodes together, and of several nodes also each one's calls. `awaited`:
        the nodes that will report more.
        """
        heard = [self._newest.get(node, -1) for node in awaited]
        newest = max(self._newest.values(), default=-1)
        complete = max(min(heard, default=newest), newest - LAG_S)
        found: dict[Origin, list[Second]] = {}
        for at_s in sorted(at_s for at_s in self._held if at_s <= complete):
            parts = self._held.pop(at_s)
            by_name: dict[str, list[Second]] = {}
            for node, name, second in parts:
                by_name.setdefault(name, []).append(second)
                if self._nodes > 1:
                    found.setdefault((node, name), []).append(second.of_calls())
            for name, seconds in by_name.items():
                found.setdefault((None, name), []).append(reduce(add, seconds))
        return found


class SecondSums:
    """The counts of all seconds of a run by Generator, beside its totals."""

    def __init__(self) -> None:
        self._ledgers: dict[str, Counter[str]] = {}
        self._groups: dict[str, dict[str, Counter[str]]] = {}

    def add(self, closed: Seconds) -> None:
        """Add seconds of all nodes together."""
        for name, seconds in closed.items():
            ledger, groups = self._ledgers.setdefault(name, Counter()), self._groups.setdefault(name, {})
            for second in seconds:
                ledger.update({"scheduled": second.scheduled, "started": second.started, "lost": second.lost})
                ledger["dropped"] += second.dropped
                for key, cell in second.cells.items():
                    if key.group is None:
                        ledger.update(cell.outcomes())
                    elif not key.warmup:
                        groups.setdefault(key.group, Counter()).update(cell.outcomes())

    def differences(self, totals: NodeTotals) -> list[str]:
        """Return a sentence for each column that the seconds do not add up to."""
        found = []
        for name, total in totals.generators.items():
            ledger, groups = self._ledgers.get(name, Counter[str]()), self._groups.get(name, {})
            found += _different(f"Generator {name!r}", LEDGER_COLUMNS, ledger, total.ledger.to_data())
            for group in {**total.groups, **groups}:
                of_total = total.groups[group].outcomes() if group in total.groups else {}
                found += _different(
                    f"group {group!r} of Generator {name!r}", OUTCOMES, groups.get(group, Counter()), of_total
                )
        return found


def _different(what: str, columns: Collection[str], mine: Mapping[str, int], total: Mapping[str, int]) -> list[str]:
    return [
        f"{what}: its seconds add up to {mine.get(column, 0):,} {column}, its total is {total.get(column, 0):,}"
        for column in columns
        if mine.get(column, 0) != total.get(column, 0)
    ]
