"""Batches that have not arrived yet, a file each: their state survives whatever becomes of the process.

A file is `NUMBER-FIRST-LAST.json.gz` while the server has surely nothing of it, and `....sent.json.gz` from the first push on
until it answers: then whether it arrived is not known.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from wasp_ray.sinks.loki_batch import Part

MAX_BYTES = 1 << 30
TARGET = "target.json"
"""Where the batches were to go, beside them."""
_NAME = re.compile(r"(\d+)-(\d+)-(\d+)(\.sent)?\.json\.gz\Z")


class SpoolFull(Exception):
    """There is no room for one more batch."""


class Spool:
    """`folder` is made when it is needed and removed when it is empty; None: one for the time of this run alone."""

    def __init__(self, folder: Path | None, target: str) -> None:
        self._folder, self._target = folder, target
        self._is_lasting = folder is not None
        self._sizes: dict[Part, int] = {}
        self._sent: set[Part] = set()
        self._bytes = 0
        self._lock: int | None = None

    @classmethod
    def found(cls, folder: Path) -> Spool:
        """One that a run has left. Raises BlockingIOError while somebody sends its batches, OSError."""
        spool = cls(folder, (folder / TARGET).read_text())
        spool._take(folder)
        for path in folder.iterdir():
            if named := _NAME.match(path.name):
                part = Part(int(named[1]), int(named[2]), int(named[3]))
                spool._note(part, path.stat().st_size)
                if named[4]:
                    spool._sent.add(part)
        for whole in spool:  # a split that was cut short: none of its parts has been sent
            for part in spool:
                if (
                    part != whole
                    and part.number == whole.number
                    and whole.first <= part.first <= part.last <= whole.last
                ):
                    spool.remove(part)
        return spool

    def __iter__(self) -> Iterator[Part]:
        """Oldest first."""
        return iter(sorted(self._sizes))

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def folder(self) -> Path | None:
        """Where a later replay finds the batches; None: nowhere."""
        return self._folder if self._is_lasting else None

    @property
    def lines(self) -> int:
        """Of all batches."""
        return sum(part.lines for part in self._sizes)

    def add(self, part: Part, body: bytes) -> None:
        """Raises OSError, SpoolFull."""
        if self._bytes + len(body) > MAX_BYTES:
            raise SpoolFull
        self._write(part, body)

    def split(self, part: Part, parts: Iterable[tuple[Part, bytes]]) -> None:
        """Parts of a batch in its stead. Raises OSError; the batch is as it was then."""
        written: list[Part] = []
        try:
            for smaller, body in parts:
                self._write(smaller, body)
                written.append(smaller)
            self.remove(part)
        except OSError:
            for smaller in written:
                self.remove(smaller)
            raise

    def _write(self, part: Part, body: bytes) -> None:
        path = self._path(part)
        unfinished = path.with_suffix(".new")
        try:
            unfinished.write_bytes(body)
            unfinished.rename(path)
        except OSError:
            with suppress(OSError):
                unfinished.unlink()
            raise
        self._note(part, len(body))

    def read(self, part: Part) -> bytes:
        """Its body."""
        return self._path(part).read_bytes()

    def is_sent(self, part: Part) -> bool:
        """Whether the server may have it."""
        return part in self._sent

    def mark(self, part: Part, *, sent: bool) -> None:
        """Before a push, and after an answer that says that nothing of it was stored."""
        if sent == (part in self._sent):
            return
        self._path(part).rename(self._path(part, sent=sent))
        (self._sent.add if sent else self._sent.discard)(part)

    def remove(self, part: Part) -> None:
        """It has come to its end. Raises OSError; then it is still there."""
        self._path(part).unlink()
        self._bytes -= self._sizes.pop(part)
        self._sent.discard(part)

    def close(self) -> None:
        """Lets go of it, and removes what nobody needs any more."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if self._folder is None or (self._sizes and self._is_lasting):
            return
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._is_lasting:
            with suppress(OSError):
                self._folder.parent.rmdir()

    def _note(self, part: Part, size: int) -> None:
        self._sizes[part] = size
        self._bytes += size

    def _path(self, part: Part, *, sent: bool | None = None) -> Path:
        is_sent = part in self._sent if sent is None else sent
        return self._made() / f"{part.number:06d}-{part.first}-{part.last}{'.sent' if is_sent else ''}.json.gz"

    def _made(self) -> Path:
        """The folder; it is there then."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="wasp-loki-"))
        elif self._is_lasting and self._lock is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._take(self._folder)
            (self._folder / TARGET).write_text(self._target)
        return self._folder

    def _take(self, folder: Path) -> None:
        """Whoever has the lock of the target's file sends the batches; it ends with its process at the latest."""
        lock = os.open(folder / TARGET, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise
        self._lock = lock
