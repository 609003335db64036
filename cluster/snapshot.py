"""The lines by which a node tells its story: what a controller reads from a pipe or from a pod's log. Pure.

A line is `@wasp CRC JSON`: CRC is crc32 of the JSON text in 8 hex digits, so a line that was cut or mixed is seen; JSON
holds run, node, uid (of this node's process or pod), seq (1, 2, ... of this uid), kind and data. What does not fit into a
line goes gzipped in numbered parts. All other lines are somebody's output. Logs may repeat lines or start in the middle.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MARK = "@wasp "
MAX_LINE_BYTES = 8192
PART_CHARS = 7000
MAX_PARTS = 20_000
"""140 MB of text: a result that is larger is no result of ours."""
MAX_EXPANDED_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Told:
    """One message of a node."""

    run: str
    node: int
    uid: str
    seq: int
    kind: str
    data: dict[str, Any]


class Encoder:
    """Numbers and writes the messages of one node."""

    def __init__(self, run: str, node: int, uid: str) -> None:
        self._head = {"run": run, "node": node, "uid": uid}
        self._seq = 0

    def lines(self, kind: str, data: Mapping[str, Any]) -> list[str]:
        """The lines of a message, without line ends, each at most 8 KiB."""
        self._seq += 1
        head = {**self._head, "seq": self._seq, "kind": kind}
        text = json.dumps({**head, "data": data}, separators=(",", ":"))
        if len(text) + len(MARK) + 10 <= MAX_LINE_BYTES:
            return [_line(text)]
        raw = _packed(data)
        pieces = [raw[at : at + PART_CHARS] for at in range(0, len(raw), PART_CHARS)]
        return [
            _line(json.dumps({**head, "part": number, "parts": len(pieces), "piece": piece}, separators=(",", ":")))
            for number, piece in enumerate(pieces)
        ]


def _packed(data: Mapping[str, Any]) -> str:
    return base64.b64encode(gzip.compress(json.dumps(data, separators=(",", ":")).encode(), 6, mtime=0)).decode()


def packed_size(data: Mapping[str, Any]) -> int:
    """Return about how many bytes the lines of a message take."""
    return len(_packed(data))


def _line(text: str) -> str:
    return f"{MARK}{zlib.crc32(text.encode()):08x} {text}"


@dataclass(slots=True)
class _Voice:
    """What was heard of one uid."""

    last_seq: int = 0
    gaps: int = 0
    pieces: dict[int, dict[int, str]] = field(default_factory=dict)  # seq -> part -> text


class Decoder:
    """Reads the lines of one run's nodes, in any mixture, and says each message once."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._voices: dict[str, _Voice] = {}
        self.torn = 0
        """Lines that were cut or mixed with others."""

    def read(self, line: str) -> Told | str | None:
        """A message; the line itself when it is no protocol line; None for parts, repeats and torn lines."""
        if not line.startswith(MARK):
            return line
        found = _parse(line)
        if found is None:
            self.torn += 1
            return None
        if found["run"] != self._run:
            return None
        voice = self._voices.setdefault(found["uid"], _Voice())
        seq = found["seq"]
        if seq <= voice.last_seq:
            return None
        data = found["data"] if "piece" not in found else self._joined(voice, found)
        if data is None:
            return None
        voice.gaps += seq - voice.last_seq - 1
        voice.last_seq = seq
        for old in [s for s in voice.pieces if s <= seq]:
            del voice.pieces[old]
        return Told(found["run"], found["node"], found["uid"], seq, found["kind"], data)

    def gaps(self, uid: str) -> int:
        """Messages of a node that never came."""
        voice = self._voices.get(uid)
        return 0 if voice is None else voice.gaps

    @property
    def has_gaps(self) -> bool:
        """Whether messages of any node never came."""
        return any(voice.gaps for voice in self._voices.values())

    def _joined(self, voice: _Voice, found: dict[str, Any]) -> dict[str, Any] | None:
        if found["parts"] > MAX_PARTS:
            self.torn += 1
            return None
        pieces = voice.pieces.setdefault(found["seq"], {})
        pieces[found["part"]] = found["piece"]
        if len(pieces) < found["parts"]:
            return None
        try:
            return expanded("".join(pieces[number] for number in range(found["parts"])))
        except (KeyError, ValueError):
            self.torn += 1
            return None


def expanded(text: str) -> dict[str, Any]:
    """The object in base64 of gzip. Raises ValueError for any other text, and for one that would fill the memory."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        raw = unpacker.decompress(base64.b64decode(text, validate=True), MAX_EXPANDED_BYTES)
    except zlib.error as exc:
        raise ValueError(str(exc)) from exc
    if unpacker.unconsumed_tail:
        raise ValueError(f"more than {MAX_EXPANDED_BYTES:,} bytes")
    data = json.loads(raw)
    if not isinstance(data, dict):
        raise ValueError("no object")
    return data


_HEAD = {"run": str, "node": int, "uid": str, "seq": int, "kind": str}
_PART = {"part": int, "parts": int, "piece": str}


def _parse(line: str) -> dict[str, Any] | None:
    """The object of a whole line with all its fields; None for any other."""
    text = line[len(MARK) + 9 :]
    try:
        if int(line[len(MARK) : len(MARK) + 8], 16) != zlib.crc32(text.encode()):
            return None
        found = json.loads(text)
    except (ValueError, UnicodeEncodeError):
        return None
    if not isinstance(found, dict):
        return None
    wanted = {**_HEAD, **_PART} if "piece" in found else {**_HEAD, "data": dict}
    return found if all(isinstance(found.get(name), kind) for name, kind in wanted.items()) else None
