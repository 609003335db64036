"""The counting of schedules, a second time: short, slow and exact, from docs/meaning.md alone.

It shares no code with wasp_ray.schedule. Times are ns of the schedule, sums are fractions.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import ceil, floor

from model.scenario import Idle, Part

MS = 1_000_000
SECOND = 1_000_000_000


def duration_ns(parts: tuple[Part, ...]) -> int:
    """Return the length of a schedule."""
    return sum(part.ms for part in parts) * MS


def integral(parts: tuple[Part, ...], t_ns: int) -> Fraction:
    """Return N(t), the calls expected by an instant."""
    total, begins = Fraction(0), 0
    for part in parts:
        inside = min(t_ns - begins, part.ms * MS)
        if inside > 0 and not isinstance(part, Idle):
            at_end = part.start + Fraction((part.end - part.start) * inside, part.ms * MS)
            total += (part.start + at_end) / 2 * Fraction(inside, SECOND)
        begins += part.ms * MS
    return total


def due_by(parts: tuple[Part, ...], t_ns: int) -> int:
    """Return how many calls are due at or before an instant: call i is due when N begins to exceed i."""
    if t_ns < 0:
        return 0
    reached = integral(parts, t_ns)
    return floor(reached) + 1 if _rises_after(parts, t_ns) else ceil(reached)


def total(parts: tuple[Part, ...]) -> int:
    """Return the calls of a whole schedule."""
    return ceil(integral(parts, duration_ns(parts)))


def share(count: int, node: int, nodes: int) -> int:
    """Return how many of the ticks 0 .. count - 1 are those of node 0, 1 ...: i % nodes == node."""
    return len(range(node, count, nodes))


@lru_cache(10_000)
def due_ns(parts: tuple[Part, ...], i: int) -> int:
    """Return the first ns by which more than `i` calls are due."""
    low, high = 0, duration_ns(parts)
    while low < high:
        middle = (low + high) // 2
        if due_by(parts, middle) > i:
            high = middle
        else:
            low = middle + 1
    return low


def users_at(parts: tuple[Part, ...], t_ns: int) -> int:
    """Return the users of an instant, rounded half up; a pause segment keeps those before it."""
    before, begins = 0, 0
    for part in parts:
        ends = begins + part.ms * MS
        if isinstance(part, Idle):
            if begins <= t_ns < ends:
                return before
        else:
            if begins <= t_ns < ends:
                return _half_up(part.start + Fraction((part.end - part.start) * (t_ns - begins), part.ms * MS))
            before = _half_up(Fraction(part.end))
        begins = ends
    return 0


def peak_users(parts: tuple[Part, ...]) -> int:
    """Return the most users of a schedule."""
    return max(max(part.start, part.end) for part in parts if not isinstance(part, Idle))


@lru_cache(1000)
def _users_by_ms(parts: tuple[Part, ...]) -> tuple[int, ...]:
    return tuple(users_at(parts, at) for at in range(0, duration_ns(parts), MS))


@lru_cache(10_000)
def wanted_spans(parts: tuple[Part, ...], user: int) -> tuple[tuple[int, int], ...]:
    """Return the spans (from, to) in which the schedule wants a user, to 1 ms."""
    spans: list[tuple[int, int]] = []
    for number, users in enumerate(_users_by_ms(parts)):
        at = number * MS
        if users > user:
            if spans and spans[-1][1] == at:
                spans[-1] = (spans[-1][0], at + MS)
            else:
                spans.append((at, at + MS))
    return tuple(spans)


def _rises_after(parts: tuple[Part, ...], t_ns: int) -> bool:
    begins = 0
    for part in parts:
        if begins <= t_ns < begins + part.ms * MS:
            return not isinstance(part, Idle) and max(part.start, part.end) > 0
        begins += part.ms * MS
    return False


def _half_up(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))
