"""How a threshold is written: reads one from left to right into its parts. It must not look at totals.

METRIC is p50 .. p99.99, mean, min or max of (service), the default, or (response); errors, failed, timeouts, killed,
dropped, delivered, rate or count(name). Latencies need a unit (ns us ms s m h, also 1m30s). errors (all calls or requests that
were not ok), failed, timeouts, killed, dropped and delivered are a share with `%` and a plain count without. Names may hold
anything but, in a generator's, a slash.

Behind the value may stand, in this order: `over D`, a sliding window instead of the whole run; `for D`, how long it must be broken
without interruption; `after D`, before which nothing counts; and `abort` or `stop`, what a breach does to the load.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from wasp_ray.errors import BadInput

GRAMMAR = "METRIC [of GENERATOR[/GROUP]] OP VALUE [over DURATION] [for DURATION] [after DURATION] [abort|stop]"
OUTCOME_METRICS = {"errors": "errors", "failed": "failed", "timeouts": "timeout", "killed": "killed"}
"""Metric -> attribute of OutcomeCounts."""
METRICS = (
    f"p50..p99.99 mean min max (of service or response), {' '.join(OUTCOME_METRICS)} dropped delivered rate count(name)"
)

_LATENCY_WORDS = frozenset({"mean", "min", "max"})
_SHARE_WORDS = frozenset({*OUTCOME_METRICS, "dropped", "delivered"})
_SUFFIX = {"rate": "/s", **dict.fromkeys(_SHARE_WORDS, "%")}
_CALL_WORDS = frozenset({"dropped", "delivered", "count"})
"""Metrics of whole calls or of a generator: a group has none."""
OPERATORS = ("<", "<=", ">", ">=", "==", "!=")
_UNIT_S = {
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
}
_LONGEST = 1000

_WORD = re.compile(r"[A-Za-z]+")
_QUANTILE = re.compile(r"\d+(?:\.\d+)?")
_ARGUMENT = re.compile(r"\s*\(([^()]*)(\)?)")
_OPERATOR = re.compile(r"<=|>=|==|!=|=<|=>|<|>|=")
_NUMBER = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?![\d.])", re.ASCII)
_ACTION = re.compile(r"(?:abort|stop)(?![A-Za-z])")
_UNIT = re.compile(r"\s*([A-Za-zµ]+)")


class ThresholdError(BadInput, ValueError):
    """A text that is no threshold; the message shows it with a caret under the place and says what was expected."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A threshold taken apart. `limit`: seconds for latencies, 0..1 for shares, else a number (per s for rate)."""

    metric: str
    """latency, rate, count or one of _SHARE_WORDS"""
    statistic: str
    """mean, min, max or pNN of a latency, the counter's name of a count, else empty"""
    series: str
    """service or response"""
    generator: str | None
    group: str | None
    op: str
    limit: float
    share: bool
    over_s: int | None = None
    """the sliding window in seconds, None for all seconds so far"""
    for_s: int = 0
    """so long it must be broken without interruption"""
    after_s: int = 0
    """seconds before it do not count"""
    action: str = ""
    """what a breach does to the load: abort, stop, or nothing"""

    @property
    def is_judged_by_second(self) -> bool:
        """Whether it can be broken by a time within the run, and not only by the run as a whole."""
        return self.over_s is not None or self.for_s > 0 or bool(self.action)

    @property
    def unit(self) -> str:
        """Unit of its value and limit: s, % (of a share 0..1), /s or none."""
        if self.metric == "latency":
            return "s"
        return "%" if self.share else "/s" if self.metric == "rate" else ""


def pointed(text: str, at: int, what: str, head: str = f"threshold is not of the form {GRAMMAR}") -> str:
    """The text, a caret under position `at`, and what was expected there."""
    flat = "".join(char if char.isprintable() else " " for char in text)
    start = max(0, at - 60) if len(flat) > 100 else 0
    cut = flat[start : start + 100]
    return f"{head}:\n  {cut}\n  {' ' * (at - start)}^ {what}"


