"""What a worker writes into its ring is what the aggregator reads, whatever the order, size and fill."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wasp_ray.aggregator.drain import SETTLE_NS, SlabReader, Strings
from wasp_ray.stats.limits import OTHER
from wasp_ray.wire.arena import Arena, Header, lay_out
from wasp_ray.wire.record import (
    MAX_ERROR_BYTES,
    MAX_NAME_BYTES,
    OTHER_ID,
    SLOT_BYTES,
    Flag,
    Kind,
    clip_text,
    head_bits,
)
from wasp_ray.wire.ring import RingWriter

RECORD = head_bits(Kind.RECORD, 0, Flag.ENDS_CALL)


def make(rings: int = 2, slots: int = 64, wait_ns: int = 1000) -> tuple[RingWriter, SlabReader, Strings, Arena]:
    """A writer of ring 1 and the reader of its slab."""
    arena = Arena.create(lay_out([(rings, slots, 1)]), shared=False)
    strings = Strings()
    return RingWriter(arena, 0, rings - 1, ring_wait_ns=wait_ns), SlabReader(arena, 0, strings), strings, arena


class Played:
    """Workers that write to small rings and an aggregator that drains them, played on one thread with one clock.

    A writer that waits for room passes the clock on; `waits` says at which of these turns the aggregator drains.
    """

    def __init__(self, rings: int, first: int, waits: list[bool], weak: bool) -> None:
        self.arena = Arena.create(lay_out([(rings, SLOTS, 1)]), shared=False)
        self.strings = Strings()
        self.reader = SlabReader(self.arena, 0, self.strings)
        self.reader.tails[:] = first
        for ring in range(rings):
            for word in (Header.HEAD, Header.TAIL):
                self.arena.write(0, ring, word, first)
        self.clock = 1_000_000
        self.turns, self.weak = cycle(waits), weak
        self.writers = [self.writer(ring) for ring in range(rings)]
        self.sent: list[list[Seen]] = [[] for _ in range(rings)]
        self.got: list[list[Seen]] = [[] for _ in range(rings)]
        self.counted: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self.published_at: dict[int, int] = {}
        self.number = 0

    def writer(self, ring: int) -> RingWriter:
        """A worker's end of a ring; it waits for room for four turns."""
        return RingWriter(self.arena, 0, ring, ring_wait_ns=4 * TURN_NS)

    def sleep(self, _seconds: float) -> None:
        """A turn of a writer that waits."""
        self.clock += TURN_NS
        if next(self.turns):
            self.drain()

    def drain(self, final: int | None = None) -> None:
        """Takes what is new and sorts it by ring."""
        batch = self.reader.drain(final=final)
        if batch is None:
            return
        for name, amount in batch.counters:
            self.found[name] += amount
        texts = self.strings.texts
        for at, ring in enumerate(batch.ring.tolist()):
            row = batch.rows[at]
            number = int(row["start"])
            fields = [int(row[name]) for name in ("due", "end", "bytes_in", "bytes_out", "user", "call")]
            assert fields == [number - 1, number + 1, number + 2, number + 3, number + 4, number + 5]
            self.got[ring].append((number, texts[batch.path[at]], texts[batch.error[at]], batch.data.get(at)))
            if self.weak and final is None:
                assert self.clock - self.published_at[number] >= SETTLE_NS

    def drain_all(self) -> None:
        """Until nothing is left: a weakly ordered CPU is looked at twice."""
        for _ in range(3):
            self.clock += SETTLE_NS
            self.drain()

    def record(self, ring: int, path: str, error: str, data: bytes | None, *, drains: bool) -> None:
        """A record with its texts, as a worker publishes it; `drains`: between its pieces."""
        writer = self.writers[ring]
        names = []
        for text, limit in ((path, MAX_NAME_BYTES), (error, MAX_ERROR_BYTES)):
            name = writer.intern(text, limit)
            shown = OTHER if name == OTHER_ID else clip_text(text, limit).decode("utf-8", "ignore")
            names.append((name, shown))
            if drains:
                self.drain()
        had_room, before = data is not None, writer.head
        if data is not None:
            writer.publish_data(data)
            had_room = writer.head > before
            if drains:
                self.drain()
        n = self.number = self.number + 10
        self.published_at[n] = self.clock
        args = (RECORD, n - 1, n, n + 1, 0, names[0][0], 0, names[1][0], n + 2, n + 3, n + 4, n + 5)
        if not writer.publish(*args):
            if not had_room:
                return
            self.drain_all()  # data belongs to the next record: this one
            self.published_at[n] = self.clock
            assert writer.publish(*args)
        self.sent[ring].append((n, names[0][1], names[1][1], data if had_room else None))

    def count(self, ring: int, name: str, number: int) -> None:
        """A counter."""
        writer = self.writers[ring]
        group = writer.intern(name, MAX_NAME_BYTES)
        if writer.publish(head_bits(Kind.COUNT), number, 0, 0, group, 0, 0, 0, 0, 0, 0, 0):
            self.counted[OTHER if group == OTHER_ID else name] += number

    def succeed(self, ring: int) -> None:
        """The worker has died; the next one begins anew in its ring."""
        self.drain(final=ring)
        assert self.got[ring] == self.sent[ring]
        self.arena.reset(0, ring)
        self.reader.forget(ring)
        self.writers[ring] = self.writer(ring)


