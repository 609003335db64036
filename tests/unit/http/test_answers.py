"""The reader of answers: what it says depends on the bytes alone, never on where they were cut."""

from __future__ import annotations

from email.message import Message
from http.client import HTTPResponse
from io import BytesIO
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.http_fuzz import MAX_BODY, Answer, answers, pieces_of, read, spoilt

from wasp_ray.http.answer import MAX_HEAD_BYTES, AnswerReader, headers_of, is_telling
from wasp_ray.http.failures import BODY_SIZE, CUT, HEAD_SIZE, MALFORMED, NO_ANSWER, RequestFailed

CUTS = st.lists(st.integers(0, 10_000), max_size=6)


class OneAnswer:
    """What the standard library reads a socket's bytes from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: Any) -> BytesIO:
        """All of it."""
        return BytesIO(self._data)


def by_the_library(data: bytes) -> tuple[int, Message, bytes]:
    """Status, headers and body as http.client reads them; it knows 100 alone of the provisional ones."""
    while data.startswith(b"HTTP/1.1 103"):
        data = data.split(b"\r\n\r\n", 1)[1]
    response = HTTPResponse(OneAnswer(data), method="GET")  # type: ignore[arg-type]
    response.begin()
    if response.status == 103:
        return by_the_library(data[data.index(b"HTTP/1.1 103") :])
    return response.status, response.headers, response.read()


@given(answer=answers(), cuts=CUTS)
def test_a_valid_answer_is_read_as_it_was_meant(answer: Answer, cuts: list[int]) -> None:
    """Status, headers in their order and body, however it is cut; and as another reader has it."""
    found = read(pieces_of(answer.data, cuts))
    assert (found.error, found.status, found.body) == ("", answer.status, answer.body)
    assert list(found.headers) == answer.headers
    status, headers, body = by_the_library(answer.data)
    assert (found.status, found.body) == (status, body)
    assert sorted(value.decode("latin-1") for _, value in found.headers) == sorted(headers.values())


@given(answer=answers())
def test_an_answer_is_the_same_byte_by_byte(answer: Answer) -> None:
    """The finest cut of all."""
    assert read([bytes([byte]) for byte in answer.data]) == read([answer.data])


@given(several=st.lists(answers(), min_size=2, max_size=4), cuts=CUTS)
def test_answers_on_one_connection_are_told_apart(several: list[Answer], cuts: list[int]) -> None:
    """A reader is used for one after the other; nothing of one is in the next."""
    reader = AnswerReader(MAX_BODY)
    for answer in several:
        found = read(pieces_of(answer.data, cuts), reader=reader)
        assert (found.status, list(found.headers), found.body) == (answer.status, answer.headers, answer.body)
        if not reader.keep_alive:
            reader = AnswerReader(MAX_BODY)


@given(answer=answers(), end=st.integers(0, 10_000))
def test_an_answer_that_was_cut_short_is_never_complete(answer: Answer, end: int) -> None:
    """But for one whose end is the connection's: there it cannot be known."""
    data = answer.data[: end % len(answer.data)]
    found = read([data])
    if not answer.closes or found.error:
        assert found.error == (CUT if data else NO_ANSWER), found


@settings(max_examples=500)
@given(data=spoilt(), cuts=CUTS)
@example(data=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 junk", cuts=[40])
def test_a_spoilt_answer_is_read_the_same_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    """Complete or failed, by one of the known names."""
    assert read(pieces_of(data, cuts)) == read([data]) == read([bytes([byte]) for byte in data])


@settings(max_examples=300)
@given(
    data=st.binary(max_size=300) | st.binary(max_size=100).map(lambda tail: b"HTTP/1.1 200 OK\r\n" + tail), cuts=CUTS
)
def test_any_bytes_are_read_the_same_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    """No exception but RequestFailed, no name that is not known."""
    assert read(pieces_of(data, cuts)) == read([data])


@given(answer=answers(), cuts=CUTS)
def test_an_answer_to_head_ends_with_its_headers(answer: Answer, cuts: list[int]) -> None:
    """Whatever length it tells; the next answer is read afresh."""
    reader = AnswerReader(MAX_BODY)
    head = answer.data[: len(answer.data) - len(answer.data.split(b"\r\n\r\n")[-1])] if not answer.body else answer.data
    found = read(pieces_of(head, cuts), head_only=True, reader=reader)
    assert (found.error, found.status, found.body) == ("", answer.status, b"")
    if reader.keep_alive:
        assert read([b"HTTP/1.1 201 Made\r\nContent-Length: 2\r\n\r\nok"], reader=reader).body == b"ok"


def large(head: int, body: int, *, before: bytes = b"") -> bytes:
    """An answer whose head has so many bytes."""
    start = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX: " % body
    fill = head - len(before) - len(start) - 4
    return before + start + b"a" * fill + b"\r\n\r\n" + b"b" * body


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 5], ids=["alone", "behind 1xx"])
@pytest.mark.parametrize("step", [1000, 4096, 65_535, 65_536, 65_537, 10**6])
def test_the_limit_of_a_head_is_exact(step: int, before: bytes) -> None:
    """64 KB, provisional answers included; a byte more is too much, in one read with the body or in many."""
    for extra, error in ((0, ""), (1, HEAD_SIZE)):
        data = large(MAX_HEAD_BYTES + extra, 3000, before=before)
        found = read([data[at : at + step] for at in range(0, len(data), step)])
        assert found.error == error
        assert found.body == (b"" if error else b"b" * 3000)


