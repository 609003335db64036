"""Durations as users write them, turned into integer nanoseconds. Pure."""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction

SECOND_NS = 1_000_000_000

_UNITS_NS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PIECE = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s|m|h)\s*")
_CURE = 'write "250ms", "1.5s", "10m", "1h30m" or a number of seconds'


def parse_duration(value: object) -> int:
    """Nanoseconds of "1h30m", "250ms", a number of seconds or a timedelta; rounded to whole ns.

    Raises ValueError that says what was found and what is expected. Negative durations are refused.
    """
    if isinstance(value, timedelta):
        ns = (value.days * 86_400 + value.seconds) * 10**9 + value.microseconds * 1_000
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(f"{value!r} is not a duration: {_CURE}")
        ns = round(Fraction(str(value)) * 10**9)
    elif isinstance(value, str):
        ns = _parse_text(value)
    else:
        raise ValueError(f"{value!r} is not a duration: {_CURE}")
    if ns < 0:
        raise ValueError(f"{value!r} is negative: {_CURE}")
    return ns


def _parse_text(text: str) -> int:
    stripped = text.strip()
    at = 0
    total: int | Fraction = 0
    while at < len(stripped):
        piece = _PIECE.match(stripped, at)
        if piece is None:
            raise ValueError(f"{text!r} is not a duration: {_CURE}")
        total += (Fraction(piece[1]) if "." in piece[1] else int(piece[1])) * _UNITS_NS[piece[2]]
        at = piece.end()
    if not stripped:
        raise ValueError(f"{text!r} is not a duration: {_CURE}")
    return round(total)


def format_duration(ns: int) -> str:
    """`2m10s`, `250ms`, `11m`, `0s`: the shortest text that parses back to the same."""
    if ns == 0:
        return "0s"
    if ns % 10**6:
        for unit, size in (("us", 1_000), ("ns", 1)):
            if ns % size == 0:
                return f"{ns // size}{unit}"
    if ns < 10**9:
        return f"{ns // 10**6}ms"
    whole_ms = ns // 10**6
    hours, rest = divmod(whole_ms, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    seconds, milli = divmod(rest, 1000)
    out = (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes else "")
    if milli:
        return out + f"{seconds}.{milli:03d}".rstrip("0") + "s"
    return out + (f"{seconds}s" if seconds else "")
