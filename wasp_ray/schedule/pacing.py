"""When calls are due and how many users there are: pure functions of the schedule, exact for constant arrivals.

N(t), the expected number of calls, is the integral of the rate. With constant arrivals call i is due at the first whole ns at
which N exceeds i. Everything is kept in integers: within a segment of d ns from rate a to b (calls per unit of u ns),
N(t) - N0 = (2 a d t + (b - a) t^2) / (2 d u). Poisson arrivals are in poisson.py.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from wasp_ray.schedule.duration import SECOND_NS
from wasp_ray.schedule.segments import Schedule, to_fraction


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment with integer coefficients: N(t) = (base + linear t + square t^2) / scale, t from the segment's start."""

    from_ns: int
    to_ns: int
    base: int
    linear: int
    square: int
    scale: int

    def reached(self, t: int) -> int:
        """N(t) * scale, t in ns from the segment's start."""
        return self.base + (self.linear + self.square * t) * t


class Curve(Protocol):
    """Due times of one Generator's calls."""

    count: int
    peak_per_s: float

    def due_ns(self, i: int) -> int:
        """When call i is due, ns of the schedule. Raises IndexError beyond the last."""

    def dues(self, first: int, stride: int) -> Iterator[int]:
        """Due times of calls first, first + stride, ... to the last."""

    def count_until(self, t_ns: int) -> int:
        """How many calls are due at or before an instant."""

    def rate_at(self, t_ns: int) -> float:
        """Calls per second asked for at an instant."""

    def calls_between(self, from_ns: int, to_ns: int) -> int:
        """Calls due in [from, to)."""


