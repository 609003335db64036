"""A clock of the HTTP clients that a server's script can set ahead, so that their long timeouts pass without waiting."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from wasp_ray.clock import now_ns

LOOKS, LOOK_S = 4, 0.5


class Clock:
    """Ahead of the monotonic clock by as much as it was told; never behind."""

    def __init__(self) -> None:
        self._ahead_ns = self._reads = 0

    def __call__(self) -> int:
        """Return the instant in ns."""
        self._reads += 1
        return time.monotonic_ns() + self._ahead_ns

    def advance(self, seconds: float) -> None:
        """Let time pass, and let clients notice it: an event loop's timer reads the clock at least every 50 ms, a blocking client
        not before it is done with what it does.
        """
        self._ahead_ns += int(seconds * 1e9)
        reads, give_up = self._reads, time.monotonic() + LOOK_S
        while self._reads < reads + LOOKS and time.monotonic() < give_up:
            time.sleep(0.001)


@contextmanager
def clock_of_clients() -> Iterator[Clock]:
    """Every module of the clients reads this clock within the block."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith("wasp_ray.http.") and getattr(module, "now_ns", None) is now_ns:
                patch.setattr(module, "now_ns", clock)
        yield clock
