"""The control block: what the generator tells all workers without a message. One writer (the generator), many readers.

The exception: a worker that asks for the end raises the word of its reason and closes RUN_LIMIT. Times are monotonic ns.
"""

from __future__ import annotations

from collections.abc import Callable

from wasp_ray.clock import now_ns
from wasp_ray.wire.arena import Arena

NEVER = 2**63 - 1
"""A time that does not come; fits a signed word."""

START, _HELD_FROM, _PAUSE_BASE_OLD, _PAUSE_BASE_NEW, _PAUSED = 0, 1, 2, 3, 4
"""Words of the whole block; START is t = 0, NEVER before it is known."""
_FIRST, _SIZE = 16, 16
AHEAD_NS, VISIBLE_NS = 5_000_000, 1_000_000
"""An instant is stored so long before it comes; a store is visible to all processes so long after it at the latest."""


class Word:
    """Word numbers within a generator's part of the block."""

    RUN_LIMIT = 0  # users below this id may begin a call now: all that the hot loop reads
    KEEP_LIMIT = 1  # users from this id on leave
    STOP_NS = 2  # the stop: ticks due from this schedule instant on never start; written once
    FIRE_UNTIL_NS = 3  # overdue ticks may start until then
    GRACE_NS = 4  # calls still in flight then are ended
    ASKED_ROWS = 5  # raised by workers, never lowered: see Ask
    WORKERS = 6  # rate: workers that share the ticks
    HOLD_NS = 7  # ticks due from this schedule instant on wait; it only grows, until it is STOP_NS as well
    ASKED_STOP = 8
    ASKED_FAIL = 9


class Ask:
    """Why a worker asks for the end of its Generator, the weakest reason first. Each is a word of its own: workers write at any
    time, and none may overwrite the reason of another.
    """

    ROWS = Word.ASKED_ROWS  # this node's rows are used up: other nodes have their own
    STOP = Word.ASKED_STOP  # context.stop()
    FAIL = Word.ASKED_FAIL  # fail_on_error


class Control:
    """A view of the control block; cheap to make, shared by fork."""

    def __init__(self, arena: Arena) -> None:
        self.words = arena.words

    @staticmethod
    def at(gen: int, word: int) -> int:
        """Index of a generator's word in `words`."""
        return _FIRST + gen * _SIZE + word

    def initialise(self, generators: int) -> None:
        """Before the first worker: nothing runs, nothing stops."""
        self.words[START] = NEVER
        for gen in range(generators):
            for word in (Word.STOP_NS, Word.HOLD_NS, Word.FIRE_UNTIL_NS, Word.GRACE_NS):
                self.words[self.at(gen, word)] = NEVER

    def get(self, gen: int, word: int) -> int:
        """A generator's word."""
        return self.words[_FIRST + gen * _SIZE + word]

    def set(self, gen: int, word: int, value: int) -> None:
        """Stores a generator's word."""
        self.words[_FIRST + gen * _SIZE + word] = value

    def asked(self, gen: int) -> int:
        """Return the strongest Ask of a generator's workers, 0 for none."""
        return next((why for why in (Ask.FAIL, Ask.STOP, Ask.ROWS) if self.get(gen, why)), 0)

    @property
    def start_ns(self) -> int:
        """t = 0, NEVER before it is known."""
        return self.words[START]

    def start(self, at_ns: int, *, paused: bool = False) -> None:
        """Fixes t = 0; `paused`: of a schedule whose clock does not run yet."""
        self.words[_HELD_FROM] = 0 if paused else NEVER
        self.words[_PAUSED] = paused
        self.words[_PAUSE_BASE_OLD] = self.words[_PAUSE_BASE_NEW] = at_ns
        self.words[START] = at_ns

    @property
    def paused(self) -> bool:
        """Whether the schedule's clock stands still."""
        return self.words[_PAUSED] != 0

    def pause(self, at_ns: int) -> None:
        """Stop the schedule's clock at a monotonic instant: what is due after it waits. Before t = 0 all does. A later instant may
        replace it.
        """
        base = self.words[_PAUSE_BASE_NEW]
        self.words[_PAUSE_BASE_OLD] = base
        self.words[_HELD_FROM] = max(0, at_ns - base + 1)
        self.words[_PAUSED] = 1

    def resume(self, paused_ns: int) -> None:
        """Goes on; all that was not due yet is `paused_ns` later."""
        self.words[_PAUSE_BASE_NEW] = self.words[_PAUSE_BASE_OLD] + paused_ns
        self.words[_PAUSED] = 0

    def absolute_ns(self, schedule_ns: int) -> int:
        """The monotonic instant of a schedule instant, NEVER while a pause holds it back."""
        if schedule_ns < self.words[_HELD_FROM]:
            return self.words[_PAUSE_BASE_OLD] + schedule_ns
        return NEVER if self.words[_PAUSED] else self.words[_PAUSE_BASE_NEW] + schedule_ns

    def schedule_ns(self, now_ns: int) -> int:
        """The schedule's instant at a monotonic one; stands still in a pause. Negative before the start, and as long as a pause
        holds all of it.
        """
        if self.words[_PAUSED]:
            return min(now_ns - self.words[_PAUSE_BASE_OLD], self.words[_HELD_FROM] - 1)
        return now_ns - self.words[_PAUSE_BASE_NEW]


def publish_ahead(put: Callable[[int], None]) -> int:
    """Has `put` store an instant from which workers hold back, such that none has passed it by then; returns the instant.

    A worker reads its clock and then what `put` stores. If it does not find the instant there, it read its clock before the
    store was visible. So as long as the store is visible before the instant itself, nothing that a worker does by an older
    reading, however much later, is due at or after the instant. The clock that is read after the store shows whether this
    holds: a store leaves its core within microseconds, and a core that is taken from a process or a virtual machine completes
    it first. If this process was held up before the store, a later instant is tried. Instants only grow, so whatever workers
    did by an earlier one is still right.
    """
    while True:
        at_ns = now_ns() + AHEAD_NS
        put(at_ns)
        if now_ns() + VISIBLE_NS <= at_ns:
            return at_ns
