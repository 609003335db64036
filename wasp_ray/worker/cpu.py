"""CPU time that a worker takes, and time for which its calls wait for a core: both published in the header of its ring."""

from __future__ import annotations

import os
import resource

from wasp_ray.clock import thread_cpu_ns
from wasp_ray.wire.arena import Header

SCHEDSTAT = "/proc/thread-self/schedstat"
"""Of the kernel, for the thread that opens it: time on a core, time in the run queue (both ns), time slices."""
SAMPLE_NS = 10_000_000
"""A measurement takes two readings of 1.5 to 5 us each, so at most one is made in so much time."""


def own_cpu_ns(*, is_thread: bool) -> int:
    """Return the CPU time of this process and the children that it has waited for, as wait4 reports it, or of this thread; ns."""
    if is_thread:
        return thread_cpu_ns()
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime) * 1e9)


class CallWait:
    """Adds up how long a worker's thread waits for a core from `begin` to `end`. What is being measured when its process dies is
    completed by the node. Without the kernel's statistics it is 0.
    """

    __slots__ = ("_fd", "_from_word", "_sum_word", "_words")

    def __init__(self, words: memoryview, header: int) -> None:
        self._words = words
        self._sum_word, self._from_word = header + Header.CALL_WAIT_NS, header + Header.CALL_WAIT_FROM
        self._fd: int | None = None

    def begin(self) -> None:
        """A call begins, or the first one of several without a pause between them."""
        self._words[self._from_word] = self.waited_ns() + 1

    def end(self, calls: int = 1, in_flight: int = 1) -> None:
        """It has ended. It stands for so many calls, of which as many as `in_flight` waited at the same time."""
        words, begun = self._words, self._words[self._from_word]
        words[self._from_word] = 0
        if begun:
            words[self._sum_word] += max(0, self.waited_ns() + 1 - begun) * calls // in_flight

    def waited_ns(self) -> int:
        """Return how long the thread has waited for a core in its life."""
        try:
            if self._fd is None:
                self._fd = -1
                self._fd = os.open(SCHEDSTAT, os.O_RDONLY | os.O_CLOEXEC)
            return int(os.pread(self._fd, 64, 0).split()[1]) if self._fd >= 0 else 0
        except (OSError, IndexError, ValueError):  # no such statistics, or user code has closed the descriptor
            self._fd = -1
            return 0

    def close(self) -> None:
        """Close the descriptor."""
        if self._fd is not None and self._fd >= 0:
            os.close(self._fd)
        self._fd = None


class SampledCallWait(CallWait):
    """Measures one call at a time, at most each SAMPLE_NS: it stands for the calls that began since the one before."""

    __slots__ = ("_number", "_stands_for")

    def __init__(self, words: memoryview, header: int) -> None:
        super().__init__(words, header)
        self._number, self._stands_for = 0, 1

    def begin_call(self, number: int) -> None:
        """Measure the call of this number."""
        self._stands_for, self._number = number - self._number, number
        self.begin()

    def end_call(self, now: int, in_flight: int = 1) -> int:
        """It has ended, at `now`; return when the next call is to be measured."""
        self.end(self._stands_for, in_flight)
        return now + SAMPLE_NS
