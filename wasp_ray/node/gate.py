"""When the load of a node may begin: at once, or together with the other nodes of its run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

START_MARGIN_NS = 20_000_000
WORKER_MARGIN_NS = 20_000
"""What waking one more worker takes."""


class Gate(Protocol):
    """Asked from the node's loop only, ever again until it opens; must not block."""

    def arrived(self) -> None:
        """The node's first users are set up. Called once."""

    def start_ns(self, now_ns: int, workers: int) -> int | None:
        """t = 0 as a monotonic instant, which may be past; None while the gate is closed."""


class OpenGate:
    """A node alone starts as soon as it can."""

    def arrived(self) -> None:
        """Nobody has to know."""

    def start_ns(self, now_ns: int, workers: int) -> int | None:
        """Soon enough for every worker to be woken before it."""
        return now_ns + START_MARGIN_NS + workers * WORKER_MARGIN_NS


class HeldGate:
    """Opened from outside. `report` is called when the node has arrived."""

    def __init__(self, report: Callable[[], None]) -> None:
        self._report = report
        self._start_ns: int | None = None

    def arrived(self) -> None:
        """Report to the holder of the gate."""
        self._report()

    def open(self, start_ns: int) -> None:
        """Fixes t = 0, from any thread; the first word counts."""
        if self._start_ns is None:
            self._start_ns = start_ns

    def start_ns(self, now_ns: int, workers: int) -> int | None:
        """The instant that `open` was given."""
        return self._start_ns
