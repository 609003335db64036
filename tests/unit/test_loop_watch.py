"""Which steps of an event loop are blocks."""

from __future__ import annotations

from typing import Any

import pytest
from support.bookkeeping import Worker

from wasp_ray.wire.arena import Header
from wasp_ray.wire.record import Hook
from wasp_ray.worker.loop_watch import LoopWatch

MS = 1_000_000


class Waited:
    """How long the thread has waited for a core, as the test sets it."""

    def __init__(self) -> None:
        self.ns = 0

    def waited_ns(self) -> int:
        return self.ns


@pytest.mark.parametrize(
    ("core_ms", "ring_ms", "is_block"),
    [(0, 0, True), (49, 0, True), (50, 0, False), (0, 49, True), (0, 50, False), (30, 30, False)],
)
def test_time_that_is_no_fault_of_user_code_is_no_part_of_a_block(core_ms: int, ring_ms: int, is_block: bool) -> None:
    """A step of 100 ms, in which the thread waited for a core and for room in its ring."""
    worker, wait = Worker(is_async=True), Waited()
    watch = LoopWatch(worker.spec, {1: "a call"}, wait_of(wait))
    words, header = worker.arena.words, worker.spec.header(0)
    wait.ns, words[header + Header.RING_WAIT_NS] = 5 * MS, 7 * MS
    watch.ran_long(Hook.CALL, 0, 10 * MS)  # takes note of both
    wait.ns += core_ms * MS
    words[header + Header.RING_WAIT_NS] += ring_ms * MS
    watch.ran_long(Hook.CALL, 0, 100 * MS)
    assert words[header + Header.BLOCKS] == is_block


def wait_of(waited: Waited) -> Any:
    """As what the watch asks."""
    return waited
