"""Bounds of what one Generator's totals hold, and where counts go that find no entry of their own."""

from __future__ import annotations

OTHER = "__other__"
"""The entry that counts what found no entry of its own."""
MAX_GROUPS = 1000
MAX_STATUSES = 200
"""Distinct statuses of a group."""
MAX_COUNTERS = 200
MAX_ERRORS = 100


def add_to(counts: dict[str, int], key: str, number: int, limit: int) -> None:
    """Add to counts[key]; a new key beyond `limit` distinct ones is counted under `__other__`."""
    slot = key if key in counts or len(counts) < limit else OTHER
    counts[slot] = counts.get(slot, 0) + number
