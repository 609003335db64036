"""What a worker writes into its ring is what the aggregator reads, whatever the order, size and fill."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wasp_ray.aggregator.drain import SlabReader, Strings
from wasp_ray.wire.arena import Arena, Header, lay_out
from wasp_ray.wire.record import MAX_ERROR_BYTES, OTHER, Flag, Kind, clip_text, head_bits
from wasp_ray.wire.ring import RingWriter

RECORD = head_bits(Kind.RECORD, 0, Flag.ENDS_CALL)
texts = st.text(max_size=400)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("call"), texts), st.tuples(st.just("data"), st.binary(max_size=300)), st.just(("drain", ""))
    ),
    max_size=60,
)


def make(rings: int = 2, slots: int = 64, wait_ns: int = 1000) -> tuple[RingWriter, SlabReader, Strings, Arena]:
    """A writer of ring 1 and the reader of its slab."""
    arena = Arena.create(lay_out([(rings, slots, 1)]), shared=False)
    strings = Strings()
    return RingWriter(arena, 0, rings - 1, ring_wait_ns=wait_ns), SlabReader(arena, 0, strings), strings, arena


@settings(max_examples=200, deadline=None)
@given(steps)
def test_records_strings_and_data_come_out_as_they_went_in(moves: list[Any]) -> None:
    """In order, each with its own text and data; what finds no room is refused, not torn."""
    writer, reader, strings, _ = make()
    sent: list[tuple[int, str]] = []
    got: list[tuple[int, str]] = []
    number = 0

    def drain() -> None:
        batch = reader.drain()
        if batch is not None:
            got.extend(
                (int(start), strings.texts[path]) for start, path in zip(batch.rows["start"], batch.path, strict=True)
            )

    for what, value in moves:
        if what == "drain":
            drain()
        elif what == "data":
            writer.publish_data(value)
        else:
            number += 1
            path = writer.intern(value, 256)
            if writer.publish(RECORD, number, number, number + 5, 0, path, 0, 0, 1, 2, 3, number):
                shown = clip_text(value, 256).decode("utf-8", "ignore")
                sent.append((number, shown if path != 4095 else OTHER))
    drain()
    assert got == sent
    assert reader.torn == 0


def test_a_full_ring_refuses_after_its_wait_and_the_time_is_counted() -> None:
    """Nothing that was published is lost."""
    writer, reader, _, arena = make(slots=64)
    taken = [writer.publish(RECORD, 0, i, i, 0, 0, 0, 0, 0, 0, 0, i) for i in range(70)]
    assert taken == [True] * 64 + [False] * 6
    assert arena.read(0, 1, Header.RING_WAIT_NS) > 0
    batch = reader.drain()
    assert batch is not None and batch.rows["start"].tolist() == list(range(64))
    assert writer.publish(RECORD, 0, 99, 99, 0, 0, 0, 0, 0, 0, 0, 99)


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
