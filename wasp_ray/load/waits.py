"""Waits between calls: constant, a range, a distribution. Pure; drawn from a random stream that is given."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from wasp_ray.schedule import parse_duration


@dataclass(frozen=True, slots=True)
class Wait:
    """`kind` constant, between or exponential, with raw durations until `problems()` is empty."""

    kind: str
    first: Any
    second: Any = None

    def problems(self) -> list[str]:
        """What is wrong, one sentence each."""
        out = []
        for value in (self.first, self.second) if self.kind == "between" else (self.first,):
            try:
                parse_duration(value)
            except ValueError as exc:
                out.append(str(exc))
        if not out and self.kind == "between" and parse_duration(self.first) > parse_duration(self.second):
            out.append(f"between({self.first!r}, {self.second!r}): expected the shorter one first")
        return out

    @property
    def mean_ns(self) -> int:
        """The mean, ns."""
        first = parse_duration(self.first)
        return (first + parse_duration(self.second)) // 2 if self.kind == "between" else first

    def resolved(self) -> Drawn:
        """The form that workers draw from. Raises ValueError on bad durations."""
        second = parse_duration(self.second) if self.kind == "between" else 0
        return Drawn(self.kind, parse_duration(self.first), second)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A Wait in ns."""

    kind: str
    first_ns: int
    second_ns: int

    @property
    def is_constant(self) -> bool:
        """Whether all draws are equal."""
        return self.kind == "constant"

    @property
    def mean_ns(self) -> int:
        """The mean, ns."""
        return (self.first_ns + self.second_ns) // 2 if self.kind == "between" else self.first_ns

    def draw_ns(self, rng: random.Random) -> int:
        """The next wait, ns."""
        if self.kind == "between":
            return rng.randint(self.first_ns, self.second_ns)
        if self.kind == "exponential":
            return int(rng.expovariate(1.0) * self.first_ns)
        return self.first_ns


def between(shortest: Any, longest: Any) -> Wait:
    """Uniformly drawn, both ends included."""
    return Wait("between", shortest, longest)


def exponential(mean: Any) -> Wait:
    """Exponentially drawn with this mean, as the gaps of a Poisson process."""
    return Wait("exponential", mean)


def as_wait(value: Any) -> Wait:
    """A Wait of what users may write: a duration or a Wait."""
    return value if isinstance(value, Wait) else Wait("constant", value)
