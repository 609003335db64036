"""A push of Loki: what is in it, and what can be made of it. It must not do I/O."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

Labels = tuple[tuple[str, str], ...]
Streams = Mapping[Labels, list[tuple[int, str]]]
REPLAYED = ("replayed", "1")
"""A label of what is pushed after its run: Loki takes old lines in a stream of their own only."""


class Part(NamedTuple):
    """The lines `first` to `last` of a batch of a run. Parts of one batch have its number."""

    number: int
    first: int
    last: int

    @property
    def lines(self) -> int:
        """How many."""
        return self.last - self.first + 1


def pack(streams: Streams) -> bytes:
    """The body of a push, compressed; oldest first in each stream."""
    told = [
        {"stream": dict(labels), "values": [(str(at_ns), text) for at_ns, text in sorted(lines)]}
        for labels, lines in streams.items()
    ]
    return _compressed(told)


def _compressed(streams: list[dict[str, Any]]) -> bytes:
    return gzip.compress(msgspec.json.encode({"streams": streams}), 1)


def _streams(body: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = msgspec.json.decode(gzip.decompress(body))["streams"]
    return found


def replayed(body: bytes) -> bytes:
    """The same for streams of its own."""
    streams = _streams(body)
    for stream in streams:
        stream["stream"].update([REPLAYED])
    return _compressed(streams)


def span_ns(body: bytes) -> tuple[int, int]:
    """The instants of its first and last line."""
    instants = [int(at_ns) for stream in _streams(body) for at_ns, *_ in stream["values"]]
    return min(instants), max(instants)


def halves(part: Part, body: bytes) -> list[tuple[Part, bytes]]:
    """One that is too large, as two; one line stays as it is."""
    if part.lines < 2:
        return [(part, body)]
    middle = part.first + part.lines // 2
    return [
        (Part(part.number, part.first, middle - 1), _picked(body, lambda n: n < middle)),
        (Part(part.number, middle, part.last), _picked(body, lambda n: n >= middle)),
    ]


def _picked(body: bytes, wanted: Callable[[int], bool]) -> bytes:
    out = []
    for stream in _streams(body):
        values = [value for value in stream["values"] if wanted(msgspec.json.decode(value[1])["n"])]
        if values:
            out.append({"stream": stream["stream"], "values": values})
    return _compressed(out)
