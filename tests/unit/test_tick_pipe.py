"""The pipe through which a node gives ticks to the workers of a blocking gun."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from wasp_ray import plain
from wasp_ray.node.drivers.tick_pipe import PIPE_TICKS, TickPipe
from wasp_ray.schedule import RateCurve
from wasp_ray.wire.arena import Arena, lay_out
from wasp_ray.wire.control import NEVER, Control
from wasp_ray.worker.sync_gun import TICK

MS, SECOND = 10**6, 10**9
START = 100 * SECOND


class Piped:
    """A pipe for a share of 10 calls a second for 3 s, and its clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rate: int = 10) -> None:
        arena = Arena.create(lay_out([(1, 64, 1)]), shared=False)
        self.control = Control(arena)
        self.control.initialise(1)
        self.control.start(START)
        self.curve, self.now = RateCurve(plain(rate, "3s"), SECOND), START
        self.pipes: list[TickPipe] = []
        monkeypatch.setattr("wasp_ray.node.drivers.tick_pipe.now_ns", lambda: self.now)

    def make(self, share: int = 0, shares: int = 1) -> TickPipe:
        """The pipe of a node that does share `share` of `shares`."""
        self.pipes.append(TickPipe(self.curve, self.curve.count, share, shares))
        return self.pipes[-1]

    def feed(self, pipe: TickPipe, ms: int, cut: int = NEVER) -> int:
        """The loop's turn so many ms after t = 0; returns when the next one matters, in ms likewise."""
        self.now = START + ms * MS
        at = pipe.feed(self.control, self.now, cut)
        return at if at == NEVER else (at - START) // MS


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Iterator[Piped]:
    """One, closed in the end."""
    made = Piped(monkeypatch)
    yield made
    for pipe in made.pipes:
        pipe.dispose()


def read(pipe: TickPipe, number: int) -> list[tuple[int, int]]:
    """So many ticks, as workers take them: number and ms at which it was due."""
    raw = os.read(pipe.read_fd, number * TICK.size)
    return [(tick, (due - START) // MS) for tick, due in TICK.iter_unpack(raw)]


def test_ticks_are_written_when_they_are_due(piped: Piped) -> None:
    """Each once, in order; the loop is told when the next one is."""
    pipe = piped.make()
    assert piped.feed(pipe, -1) == 0 and pipe.unread() == 0
    assert piped.feed(pipe, 0) == 100 and read(pipe, 9) == [(0, 0)]
    assert piped.feed(pipe, 99) == 100 and pipe.unread() == 0
    assert piped.feed(pipe, 250) == 300 and pipe.unread() == 2 and read(pipe, 9) == [(1, 100), (2, 200)]
    assert not pipe.exhausted and not pipe.all_written(NEVER)
    assert piped.feed(pipe, 5000) == NEVER and pipe.exhausted and pipe.all_written(NEVER)
    assert (pipe.written, pipe.unread(), pipe.dropped) == (30, 27, 0)


def test_no_tick_is_written_before_it_is_due_for_an_instant_that_lies_ahead(piped: Piped) -> None:
    """A pause is published before its instant, and the driver follows the schedule until then."""
    pipe = piped.make()
    piped.now = START + 98 * MS
    assert pipe.feed(piped.control, START + 102 * MS, NEVER) == START + 100 * MS
    assert read(pipe, 9) == [(0, 0)]
    assert piped.feed(pipe, 100) == 200 and read(pipe, 9) == [(1, 100)]


def test_a_share_of_the_ticks_is_every_so_many_of_them(piped: Piped) -> None:
    """All shares together are the whole; a share beyond the last tick is empty."""
    taken: list[tuple[int, int]] = []
    for share in range(4):
        pipe = piped.make(share, 4)
        piped.feed(pipe, 5000)
        assert pipe.written == (8 if share < 2 else 7)
        taken += read(pipe, 99)
    assert sorted(taken) == [(tick, 100 * tick) for tick in range(30)]
    assert piped.make(30, 31).exhausted and not piped.make(29, 31).exhausted


def test_a_cut_ends_it_before_the_first_tick_that_is_due_then(piped: Piped) -> None:
    """In ns of the schedule."""
    pipe = piped.make()
    assert piped.feed(pipe, 5000, cut=200 * MS) == NEVER and pipe.written == 2
    assert pipe.all_written(200 * MS) and not pipe.all_written(200 * MS + 1)
    assert piped.feed(pipe, 5000, cut=200 * MS + 1) == NEVER and pipe.written == 3


def test_a_full_pipe_is_tried_again_a_millisecond_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost meanwhile."""
    piped = Piped(monkeypatch, rate=10_000)
    pipe = piped.make()
    try:
        assert piped.feed(pipe, 3000) == 3001 and pipe.unread() == pipe.written == PIPE_TICKS
        taken = read(pipe, 1000)
        assert piped.feed(pipe, 3001) == 3002 and PIPE_TICKS < pipe.written <= PIPE_TICKS + 1000
        while pipe.unread():
            taken += read(pipe, 1000)
        assert [tick for tick, _ in taken] == list(range(pipe.written))
    finally:
        pipe.dispose()


def test_ticks_wait_each_for_itself(piped: Piped) -> None:
    """Those that were taken do not count, however long they waited."""
    pipe = piped.make()
    piped.feed(pipe, 0)
    piped.feed(pipe, 100)
    piped.feed(pipe, 200)
    assert [pipe.waiting(ms * MS) for ms in (0, 99, 100, 101, 200, 201)] == [3, 2, 2, 1, 1, 0]
    read(pipe, 1)
    assert [pipe.waiting(ms * MS) for ms in (0, 100, 101)] == [2, 1, 0]
    read(pipe, 2)
    assert pipe.waiting(0) == 0


def test_ticks_that_nobody_took_are_dropped_by_the_second_in_which_they_were_due(piped: Piped) -> None:
    """Written ones are taken back, and those that were due before the cut and not written yet counted with them; once."""
    pipe = piped.make()
    piped.feed(pipe, 1250)
    read(pipe, 9)
    pipe.close(piped.control, 2050 * MS)
    assert (pipe.written, pipe.dropped) == (9, 12)
    assert pipe.dropped_in == Counter({0: 1, 1: 10, 2: 1})
    assert os.read(pipe.read_fd, 1) == b""  # the end, which workers see
    pipe.close(piped.control, NEVER)
    assert pipe.dropped == 12 and pipe.closed


def test_dispose_leaves_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a pipe that was closed, and of one that was not."""
    before = set(os.listdir("/proc/self/fd"))
    piped = Piped(monkeypatch)
    first, second = piped.make(), piped.make()
    first.close(piped.control, NEVER)
    first.dispose()
    second.dispose()
    assert second.closed and set(os.listdir("/proc/self/fd")) == before
