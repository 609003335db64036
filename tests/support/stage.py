"""Threads that run one access to shared memory (or look at the clock) at a time, in an order that a script gives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

STEP_NS = 100_000
"""What passes with each step when the script is over."""
MAX_STEPS = 20_000


class Stage:
    """`script`: for each step the number of the party whose turn it is, and how much time passes before it, in ns."""

    def __init__(self, script: Iterable[tuple[int, int]]) -> None:
        self.clock_ns = 0
        self._script = list(script)
        self._parties: list[_Party] = []
        self._mine = threading.local()

    def now_ns(self) -> int:
        """The clock of the stage."""
        self.pause()
        return self.clock_ns

    def pause(self) -> None:
        """Waits for the next turn of the calling party; no wait in other threads."""
        party: _Party | None = getattr(self._mine, "party", None)
        if party is not None:
            party.rest()

    def words(self, words: Any) -> Any:
        """The words, of which each access takes a turn."""
        return _Words(self, words)

    def play(self, *acts: Callable[[], None]) -> None:
        """Runs the parties to their ends. Raises what one of them raised."""
        self._parties = [_Party(act, self._mine) for act in acts]
        for step in range(MAX_STEPS):
            left = [party for party in self._parties if not party.is_over]
            if not left:
                break
            number, delay_ns = self._script[step] if step < len(self._script) else (step, STEP_NS)
            self.clock_ns += delay_ns
            left[number % len(left)].go()
        for party in self._parties:
            assert party.is_over, "a party came to no end"
            if party.error is not None:
                raise party.error


class _Party:
    def __init__(self, act: Callable[[], None], mine: Any) -> None:
        self._act, self._mine = act, mine
        self._turn, self._rests = threading.Semaphore(0), threading.Semaphore(0)
        self.error: BaseException | None = None
        self.is_over = False
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()
        self._rests.acquire()

    def _live(self) -> None:
        self._mine.party = self
        try:
            self.rest()
            self._act()
        except BaseException as exc:
            self.error = exc
        finally:
            self._mine.party = None
            self.is_over = True
            self._rests.release()

    def rest(self) -> None:
        self._rests.release()
        self._turn.acquire()

    def go(self) -> None:
        self._turn.release()
        self._rests.acquire()


class _Words:
    def __init__(self, stage: Stage, words: Any) -> None:
        self._stage, self._words = stage, words

    def __getitem__(self, at: int) -> int:
        self._stage.pause()
        return int(self._words[at])

    def __setitem__(self, at: int, value: int) -> None:
        self._stage.pause()
        self._words[at] = value