class Parser:
    """Reads a threshold from left to right; only the end of a target is looked for, since names may hold anything."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = self.behind = 0  # where it reads, and where the value has ended

    def fail(self, what: str, at: int | None = None) -> ThresholdError:
        return ThresholdError(pointed(self.text, self.at if at is None else at, what))

    def skip(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def threshold(self) -> Parsed:
        if len(self.text) > _LONGEST:
            raise self.fail(f"expected at most {_LONGEST} characters, found {len(self.text)}", _LONGEST)
        self.skip()
        metric, statistic = self.metric()
        series, statistic = self.argument(metric, statistic)
        generator, group = self.target()
        if group is not None and metric in _CALL_WORDS:
            raise self.fail(f"{metric} is counted for a whole generator: leave out the group", self.at - len(group))
        op = self.operator()
        limit, share = self.value(metric)
        over_s, for_s, after_s = (self.clause(word) for word in ("over", "for", "after"))
        action = self.action()
        self.skip()
        if self.at < len(self.text):
            raise self.fail(f"expected {self.expected_behind(metric, share)} behind the value")
        if metric == "count" and (over_s, for_s, after_s, action) != (None, None, None, ""):
            raise self.fail(
                "a counter is known at the end of the run alone: leave out what is behind the value", self.behind
            )
        return Parsed(
            metric, statistic, series, generator, group, op, limit, share, over_s, for_s or 0, after_s or 0, action
        )

    def clause(self, word: str) -> int | None:
        """Whole seconds behind a word; None where it does not come next."""
        self.skip()
        found = re.compile(rf"{word}(?![A-Za-z])").match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        self.skip()
        at = self.at
        seconds = self.duration(self.number(), f"expected a duration behind {word}, such as {word} 30s")
        if seconds.denominator != 1 or seconds < 1:
            raise self.fail(f"expected whole seconds behind {word}, from 1s on", at)
        return int(seconds)

    def action(self) -> str:
        self.skip()
        found = _ACTION.match(self.text, self.at)
        if found is None:
            return ""
        self.at = found.end()
        return found[0]

    def expected_behind(self, metric: str, share: bool) -> str:
        """What may stand where the text goes on in another way."""
        unit = _SUFFIX.get(metric, "")
        more = "over, for, after, abort, stop or nothing" if self.at == self.behind else "nothing"
        return f"{unit}, {more}" if unit and self.at == self.behind and not share else more

    def metric(self) -> tuple[str, str]:
        """Kind and, for latencies, the statistic."""
        start = self.at
        found = _WORD.match(self.text, start)
        word = found[0] if found else ""
        if word in _LATENCY_WORDS or word in _SHARE_WORDS or word in ("rate", "count"):
            self.at += len(word)
            return ("latency", word) if word in _LATENCY_WORDS else (word, "")
        number = _QUANTILE.match(self.text, start + 1) if word == "p" else None
        if number is None:
            raise self.fail(f"expected a metric: {METRICS}")
        if not 0 < Fraction(number[0]) < 100:
            cure = ""
            if number[0].startswith("99"):
                cure = f", such as p99.{number[0][2:]}"
            raise self.fail(f"expected a percentile from p50 to p99.99{cure}, found p{number[0]}", start + 1)
        self.at = number.end()
        return "latency", "p" + number[0]

    def argument(self, metric: str, statistic: str) -> tuple[str, str]:
        """Series and statistic: what stands in parentheses behind the metric."""
        found = _ARGUMENT.match(self.text, self.at)
        if found is None:
            if metric == "count":
                raise self.fail("expected a counter's name in parentheses: count(name)")
            return "service", statistic
        name, at = found[1].strip(), found.start(1)
        if not found[2]:
            raise self.fail("expected )", found.end())
        if metric == "count" and not name:
            raise self.fail("expected a counter's name: count(name)", at)
        if metric == "latency" and name not in ("service", "response"):
            raise self.fail("expected service or response", at)
        if metric not in ("latency", "count"):
            raise self.fail(f"{metric} takes nothing in parentheses: expected of, or one of < <= > >= == !=", at - 1)
        self.at = found.end()
        return ("service", name) if metric == "count" else (name, statistic)

    def target(self) -> tuple[str | None, str | None]:
        """Generator and group; the last operator of the text ends them."""
        self.skip()
        rest = self.text[self.at :]
        if not re.match(r"of(\s|$)", rest):
            return None, None
        self.at += 2
        self.skip()
        ends = [found.start() for found in _OPERATOR.finditer(self.text, self.at)]
        if not ends:
            raise self.fail("expected one of < <= > >= == != behind the name", len(self.text.rstrip()))
        name = self.text[self.at : ends[-1]].rstrip()
        generator, slash, group = name.partition("/")
        if not generator.strip():
            raise self.fail("expected the name of a generator")
        if slash and not group.strip():
            raise self.fail("expected the name of a group behind /", self.at + len(name))
        self.at += len(name)
        return generator.strip(), group.strip() if slash else None

    def operator(self) -> str:
        self.skip()
        found = _OPERATOR.match(self.text, self.at)
        if found is None or found[0] not in OPERATORS:
            raise self.fail(f"expected {'' if found else 'of, or '}one of {' '.join(OPERATORS)}")
        self.at = found.end()
        return found[0]

    def value(self, metric: str) -> tuple[float, bool]:
        """The limit and whether it is a share."""
        self.skip()
        number = self.number()
        if metric == "latency":
            limit = self.duration(number, "expected a unit for a latency: ns us ms s m h, such as 300ms")
            self.skip()
            self.behind = self.at
            return float(limit), False
        behind, unit = self.at, _SUFFIX.get(metric)
        suffix = re.compile(rf"\s*{unit}").match(self.text, self.at) if unit else None
        if suffix:
            self.at = suffix.end()
        self.skip()
        self.behind = self.at
        if suffix and unit == "%":
            if number > 100:
                raise self.fail("expected at most 100 %", behind)
            return float(number / 100), True
        if metric in _SHARE_WORDS and number.denominator != 1:
            raise self.fail(f"expected a share with % (such as {float(number * 100):g}%) or a whole number", behind)
        return float(number), False

    def number(self) -> Fraction:
        found = _NUMBER.match(self.text, self.at)
        if found is None:
            raise self.fail("expected a number")
        self.at = found.end()
        return Fraction(found[0])

    def duration(self, number: Fraction, expected: str) -> Fraction:
        """Seconds of `300ms` or `1m30s`; `expected` is said where there is no unit."""
        total = Fraction(0)
        while True:
            unit = _UNIT.match(self.text, self.at)
            if unit is None or unit[1] not in _UNIT_S:
                raise self.fail(expected, self.at if unit is None else unit.start(1))
            total += number * _UNIT_S[unit[1]]
            self.at = unit.end()
            if self.at >= len(self.text) or not self.text[self.at].isdigit():
                return total
            number = self.number()
