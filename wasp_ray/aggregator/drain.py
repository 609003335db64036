"""Takes what is new from all rings of one slab as one numpy array. Owns tails and string tables; it must not interpret
records.
"""

from __future__ import annotations

import platform

import numpy as np
from numpy.typing import NDArray

from wasp_ray.clock import now_ns
from wasp_ray.stats.batch import Batch
from wasp_ray.stats.limits import OTHER
from wasp_ray.wire.arena import HEADER_WORDS, Arena, Header
from wasp_ray.wire.record import OTHER_ID, SEQ_MASK, SLOT_BYTES, SLOT_FIELDS, TEXT_BYTES, Kind

SLOT = np.dtype(SLOT_FIELDS)
TOTAL_ORDER = platform.machine().lower() in ("x86_64", "amd64", "i686")
"""Stores become visible in order; elsewhere a record is taken one poll (and 100 us) after it was seen."""
SETTLE_NS = 100_000
ENDLESS = 1 << 62
"""A tail that no head ever reaches."""
MAX_STRINGS = 65_536
"""Distinct strings of a node; what comes later is `__other__`."""
OTHER_NUMBER = 1


class Strings:
    """All strings of a node: number <-> text, bounded."""

    def __init__(self) -> None:
        self.texts: list[str] = ["", OTHER]
        self._numbers = {"": 0, OTHER: OTHER_NUMBER}
        self.overflowed = False

    def number(self, text: str) -> int:
        """The number of a text; that of `__other__` when there are too many."""
        known = self._numbers.get(text)
        if known is not None:
            return known
        if len(self.texts) >= MAX_STRINGS:
            self.overflowed = True
            return OTHER_NUMBER
        self._numbers[text] = len(self.texts)
        self.texts.append(text)
        return len(self.texts) - 1


