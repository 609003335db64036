"""Counts the ticks that a rate worker drops. It must not decide which."""

from __future__ import annotations

from wasp_ray.wire.arena import Header
from wasp_ray.wire.record import Flag, Kind, head_bits
from wasp_ray.wire.ring import RingWriter
from wasp_ray.worker.spec import WorkerSpec

_DROPPED = head_bits(Kind.RECORD, 0, Flag.DROPPED)


class Drops:
    """The header's counters, and for ticks that had a free slot a record of when they were due."""

    def __init__(self, spec: WorkerSpec, writer: RingWriter) -> None:
        self._spec, self._words, self._publish = spec, spec.arena.words, writer.publish
        self._has_room = True

    def count(self, cause: int, due: int, now: int) -> None:
        """Counts a tick as dropped now; `cause` is the Header word of its column."""
        self._words[self._spec.header(cause)] += 1
        if (
            cause == Header.DROPPED_GENERATOR and self._has_room
        ):  # a ring that stays full is waited for once, not per tick
            self._has_room = self._publish(_DROPPED, due, now, now, 0, 0, 0, 0, 0, 0, 0, 0)
