"""Splits counts among equal parts so that the parts sum to the whole. Pure."""

from __future__ import annotations


def share_count(total: int, part: int, parts: int) -> int:
    """How many i in range(total) have i % parts == part."""
    return max(0, -(-(total - part) // parts))


def share_id(local: int, part: int, parts: int) -> int:
    """The number over all parts of a part's own number `local`."""
    return part + parts * local
