"""The one shared memory of a node: control block, then a slab of rings for each generator. It owns the layout and the
mapping.

Slab g holds R rings of equal size: R headers of 48 words, R in-flight tables of F entries, R times S slots, each
region page-aligned, so that a reader sees all headers (and all tables) as one array.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from wasp_ray.errors import BadInput
from wasp_ray.wire.record import MAX_STRINGS, SLOT_BYTES

PAGE = 4096
HEADER_WORDS = 48
ENTRY_WORDS = 8
STOPPED_USER = 2**64 - 1
"""Instead of the user, in a free entry of a pack: the user of this number has stopped itself and does not come back."""
CONTROL_BYTES = 64 * 1024
_MAP_FIXED, _MAP_NORESERVE = 0x10, 0x4000
"""Of Linux, on x86 and ARM alike; Python's mmap has no place for the first."""


class Header:
    """Word numbers of a ring's header. The worker writes those before TAIL and from BLOCKS on, the others have a cache line to
    themselves.
    """

    HEAD = 0  # slots published
    BEGUN = 1  # calls begun
    LOST = 2  # calls whose end found no room
    NEXT_TICK = 3  # rate: the next tick of this worker's own numbering
    LOST_REQUESTS = 4  # requests that found no room
    RING_WAIT_NS = 5  # time waited for room
    STATE = 6
    STATE_SINCE = 7  # monotonic ns
    DROPPED_LIMIT = 8
    DROPPED_GENERATOR = 9
    DROPPED_STOPPED = 10
    DROPPED_BUSY = 11  # paces that fell due while their user was in a call
    HEARTBEAT = 12  # monotonic ns, event loops only
    ACTIVE_USERS = 13
    OVERFLOWED_STRINGS = 14
    FORKS = 15  # processes that user code forked from the worker
    SETUP_SINCE = 16  # monotonic ns at which the oldest setup in progress began, 0 = none
    SETUPS_FAILED = 17  # failed setups of packed users, which the worker itself retries
    SETUP_GAVE_UP = 18  # not 0: one of them failed for good
    PACE_NS = 19  # mean distance of a user's paces, 0 = no pacing
    PID = 20  # of the process that the worker runs in, 0 = it has not started yet
    CPU_BEFORE_NS = 21  # CPU time that its process (inline: its thread) had taken before t = 0
    CALL_WAIT_NS = 22  # time that its thread waited for a core while a call was in flight
    CALL_WAIT_FROM = 23  # 1 + the time it had waited when the calls that are being measured began, 0 = none are
    TAIL = 24  # slots taken by the aggregator
    HELD_NS = 25  # monotonic ns at which the run limit last closed for all users of the worker; written by the node
    RELEASED_NS = 26  # at which it last opened for one of them; written by the node
    BLOCKS = 32  # steps of tasks that blocked its event loop
    BLOCKED_NS = 33  # time of calls in flight that they cover
    LONGEST_BLOCK = 34  # ns of the longest one << HOOK_BITS | the Hook that it was in
    NOWHERE = 40  # as many words as an entry has, which nobody reads: see Booker.take_entry


class Entry:
    """Word numbers of an entry of the in-flight table, which is a call in flight, or a setup or teardown (without a number)."""

    NUMBER = 0  # of the call, 0 = none
    DUE = 1  # ns, as all times here
    START = 2
    USER = 3
    OPEN = 4  # Open bits
    OPEN_START = 5  # of the request that is open, or was the last one: before START, it was that of an earlier call
    SETUP = 6  # since when a setup runs, 0 = none does


class Open:
    """Bits of Entry.OPEN: ids of the most recently opened request's group and route, and flags. 28 bits in all: Python's integers
    are slower from 30 bits on.

    0: no request has begun. A request that is open when its process dies is known from here alone.
    """

    ROUTE_SHIFT = 12
    ID_MASK = MAX_STRINGS - 1
    HAS_BEGUN = 1 << 24  # a request of the call has begun
    IS_OPEN = 1 << 25  # the ids are those of an open one
    DUE_WITH_CALL = 1 << 26  # it is the call's first one: due when the call is
    IS_BOOKED = 1 << 27  # the call is recorded already; its entry waits for its task to end


class InFlight(NamedTuple):
    """The words of an entry that is in use."""

    number: int
    due: int
    start: int
    user: int
    open: int
    open_start: int
    setup: int

    @property
    def requests(self) -> int:
        """Open bits of the call; those that an earlier one left in the entry began before it."""
        return self.open if not self.number or self.open_start >= self.start else 0


class State:
    """Values of Header.STATE."""

    EMPTY = 0
    SETUP = 1
    READY = 2
    RUNNING = 3
    TEARDOWN = 4
    DONE = 5  # left as the schedule wanted it
    STOPPED_ITSELF = 6  # StopUser, or the feeder is used up: not replaced
    SETUP_FAILED = 7
    BROKEN = 8  # the engine's part of the worker failed


