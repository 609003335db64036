"""A sync worker without a process, and what the aggregator would read of it: one ring, one call."""

from __future__ import annotations

import os
from types import SimpleNamespace, TracebackType
from typing import Any, NamedTuple, Self

from wasp_ray.aggregator.drain import SlabReader, Strings
from wasp_ray.clock import now_ns
from wasp_ray.stats.outcomes import OUTCOMES
from wasp_ray.wire.arena import Arena, InFlight, Open, lay_out
from wasp_ray.wire.record import Flag
from wasp_ray.wire.ring import RingWriter
from wasp_ray.worker.booking import Booker
from wasp_ray.worker.call_state import CallState


class Record(NamedTuple):
    """A record as the aggregator reads it."""

    group: str
    outcome: str
    ends_call: bool
    in_group: bool
    is_sampled: bool
    due: int
    start: int
    end: int
    status: str
    error: str
    bytes_in: int
    bytes_out: int
    data: bytes | None
    user: int
    call: int


class Worker:
    """A context. `told`: the groups of the exceptions that it would have printed; `asked`: why it asked for the end; `counters`:
    what `read` found of them.
    """

    def __init__(
        self, *, slots: int = 256, entries: int = 1, sample: float = 1.0, wants_raw: bool = False, is_async: bool = False,
        fail_on_error: bool = False, verbose: bool = False,
    ) -> None:  # fmt: skip
        self.arena = Arena.create(lay_out([(1, slots, entries)]), shared=True)
        self.asked: list[int] = []
        slab = self.arena.slabs[0]
        part = SimpleNamespace(index=0, name="u", is_async=is_async, sample=sample, fail_on_error=fail_on_error)
        spec: Any = SimpleNamespace(
            arena=self.arena, part=part, ring=0, pid=os.getpid(), verbose=verbose, wants_raw=wants_raw, first_user=0, user_dir="",
            header=lambda word: slab.header_word(0) + word, stream_seed=lambda *more: "seed", ask_stop=self.asked.append,
        )  # fmt: skip
        self.spec = spec
        self.told: list[str] = []
        self.counters: list[tuple[str, int]] = []
        notes: Any = SimpleNamespace(
            first_of=lambda error: True, send=lambda kind, **fields: self.told.append(fields["group"])
        )
        self.writer = RingWriter(self.arena, 0, 0, ring_wait_ns=1000)
        self.booker = Booker(spec, self.writer, notes)
        self.strings = Strings()
        self.reader = SlabReader(self.arena, 0, self.strings)
        self.call = CallState(7)
        self.call.entry = slab.entry_word(0, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.reader.__dict__.clear()  # its views, without which the memory can be unmapped
        self.arena.close()

    def begin(self, due: int = 10) -> None:
        """The call begins; it was due long before."""
        self.booker.begin(self.call, due, now_ns())
        self.booker.sync_call = self.call

    def read(self) -> list[Record]:
        """The records that are new, in order."""
        batch = self.reader.drain()
        if batch is None:
            return []
        self.counters += batch.counters
        texts = self.strings.texts
        return [
            Record(
                texts[batch.group[at]], OUTCOMES[row["outcome"]], bool(row["flags"] & Flag.ENDS_CALL),
                bool(row["flags"] & Flag.IN_GROUP), bool(row["flags"] & Flag.SAMPLED),
                int(row["due"]), int(row["start"]), int(row["end"]), texts[batch.status[at]], texts[batch.error[at]],
                int(row["bytes_in"]), int(row["bytes_out"]), batch.data.get(at),
                int(row["user"]), int(row["call"]),
            )
            for at, row in enumerate(batch.rows)
        ]  # fmt: skip

    def header(self, word: int) -> int:
        """A word of the ring's header."""
        return self.arena.read(0, 0, word)

    def left(self) -> InFlight:
        """What the aggregator would find if the process died now."""
        (entry,) = self.arena.left(0, 0)
        return entry

    def open_group(self) -> str:
        """The group that is open in shared memory, "" for none."""
        self.reader.drain()
        bits = self.left().requests
        return self.strings.texts[self.reader.names(0)[bits & Open.ID_MASK]] if bits & Open.IS_OPEN else ""