class RateCurve:
    """Constant arrivals, exact."""

    def __init__(self, schedule: Schedule, unit_ns: int) -> None:
        self.pieces: list[Piece] = []
        self._rates: list[tuple[Fraction, Fraction]] = []
        total = Fraction(0)
        for from_ns, to_ns, segment in schedule.bounds():
            a, b, d = to_fraction(segment.start), to_fraction(segment.end), to_ns - from_ns
            linear, square = a / unit_ns, (b - a) / (2 * d * unit_ns)
            scale = math.lcm(total.denominator, linear.denominator, square.denominator)
            self.pieces.append(
                Piece(from_ns, to_ns, int(total * scale), int(linear * scale), int(square * scale), scale)
            )
            self._rates.append((a * SECOND_NS / unit_ns, b * SECOND_NS / unit_ns))
            total += linear * d + square * d * d
        self.total = total
        self.count = math.ceil(total)
        self.peak_per_s = float(max((max(pair) for pair in self._rates), default=Fraction(0)))
        self._starts = [piece.from_ns for piece in self.pieces]
        self._ends = [Fraction(p.reached(p.to_ns - p.from_ns), p.scale) for p in self.pieces]

    def _piece_of(self, i: int) -> int:
        """The piece in which N begins to exceed i."""
        at = bisect_right(self._ends, i)
        if i < 0 or at >= len(self._ends):
            raise IndexError(f"call {i} of {self.count}")
        return at

    def due_ns(self, i: int) -> int:
        """The first ns at which N > i; the instant itself where N passes i with positive slope."""
        piece = self.pieces[self._piece_of(i)]
        return piece.from_ns + _first_reach(piece, i * piece.scale)

    def dues(self, first: int, stride: int) -> Iterator[int]:
        """See Curve. Pieces of constant rate cost one division a tick."""
        i = first
        while i < self.count:
            at = self._piece_of(i)
            piece, last = self.pieces[at], math.ceil(self._ends[at])
            if piece.square == 0:
                start, scale, linear = piece.from_ns, piece.scale, piece.linear
                wanted, step = i * scale - piece.base, stride * scale
                ticks = -(-(last - i) // stride)
                for _ in range(ticks):
                    yield start - (-wanted // linear) if wanted > 0 else start
                    wanted += step
                i += stride * ticks
            else:
                while i < last:
                    yield piece.from_ns + _first_reach(piece, i * piece.scale)
                    i += stride

    def count_until(self, t_ns: int) -> int:
        """Calls with due <= t; the due instants are whole ns, so this is exact."""
        if t_ns < 0 or not self.count:
            return 0
        low, high = 0, self.count
        reached = self.reached(t_ns)
        guess = min(self.count, max(0, math.ceil(reached)))
        low, high = max(0, guess - 2), min(self.count, guess + 2)
        while low < high:
            middle = (low + high) // 2
            if self.due_ns(middle) <= t_ns:
                low = middle + 1
            else:
                high = middle
        return low

    def reached(self, t_ns: int) -> Fraction:
        """Return N(t), the calls that the schedule wants by an instant, in fractions."""
        at = max(0, bisect_right(self._starts, t_ns) - 1)
        piece = self.pieces[at]
        return Fraction(piece.reached(min(t_ns, piece.to_ns) - piece.from_ns), piece.scale)

    def rate_at(self, t_ns: int) -> float:
        """Calls per second asked for at an instant; 0 outside the schedule."""
        at = bisect_right(self._starts, t_ns) - 1
        if at < 0 or t_ns >= self.pieces[at].to_ns:
            return 0.0
        piece, (a, b) = self.pieces[at], self._rates[at]
        return float(a + (b - a) * Fraction(t_ns - piece.from_ns, piece.to_ns - piece.from_ns))

    def calls_between(self, from_ns: int, to_ns: int) -> int:
        """Calls due in [from, to)."""
        return self.count_until(to_ns - 1) - self.count_until(from_ns - 1)


def _first_reach(piece: Piece, target: int) -> int:
    """The smallest whole t >= 0 with N(t) * scale >= target, and > target while N is flat there."""
    wanted = target - piece.base
    if wanted <= 0:
        return 0
    if piece.square == 0:
        return -(-wanted // piece.linear)
    # square t^2 + linear t = wanted, the root where N rises
    inside = piece.linear * piece.linear + 4 * piece.square * wanted
    guess = (math.isqrt(max(0, inside)) - piece.linear) // (2 * piece.square)
    t = max(0, guess - 1)
    while (piece.linear + piece.square * t) * t < wanted:
        t += 1
    return t


class UserCurve:
    """How many users there are: the value rounded half up; in a pause segment as many as before, idle."""

    def __init__(self, schedule: Schedule) -> None:
        self._bounds = schedule.bounds()
        self._starts = [from_ns for from_ns, _, _ in self._bounds]
        self.peak = max((self._at_end(k) for k in range(len(self._bounds))), default=0)
        self.peak = max(self.peak, max((self.users_at(start) for start in self._starts), default=0))

    def _at_end(self, index: int) -> int:
        _, _, segment = self._bounds[index]
        return 0 if segment.pause else _half_up(max(to_fraction(segment.start), to_fraction(segment.end)))

    def users_at(self, t_ns: int) -> int:
        """Users at an instant; 0 outside the schedule."""
        at = bisect_right(self._starts, t_ns) - 1
        if at < 0 or t_ns >= self._bounds[-1][1]:
            return 0
        from_ns, to_ns, segment = self._bounds[at]
        while segment.pause:
            if at == 0:
                return 0
            at -= 1
            t_ns = self._bounds[at][1]
            from_ns, to_ns, segment = self._bounds[at]
        a, b = to_fraction(segment.start), to_fraction(segment.end)
        return _half_up(a + (b - a) * Fraction(t_ns - from_ns, to_ns - from_ns))

    def most_between(self, from_ns: int, to_ns: int) -> int:
        """The largest number of users in [from, to], both within the schedule."""
        first, last = bisect_right(self._starts, from_ns), bisect_right(self._starts, to_ns)
        edges = [edge for start in self._starts[first:last] for edge in (start - 1, start)]
        return max(self.users_at(at) for at in (from_ns, *edges, to_ns))  # straight between two edges

    def changes(self) -> Iterator[tuple[int, int]]:
        """(ns, users) at 0 and at every instant at which the number changes."""
        last = None
        for from_ns, to_ns, segment in self._bounds:
            now = self.users_at(from_ns)
            if now != last:
                yield from_ns, now
                last = now
            a, b = to_fraction(segment.start), to_fraction(segment.end)
            if segment.pause or a == b:
                continue
            up = 1 if b > a else -1
            while True:
                edge = Fraction(2 * last + up, 2)  # where rounding half up passes to the next number
                share = (edge - a) / (b - a)
                at = from_ns + (
                    math.ceil(share * (to_ns - from_ns)) if up > 0 else math.floor(share * (to_ns - from_ns)) + 1
                )
                if share >= 1 or at >= to_ns:
                    break
                last = self.users_at(at)
                yield at, last

    def paused_at(self, t_ns: int) -> bool:
        """Whether the instant lies in a pause segment."""
        at = bisect_right(self._starts, t_ns) - 1
        return at >= 0 and t_ns < self._bounds[at][1] and self._bounds[at][2].pause

    def pauses(self) -> list[tuple[int, int]]:
        """(from ns, to ns) of the pause segments."""
        return [(from_ns, to_ns) for from_ns, to_ns, segment in self._bounds if segment.pause]


def _half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def share_count(total: int, part: int, parts: int) -> int:
    """Return how many i in range(total) have i % parts == part: the parts sum to the whole."""
    return max(0, -(-(total - part) // parts))


def share_id(local: int, part: int, parts: int) -> int:
    """Return the number over all parts of a part's own number `local`."""
    return part + parts * local