@dataclass(frozen=True, slots=True)
class SlabLayout:
    """Where a slab lies: `rings` rings of `slots` slots (a power of two) and `entries` in-flight entries."""

    rings: int
    slots: int
    entries: int
    offset: int = 0

    @property
    def entries_offset(self) -> int:
        """Byte offset of the in-flight tables."""
        return self.offset + _pages(self.rings * HEADER_WORDS * 8)

    @property
    def slots_offset(self) -> int:
        """Byte offset of the slots."""
        return self.entries_offset + _pages(self.rings * self.entries * ENTRY_WORDS * 8)

    @property
    def end(self) -> int:
        """Byte offset behind the slab."""
        return self.slots_offset + _pages(self.rings * self.slots * SLOT_BYTES)

    def header_word(self, ring: int) -> int:
        """Index of the first header word of a ring in the arena seen as u64."""
        return self.offset // 8 + ring * HEADER_WORDS

    def entry_word(self, ring: int, entry: int) -> int:
        """Index of the first word of an in-flight entry in the arena seen as u64; see Entry."""
        return self.entries_offset // 8 + (ring * self.entries + entry) * ENTRY_WORDS

    def slot_byte(self, ring: int) -> int:
        """Byte offset of a ring's first slot."""
        return self.slots_offset + ring * self.slots * SLOT_BYTES

    def to_data(self) -> dict[str, int]:
        """The layout as JSON-able data."""
        return asdict(self)


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


def lay_out(shapes: Sequence[tuple[int, int, int]]) -> list[SlabLayout]:
    """Slabs of (rings, slots, entries), one behind the other, after the control block."""
    at = CONTROL_BYTES
    slabs = []
    for rings, slots, entries in shapes:
        slab = SlabLayout(rings, slots, entries, at)
        slabs.append(slab)
        at = slab.end
    return slabs


class Arena:
    """A mapped arena: `bytes` and `words` are views of the same memory, little-endian u64 for the words."""

    def __init__(self, slabs: Sequence[SlabLayout], memory: mmap.mmap, fd: int | None) -> None:
        self.slabs = list(slabs)
        self.memory = memory
        self.fd = fd
        self.bytes = memoryview(memory)
        self.words = self.bytes.cast("Q")

    @classmethod
    def create(cls, slabs: Sequence[SlabLayout], *, shared: bool) -> Arena:
        """A new arena: a memfd with all its pages allocated (no late SIGBUS), or anonymous memory for one process.

        Raises BadInput when the machine has no room for it.
        """
        size = slabs[-1].end if slabs else CONTROL_BYTES
        if not shared:  # by no fork either
            return cls(slabs, mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), None)
        fd = os.memfd_create("wasp_ray", os.MFD_CLOEXEC)
        try:
            os.posix_fallocate(fd, 0, size)
            return cls(slabs, mmap.mmap(fd, size), fd)
        except OSError as exc:
            os.close(fd)
            raise BadInput(
                f"the rings of this load need {size / 2**20:,.0f} MiB of shared memory, the machine refused it"
                f" ({exc.strerror}): use fewer users, users_per_process=, or a machine with more memory"
            ) from exc

    @classmethod
    def attach(cls, slabs: Sequence[SlabLayout], fd: int) -> Arena:
        """Maps an arena another process made; keeps the descriptor."""
        return cls(slabs, mmap.mmap(fd, slabs[-1].end if slabs else CONTROL_BYTES), fd)

    def read(self, gen: int, ring: int, word: int) -> int:
        """One header word of a ring."""
        return self.words[self.slabs[gen].header_word(ring) + word]

    def write(self, gen: int, ring: int, word: int, value: int) -> None:
        """Stores one header word of a ring."""
        self.words[self.slabs[gen].header_word(ring) + word] = value

    def reset(self, gen: int, ring: int) -> None:
        """Zeroes a ring's header and frees its in-flight table; only when its worker has exited and its last record was taken."""
        slab = self.slabs[gen]
        first = slab.header_word(ring)
        for word in range(first, first + HEADER_WORDS):
            self.words[word] = 0
        first = slab.entry_word(ring, 0)
        for word in range(first, first + slab.entries * ENTRY_WORDS, ENTRY_WORDS):
            self.words[word + Entry.NUMBER] = self.words[word + Entry.OPEN] = self.words[word + Entry.SETUP] = 0
            self.words[word + Entry.USER] = 0

    def entries(self, gen: int, ring: int) -> list[InFlight]:
        """The calls in flight of a ring."""
        words = self.words
        return [self._entry(at) for at in self._entry_words(gen, ring) if words[at]]

    def left(self, gen: int, ring: int) -> list[InFlight]:
        """The calls in flight of a ring, and the setups and teardowns that are under way."""
        words = self.words
        return [
            self._entry(at)
            for at in self._entry_words(gen, ring)
            if words[at] or words[at + Entry.OPEN] or words[at + Entry.SETUP]
        ]

    def _entry_words(self, gen: int, ring: int) -> range:
        slab = self.slabs[gen]
        first = slab.entry_word(ring, 0)
        return range(first, first + slab.entries * ENTRY_WORDS, ENTRY_WORDS)

    def _entry(self, at: int) -> InFlight:
        return InFlight(*self.words[at : at + len(InFlight._fields)])

    def make_private(self) -> None:
        """In a fork: what is written from here on stays in this process. Only the control block keeps its contents.

        Raises OSError.
        """
        if self.fd is None:
            return
        control = bytes(self.bytes[:CONTROL_BYTES])
        size = len(self.memory)
        at = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [
            ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_ssize_t
        ]  # fmt: skip
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED | _MAP_NORESERVE
        if libc.mmap(at, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0) != at:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self.bytes[:CONTROL_BYTES] = control

    def close(self) -> None:
        """Unmaps and closes. Memory of one process is left to its last user: a thread that was given up may hold its
        ring.
        """
        if self.fd is None:
            return
        self.words.release()
        self.bytes.release()
        self.memory.close()
        os.close(self.fd)
        self.fd = None


def has_memfd() -> bool:
    """Whether this system can share memory between processes without a name."""
    return sys.platform == "linux" and hasattr(os, "memfd_create")
