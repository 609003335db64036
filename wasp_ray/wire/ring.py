"""The worker's end of its ring: single producer, records written in place and published at once. It must not log or
raise.

Layout and word numbers: arena.py; record: record.py. A full ring makes the worker wait up to `ring_wait_ns`; what finds
no room after that is counted in the header.
"""

from __future__ import annotations

from collections.abc import Callable

from wasp_ray.clock import now_ns, sleep_s
from wasp_ray.wire.arena import Arena, Header
from wasp_ray.wire.record import (
    BODY,
    EMPTY_ID,
    MAX_DATA_BYTES,
    MAX_STRINGS,
    OTHER_ID,
    SEQ_MASK,
    SLOT_BYTES,
    SLOT_WORDS,
    TEXT_BYTES,
    Kind,
    clip_text,
    head_bits,
)

RING_WAIT_NS = 10_000_000_000
_POLL_S = 0.00005

Publish = Callable[[int, int, int, int, int, int, int, int, int, int, int, int], bool]
"""(head bits, due, start, end, group, path, status, error, bytes in, bytes out, user, call) -> whether it found room.
"""


class RingWriter:
    """Writes to ring `ring` of slab `gen`. Not for several threads at once."""

    def __init__(self, arena: Arena, gen: int, ring: int, *, ring_wait_ns: int = RING_WAIT_NS) -> None:
        slab = arena.slabs[gen]
        self._words = arena.words
        self._bytes = arena.bytes
        self._slots = slab.slots
        self._header = slab.header_word(ring)
        self._first_byte = slab.slot_byte(ring)
        self._ring_wait_ns = ring_wait_ns
        self._ids: dict[str, int] = {"": EMPTY_ID}
        self.known = self._ids.get  # the id of a string that was interned, else None
        self.head = arena.words[self._header + Header.HEAD]
        self.publish = self._make_publish()

    def _make_publish(self) -> Publish:
        """The hot path as a closure: cells are twice as fast as attributes."""
        words, pack_into, memory = self._words, BODY.pack_into, self._bytes
        mask, limit = self._slots - 1, self._slots
        head_word, tail_word = self._header + Header.HEAD, self._header + Header.TAIL
        first_byte, first_word = self._first_byte + 8, self._first_byte // 8
        room_until = words[tail_word] + limit  # the head may reach this without looking at the tail again

        def publish(
            bits: int, due: int, start: int, end: int, group: int, path: int, status: int, error: int,
            bytes_in: int, bytes_out: int, user: int, call: int,
        ) -> bool:  # fmt: skip
            nonlocal room_until
            head = self.head
            if head >= room_until:
                room_until = words[tail_word] + limit
                if head >= room_until:
                    if not self._wait_for_room(1):
                        return False
                    room_until = words[tail_word] + limit
            at = head & mask
            pack_into(
                memory, first_byte + at * SLOT_BYTES, due, start, end, group, path, status, error,
                bytes_in, bytes_out, user, call,
            )  # fmt: skip
            words[first_word + at * SLOT_WORDS] = bits | head & SEQ_MASK
            self.head = head = head + 1
            words[head_word] = head
            return True

        return publish

    def _wait_for_room(self, slots: int) -> bool:
        """Waits until `slots` are free, for ring_wait in all; adds the time waited to the header."""
        words, tail = self._words, self._header + Header.TAIL
        began = now = now_ns()
        while self._slots - (self.head - words[tail]) < slots:
            if now - began >= self._ring_wait_ns:
                break
            sleep_s(_POLL_S)
            now = now_ns()
        words[self._header + Header.RING_WAIT_NS] += now - began
        return self._slots - (self.head - words[tail]) >= slots

    def intern(self, text: str, limit: int) -> int:
        """The id of a string in this ring, defined on first use; OTHER_ID beyond 4,096 strings or without room."""
        known = self._ids.get(text)
        if known is not None:
            return known
        raw = clip_text(text, limit)
        short = raw.decode("utf-8", "ignore")
        known = self._ids.get(short)
        if known is not None:
            return known
        number = len(self._ids)
        if number >= OTHER_ID:
            self._words[self._header + Header.OVERFLOWED_STRINGS] += 1
            return OTHER_ID
        if not self._publish_text(Kind.DEFINE, raw, number):
            return OTHER_ID
        self._ids[short] = number
        return number

    def publish_data(self, raw: bytes) -> None:
        """JSON that belongs to the next record; dropped without room or beyond 4 KiB."""
        if len(raw) <= MAX_DATA_BYTES:
            self._publish_text(Kind.DATA, raw, 0)

    def _publish_text(self, kind: int, raw: bytes, number: int) -> bool:
        """A slot and the text behind it, published together."""
        following = -(-len(raw) // TEXT_BYTES)
        needed = 1 + following
        if needed > self._slots:
            return False
        if self._slots - (self.head - self._words[self._header + Header.TAIL]) < needed and not self._wait_for_room(
            needed
        ):
            return False
        head, mask = self.head, self._slots - 1
        self._put(head, kind)
        BODY.pack_into(
            self._bytes, self._first_byte + (head & mask) * SLOT_BYTES + 8, len(raw), 0, 0, number, 0, 0, 0, 0, 0, 0, 0
        )
        for piece in range(following):
            text = raw[piece * TEXT_BYTES : (piece + 1) * TEXT_BYTES]
            self._put(head + 1 + piece, Kind.TEXT)
            at = self._first_byte + ((head + 1 + piece) & mask) * SLOT_BYTES + 8
            self._bytes[at : at + len(text)] = text
        self.head = head + needed
        self._words[self._header + Header.HEAD] = self.head
        return True

    def _put(self, number: int, kind: int) -> None:
        at = self._first_byte // 8 + (number & (self._slots - 1)) * SLOT_WORDS
        self._words[at] = head_bits(kind) | number & SEQ_MASK


__all__ = ["MAX_STRINGS", "RING_WAIT_NS", "Publish", "RingWriter"]
