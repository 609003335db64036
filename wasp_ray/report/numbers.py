"""How numbers are written for people: counts, rates, latencies, shares, clock times. Pure; None is a dash."""

from __future__ import annotations

from collections.abc import Mapping

NONE = "-"


def count(number: int | None, short: bool = False) -> str:
    """`12,906`; short from 10,000 on: `12.9k`, `315M`."""
    if number is None:
        return NONE
    if not short or abs(number) < 10_000:
        return f"{number:,}"
    for unit, size in (("k", 1e3), ("M", 1e6), ("G", 1e9)):
        value = number / size
        if abs(value) < 999.5 or unit == "G":
            return f"{value:.1f}{unit}" if abs(value) < 99.95 else f"{value:,.0f}{unit}"
    raise AssertionError("the last unit takes every number")


def rate(per_s: float | None, short: bool = False) -> str:
    """`500/s`, `499.9/s`, `0.25/s`, `20,000/s`; short from 10,000 on: `20.0k/s`."""
    if per_s is None:
        return NONE
    if abs(per_s) >= 9_999.5:
        return count(round(per_s), short) + "/s"
    if abs(per_s) >= 1 or per_s == 0:
        return f"{per_s:,.1f}".removesuffix(".0") + "/s"
    return f"{per_s:.2g}/s"


def latency(seconds: float | None) -> str:
    """Two digits or three: `8.3 us`, `0.11 ms`, `3 ms`, `12 ms`, `4.0 s`, `60.0 s`, `1,200 s`."""
    if seconds is None:
        return NONE
    if abs(seconds) < 9.95e-6:
        return f"{seconds * 1e6:.1f} us" if seconds else "0 ms"
    if abs(seconds) < 0.000_995:
        return f"{seconds * 1e3:.2f} ms"
    if abs(seconds) < 0.009_95:
        return f"{seconds * 1e3:.1f}".removesuffix(".0") + " ms"
    if abs(seconds) < 0.9995:
        return f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.1f} s" if abs(seconds) < 999.95 else f"{seconds:,.0f} s"


def share(part: float, whole: float = 1.0) -> str:
    """Two digits after the point below 10 %: `0%`, `<0.01%`, `0.20%`, `12.5%`, `100%`; never 100 % when it is less."""
    if not whole:
        return NONE
    percent = 100 * part / whole
    if percent == 0:
        return "0%"
    if 0 < percent < 0.01:
        return "<0.01%"
    if 99.9 <= percent < 100:
        return ">99.9%"
    if percent < 9.995:
        return f"{percent:.2f}%"
    return f"{percent:.1f}%" if percent < 99.95 else f"{percent:.0f}%"


def moment(seconds: float | None) -> str:
    """A point of the run's clock: `00:41`, `1:02:03`."""
    if seconds is None:
        return NONE
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def length(seconds: float | None) -> str:
    """How long: `850ms`, `4.5s`, `2m10s`, `1h2m`."""
    if seconds is None:
        return NONE
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m" if minutes else f"{hours}h"
    return f"{minutes}m{rest}s" if rest else f"{minutes}m"


def amounts_text(amounts: Mapping[str, float]) -> str:
    """What a host has or is asked for: `CPU 2, GPU 0.5, fast_disk 1`."""
    return ", ".join(f"{name} {amount:g}" for name, amount in amounts.items())
