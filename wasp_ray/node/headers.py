"""A Generator's ring headers and in-flight tables as numpy arrays over the shared memory. Read-only by convention.

The arrays are views: drop them before the arena is closed, which cannot unmap memory that is still viewed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wasp_ray.wire.arena import ENTRY_WORDS, HEADER_WORDS, Arena


def headers_of(arena: Arena, gen: int) -> NDArray[np.uint64]:
    """Shape (rings, HEADER_WORDS); see Header for the words."""
    slab = arena.slabs[gen]
    words = np.frombuffer(arena.words, np.uint64, slab.rings * HEADER_WORDS, slab.offset)
    return words.reshape(slab.rings, HEADER_WORDS)


def entries_of(arena: Arena, gen: int) -> NDArray[np.uint64]:
    """Shape (rings, entries, ENTRY_WORDS); see Entry for the words."""
    slab = arena.slabs[gen]
    words = np.frombuffer(arena.words, np.uint64, slab.rings * slab.entries * ENTRY_WORDS, slab.entries_offset)
    return words.reshape(slab.rings, slab.entries, ENTRY_WORDS)
