"""The aggregator's end of the way to the exporter: never waits, bounded, counts what finds no room."""

from __future__ import annotations

import socket
from collections import deque

from wasp_ray.sinks.rows import record_frame, text_frame
from wasp_ray.stats.batch import Batch

MAX_BACKLOG_BYTES = 32 * 2**20


class SampleFeed:
    """Writes frames to a stream socket. `sent` and `dropped` count samples; the exporter was too slow for the latter."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock: socket.socket | None = sock
        self._backlog: deque[memoryview] = deque()
        self._waiting = 0
        self._told = 0
        self.sent = self.dropped = 0

    def add(self, gen: int, batch: Batch, texts: list[str]) -> None:
        """Sends the sampled records of a batch, or counts them as dropped."""
        frame, number = record_frame(gen, batch)
        if not number:
            return
        if self._sock is None or self._waiting > MAX_BACKLOG_BYTES:
            self.dropped += number
            return
        if len(texts) > self._told:
            self._push(text_frame(self._told, texts[self._told :]))
            self._told = len(texts)
        self._push(frame)
        self.sent += number
        self.flush()

    def _push(self, frame: bytes) -> None:
        self._backlog.append(memoryview(frame))
        self._waiting += len(frame)

    def flush(self) -> None:
        """Writes what the socket takes now."""
        while self._backlog and self._sock is not None:
            try:
                sent = self._sock.send(self._backlog[0])
            except BlockingIOError:
                return
            except OSError:  # the exporter is gone: whoever watches it says so
                self.close()
                return
            self._waiting -= sent
            if sent == len(self._backlog[0]):
                self._backlog.popleft()
            else:
                self._backlog[0] = self._backlog[0][sent:]

    @property
    def is_empty(self) -> bool:
        """Whether all is written."""
        return not self._backlog

    def close(self) -> None:
        """Ends the stream; what was not written is lost with it."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        self._backlog.clear()
        self._waiting = 0