SLOTS, TURN_NS = 8, 50_000
Seen = tuple[int, str, str, bytes | None]
"""Number of a record, its path, its error, its data."""
rings = st.integers(0, 4)
short = st.sampled_from(["", "a", "b", "/items"])
long = st.text(max_size=600)
moves = st.lists(
    st.one_of(
        st.tuples(st.just("record"), rings, short, st.just(""), st.none(), st.booleans()),
        st.tuples(st.just("record"), rings, long, long, st.none() | st.binary(max_size=500), st.booleans()),
        st.tuples(st.just("count"), rings, short, st.integers(1, 1000)),
        st.tuples(st.just("drain")),
        st.tuples(st.just("pass"), st.integers(0, 2 * SETTLE_NS)),
        st.tuples(st.just("succeed"), rings),
    ),
    max_size=80,
)


@settings(max_examples=250, deadline=None)
@given(
    number=st.sampled_from([1, 2, 5]),
    weak=st.booleans(),
    moves=moves,
    waits=st.lists(st.booleans(), min_size=1),
    first=st.sampled_from([0, 2**33 - 11]),
)
def test_records_strings_and_data_come_out_as_they_went_in(
    number: int, weak: bool, moves: list[Any], waits: list[bool], first: int
) -> None:
    """Rings wrap around, are full, and make writers wait: each record comes out once, in order, with its own texts and data;
    what finds no room is refused, not torn, and overwrites nothing. Sequence numbers of 32 bits begin anew, too.
    """
    played = Played(number, first, waits, weak)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wasp_ray.wire.ring.sleep_s", played.sleep)
        patch.setattr("wasp_ray.wire.ring.now_ns", lambda: played.clock)
        patch.setattr("wasp_ray.aggregator.drain.now_ns", lambda: played.clock)
        patch.setattr("wasp_ray.aggregator.drain.TOTAL_ORDER", not weak)
        for what, *given_ in moves:
            match what:
                case "record":
                    ring, path, error, data, drains = given_
                    played.record(ring % number, path, error, data, drains=drains)
                case "count":
                    ring, name, amount = given_
                    played.count(ring % number, name, amount)
                case "drain":
                    played.drain()
                case "pass":
                    played.clock += given_[0]
                case "succeed":
                    played.succeed(given_[0] % number)
        played.drain_all()
    assert played.got == played.sent
    assert played.found == played.counted
    assert played.reader.torn == 0
    heads = [played.arena.read(0, ring, Header.HEAD) for ring in range(number)]
    assert [played.arena.read(0, ring, Header.TAIL) for ring in range(number)] == heads


def test_a_record_whose_number_does_not_match_is_torn_and_counted() -> None:
    """In one busy ring, and in two of a slab: it is what remains of an earlier turn of the ring, or half a record."""
    arena = Arena.create(lay_out([(2, SLOTS, 1)]), shared=False)
    reader = SlabReader(arena, 0, Strings())
    writers = [RingWriter(arena, 0, ring) for ring in range(2)]
    for torn, busy in ((1, writers[:1]), (3, writers)):
        for writer in busy:
            for number in range(3):
                writer.publish(RECORD, 0, number, number, 0, 0, 0, 0, 0, 0, 0, number)
            at = (writer.head - 2) % SLOTS
            arena.bytes[arena.slabs[0].slot_byte(writers.index(writer)) + at * SLOT_BYTES] ^= 1
        reader.drain()
        assert reader.torn == torn