class SlabReader:
    """The consumer of a slab's rings."""

    def __init__(self, arena: Arena, gen: int, strings: Strings) -> None:
        slab = arena.slabs[gen]
        self._rings, self._slots = slab.rings, slab.slots
        memory = np.frombuffer(arena.memory, np.uint8)
        headers = memory[slab.offset : slab.offset + slab.rings * HEADER_WORDS * 8].view(np.uint64)
        self.headers = headers.reshape(slab.rings, HEADER_WORDS)
        size = slab.rings * slab.slots * SLOT_BYTES
        self._memory = memory[slab.slots_offset : slab.slots_offset + size].reshape(-1, SLOT_BYTES)
        self.tails = np.zeros(slab.rings, np.int64)
        self._seen = np.zeros(slab.rings, np.int64)  # weakly ordered CPUs: heads at the previous poll
        self._seen_at = 0
        self._strings = strings
        self._ids = np.ones((slab.rings, 64), np.int32)  # what is not defined is `__other__`
        self._ids[:, 0] = 0
        self._pending_data: dict[int, bytes] = {}
        self._retired: list[int] = []
        self.fullest = 0.0  # share of the slots in use in the fullest ring, at the last drain
        self.torn = 0  # slots whose sequence number did not match

    def drain(self, *, final: int | None = None) -> Batch | None:
        """All that is new; `final`: of this ring only, its worker has exited and its memory settled."""
        heads = self.headers[:, Header.HEAD].astype(np.int64)
        if final is not None:
            only = np.zeros(self._rings, bool)
            only[final] = True
            heads = np.where(only, heads, self.tails)
        elif not TOTAL_ORDER:
            heads = self._settled(heads)
        if self._retired:
            heads[self._retired] = self.tails[self._retired]
        counts = heads - self.tails
        self.fullest = float(counts.max(initial=0)) / self._slots
        busy = np.flatnonzero(counts > 0)
        if not len(busy):
            return None
        rows, rings = self._copy(busy, counts[busy])
        self.tails[busy] = heads[busy]
        self.headers[busy, Header.TAIL] = heads[busy].astype(np.uint64)
        return self._sort(rows, rings)

    def _settled(self, heads: NDArray[np.int64]) -> NDArray[np.int64]:
        now = now_ns()
        if now - self._seen_at < SETTLE_NS:
            return self.tails
        ready, self._seen, self._seen_at = np.maximum(self._seen, self.tails), heads, now
        return np.minimum(ready, heads)

    def _copy(self, busy: NDArray[np.intp], counts: NDArray[np.int64]) -> tuple[NDArray[np.void], NDArray[np.intp]]:
        """One indexed copy for many rings, plain slices for one."""
        mask = self._slots - 1
        if len(busy) == 1:
            ring, count = int(busy[0]), int(counts[0])
            tail, first = int(self.tails[ring]), int(busy[0]) * self._slots
            at = tail & mask
            head = self._memory[first + at : first + min(at + count, self._slots)]
            rest = count - len(head)
            raw = np.concatenate([head, self._memory[first : first + rest]]) if rest else head.copy()
            rings = np.full(count, ring, np.intp)
            numbers = np.arange(tail, tail + count)
        else:
            rings = np.repeat(busy, counts)
            numbers = np.arange(int(counts.sum())) + np.repeat(self.tails[busy] - (np.cumsum(counts) - counts), counts)
            raw = self._memory[rings * self._slots + (numbers & mask)]
        rows = raw.reshape(-1).view(SLOT)
        wrong = rows["seq"] != (numbers & SEQ_MASK).astype(np.uint32)
        if wrong.any():
            self.torn += int(wrong.sum())
        return rows, rings

    def _sort(self, rows: NDArray[np.void], rings: NDArray[np.intp]) -> Batch:
        """Definitions first (they precede their use), then records alone."""
        kinds = rows["kind"]
        data: dict[int, bytes] = {}
        counters: list[tuple[str, int]] = []
        is_record = kinds == Kind.RECORD
        if not is_record.all() or self._pending_data:
            self._read_others(rows, rings, kinds, data, counters)
            kept = np.flatnonzero(is_record)
            if data:
                positions = {int(old): new for new, old in enumerate(kept)}
                data = {positions[old]: raw for old, raw in data.items() if old in positions}
            rows, rings = rows[kept], rings[kept]
        group, path, status, error = (self._global(rings, rows[name]) for name in ("group", "path", "status", "error"))
        return Batch(rows, rings, group, path, status, error, data, counters)

    def _global(self, rings: NDArray[np.intp], local: NDArray[np.uint16]) -> NDArray[np.int32]:
        """Ring-local string ids as node-wide numbers; ids beyond the table are `__other__`."""
        if not local.any():
            return np.zeros(len(local), np.int32)
        last = self._ids.shape[1] - 1
        found = self._ids[rings, np.minimum(local, last)]
        return found if int(local.max()) <= last else np.where(local <= last, found, np.int32(OTHER_NUMBER))

    def _read_others(
        self, rows: NDArray[np.void], rings: NDArray[np.intp], kinds: NDArray[np.uint8],
        data: dict[int, bytes], counters: list[tuple[str, int]],
    ) -> None:  # fmt: skip
        """Definitions, raw data and counters, one by one: rare beside records."""
        self._attach_pending(rings, kinds, data)
        wanted = np.flatnonzero((kinds == Kind.DEFINE) | (kinds == Kind.DATA) | (kinds == Kind.COUNT))
        for at in wanted.tolist():
            ring, length, number = int(rings[at]), int(rows["due"][at]), int(rows["group"][at])
            if kinds[at] == Kind.COUNT:
                counters.append((self._strings.texts[self._ids[ring, min(number, self._ids.shape[1] - 1)]], length))
                continue
            following = -(-length // TEXT_BYTES)
            text = rows[at + 1 : at + 1 + following].view(np.uint8).reshape(-1, SLOT_BYTES)[:, 8:].tobytes()[:length]
            if kinds[at] == Kind.DEFINE:
                self._define(ring, number, text.decode("utf-8", "replace"))
            else:
                self._attach(rows, rings, at + 1 + following, ring, text, data)

    def _define(self, ring: int, number: int, text: str) -> None:
        if number >= self._ids.shape[1]:
            wider = np.full((self._rings, min(OTHER_ID + 1, max(number + 1, 2 * self._ids.shape[1]))), 1, np.int32)
            wider[:, : self._ids.shape[1]] = self._ids
            self._ids = wider
        if number < OTHER_ID:
            self._ids[ring, number] = self._strings.number(text)

    def _attach(
        self,
        rows: NDArray[np.void],
        rings: NDArray[np.intp],
        after: int,
        ring: int,
        text: bytes,
        data: dict[int, bytes],
    ) -> None:
        if after < len(rows) and rings[after] == ring and rows["kind"][after] == Kind.RECORD:
            data[after] = text
        else:
            self._pending_data[ring] = text

    def _attach_pending(self, rings: NDArray[np.intp], kinds: NDArray[np.uint8], data: dict[int, bytes]) -> None:
        """Data that came before this batch belongs to the first record of its ring."""
        for ring in list(self._pending_data):
            found = np.flatnonzero((rings == ring) & (kinds == Kind.RECORD))
            if len(found):
                data[int(found[0])] = self._pending_data.pop(ring)

    def names(self, ring: int) -> NDArray[np.int32]:
        """Node-wide numbers of a ring's strings, by id; ids beyond it are `__other__`."""
        names: NDArray[np.int32] = self._ids[ring]
        return names

    def retire(self, ring: int) -> None:
        """Take nothing of a ring any more, whose thread was given up but may still write to it: it never has to wait for room."""
        self._retired.append(ring)
        self.headers[ring, Header.TAIL] = ENDLESS

    def forget(self, ring: int) -> None:
        """The ring starts anew with its next worker."""
        self.tails[ring] = 0
        self._seen[ring] = 0
        self._ids[ring] = 1
        self._ids[ring, 0] = 0
        self._pending_data.pop(ring, None)
