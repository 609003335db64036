"""The 64-byte record of one request or call end: field order, kinds, flags. Pure; it must not touch memory it is
not given.

Every slot describes itself, so that a reader can sort a whole batch by kind with one mask:
8 bytes of head (sequence number, kind, outcome, flags) and 56 bytes of body. Text that belongs to a slot
(a definition, raw sample data) takes the following slots, 56 bytes each.
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag

SLOT_BYTES = 64
SLOT_WORDS = 8
TEXT_BYTES = 56
BODY = struct.Struct("<qqqHHHHQQII")
"""due, start, end (ns, monotonic); group, path, status, error (interned ids); bytes in and out; user; call number."""

SLOT_FIELDS = [
    ("seq", "<u4"),
    ("kind", "u1"),
    ("outcome", "u1"),
    ("flags", "<u2"),
    ("due", "<i8"),
    ("start", "<i8"),
    ("end", "<i8"),
    ("group", "<u2"),
    ("path", "<u2"),
    ("status", "<u2"),
    ("error", "<u2"),
    ("bytes_in", "<u8"),
    ("bytes_out", "<u8"),
    ("user", "<u4"),
    ("call", "<u4"),
]
"""The same as a numpy dtype, spelled as data so that workers need no numpy."""


class Kind(IntEnum):
    """What a slot holds. What is not in every record has a kind of its own: docs/decisions/0026-slots-of-64-bytes.md."""

    RECORD = 1  # a request, the end of a call, or both
    DEFINE = 2  # group = id, due = length of the text in the following TEXT slots
    TEXT = 3
    DATA = 4  # due = length; JSON that belongs to the ring's next record
    COUNT = 5  # group = name, due = how many


class Hook(IntEnum):
    """Methods of an actor."""

    CALL = 0
    SETUP = 1
    TEARDOWN = 2


HOOK_BITS = 2


class Flag(IntFlag):
    """What a record counts for."""

    ENDS_CALL = 1  # exactly one a call: the ledger counts it
    IN_GROUP = 2  # counts in its group's histograms
    WAITED = 4  # no slot was free when the call was due: its delay is the target's
    SAMPLED = 8  # goes to raw-sample sinks
    DROPPED = 16  # no call and no request: a tick that was dropped (at `start`) although a slot was free


LATE_NS = 10_000_000
"""A call that starts later than this after its due time is late: `on_late` may drop it, and the summary counts it."""
START_LATE_NS = 50_000_000
"""A call that starts later than this after its due time, although a slot was free, started late through our own fault."""

KIND_SHIFT = 32
OUTCOME_SHIFT = 40
FLAG_SHIFT = 48
SEQ_MASK = 0xFFFFFFFF

MAX_STRINGS = 4096
"""Distinct strings of one ring; a later one has the id OTHER_ID."""
EMPTY_ID = 0
SETUP_GROUP = "setup"
"""The group of setups, which are requests of no call."""
OTHER_ID = MAX_STRINGS - 1
MAX_ERROR_BYTES = 512
MAX_NAME_BYTES = 256
MAX_DATA_BYTES = 4096


def head_bits(kind: int, outcome: int = 0, flags: int = 0) -> int:
    """The head of a slot without its sequence number, as one u64."""
    return kind << KIND_SHIFT | outcome << OUTCOME_SHIFT | flags << FLAG_SHIFT


def clip_text(text: str, limit: int) -> bytes:
    """UTF-8 of `text` in at most `limit` bytes, cut at a character with an ellipsis; lone surrogates are escaped."""
    short = text if len(text) <= limit else text[: limit + 1]  # 10 MB of error text: never encode what is cut anyway
    raw = short.encode("utf-8", "backslashreplace")
    if len(raw) <= limit:
        return raw
    return raw[: limit - 3].decode("utf-8", "ignore").encode() + "…".encode()
