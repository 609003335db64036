"""series.jsonl: a line for each second and Generator, as it closes."""

from __future__ import annotations

import json
import os
from pathlib import Path

from wasp_ray.stats.seconds import Second

FILE = "series.jsonl"
KEPT_S = 60
"""So long a line can be written anew."""


class SeriesFile:
    """Appends lines. Where a part of a second comes late, its line and those behind it are written anew; later than KEPT_S, the
    part has a line of its own. Raises OSError when the disk refuses something.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._end = 0
        # By Generator and second, in order of the file: where its line begins, and of what it is.
        self._recent: dict[tuple[str, int], tuple[int, Second]] = {}

    def add(self, name: str, second: Second) -> None:
        """Take a second of a Generator, or a part of one."""
        key = name, second.at_s
        if key in self._recent:
            at, before = self._recent[key]
            self._recent[key] = at, before + second
            self._rewrite(at)
            return
        self._append(key, second)
        while (oldest := next(iter(self._recent)))[1] < second.at_s - KEPT_S:
            del self._recent[oldest]

    def _rewrite(self, from_: int) -> None:
        os.ftruncate(self._fd, from_)
        os.lseek(self._fd, from_, os.SEEK_SET)
        self._end = from_
        for key, (at, second) in list(self._recent.items()):
            if at >= from_:
                self._append(key, second)

    def _append(self, key: tuple[str, int], second: Second) -> None:
        """A line that does not fit on the disk is left out whole."""
        name = key[0]
        line = json.dumps({"generator": name, **second.line()}).encode() + b"\n"
        at = self._end
        try:
            while self._end < at + len(line):
                self._end += os.write(self._fd, line[self._end - at :])
        except OSError:
            os.ftruncate(self._fd, at)
            os.lseek(self._fd, at, os.SEEK_SET)
            self._end = at
            raise
        self._recent[key] = at, second

    def close(self) -> None:
        """Close the file; may be called again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
