"""Drives a blocking gun: ticks go into a pipe that all its workers read, and workers are added while ticks wait for a busy one."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from collections import Counter, deque
from contextlib import suppress

from wasp_ray.clock import now_ns
from wasp_ray.node.drivers.base import LATE_START_NS, WorkerSet
from wasp_ray.node.drivers.rates import RateDriver
from wasp_ray.node.sums import Sums
from wasp_ray.runtime.fleet import Fleet
from wasp_ray.schedule import SECOND_NS, PoissonCurve, RateCurve
from wasp_ray.wire.arena import Header, State
from wasp_ray.wire.control import NEVER, Control
from wasp_ray.worker.sync_gun import TICK

PIPE_TICKS = 65_536 // TICK.size
"""What a pipe holds."""
GROW_AFTER_NS = 3_000_000
"""A tick that waited so long for a busy worker asks for another one."""
FIRST_WORKERS_S = 0.05
"""Workers at the start, as if a call took so long."""


class TickPipeDriver(RateDriver):
    """Its pipe is `pipe`."""

    limit_cause = "worker_limit"

    def __init__(self, workers: WorkerSet) -> None:
        super().__init__(workers)
        self.pipe = TickPipe(self.curve, self.tick_count, workers.share, workers.shares)
        self.ticks_fd = self.pipe.read_fd
        self._most_workers = workers.most
        self._taken_at_end: dict[int, int] = {}  # by worker, how many ticks it had taken when the schedule ended
        self._workers_stood_still = False  # an idle worker took no tick in the second after the end

    @property
    def _fleet(self) -> Fleet:
        return self.workers.fleet

    def prepare(self) -> None:
        """Want some workers; more follow when ticks wait."""
        first = int(self.workers.plan.peak * FIRST_WORKERS_S / self.workers.shares) + 2
        self._fleet.wanted = min(self.workers.most, first)

    def follow(self, now: int) -> int:
        """Write what is due; want more workers if that waits."""
        wake_at = self.pipe.feed(self.workers.control, now, self.workers.stop_cut_ns)
        self._grow()
        return wake_at

    def is_done(self) -> bool:
        """With max_calls, once all ticks are taken."""
        if self.workers.plan.max_calls is None:
            return False
        return super().is_done() or (self.pipe.exhausted and not self.pipe.unread())

    def _grow(self) -> None:
        """A worker for each tick that waits, unless one is idle or on its way; at most half as many more at once.

        A tick alone is no reason: on a busy machine it waits for the CPU, and another process would not help it.
        """
        wanted = self._fleet.wanted
        waiting = self.pipe.waiting(GROW_AFTER_NS) if wanted < self._most_workers else 0
        if waiting:
            missing = waiting - (wanted - self._busy_workers())
            self._fleet.wanted = min(self._most_workers, wanted + max(0, min(missing, max(1, wanted // 2))))

    def stop_growing(self) -> None:
        """Add no more workers: one more could not be set up."""
        self._most_workers = self._fleet.wanted

    def _busy_workers(self) -> int:
        slab, words = self.workers.arena.slabs[self.workers.gen], self.workers.arena.words
        return sum(words[slab.entry_word(member.ring, 0)] != 0 for member in self._fleet.live.values())

    def end(self) -> None:
        """Note what idle workers have taken so far."""
        self._taken_at_end = self._idle_workers()

    def drain(self, now: int) -> None:
        """Write overdue ticks, and close the pipe once all are taken or too late."""
        late = now > self.workers.cut_ns + LATE_START_NS
        if not self.pipe.closed:
            cut = self.workers.stop_cut_ns
            self.pipe.feed(self.workers.control, now, cut)
            if late or (self.pipe.all_written(cut) and not self.pipe.unread()):
                idle = self._idle_workers()
                self._workers_stood_still = any(idle.get(w) == taken for w, taken in self._taken_at_end.items())
                self.pipe.close(self.workers.control, cut)
        if self.pipe.closed and late:
            self._fleet.wanted = 0

    def abort(self) -> None:
        """Take back what nobody has read."""
        super().abort()
        self.pipe.close(self.workers.control, self.workers.stop_cut_ns)

    def _idle_workers(self) -> dict[int, int]:
        """Return the number of ticks that each worker without a call in flight has taken."""
        workers = self.workers
        return {
            worker: workers.arena.read(workers.gen, member.ring, Header.NEXT_TICK)
            for worker, member in self._fleet.live.items()
            if workers.state(member.ring) == State.READY and not workers.in_flight(member.ring)
        }

    def is_replaceable_by_others(self, worker: int) -> bool:
        """All take ticks from one pipe."""
        if self.workers.control.start_ns == NEVER:
            return False
        others = (member for other, member in self._fleet.live.items() if other != worker)
        return any(self.workers.state(member.ring) == State.READY for member in others)

    def _untaken(self, sums: Sums) -> Counter[str]:
        out = Counter(worker_lost=self.pipe.written - sums.begun - sums.dropped)
        cause = "generator" if self._workers_stood_still else "worker_limit"
        out["stopped" if self.workers.is_stopped else cause] += self.pipe.dropped
        return out

    def missed_seconds(self) -> Counter[int]:
        """What idle workers left in the pipe."""
        return self.pipe.dropped_in if self._workers_stood_still and not self.workers.is_stopped else Counter()

    def close(self) -> None:
        """Close both ends of the pipe."""
        self.pipe.dispose()


class TickPipe:
    """A share of one Generator's ticks, of which there are `count`; due times from its curve."""

    def __init__(self, curve: RateCurve | PoissonCurve, count: int, share: int, shares: int) -> None:
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
        """Write all that is due by `now`, and is due already if `now` lies ahead, before the schedule instant `cut`. Return the
        monotonic instant of the next tick (NEVER: none that is known).
        """
        now = min(now, now_ns())
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
