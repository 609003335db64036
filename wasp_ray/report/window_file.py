"""The file windows.bin: members (stats.windows.member) one after the other, and an index behind them.

Seconds are in members of one minute. At the end of each hour, and of the run, follow a member with a row for each of its minutes
and one with the sum of the hour. Members of the same step and time add up: what came late is in members of its own. A run that was
killed leaves no index and may end within a member: the members are then found one by one, up to the last whole one.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from wasp_ray.errors import BadInput
from wasp_ray.stats.windows.member import HEAD, Head, Key, Member

FILE = "windows.bin"
INDEX = struct.Struct("<QI8s")
"""The last bytes of the file: offset of the index, its size, INDEX_MAGIC."""
INDEX_MAGIC = b"WSPWEND1"
MINUTE_S, HOUR_S = 60, 3600


class Entry(NamedTuple):
    """A member: the length of its rows, the seconds [from_s, to_s) that they cover, and where it lies."""

    step_s: int
    from_s: int
    to_s: int
    offset: int
    size: int

    @property
    def hour(self) -> int:
        """The first second of its hour."""
        return self.from_s - self.from_s % HOUR_S


class Piece(NamedTuple):
    """Rows of a member that begin in [from_s, to_s)."""

    entry: Entry
    from_s: int
    to_s: int


def pack_index(entries: Sequence[Entry], offset: int) -> bytes:
    """Return the index, to be written at `offset`, the end of the file."""
    packed = zlib.compress(json.dumps(entries, separators=(",", ":")).encode())
    return packed + INDEX.pack(offset, len(packed), INDEX_MAGIC)


class WindowFile:
    """Reads a windows.bin; the run may still be writing it. Raises BadInput when there is none, or of another version."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as exc:
            raise BadInput(f"{path}: {exc.strerror or exc}: expected the windows.bin of a run") from exc
        self.is_whole = True
        """Whether it has its index: the run that wrote it came to its end."""
        self.entries = self._read_index()
        self._by_hour: dict[int, dict[int, list[Entry]]] = {}
        for entry in self.entries:
            self._by_hour.setdefault(entry.hour, {}).setdefault(entry.step_s, []).append(entry)

    def close(self) -> None:
        """Close the file; may be called again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()

    @property
    def end_s(self) -> int:
        """The end of the last second, 0 without any."""
        return max((entry.to_s for entry in self.entries if entry.step_s < MINUTE_S), default=0)

    def steps(self) -> dict[int, int]:
        """Return the length of the finest windows that are there, in seconds, by the hour's first second."""
        return {hour: min(by_step) for hour, by_step in sorted(self._by_hour.items())}

    # -- members

    def _read_index(self) -> list[Entry]:
        size = os.fstat(self._fd).st_size
        tail = os.pread(self._fd, INDEX.size, max(0, size - INDEX.size))
        if len(tail) == INDEX.size:
            offset, length, magic = INDEX.unpack(tail)
            if magic == INDEX_MAGIC and offset + length + INDEX.size == size:
                try:
                    return [Entry(*entry) for entry in json.loads(zlib.decompress(os.pread(self._fd, length, offset)))]
                except (ValueError, TypeError, zlib.error):
                    pass  # damaged: the members are still there
        self.is_whole = False
        return [*self._scan(size)]

    def _scan(self, size: int) -> Iterator[Entry]:
        at = 0
        while at + HEAD.size <= size:
            try:
                head = Head.read(os.pread(self._fd, HEAD.size, at))
            except ValueError as exc:
                if at == 0:
                    raise BadInput(f"{self.path}: expected the windows.bin of a run: {exc}") from exc
                return
            entry = Entry(head.step_s, head.from_s, head.to_s, at, HEAD.size + head.size)
            if at + entry.size > size:
                return
            yield entry
            at += entry.size

    def member(self, entry: Entry) -> Member:
        """Read a member. Raises BadInput when it is damaged."""
        raw = os.pread(self._fd, entry.size, entry.offset)
        try:
            return Member(Head.read(raw[: HEAD.size]), raw[HEAD.size :])
        except (ValueError, zlib.error) as exc:
            raise BadInput(f"{self.path}: its windows from second {entry.from_s} on cannot be read: {exc}") from exc

    @cached_property
    def keys(self) -> list[Key]:
        """All keys of its blocks, each once, in order of their first appearance."""
        steps = {hour: HOUR_S if HOUR_S in by_step else min(by_step) for hour, by_step in self._by_hour.items()}
        found: dict[Key, None] = {}
        for hour, step in sorted(steps.items()):
            for entry in self._by_hour[hour][step]:
                found |= dict.fromkeys(self.member(entry).blocks)
        return [*found]

    # -- rows

    def pieces(self, start_s: int, end_s: int, step_s: int = HOUR_S) -> list[Piece]:
        """Return which rows cover the seconds [start_s, end_s), none longer than `step_s`: as few as there are. Edges within a row
        are rounded outwards.
        """
        found: list[Piece] = []
        for hour, by_step in sorted(self._by_hour.items()):
            first, last = max(start_s, hour), hour + HOUR_S
            if end_s < self.end_s:  # else to the end of the hour: nothing is behind the run's last second
                last = min(end_s, last)
            if first < min(last, end_s):
                found += self._pieces_of_hour(hour, by_step, first, last, step_s)
        return found

    def _pieces_of_hour(
        self, hour: int, by_step: dict[int, list[Entry]], first: int, last: int, step_s: int
    ) -> list[Piece]:
        if (first, last) == (hour, hour + HOUR_S) and HOUR_S in by_step and step_s >= HOUR_S:
            return [Piece(entry, hour, hour + HOUR_S) for entry in by_step[HOUR_S]]
        fine = min(step for step in by_step if step < HOUR_S)
        ranges = [(fine, first - first % fine, last + -last % fine)]
        begin, end = first + -first % MINUTE_S, last - last % MINUTE_S
        if fine < MINUTE_S <= step_s and MINUTE_S in by_step and begin < end:
            ranges = [(fine, first - first % fine, begin), (MINUTE_S, begin, end), (fine, end, last + -last % fine)]
        return [
            Piece(entry, from_s, to_s)
            for step, from_s, to_s in ranges
            for entry in by_step[step]
            if max(entry.from_s, from_s) < min(entry.to_s, to_s)
        ]
