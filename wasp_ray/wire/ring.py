"""The worker's end of its ring: records written in place and published at once. It must not log or raise.

Layout and word numbers: arena.py; record: record.py. A full ring makes the worker wait up to `ring_wait_ns`; what finds
no room after that is counted in the header.

The thread that makes a writer owns it and publishes without a lock, as long as no other thread writes: a lock for each
record is 5 % of an empty call and more. Other threads, which are user code's, call `share` first, each time; from then on
all take the lock. The change is Dekker's algorithm: the owner raises `is_writing` before it looks at `room_until`, the other
thread sets that to 0 before it looks at `is_writing`, so that one of them sees the other. The GIL keeps their order.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock, get_ident

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
    """Writes to ring `ring` of slab `gen`, for the thread that makes it and for those that call `share`.

    `lock` is held over slots that must stay side by side; its holder may publish.
    """

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
        self.lock = RLock()
        self.owner = get_ident()
        self.publish, self.share, self._reset = self._make_publish()

    def _make_publish(self) -> tuple[Publish, Callable[[], None], Callable[[], None]]:
        """Return the hot path as a closure, since cells are twice as fast as attributes, what opens it to other threads, and what
        forgets those that have exited.
        """
        words, pack_into, memory = self._words, BODY.pack_into, self._bytes
        mask, limit = self._slots - 1, self._slots
        head_word, tail_word = self._header + Header.HEAD, self._header + Header.TAIL
        first_byte, first_word = self._first_byte + 8, self._first_byte // 8
        room_until = words[tail_word] + limit  # the head may reach this without looking at the tail again
        is_writing = is_shared = False

        def publish(
            bits: int, due: int, start: int, end: int, group: int, path: int, status: int, error: int,
            bytes_in: int, bytes_out: int, user: int, call: int,
        ) -> bool:  # fmt: skip
            nonlocal room_until, is_writing
            is_writing = True
            try:
                head = self.head
                if head >= room_until:
                    if is_shared:
                        is_writing = False  # publishers that share it hold the lock until then
                        return self._publish_locked(
                            bits, due, start, end, group, path, status, error, bytes_in, bytes_out, user, call
                        )
                    if head >= words[tail_word] + limit and not self._wait_for_room(1):
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
            finally:
                is_writing = False

        def share() -> None:
            """From now on other threads than the owner may write as well."""
            nonlocal room_until, is_shared
            with self.lock:
                if not is_shared:
                    is_shared = True
                    while is_writing or room_until:  # 0 leads every publish to the lock
                        room_until = 0
                        sleep_s(_POLL_S)

        def reset() -> None:
            nonlocal is_writing
            is_writing = False

        return publish, share, reset

    def repair_after_fork(self) -> None:
        """In a child of the process: the threads that it lacks had the lock, or were about to write."""
        self.lock._at_fork_reinit()  # type: ignore[attr-defined]  # as the standard library does it
        self._reset()

    def _publish_locked(self, bits: int, *fields: int) -> bool:
        with self.lock:
            if not self._has_room(1):
                return False
            BODY.pack_into(self._bytes, self._body_byte(self.head), *fields)
            self._put(self.head, bits)
            self._advance(1)
            return True

    def _has_room(self, slots: int) -> bool:
        """Whether `slots` are free, now or within ring_wait."""
        return self._slots - (self.head - self._words[self._header + Header.TAIL]) >= slots or self._wait_for_room(
            slots
        )

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
        with self.lock:
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
        """JSON that belongs to the next record; dropped without room or beyond 4 KiB. `lock` keeps both together."""
        with self.lock:
            if len(raw) <= MAX_DATA_BYTES:
                self._publish_text(Kind.DATA, raw, 0)

    def _publish_text(self, kind: int, raw: bytes, number: int) -> bool:
        """A slot and the text behind it, published together."""
        following = -(-len(raw) // TEXT_BYTES)
        needed = 1 + following
        if needed > self._slots or not self._has_room(needed):
            return False
        head = self.head
        self._put(head, head_bits(kind))
        BODY.pack_into(self._bytes, self._body_byte(head), len(raw), 0, 0, number, 0, 0, 0, 0, 0, 0, 0)
        for piece in range(following):
            text = raw[piece * TEXT_BYTES : (piece + 1) * TEXT_BYTES]
            self._put(head + 1 + piece, head_bits(Kind.TEXT))
            at = self._body_byte(head + 1 + piece)
            self._bytes[at : at + len(text)] = text
        self._advance(needed)
        return True

    def _put(self, number: int, bits: int) -> None:
        at = self._first_byte // 8 + (number & (self._slots - 1)) * SLOT_WORDS
        self._words[at] = bits | number & SEQ_MASK

    def _body_byte(self, number: int) -> int:
        return self._first_byte + (number & (self._slots - 1)) * SLOT_BYTES + 8

    def _advance(self, slots: int) -> None:
        self.head += slots
        self._words[self._header + Header.HEAD] = self.head


__all__ = ["MAX_STRINGS", "RING_WAIT_NS", "Publish", "RingWriter"]