def test_a_full_ring_refuses_after_its_wait_and_the_time_is_counted() -> None:
    """Nothing that was published is lost."""
    writer, reader, _, arena = make(slots=64)
    taken = [writer.publish(RECORD, 0, i, i, 0, 0, 0, 0, 0, 0, 0, i) for i in range(70)]
    assert taken == [True] * 64 + [False] * 6
    assert arena.read(0, 1, Header.RING_WAIT_NS) > 0
    batch = reader.drain()
    assert batch is not None and batch.rows["start"].tolist() == list(range(64))
    assert writer.publish(RECORD, 0, 99, 99, 0, 0, 0, 0, 0, 0, 0, 99)


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads change places at every chance."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_threads")
def test_threads_that_share_a_writer_lose_and_overwrite_nothing() -> None:
    """From the moment at which the first of them comes, while the owner is publishing: each record once, with its own text and
    data, those of a thread in their order.
    """
    each, threads = 150, 3
    for _ in range(40):
        writer, reader, strings, _ = make(slots=8192)
        everyone_is_here = threading.Barrier(threads + 1)

        def publish(thread: int, at: int, writer: RingWriter = writer) -> None:
            path = writer.intern(f"{thread}/{at}", 256)
            with writer.lock if at % 3 == 0 else nullcontext():
                if at % 3 == 0:
                    writer.publish_data(b"%d/%d" % (thread, at))
                assert writer.publish(RECORD, thread, at, at, 0, path, 0, 0, 0, 0, 0, at)

        def work(thread: int, writer: RingWriter = writer, barrier: threading.Barrier = everyone_is_here) -> None:
            barrier.wait()
            for at in range(each):
                writer.share()
                publish(thread, at)

        others = [threading.Thread(target=work, args=(thread,)) for thread in range(1, threads + 1)]
        for other in others:
            other.start()
        everyone_is_here.wait()
        for at in range(each):
            assert writer.publish(RECORD, 0, at, at, 0, 0, 0, 0, 0, 0, 0, at)
        for other in others:
            other.join()
        batch = reader.drain()
        assert batch is not None and reader.torn == 0
        records = list(zip(batch.rows["due"].tolist(), batch.rows["start"].tolist(), strict=True))
        for thread in range(threads + 1):
            assert [at for whose, at in records if whose == thread] == list(range(each))
        texts = [strings.texts[path] for path in batch.path]
        assert texts == [f"{thread}/{at}" if thread else "" for thread, at in records]
        with_data = {
            row: b"%d/%d" % records[row] for row in range(len(records)) if records[row][0] and records[row][1] % 3 == 0
        }
        assert batch.data == with_data


def test_strings_beyond_the_limit_share_one_name() -> None:
    """4,096 a ring, the overflow is counted."""
    writer, reader, strings, arena = make(slots=65_536)
    ids = {writer.intern(f"path {i}", 256) for i in range(5000)}
    assert len(ids) <= 4096 and arena.read(0, 1, Header.OVERFLOWED_STRINGS) > 800
    writer.publish(RECORD, 0, 1, 1, 0, writer.intern("path 4999", 256), 0, 0, 0, 0, 0, 1)
    batch = reader.drain()
    assert batch is not None and strings.texts[batch.path[0]] == OTHER


def test_a_text_of_any_bytes_and_size_is_cut_at_a_character() -> None:
    """10 MB with a lone surrogate become at most 512 bytes of UTF-8."""
    raw = clip_text("\ud800é" + "é" * 10_000_000, MAX_ERROR_BYTES)
    assert len(raw) <= MAX_ERROR_BYTES and raw.decode().endswith("…")
    assert clip_text("short", 10) == b"short"


def test_counters_reach_the_reader_with_their_names() -> None:
    """A name and a number."""
    writer, reader, _, _ = make()
    name = writer.intern("things", 256)
    writer.publish(head_bits(Kind.COUNT), 5, 0, 0, name, 0, 0, 0, 0, 0, 0, 0)
    batch = reader.drain()
    assert batch is not None and batch.counters == [("things", 5)] and len(batch.rows) == 0


def test_a_ring_starts_anew_for_its_next_worker() -> None:
    """Strings of the dead worker are forgotten."""
    writer, reader, strings, arena = make()
    writer.publish(RECORD, 0, 1, 1, 0, writer.intern("old", 256), 0, 0, 0, 0, 0, 1)
    reader.drain()
    arena.reset(0, 1)
    reader.forget(1)
    again = RingWriter(arena, 0, 1)
    again.publish(RECORD, 0, 2, 2, 0, again.intern("new", 256), 0, 0, 0, 0, 0, 1)
    batch = reader.drain()
    assert batch is not None and [strings.texts[p] for p in batch.path] == ["new"]


def test_a_ring_whose_thread_was_given_up_is_not_read_any_more_and_never_full() -> None:
    """What the thread writes after its last records were taken belongs to no call that counts."""
    writer, reader, _, arena = make(slots=64)
    assert writer.publish(RECORD, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1)
    first = reader.drain(final=1)
    assert first is not None and len(first.rows) == 1
    reader.retire(1)
    assert all(writer.publish(RECORD, 0, i, i, 0, 0, 0, 0, 0, 0, 0, i) for i in range(200))
    assert reader.drain() is None and arena.read(0, 1, Header.RING_WAIT_NS) == 0