@pytest.mark.parametrize("step", [1, 7, 1000, 10**6])
@pytest.mark.parametrize("way", ["length", "chunked", "close"])
def test_the_limit_of_a_body_is_exact(way: str, step: int) -> None:
    """max_body bytes are fine, one more is too many, however they come."""
    for size, error in ((MAX_BODY, ""), (MAX_BODY + 1, BODY_SIZE)):
        body = b"b" * size
        head = {"length": b"Content-Length: %d\r\n" % size, "chunked": b"Transfer-Encoding: chunked\r\n", "close": b""}[
            way
        ]
        content = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body) if way == "chunked" else body
        data = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + content
        assert read([data[at : at + step] for at in range(0, len(data), step)]).error == error


def test_a_body_that_is_announced_too_large_fails_before_it_is_there() -> None:
    """Not a byte more than the limit is kept."""
    reader = AnswerReader(10)
    with pytest.raises(RequestFailed, match=BODY_SIZE):
        reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"b" * 11)


def test_tiny_chunks_are_not_too_large_by_their_frames() -> None:
    """Six bytes carry one."""
    body = b"1\r\nb\r\n" * MAX_BODY
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"
    assert read([data]).body == b"b" * MAX_BODY
    assert read([data[at : at + 999] for at in range(0, len(data), 999)]).body == b"b" * MAX_BODY


@pytest.mark.parametrize(
    ("answer", "keeps"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive, Close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"HTTP/1.1 204 No\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n", True),
    ],
)
def test_a_connection_is_kept_as_the_answer_says(answer: bytes, keeps: bool) -> None:
    """By version and Connection header."""
    reader = AnswerReader(MAX_BODY)
    reader.feed(answer)
    assert reader.complete and reader.keep_alive is keeps


@pytest.mark.parametrize(
    ("head", "keeps"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\n\r\n", False),
    ],
)
def test_a_connection_is_kept_after_head_as_the_answer_says(head: bytes, keeps: bool) -> None:
    """A length that is not told ends nothing there."""
    reader = AnswerReader(MAX_BODY)
    reader.expect(head_only=True)
    reader.feed(head)
    assert reader.complete and reader.keep_alive is keeps


def test_what_comes_behind_an_answer_spoils_the_connection_only() -> None:
    """The answer stays as it is, also its headers."""
    for behind in (b"x", b"HTTP/1.1 404 No\r\nSet-Cookie: evil=1\r\nContent-Length: 1\r\n\r\nx", b"\0", b"HTTP/1.1 "):
        reader = AnswerReader(MAX_BODY)
        reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + behind)
        assert reader.complete and reader.surplus and (reader.status, reader.body) == (200, b"ok")
        assert headers_of(reader.head) == [(b"Content-Length", b"2")]


def test_headers_that_ask_for_work_are_found_in_any_head() -> None:
    """In any spelling, behind provisional answers and 60 KB of others."""
    for before in (b"", b"HTTP/1.1 103 Hints\r\n\r\n"):
        for name in (b"Set-Cookie", b"SET-COOKIE", b"content-encoding"):
            head = before + b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + name + b": a\r\n\r\n"
            assert is_telling(head)
    assert not is_telling(b"HTTP/1.1 200 OK\r\nX: set-cookie: a\r\n\r\n" + b"body" * 5000)


def test_a_provisional_answer_s_headers_are_not_the_answer_s() -> None:
    """Neither its cookies nor its length."""
    reader = AnswerReader(MAX_BODY)
    reader.feed(b"HTTP/1.1 103 Hints\r\nSet-Cookie: a=b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert headers_of(reader.head) == [(b"Content-Length", b"0")]


def test_nothing_is_malformed_but_what_is() -> None:
    """Lines that end in LF alone are refused: proxies and servers disagree on them."""
    assert read([b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"]).error == MALFORMED
