"""The seconds of a load whose rate calls started late. A call belongs to the second in which it was due, whenever it ended.

Pure. Two numbers a second for any length of load: 16 bytes, 58 KB an hour.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wasp_ray.schedule import SECOND_NS
from wasp_ray.wire.record import START_LATE_NS

MAX_SECONDS = 1 << 22
"""48 days and 64 MB at most; calls due later share the last second."""

Ints = NDArray[np.int64]


class SlowSeconds:
    """Counts the calls with a free slot by due second, and those of them that started more than START_LATE_NS late."""

    def __init__(self) -> None:
        self._start_ns = 0
        self._calls = np.zeros(64, np.int64)
        self._late = np.zeros(64, np.int64)

    def begin(self, start_ns: int) -> None:
        """Sets t = 0, monotonic."""
        self._start_ns = start_ns

    def add(self, due: Ints, delay: Ints) -> None:
        """Counts calls by their due time and start delay (ns); a dropped call is as late as the instant of its drop."""
        if not len(due):
            return
        is_late = delay > START_LATE_NS
        first, last = self._second(int(due.min())), self._second(int(due.max()))
        self._reach(last)
        if first == last:  # as in most batches
            self._calls[first] += len(due)
            self._late[first] += np.count_nonzero(is_late)
            return
        second = np.clip((due - self._start_ns) // SECOND_NS, first, last) - first
        self._calls[first : last + 1] += np.bincount(second, minlength=last - first + 1)
        self._late[first : last + 1] += np.bincount(second[is_late], minlength=last - first + 1)

    def add_missed(self, second: int, calls: int) -> None:
        """Counts calls due in a second that nobody started or dropped: no worker was there, or every worker stood still."""
        second = min(second, MAX_SECONDS - 1)
        self._reach(second)
        self._calls[second] += calls
        self._late[second] += calls

    def longest_row(self) -> tuple[int, int]:
        """Return the first second and the length of the longest row of slow seconds; (0, 0) without one.

        A second is slow when the p99 (nearest rank) of its start delays is over the limit. A second without a call that
        had a free slot says nothing about this machine: it is skipped, so it neither counts nor ends a row.
        """
        used = np.flatnonzero(self._calls)
        on_time = self._calls[used] - self._late[used]
        slow = 100 * on_time < 99 * self._calls[used]
        edges = np.flatnonzero(np.diff(np.concatenate([[False], slow, [False]])))
        begins, lengths = edges[::2], edges[1::2] - edges[::2]
        if not len(lengths):
            return 0, 0
        longest = int(lengths.argmax())
        return int(used[begins[longest]]), int(lengths[longest])

    def _second(self, due_ns: int) -> int:
        return min(max((due_ns - self._start_ns) // SECOND_NS, 0), MAX_SECONDS - 1)

    def _reach(self, second: int) -> None:
        """Grows by doubling, so that a long load copies its counts a few times only."""
        have = len(self._calls)
        if second >= have:
            more = np.zeros(max(second + 1, 2 * have) - have, np.int64)
            self._calls = np.concatenate([self._calls, more])
            self._late = np.concatenate([self._late, more])
