"""Writes windows.bin while a run lasts, from a thread of its own: packing a minute takes longer than the run's loop may wait."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from wasp_ray.report.window_file import HOUR_S, MINUTE_S, Entry, pack_index
from wasp_ray.stats.seconds import Origin, Second, SecondsByOrigin, folded
from wasp_ray.stats.windows.member import HEAD, Head, Member, pack_member

MAX_BYTES = 256 * 1024 * 1024
"""Above it the oldest hours are merged to windows of 10 s, then of a minute."""
COARSE_STEP_S = 10


class WindowWriter:
    """Takes seconds of all nodes together and of single ones. `on_problem` is called from its thread, once, when the disk refuses
    something: the file ends at its last whole member then.
    """

    def __init__(self, path: Path, on_problem: Callable[[OSError], None], max_bytes: int = MAX_BYTES) -> None:
        self._on_problem, self._max_bytes = on_problem, max_bytes
        self._orders: queue.SimpleQueue[SecondsByOrigin | None] = queue.SimpleQueue()
        self._file = _Members(path)
        self._minutes: dict[int, dict[Origin, list[Second]]] = {}  # seconds by minute
        self._hours: dict[int, dict[Origin, list[Second]]] = {}  # sums of minutes by hour
        self._newest_s = 0
        self._thread = threading.Thread(target=self._work, name="windows.bin", daemon=True)
        self._thread.start()

    def add(self, rows: SecondsByOrigin) -> None:
        """Take seconds, which must not change any more. What comes for a minute that is written already is added to it."""
        self._orders.put(rows)

    def close(self) -> None:
        """Write what is left and the index; return when that is done."""
        if self._thread.is_alive():
            self._orders.put(None)
            self._thread.join()

    def _work(self) -> None:
        rows: SecondsByOrigin | None = {}
        try:
            while rows is not None:
                self._take(rows)
                rows = self._orders.get()
            self._end(self._newest_s + HOUR_S + MINUTE_S)
            self._file.close()
        except OSError as exc:
            self._file.abandon()
            self._on_problem(exc)
            while rows is not None:
                rows = self._orders.get()

    def _take(self, rows: SecondsByOrigin) -> None:
        for origin, seconds in rows.items():
            for second in seconds:
                minute = second.at_s - second.at_s % MINUTE_S
                self._minutes.setdefault(minute, {}).setdefault(origin, []).append(second)
                self._newest_s = max(self._newest_s, second.at_s)
        self._end(self._newest_s)

    def _end(self, now_s: int) -> None:
        """Write the minutes and hours that are over."""
        for minute in sorted(minute for minute in self._minutes if minute + MINUTE_S <= now_s):
            rows = self._minutes.pop(minute)
            self._file.append(pack_member(1, rows))
            of_hour = self._hours.setdefault(minute - minute % HOUR_S, {})
            for origin, seconds in rows.items():
                of_hour.setdefault(origin, []).extend(folded(seconds, MINUTE_S))
        for hour in sorted(hour for hour in self._hours if hour + HOUR_S <= now_s):
            rows = self._hours.pop(hour)
            self._file.append(pack_member(MINUTE_S, rows))
            self._file.append(pack_member(HOUR_S, {origin: folded(some, HOUR_S) for origin, some in rows.items()}))
            self._file.shrink(self._max_bytes)


class _Members:
    """The file that grows. What was written of a member that is not whole is cut off again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._entries: list[Entry] = []
        self._end = 0

    def append(self, member: bytes) -> None:
        """Write a member at the end. Raises OSError."""
        head = Head.read(member[: HEAD.size])
        self._write(member)
        self._entries.append(Entry(head.step_s, head.from_s, head.to_s, self._end, len(member)))
        self._end += len(member)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def close(self) -> None:
        """Write the index."""
        self._write(pack_index(self._entries, self._end))
        os.close(self._fd)

    def abandon(self) -> None:
        """Cut off what is not whole, and write no more."""
        with suppress(OSError):  # a reader leaves out what is not whole
            os.ftruncate(self._fd, self._end)
        os.close(self._fd)

    def shrink(self, max_bytes: int) -> None:
        """Merge windows of the oldest hours, but for the last one, until the file is small enough or nothing is left to merge. If
        the disk has no space for the smaller file beside this one, it stays as it is until the next hour.
        """
        while self._end > max_bytes:
            hours = sorted({entry.hour for entry in self._entries})[:-1]
            finest = {hour: min(entry.step_s for entry in self._entries if entry.hour == hour) for hour in hours}
            step_s = min(finest.values(), default=MINUTE_S)
            if step_s >= MINUTE_S:
                return
            try:
                self._merge(min(hour for hour in hours if finest[hour] == step_s), step_s)
            except OSError:
                return

    def _merge(self, hour: int, step_s: int) -> None:
        """Seconds become windows of COARSE_STEP_S; those are left out, since windows of a minute are there."""
        old = [entry for entry in self._entries if entry.hour == hour and entry.step_s == step_s]
        rows: dict[Origin, list[Second]] = {}
        for entry in old if step_s < COARSE_STEP_S else ():
            raw = os.pread(self._fd, entry.size, entry.offset)
            for origin, seconds in Member(Head.read(raw[: HEAD.size]), raw[HEAD.size :]).seconds().items():
                rows.setdefault(origin, []).extend(seconds)
        smaller = _Members(self._path.with_name(f"{self._path.name}.new"))
        try:
            if rows:
                smaller.append(
                    pack_member(COARSE_STEP_S, {at: folded(some, COARSE_STEP_S) for at, some in rows.items()})
                )
            for entry in self._entries:
                if entry not in old:
                    smaller.append(os.pread(self._fd, entry.size, entry.offset))
            os.replace(smaller._path, self._path)
        except OSError:
            os.close(smaller._fd)
            smaller._path.unlink(missing_ok=True)
            raise
        os.close(self._fd)
        self._fd, self._entries, self._end = smaller._fd, smaller._entries, smaller._end
