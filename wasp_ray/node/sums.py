"""What the headers of a Generator's rings say, summed over living and dead workers: the `started` and `dropped` of the
ledger.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from wasp_ray.wire.arena import Arena, Header


@dataclass(slots=True)
class Sums:
    """Counters of workers; seconds in ns."""

    begun: int = 0
    lost: int = 0
    lost_requests: int = 0
    ring_wait_ns: int = 0
    dropped_limit: int = 0
    dropped_generator: int = 0
    dropped_stopped: int = 0
    dropped_busy: int = 0
    overflowed_strings: int = 0
    forks: int = 0
    setups_failed: int = 0
    blocks: int = 0
    blocked_ns: int = 0

    def add(self, other: Sums) -> None:
        """Adds column by column."""
        for column in fields(Sums):
            setattr(self, column.name, getattr(self, column.name) + getattr(other, column.name))

    @property
    def dropped(self) -> int:
        """All drops that workers counted."""
        return self.dropped_limit + self.dropped_generator + self.dropped_stopped + self.dropped_busy


_WORDS = {
    "begun": Header.BEGUN,
    "lost": Header.LOST,
    "lost_requests": Header.LOST_REQUESTS,
    "ring_wait_ns": Header.RING_WAIT_NS,
    "dropped_limit": Header.DROPPED_LIMIT,
    "dropped_generator": Header.DROPPED_GENERATOR,
    "dropped_stopped": Header.DROPPED_STOPPED,
    "dropped_busy": Header.DROPPED_BUSY,
    "overflowed_strings": Header.OVERFLOWED_STRINGS,
    "forks": Header.FORKS,
    "setups_failed": Header.SETUPS_FAILED,
    "blocks": Header.BLOCKS,
    "blocked_ns": Header.BLOCKED_NS,
}


def read_sums(arena: Arena, gen: int, ring: int) -> Sums:
    """The counters of one ring as they are now."""
    return Sums(**{name: arena.read(gen, ring, word) for name, word in _WORDS.items()})


def sum_of(headers: NDArray[np.uint64], rings: list[int]) -> Sums:
    """Return the counters of these rings added up; `headers` as headers_of gives them."""
    totals = headers[rings][:, list(_WORDS.values())].sum(axis=0).tolist() if rings else [0] * len(_WORDS)
    return Sums(**dict(zip(_WORDS, totals, strict=True)))
