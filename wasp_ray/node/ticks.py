"""Feeds the ticks of a sync gun into the pipe its workers share. Never blocks: what does not fit waits as a number."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from collections import Counter, deque
from contextlib import suppress
from typing import Any

from wasp_ray.clock import now_ns
from wasp_ray.wire.control import NEVER, Control
from wasp_ray.worker.sync_gun import TICK

PIPE_TICKS = 65_536 // TICK.size
"""What a pipe holds."""
SECOND_NS = 1_000_000_000


class TickPipe:
    """A share of one Generator's ticks, of which there are `count`; due times from its curve."""

    def __init__(self, curve: Any, count: int, share: int, shares: int) -> None:
        self.read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._write_fd, False)
        self._count, self._step = count, shares
        self._tick = share
        self._dues = curve.dues(share, shares)
        self._due: int = next(self._dues) if share < count else NEVER
        self.written = 0
        self._written_at: deque[int] = deque(maxlen=PIPE_TICKS)  # of the ticks that may be unread, monotonic
        self.dropped = 0  # written or due, but no worker took them in time
        self.dropped_in: Counter[int] = Counter()  # the same by the second of the load in which they were due
        self.closed = False

    def feed(self, control: Control, now: int, cut: int) -> int:
        """Writes all that is due by `now` and before the schedule instant `cut`; returns the monotonic instant of the next
        tick (NEVER: none that is known).
        """
        while not self.all_written(cut):
            due = control.absolute_ns(self._due)
            if due > now:
                return due
            try:
                os.write(self._write_fd, TICK.pack(self._tick, due))
            except BlockingIOError:
                return now + 1_000_000
            self.written += 1
            self._written_at.append(now_ns())
            self._advance()
        return NEVER

    def _advance(self) -> None:
        self._tick += self._step
        self._due = next(self._dues) if self._tick < self._count else NEVER

    def all_written(self, cut: int) -> bool:
        """Whether no tick is left that is due before the schedule instant `cut`."""
        return self._due >= cut or self.exhausted

    @property
    def exhausted(self) -> bool:
        """No tick is left in the schedule."""
        return self._due == NEVER

    def unread(self) -> int:
        """Ticks that no worker has taken yet."""
        size = struct.pack("i", 0)
        return int(struct.unpack("i", fcntl.ioctl(self.read_fd, termios.FIONREAD, size))[0]) // TICK.size

    def waiting(self, for_ns: int) -> int:
        """How many ticks have been in the pipe for so long, each by itself, and no worker has taken them."""
        unread, written_at = self.unread(), self._written_at
        while len(written_at) > unread:
            written_at.popleft()
        if not written_at:
            return 0
        before = now_ns() - for_ns
        return next((n for n, at_ns in enumerate(written_at) if at_ns > before), len(written_at))

    def close(self, control: Control, cut: int) -> None:
        """Takes back the ticks that nobody read, counts them and those not written yet that are due before the schedule
        instant `cut` as dropped; workers see the end of the pipe.
        """
        if self.closed:
            return
        self.closed = True
        untaken = self._take_back()
        self.written -= len(untaken)
        os.close(self._write_fd)
        while not self.all_written(cut):
            untaken.append(control.absolute_ns(self._due))
            self._advance()
        self.dropped += len(untaken)
        self.dropped_in.update((due - control.start_ns) // SECOND_NS for due in untaken)

    def _take_back(self) -> list[int]:
        """Due times of the ticks in the pipe, read through a description of our own: O_NONBLOCK on the shared one would
        reach the workers.
        """
        try:
            fd = os.open(f"/proc/self/fd/{self.read_fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:  # no /proc: workers are threads of this process here, and a tick or two may still be theirs
            return []
        dues: list[int] = []
        with suppress(BlockingIOError):
            while raw := os.read(fd, TICK.size * 256):
                dues += [due for _, due in TICK.iter_unpack(raw)]
        os.close(fd)
        return dues

    def dispose(self) -> None:
        """Closes the read end."""
        if not self.closed:
            os.close(self._write_fd)
            self.closed = True
        os.close(self.read_fd)
