"""What a process of ours asks of the system: descriptors, and how its heap keeps memory or gives it back.

The heap is glibc's; with another C library its calls do nothing.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Numbers of mallopt's parameters (glibc's malloc.h)."""
KEPT_BYTES, MAPPED_FROM_BYTES = 4 * 2**20, 2**20


def raise_descriptor_limit() -> int | None:
    """Raise the soft limit of descriptors to the hard one; children inherit it. Return the limit now, None if there is none.

    Users' sockets need more than the 1,024 that many systems begin with.
    """
    try:
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ImportError, OSError, ValueError):  # not allowed here: what there is has to do
        return None
    return None if hard == resource.RLIM_INFINITY else hard


def keep_heap() -> None:
    """Keep up to 4 MiB of free memory, and map only blocks from 1 MiB on by themselves. Not for processes that are not ours.

    By default glibc returns all beyond 128 KiB: answers of 64 KB then cost more page faults than all else together (8,800 a
    second of one core, 30,000 with this).
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(TRIM_THRESHOLD, KEPT_BYTES)
            mallopt(MMAP_THRESHOLD, MAPPED_FROM_BYTES)


def give_back_memory() -> None:
    """Give free memory back, which the heap keeps after one large batch for the rest of a long run. Takes below a millisecond."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
