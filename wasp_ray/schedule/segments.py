"""Segments of a load over time and the builders users write. Builders keep what they are given; `Schedule.problems`
lists what is wrong with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from wasp_ray.schedule.duration import parse_duration

MAX_SEGMENTS = 100_000


@dataclass(frozen=True, slots=True)
class Segment:
    """From `start` to `end` (rate or users) in `duration`, linearly. Raw values until Schedule.problems() is empty.

    `share`: (k, n) when it is the k-th of n equal parts of `duration`, so that parts sum to the whole to the ns.
    """

    start: Any
    end: Any
    duration: Any
    name: str = ""
    warmup: bool = False
    pause: bool = False
    share: tuple[int, int] = (0, 1)

    @property
    def duration_ns(self) -> int:
        """Nanoseconds; raises ValueError on a bad duration."""
        whole = parse_duration(self.duration)
        at, parts = self.share
        return whole * (at + 1) // parts - whole * at // parts

    def problems(self, where: str) -> list[str]:
        """What is wrong with it, one sentence each."""
        out = []
        for label, value in (
            (("start", self.start), ("end", self.end)) if self.start is not self.end else (("value", self.start),)
        ):
            out += [f"{where}: {label} {problem}" for problem in _value_problems(value)]
        try:
            if self.duration_ns <= 0:
                out.append(f"{where}: duration {self.duration!r} must be > 0")
        except ValueError as exc:
            out.append(f"{where}: duration {exc}")
        if not isinstance(self.name, str):
            out.append(f"{where}: name {self.name!r}: must be a string")
        if not isinstance(self.warmup, bool):
            out.append(f"{where}: warmup {self.warmup!r}: expected True or False")
        return out


def _value_problems(value: Any) -> list[str]:
    if isinstance(value, bool) or not isinstance(value, (int, float, Fraction)):
        return [f"{value!r} is not a number: expected 0 or more"]
    if value != value or value in (float("inf"), float("-inf")):
        return [f"{value!r} is not finite: expected 0 or more"]
    if value < 0:
        return [f"{value!r} is negative: expected 0 or more"]
    return []


def to_fraction(value: Any) -> Fraction:
    """Exact: 0.1 is 1/10, not the float next to it."""
    return value if isinstance(value, Fraction) else Fraction(str(value))


class Schedule:
    """Segments one after another. Combine with `+` and `*`."""

    __slots__ = ("complaint", "segments")

    def __init__(self, segments: Sequence[Segment], complaint: str = "") -> None:
        self.segments = tuple(segments)
        self.complaint = complaint  # of a builder that could not make segments

    def __add__(self, other: object) -> Schedule:
        return combine(self, other)

    def __radd__(self, other: object) -> Schedule:
        return self if other == 0 else combine(other, self)  # sum() starts at 0

    def __mul__(self, times: object) -> Schedule:
        return combine_and_repeat(times, self)

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and self.segments == other.segments

    def __hash__(self) -> int:
        return hash(self.segments)

    def __repr__(self) -> str:
        return f"Schedule({len(self.segments)} segments)"

    def problems(self) -> list[str]:
        """What is wrong, one sentence each; empty when it can run."""
        if self.complaint:
            return [self.complaint]
        if not self.segments:
            return ["the schedule is empty: give it at least one segment, for example plain(10, '1m')"]
        if len(self.segments) > MAX_SEGMENTS:
            return [f"the schedule has {len(self.segments):,} segments: at most {MAX_SEGMENTS:,} are possible"]
        out: list[str] = []
        for at, segment in enumerate(self.segments):
            label = f"segment {at + 1}" + (
                f" ({segment.name})" if segment.name and isinstance(segment.name, str) else ""
            )
            out += segment.problems(label)
        if not out and all(to_fraction(s.start) == 0 and to_fraction(s.end) == 0 for s in self.segments):
            out.append("the schedule is 0 all the time: expected some load in at least one segment")
        return out

    @property
    def duration_ns(self) -> int:
        """The whole, ns."""
        return sum(segment.duration_ns for segment in self.segments)

    def bounds(self) -> list[tuple[int, int, Segment]]:
        """(from ns, to ns, segment) of each segment."""
        out, at = [], 0
        for segment in self.segments:
            end = at + segment.duration_ns
            out.append((at, end, segment))
            at = end
        return out

    def to_data(self) -> list[dict[str, Any]]:
        """JSON-able and exact: values as "3/2", durations in ns."""
        return [
            {
                "start": str(to_fraction(s.start)), "end": str(to_fraction(s.end)), "duration_ns": s.duration_ns,
                "name": s.name, "warmup": s.warmup, "pause": s.pause,
            }
            for s in self.segments
        ]  # fmt: skip

    def resolved(self) -> Schedule:
        """Return the same load with exact values and with durations in ns, as from_data makes it."""
        return Schedule([
            Segment(to_fraction(s.start), to_fraction(s.end), f"{s.duration_ns}ns", s.name, s.warmup, s.pause)
            for s in self.segments
        ])  # fmt: skip

    @classmethod
    def from_data(cls, data: Sequence[dict[str, Any]]) -> Schedule:
        """The reverse of to_data."""
        return cls([
            Segment(Fraction(d["start"]), Fraction(d["end"]), f"{d['duration_ns']}ns", d["name"], d["warmup"], d["pause"])
            for d in data
        ])  # fmt: skip


def plain(value: Any, duration: Any, *, name: str = "", warmup: bool = False) -> Schedule:
    """A constant rate or number of users."""
    return Schedule([Segment(value, value, duration, name, warmup)])


def ramp(start: Any, end: Any, duration: Any, *, name: str = "", warmup: bool = False) -> Schedule:
    """Linear from `start` to `end`; 0 is allowed at either."""
    return Schedule([Segment(start, end, duration, name, warmup)])


def steps(
    start: Any,
    increase: Any,
    steps: Any,
    *,
    duration: Any = None,
    each: Any = None,
    name: str = "",
    warmup: bool = False,
) -> Schedule:
    """`steps` levels, the first `start`, each `increase` higher; `duration` is the whole, `each` that of one step."""
    if (duration is None) == (each is None):
        found = "neither" if duration is None else f"both, duration={duration!r} and each={each!r}"
        return Schedule(
            [], f"steps(): expected exactly one of duration= (the whole) and each= (one step), found {found}"
        )
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= MAX_SEGMENTS:
        return Schedule([], f"steps(): steps={steps!r}: expected a whole number from 1 to {MAX_SEGMENTS:,}")
    for label, value in (("start", start), ("increase", increase)):
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float, Fraction))
            or value != value
            or abs(value) == float("inf")
        ):
            return Schedule([], f"steps(): {label}={value!r} is not a number")
    levels = [to_fraction(start) + at * to_fraction(increase) for at in range(steps)]
    if duration is not None:
        return Schedule(
            [Segment(level, level, duration, name, warmup, share=(at, steps)) for at, level in enumerate(levels)]
        )
    return Schedule([Segment(level, level, each, name, warmup) for level in levels])


def pause(duration: Any, *, name: str = "", warmup: bool = False) -> Schedule:
    """Rate 0; users stay set up and idle."""
    return Schedule([Segment(0, 0, duration, name, warmup, True)])


def combine(*parts: Any) -> Schedule:
    """One after another; the same as `a + b`."""
    for part in parts:
        if not isinstance(part, Schedule):
            return Schedule(
                [],
                f"combine(): {part!r} is not a schedule: expected plain(), ramp(), steps(), pause() or a sum of them",
            )
        if part.complaint:
            return part
    return Schedule([segment for part in parts for segment in part.segments])


def combine_and_repeat(times: Any, *parts: Any) -> Schedule:
    """The combination `times` times over; the same as `(a + b) * times`."""
    if isinstance(times, bool) or not isinstance(times, int) or times < 1:
        return Schedule([], f"combine_and_repeat(): times={times!r}: expected a whole number from 1")
    whole = combine(*parts)
    if whole.complaint:
        return whole
    if len(whole.segments) * times > MAX_SEGMENTS:
        return Schedule(
            [], f"combine_and_repeat(): {len(whole.segments) * times:,} segments: at most {MAX_SEGMENTS:,} are possible"
        )
    return Schedule(whole.segments * times)
