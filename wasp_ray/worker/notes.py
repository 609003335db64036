"""Short texts from workers to the generator process: tracebacks, reasons. Best effort, never blocking: truth is in
shared memory.
"""

from __future__ import annotations

import json
import os
from typing import Any

PIPE_BUF = 4096
"""Writes up to this size to a pipe are atomic."""
MAX_TEXT = 2600
MAX_KINDS = 50


class Notes:
    """Writes JSON lines of at most PIPE_BUF bytes to a non-blocking pipe shared by all workers of a node."""

    def __init__(self, fd: int, gen: int, user: int) -> None:
        self._fd = fd
        self._gen = gen
        self._user = user
        self._seen: set[str] = set()

    def send(self, kind: str, **fields: Any) -> None:
        """One note; lost when the pipe is full or closed."""
        fields = {k: _cut(v) if isinstance(v, str) else v for k, v in fields.items()}
        raw = json.dumps({"note": kind, "gen": self._gen, "user": self._user, **fields}).encode() + b"\n"
        if len(raw) > PIPE_BUF:  # escapes blew it up
            fields = {k: _cut(v, 300) if isinstance(v, str) else v for k, v in fields.items()}
            raw = json.dumps({"note": kind, "gen": self._gen, "user": self._user, **fields}).encode() + b"\n"
        try:
            os.write(self._fd, raw[:PIPE_BUF])
        except OSError:
            pass

    def first_of(self, error: str) -> bool:
        """Whether this is the first error of its kind in this worker; at most MAX_KINDS are reported."""
        if error in self._seen or len(self._seen) >= MAX_KINDS:
            return False
        self._seen.add(error)
        return True


def _cut(text: str, limit: int = MAX_TEXT) -> str:
    """The end of a text says most (a traceback's last line): the middle is cut out."""
    if len(text) <= limit:
        return text
    return text[: limit // 3] + "\n  ...\n" + text[-(limit - limit // 3) :]
