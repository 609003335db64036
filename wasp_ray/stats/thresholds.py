"""Thresholds as objects and their evaluation: `METRIC [of GENERATOR[/GROUP]] OP VALUE`. It must not import numpy.

Calls and requests of warm-up segments do not count, but in `dropped` and `delivered`, which are taken from the
ledger. An expression stays text until it is used: making one never raises.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from wasp_ray.plan import Plan
from wasp_ray.stats.grammar import GRAMMAR, Parsed, Parser, ThresholdError, pointed

if TYPE_CHECKING:
    from wasp_ray.stats.totals import NodeTotals

__all__ = ["GRAMMAR", "Parsed", "Threshold", "ThresholdError", "evaluate", "parse"]

COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


class Threshold:
    """One threshold as text. Any text is taken; `problems()` lists what is wrong with it, `parse()` raises."""

    __slots__ = ("_parsed", "expression")

    def __init__(
        self, expression: object, *, over: object = None, sustained: object = None, after: object = None,
        on_break: str = "fail",
    ) -> None:  # fmt: skip
        """`over`, `sustained` (`for` in the text) and `after` are durations as "30s"; `on_break`: "fail", "abort" or "stop". They
        are added to the text.
        """
        parts = [expression if isinstance(expression, str) else str(expression)]
        parts += [
            f"{word} {given}"
            for word, given in (("over", over), ("for", sustained), ("after", after))
            if given is not None
        ]
        parts += [str(on_break)] if on_break != "fail" else []
        self.expression = " ".join(parts)
        self._parsed: Parsed | None = None

    def parse(self) -> Parsed:
        """The parts; ThresholdError when the text is no threshold."""
        if self._parsed is None:
            self._parsed = Parser(self.expression).threshold()
        return self._parsed

    def problems(self, generator_names: Collection[str] | None = None) -> list[str]:
        """What is wrong, one text each: the grammar, or a generator that is not among those named (None: any is)."""
        try:
            parsed = self.parse()
        except ThresholdError as exc:
            return list(exc.problems)
        if generator_names is None or parsed.generator is None or parsed.generator in generator_names:
            return []
        found = re.search(r"of\s+" + re.escape(parsed.generator), self.expression)
        at = found.end() - len(parsed.generator) if found else 0
        known = ", ".join(sorted(generator_names)) or "none"
        head = f"threshold on {parsed.generator!r}: no such generator in this profile"
        return [pointed(self.expression, at, f"expected one of: {known}", head)]

    def __str__(self) -> str:
        return self.expression

    def __repr__(self) -> str:
        return f"Threshold({self.expression!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Threshold) and other.expression == self.expression

    def __hash__(self) -> int:
        return hash(self.expression)

    def __reduce__(self) -> tuple[type[Threshold], tuple[str]]:
        return Threshold, (self.expression,)


def parse(text: str) -> Threshold:
    """The threshold of a text; raises ThresholdError when it is none."""
    threshold = Threshold(text)
    threshold.parse()
    return threshold


def evaluate(
    threshold: Threshold | str, totals: NodeTotals, duration_s: float, plan: Plan | None = None
) -> dict[str, Any]:
    """{expression, generator, group, value, limit, passed} of one threshold against the totals of all nodes, over the whole run.

    Without `of`, all generators are taken together. `value` is None when nothing matches it (no call, no such group):
    then it is broken, `passed` is False. Units as in `Parsed.limit`. `plan` tells
    which segments are warm-up. Raises ThresholdError when the text is no threshold.
    """
    from wasp_ray.stats.measure import measure

    made = threshold if isinstance(threshold, Threshold) else Threshold(threshold)
    parsed = made.parse()
    value = measure(parsed, totals, duration_s, plan or Plan.unknown())
    return {
        "expression": made.expression,
        "generator": parsed.generator,
        "group": parsed.group,
        "value": value,
        "limit": parsed.limit,
        "passed": value is not None and COMPARE[parsed.op](value, parsed.limit),
    }
