"""CPU time of the processes that a node has beside its workers, which report theirs when they exit."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from wasp_ray.clock import cpu_ns_of, now_ns, process_cpu_ns


class CpuWatch:
    """Measures from `begin`, at t = 0, to `end`, when the last worker has exited. The clocks are arguments for tests."""

    def __init__(
        self, now: Callable[[], int] = now_ns, own: Callable[[], int] = process_cpu_ns, other: Callable[[int], int] = cpu_ns_of
    ) -> None:  # fmt: skip
        self._now, self._own, self._other = now, own, other
        self._began, self._own_before = 0, 0
        self._before: dict[int, int] = {}
        self.cpu_ns = 0
        """CPU time of this process and the others."""
        self.over_ns = 0
        """How long it was measured."""

    def begin(self, pids: Sequence[int]) -> None:
        """Note what this process and the given ones have taken by now; its own pid, which its threads have, counts once."""
        self._began, self._own_before = self._now(), self._own()
        self._before = {pid: self._other(pid) for pid in pids if pid != os.getpid()}

    def end(self) -> None:
        """Measure what they took since. What a process took that has died is not known any more."""
        self.over_ns = self._now() - self._began
        others = sum(max(0, self._other(pid) - before) for pid, before in self._before.items())
        self.cpu_ns = self._own() - self._own_before + others
