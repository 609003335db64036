"""The life of a user: when it is set up, calls, waits and leaves. Pure: no I/O, no clock, no loop.

A performer (sync_user.py, async_user.py) asks `next` for a step, performs it and reports the result:

    state    condition                              step        reported           next state
    AWAY     not kept by the schedule               Leave
    AWAY     back-off not over                      Wait
    AWAY                                            Setup       set_up             READY
                                                                setup_failed       AWAY, or OVER after the last retry
                                                                setup_stopped      OVER
    READY    not kept by the schedule               Teardown    torn_down          OVER
    READY    no call may begin, before t = 0,       Wait
             think time, pace not due
    READY                                           Call        called             READY
                                                                stops, exhausted   LEAVING
                                                                restarts           LEAVING, to come back
    LEAVING                                         Teardown    torn_down          OVER, or AWAY with a back-off
    OVER                                            Leave

Times are monotonic ns. The words are the control block's, or a list of the same layout.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Final, Protocol

from wasp_ray.wire.arena import State
from wasp_ray.wire.control import NEVER, START, Control, Word
from wasp_ray.wire.record import LATE_NS

RESTART_MIN_NS, RESTART_MAX_NS = 100_000_000, 10_000_000_000
"""Back-off after RestartUser: it doubles with each restart."""


class Draws(Protocol):
    """A wait as wasp_ray.load.waits has them."""

    @property
    def is_constant(self) -> bool:
        """Whether all draws are equal."""

    def draw_ns(self, rng: random.Random) -> int:
        """Return the next wait in ns."""


@dataclass(slots=True)  # a frozen one takes three times as long to make
class Wait:
    """Wait until an instant, or until the words change; then ask again."""

    until: int


@dataclass(frozen=True, slots=True)
class Setup:
    """Make a new actor and run its setup; report set_up, setup_failed or setup_stopped."""


@dataclass(slots=True)
class Call:
    """Begin a call; report called, stops, restarts or exhausted. `due`: 0 means due at its start."""

    due: int


@dataclass(frozen=True, slots=True)
class Teardown:
    """Run the actor's teardown; report torn_down."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The end. `state` is the State that a process of this user alone ends in."""

    state: int


Step = Wait | Setup | Call | Teardown | Leave
_IDLE, _SETUP, _UNPACED, _TEARDOWN = Wait(NEVER), Setup(), Call(0), Teardown()
_AWAY, _READY, _LEAVING, _OVER = range(4)
_NO_DRAWS = random.Random(0)


class Paces:
    """Due times of a paced user: the first one is due at once, each next one a step later, however long calls take."""

    __slots__ = ("_is_constant", "draw", "due")

    def __init__(self, wait: Draws, rng: random.Random) -> None:
        self._is_constant = wait.is_constant
        self.draw: Callable[[], int] = partial(wait.draw_ns, rng)
        if self._is_constant:
            self.draw = repeat(self.draw()).__next__
        """Returns the distance to the next pace"""
        self.due = 0
        """of the next pace; 0 before the first one is known"""

    def drop(self, until: int) -> int:
        """Advance to the first pace due after `until`; return the number of paces passed over."""
        dropped = 0
        while 0 < self.due <= until:
            step = self.draw()
            if step <= 0:  # paces without a distance: none is ever late
                break
            number = (until - self.due) // step + 1 if self._is_constant else 1
            self.due += number * step
            dropped += number
        return dropped


