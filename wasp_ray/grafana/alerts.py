"""Alerts as a load file says them: what is measured in LogQL, and the limit. Pure; what becomes of them is in `rules`."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass

from wasp_ray.grafana.queries import increase, quantile, quoted, streams
from wasp_ray.schedule.duration import format_duration, parse_duration

BY = "profile, run, generator"
PROFILE = "$profile"
"""Stands for the Profile's name in an expression."""
MAX_NAME = 100
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")


@dataclass(frozen=True, slots=True)
class Alert:
    """Made by `percentile`, `failures`, `timeouts` or `logql`; fires when what is measured passes the limit for so long.

    `requirement` is the label `requirement_name` of what fires, by default the name: several alerts may be of one. It never
    raises on bad values: `problems` tells them.
    """

    name: str
    expression: str
    above: float | None
    below: float | None
    held: object
    faults: tuple[str, ...] = ()
    generator: str | None = None
    requirement: str = ""

    @classmethod
    def percentile(
        cls, name: str, q: float, *, above: str | float, generator: str | None = None, group: str | None = None,
        over: str | float = "1m", held: str | float = 0, requirement: str = "",
    ) -> Alert:  # fmt: skip
        """A percentile of the response time (from due) of sampled successes over the last `over`: `above="300ms"`."""
        faults = [] if _is_number(q) and 0 < q < 100 else [f"percentile {q!r}: expected a number such as 99"]
        limit_ns, window = _duration("above", above, faults), _window(over, faults)
        chosen = _chosen("responses", generator)
        expression = "" if faults else quantile(chosen, round(q / 100, 6), "response", window, BY, group=group)
        return cls(name, expression, limit_ns / 1e9, None, held, tuple(faults), generator, requirement)

    @classmethod
    def failures(
        cls, name: str, *, above: str | float, generator: str | None = None, over: str | float = "1m",
        held: str | float = 0, requirement: str = "",
    ) -> Alert:  # fmt: skip
        """The share of calls that failed (timeouts are none of these) over the last `over`: `above="1%"` or 0.01."""
        return cls._share(name, "failed", above, generator, over, held, requirement)

    @classmethod
    def timeouts(
        cls, name: str, *, above: str | float, generator: str | None = None, over: str | float = "1m",
        held: str | float = 0, requirement: str = "",
    ) -> Alert:  # fmt: skip
        """The share of calls that ran into their timeout over the last `over`."""
        return cls._share(name, "callTimeout", above, generator, over, held, requirement)

    @classmethod
    def logql(
        cls, name: str, expression: str, *, above: float | None = None, below: float | None = None,
        held: str | float = 0, requirement: str = "",
    ) -> Alert:  # fmt: skip
        """Any metric query, without a comparison; `$profile` in it is the Profile's name. Exactly one of above and below."""
        faults = []
        if not isinstance(expression, str) or not expression.strip():
            faults.append(f"expression {expression!r}: expected LogQL")
        if (above is None) == (below is None):
            faults.append("expected exactly one of above= and below=")
        for what, limit in (("above", above), ("below", below)):
            if limit is not None and not _is_number(limit):
                faults.append(f"{what}={limit!r}: expected a number")
        return cls(name, expression, above, below, held, tuple(faults), None, requirement)

    @classmethod
    def _share(
        cls, name: str, counter: str, above: str | float, generator: str | None, over: str | float, held: str | float,
        requirement: str,
    ) -> Alert:  # fmt: skip
        faults: list[str] = []
        limit, window, chosen = _share("above", above, faults), _window(over, faults), _chosen("stats", generator)
        part, whole = (increase(chosen, each, window, BY) for each in (counter, "calls_total"))
        return cls(name, f"{part} / {whole}", limit, None, held, tuple(faults), generator, requirement)

    @property
    def held_ns(self) -> int:
        """How long it must hold."""
        return parse_duration(self.held)

    def query(self, profile: str) -> str:
        """What is measured, in LogQL; without the limit."""
        return self.expression.replace(PROFILE, quoted(profile)[1:-1])

    def rule(self, profile: str) -> str:
        """The same with the limit: what it gives, fires."""
        compared, limit = (">", self.above) if self.above is not None else ("<", self.below)
        return f"({self.query(profile)}) {compared} {limit!r}"

    def problems(self, generators: Collection[str]) -> list[str]:
        """A sentence each, with the cure."""
        out = list(self.faults)
        if not isinstance(self.name, str) or not 0 < len(self.name.strip()) <= MAX_NAME:
            out.append(f"expected a name of 1 to {MAX_NAME} characters")
        if self.generator is not None and self.generator not in generators:
            out.append(f"generator={self.generator!r}: expected one of {', '.join(map(repr, generators)) or 'none'}")
        if _duration("held", self.held, out) % 1_000_000_000:
            out.append(f"held={self.held!r}: expected whole seconds")
        return out


def _chosen(kind: str, generator: str | None) -> str:
    if generator is None:
        return streams(kind, profile=PROFILE)
    return streams(kind, profile=PROFILE, generator=str(generator))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _duration(what: str, value: object, faults: list[str]) -> int:
    try:
        return parse_duration(value)
    except ValueError as exc:
        faults.append(f"{what}={value!r}: {exc}")
        return 0


def _window(over: object, faults: list[str]) -> str:
    """As LogQL writes it; the stats have one line a second."""
    ns = _duration("over", over, faults)
    if ns % 1_000_000_000 or not 5 <= ns // 1_000_000_000 <= 86_400:
        faults.append(f"over={over!r}: expected whole seconds, from 5s to 24h")
    return format_duration(ns)


def _share(what: str, value: object, faults: list[str]) -> float:
    """`"1%"` or 0.01."""
    found = _SHARE.fullmatch(value.strip()) if isinstance(value, str) else None
    share = float(found[1]) / 100 if found else value
    if isinstance(share, (int, float)) and _is_number(share) and 0 <= share < 1:
        return float(share)
    faults.append(f'{what}={value!r}: expected a share below 1, as "1%" or 0.01')
    return 0.0
