"""The only constants of the engine that the model changes, so that rare states come within a second.

A name that is no longer there raises AttributeError: then this module has to follow the engine. Workers import this
module, so it imports the engine's modules only where they are used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

BACKOFF_NS = (50_000_000, 100_000_000, 200_000_000)
"""Waits before the retries of a failed setup (1, 2 and 4 s as released). One-node runs only."""


@contextmanager
def knobs(slots: int | None) -> Iterator[None]:
    """Make every ring of this process' runs `slots` long (None: as released), and setups retry at once."""
    import wasp_ray.node.shape as shape
    import wasp_ray.runtime.fleet as fleet

    changes: list[tuple[Any, str, Any]] = [(fleet, "SETUP_BACKOFF_NS", BACKOFF_NS)]
    if slots is not None:
        changes += [(shape, "SMALL_RING", slots), (shape, "LARGE_RING", slots), (shape, "RING_BUDGET_BYTES", 0)]
    before = [(module, name, getattr(module, name)) for module, name, _ in changes]
    for module, name, value in changes:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def shorten_ring_wait(context: Any, ms: int) -> None:
    """In a worker: wait this long for room in a full ring (10 s as released)."""
    writer = context._booker.writer
    assert isinstance(writer._ring_wait_ns, int)
    writer._ring_wait_ns = ms * 1_000_000