class UserLife:
    """One user of a Generator, from its first setup to its end. It may be set up several times.

    `setup_backoff_ns` has the wait before each retry of a failed setup; without any the first failure ends the life, and
    whoever started it retries.
    """

    def __init__(
        self, gen: int, local_user: int, *, think: Draws | None = None, pacing: Draws | None = None,
        drops_late: bool = False, setup_backoff_ns: Sequence[int] = (),
    ) -> None:  # fmt: skip
        self._run_word, self._keep_word = Control.at(gen, Word.RUN_LIMIT), Control.at(gen, Word.KEEP_LIMIT)
        self._local = local_user
        self._think, self._pacing, self._drops_late = think, pacing, drops_late
        self._setup_backoff_ns = setup_backoff_ns
        self.is_steady: Final = think is None and pacing is None
        """Whether each call may follow the one before as long as the run limit allows it, without asking `next`."""
        self.is_settled = False
        """Whether it has been set up once, or never will be"""
        self.is_abandoned = False
        """Set by the performer: its process or thread has to end"""
        self.held_ns = self.released_ns = 0
        """Set by the performer of a paced user: when the run limit last closed and last opened for it"""
        self.dropped_busy = self.dropped_late = 0
        """Paces that fell due and were not started since `take_dropped`, while the user was busy or although it was free"""
        self.setups = 0
        """Setups begun so far"""
        self._state = _AWAY
        self.left_as: int = State.DONE
        """The State of its last step, as far as it is known"""
        self._comes_back = False
        self._not_before = 0
        self._failed_setups = self._restarts = 0
        self._rng = _NO_DRAWS
        self._paces: Paces | None = None
        self._free_at = self._think_until = 0  # of the present actor: when its last call ended, with and for think time
        self._held_seen_ns = 0

    @property
    def has_failed(self) -> bool:
        """Whether its setup failed for good."""
        return self.left_as == State.SETUP_FAILED

    # -- the next step

    def next(self, now: int, words: Sequence[int]) -> Step:
        """Return the step to perform at `now`."""
        if self._state != _READY:
            return self._next_other(now, words)
        runs, paces = words[self._run_word] > self._local, self._paces
        if paces is not None and self.held_ns > self._held_seen_ns and not self.is_abandoned:
            has_begun = paces.due > 0
            self._hold(self.held_ns)
            if has_begun and runs and self.released_ns > self.held_ns:  # closed and opened again during a call
                paces.due = self.released_ns
        if self.is_abandoned or words[self._keep_word] <= self._local:
            self._leave(now)
            return _TEARDOWN
        if not runs:
            self._think_until = 0
            return _IDLE
        if now < (start := words[START]):
            return _IDLE if start == NEVER else Wait(start)
        if now < self._think_until:
            return Wait(self._think_until)
        if paces is None:
            return _UNPACED
        if not paces.due:
            paces.due = now
        if self._drops_late:
            self._drop(now - LATE_NS - 1)
        if now < (due := paces.due):
            return Wait(due)
        paces.due += paces.draw()
        return Call(due)

    def _next_other(self, now: int, words: Sequence[int]) -> Step:
        if self._state == _LEAVING:
            return _TEARDOWN
        if self._state == _OVER or self.is_abandoned or words[self._keep_word] <= self._local:
            self._state, self.is_settled = _OVER, True
            return Leave(self.left_as)
        if now < self._not_before:
            return Wait(self._not_before)
        self.setups += 1
        return _SETUP

    # -- reports

    def set_up(self, rng: random.Random) -> None:
        """The setup succeeded; think time and paces are drawn from `rng`."""
        self._state, self.is_settled, self._failed_setups = _READY, True, 0
        self._rng = rng
        self._paces = None if self._pacing is None else Paces(self._pacing, rng)
        self._free_at = self._think_until = 0
        self._held_seen_ns = self.held_ns

    def setup_failed(self, now: int) -> None:
        """The setup raised."""
        self._failed_setups += 1
        if self._failed_setups > len(self._setup_backoff_ns):
            self._end(State.SETUP_FAILED)
        else:
            self._not_before = now + self._setup_backoff_ns[self._failed_setups - 1]

    def setup_stopped(self) -> None:
        """The setup raised StopUser."""
        self._end(State.STOPPED_ITSELF)

    def called(self, end: int) -> None:
        """A call ended at `end`, and the user continues."""
        self._free_at = end
        if self._think is not None:
            self._free_at = self._think_until = end + self._think.draw_ns(self._rng)

    def stops(self, end: int) -> None:
        """A call raised StopUser."""
        self._free_at = end
        self.left_as = State.STOPPED_ITSELF
        self._leave(end)

    def restarts(self, end: int) -> None:
        """A call raised RestartUser."""
        self._free_at = end
        self._comes_back = True
        self._leave(end)

    def exhausted(self) -> None:
        """The call was not begun: max_calls has been reached, so paces that fell due do not count as calls."""
        self.left_as = State.STOPPED_ITSELF
        self._state = _LEAVING

    def torn_down(self, now: int) -> None:
        """The teardown ended, whatever it raised."""
        if not self._comes_back:
            self._state = _OVER
            return
        self._state, self._comes_back = _AWAY, False
        self._not_before = now + min(RESTART_MAX_NS, RESTART_MIN_NS << min(self._restarts, 10))
        self._restarts += 1

    def take_dropped(self) -> tuple[int, int]:
        """Return (busy, late): the paces dropped since the last time."""
        dropped = self.dropped_busy, self.dropped_late
        self.dropped_busy = self.dropped_late = 0
        return dropped

    # -- ends

    def _end(self, state: int) -> None:
        self._state, self.left_as, self.is_settled = _OVER, state, True

    def _leave(self, now: int) -> None:
        self._state = _LEAVING
        if self._paces is not None and not self.is_abandoned:
            self._hold(min(now, self.held_ns) if self.held_ns > self._held_seen_ns else now)

    def _hold(self, at: int) -> None:
        """No call begins from `at` on: paces that fell due are dropped, and the next one starts anew."""
        assert self._paces is not None
        self._drop(at)
        self._paces.due = 0
        self._held_seen_ns = self.held_ns

    def _drop(self, until: int) -> None:
        """Drop the paces due by `until`; those due before the user was free are the target's."""
        assert self._paces is not None
        self.dropped_busy += self._paces.drop(min(until, self._free_at - 1))
        self.dropped_late += self._paces.drop(until)
