"""Answers for property tests: valid ones with what they say, spoilt ones, and how the reader takes them in pieces."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import strategies as st

from wasp_ray.http.answer import AnswerReader, headers_of
from wasp_ray.http.failures import ALL, RequestFailed

MAX_BODY = 5000
NAMES = st.sampled_from(["X-A", "x-b", "Set-Cookie", "Content-Type", "ETag", "Server", "Vary", "X-Long"])
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40) | st.just("a b") | st.just("gr\xfcn")
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=5)
BODIES = st.binary(max_size=300) | st.binary(max_size=20).map(lambda piece: piece * 20)


@dataclass(frozen=True)
class Answer:
    """A valid one: its bytes and what they mean. `closes`: it ends with the connection."""

    data: bytes
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    closes: bool


@st.composite
def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    """A body in chunks of any size, with extensions and trailers."""
    out, at = b"", 0
    while at < len(body):
        size = draw(st.integers(1, len(body) - at))
        digits = draw(st.sampled_from([b"%x", b"%X", b"00%x"])) % size
        extension = draw(st.sampled_from([b"", b";a", b";a=b", b';a="b c"']))
        out += digits + extension + b"\r\n" + body[at : at + size] + b"\r\n"
        at += size
    trailer = draw(st.sampled_from([b"", b"X-Sum: 1\r\n", b"Set-Cookie: trailer=1\r\n"]))
    return out + b"0\r\n" + trailer + b"\r\n"


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """Any valid answer to a GET, with provisional ones before it now and then."""
    status = draw(st.sampled_from([200, 201, 204, 301, 304, 404, 500, 599, 999]))
    reason = draw(st.sampled_from(["", "OK", "Not So Good", "gr\xfcn"]))
    version = draw(st.sampled_from(["1.1", "1.1", "1.0"]))
    headers = draw(HEADERS)
    body = b"" if status in (204, 304) else draw(BODIES)
    way = "length" if status in (204, 304) else draw(st.sampled_from(["length", "chunked", "close"]))
    if way == "length" and status != 204:
        headers.insert(draw(st.integers(0, len(headers))), ("Content-Length", str(len(body))))
    elif way == "chunked":
        headers.insert(draw(st.integers(0, len(headers))), ("Transfer-Encoding", "chunked"))
    before = draw(st.lists(st.sampled_from([
        b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nSet-Cookie: early=1\r\n\r\n",
    ]), max_size=2))  # fmt: skip
    lines = [f"HTTP/{version} {status} {reason}", *(f"{name}: {value}" for name, value in headers), "", ""]
    head = b"".join(before) + "\r\n".join(lines).encode("latin-1")
    content = draw(chunked(body)) if way == "chunked" else body
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return Answer(head + content, status, raw, body, way == "close")


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A valid answer, or several, of which bytes were changed, left out, doubled or added."""
    data = bytearray(b"".join(answer.data for answer in draw(st.lists(answers(), min_size=1, max_size=2))))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        what = draw(st.sampled_from(["change", "drop", "double", "insert", "cut"]))
        if what == "change" and at < len(data):
            data[at] = draw(st.integers(0, 255))
        elif what == "drop":
            del data[at : at + draw(st.integers(1, 20))]
        elif what == "double":
            data[at:at] = data[at : at + draw(st.integers(1, 40))]
        elif what == "insert":
            data[at:at] = draw(
                st.sampled_from([b"\r", b"\n", b"\r\n", b"\0", b" ", b":", b"HTTP/1.1 ", b"0\r\n\r\n", b"\x80"])
            )
        else:
            del data[at:]
    return bytes(data)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    """It, cut at these places (of any size: they are taken round)."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[begin:end] for begin, end in pairwise(places)]


@dataclass(frozen=True)
class Read:
    """What the reader made of it; `error` empty when there is a complete answer."""

    error: str
    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    used_up: bool = True


def read(pieces: list[bytes], *, head_only: bool = False, reader: AnswerReader | None = None) -> Read:
    """These pieces and the end of the connection."""
    reader = reader or AnswerReader(MAX_BODY)
    reader.expect(head_only)
    try:
        for piece in pieces:
            reader.feed(piece)
            if reader.complete:
                break
        reader.end()
    except RequestFailed as exc:
        assert str(exc) in ALL
        return Read(str(exc))
    assert reader.complete and 200 <= reader.status <= 999
    return Read("", reader.status, tuple(headers_of(reader.head)), reader.body)
