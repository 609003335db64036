"""What workers send as text: notes (tracebacks, reasons) and the output of user code.

Read without blocking, bounded a turn.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from wasp_ray.node.exports import Exports
from wasp_ray.node.findings import Findings
from wasp_ray.node.generator import GeneratorRun
from wasp_ray.report.listener import Listener

MAX_READ = 1 << 20
"""Bytes a turn: what users print beyond that waits in the pipe, and so do they."""
MAX_TOLD = 20
"""First exceptions of a Generator that are reported."""


class Intake:
    """The read ends of the notes pipe and the output pipe. What it reads goes to the findings, the listener and the sinks."""

    def __init__(
        self, generators: Sequence[GeneratorRun], findings: Findings, listener: Listener, exports: Exports
    ) -> None:
        self._generators, self._findings, self._listener, self._exports = generators, findings, listener, exports
        self._notes_read, self.notes_write = os.pipe()
        self._output_read, self.output_write = os.pipe()
        for fd in (self._notes_read, self.notes_write, self._output_read):
            os.set_blocking(fd, False)
        self.fds = [self._notes_read, self._output_read]
        self._rest = {self._notes_read: b"", self._output_read: b""}
        self._told: dict[tuple[int, str, str], None] = {}
        self._open_writes = [self.notes_write, self.output_write]

    def close_write_ends(self, *, keep: bool) -> None:
        """The workers have their own by now; threads of the inline runtime go on using these."""
        if not keep:
            for fd in self._open_writes:
                os.close(fd)
            self._open_writes = []

    def read(self) -> None:
        """Handles every whole line that is there."""
        for line in self._lines(self._notes_read):
            with suppress(ValueError):
                self._note(json.loads(line))
        for line in self._lines(self._output_read):
            self._listener.output(line.decode("utf-8", "replace"))

    def _lines(self, fd: int) -> list[bytes]:
        if fd not in self.fds:
            return []
        data = self._rest[fd]
        total = 0
        while total < MAX_READ:
            try:
                chunk = os.read(fd, 1 << 16)
            except BlockingIOError:
                break
            if not chunk:  # the zygote and all workers have exited
                self.fds.remove(fd)
                data += b"\n" if data else b""
                break
            data += chunk
            total += len(chunk)
        *lines, rest = data.split(b"\n")
        if len(rest) > MAX_READ:  # a line that never ends
            lines.append(rest)
            rest = b""
        self._rest[fd] = rest
        return lines

    def _note(self, note: dict[str, Any]) -> None:
        generator = self._generators[note["gen"]]
        kind, error = note["note"], note.get("error", "")
        if kind == "stop":
            if note["why"]:
                self._findings.warnings.append(f"Generator {generator.name!r} was ended by its own code: {note['why']}")
            return
        is_setup = kind == "setup_failed"  # the reason of a run has its message, which may have several lines
        generator.fleet.last_error = error if is_setup else f"{error}\n{note['text']}"
        where = note.get("group") or kind.replace("_", " ")
        key = (note["gen"], where, error.split(":")[0])
        if kind == "trace":
            self._findings.traces.setdefault((note["gen"], error), note["text"])
        if key in self._told or sum(k[0] == note["gen"] for k in self._told) >= MAX_TOLD:
            return
        self._told[key] = None
        self._exports.event("error", f"{where}: {error}", generator.name)
        self._listener.note(f"{generator.name}/{note['user']} {where}: {error}\n{note['text']}")

    def close(self) -> None:
        """Closes what is still open."""
        for fd in (*self._open_writes, self._notes_read, self._output_read):
            with suppress(OSError):
                os.close(fd)
