"""What is expected, what a Response says, and when a request is sent again."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pytest
from support.http_judged import Judged

from wasp_ray.errors import CallFailed
from wasp_ray.http import Response
from wasp_ray.http.answer import AnswerReader
from wasp_ray.http.failures import NO_ANSWER, RESET, TIMEOUT


@pytest.mark.parametrize(
    ("expect", "status", "error"),
    [
        (None, 200, ""),
        (None, 399, ""),
        (None, 400, "HTTP 400"),
        (None, 999, "HTTP 999"),
        (201, 201, ""),
        (201, 200, "HTTP 200"),
        (404, 404, ""),
        ({200, 404}, 404, ""),
        ({200, 404}, 201, "HTTP 201"),
        ([500], 500, ""),
        (range(200, 300), 250, ""),
        (set(), 200, "HTTP 200"),
    ],
)
def test_a_status_is_judged_by_what_was_expected(expect: Any, status: int, error: str) -> None:
    """By the client or by the request."""
    for judged in (Judged(expect=expect), Judged(asks={"expect": expect})):
        assert judged.final(status).error == error
        assert [each["error"] for each in judged.recorder.requests] == [error]


def _raises(_: Response) -> None:
    raise KeyError("secret")


@pytest.mark.parametrize(
    ("expect", "error"),
    [
        (lambda r: True, ""),
        (lambda r: None, ""),
        (lambda r: False, "not as expected"),
        (lambda r: "", "not as expected"),
        (lambda r: 0, "not as expected"),
        (lambda r: "sold out", "sold out"),
        (lambda r: "x" * 5000, "x" * 120),
        (_raises, "expect: KeyError"),
        (lambda r: r.json()["no"], "expect: KeyError"),
        (lambda r: r.json()["a"] == 1, ""),
        (lambda r: r.status == 200 and r.headers["content-length"] == "7", ""),
    ],
)
def test_a_predicate_says_what_is_wrong(expect: Callable[[Response], Any], error: str) -> None:
    """True or None is fine, False is not, a text is the error's name; what it raises is one too."""
    response = Judged(expect=expect).final(200, body=b'{"a":1}')
    assert response.error == error and response.ok is not bool(error) and response.failed is bool(error)


def test_a_predicate_alone_decides() -> None:
    """500 is fine when it says so; it is not asked about what is no answer."""
    asked = []
    judged = Judged(expect=lambda response: asked.append(response.status))
    assert judged.final(500).ok
    judged.ask("GET", "/")
    assert judged.client._judge.failed(judged.talk, TIMEOUT).error == TIMEOUT
    assert asked == [500]


def test_a_body_that_cannot_be_decoded_fails_with_any_status() -> None:
    """It has no text that could be read."""
    response = Judged().final(200, "Content-Encoding: gzip", body=b"junk")
    assert (response.error, response.status, response.body) == ("body cannot be decoded", 200, b"junk")


def test_a_body_is_decoded_or_left_alone() -> None:
    """decompress=False leaves it as it came."""
    packed = gzip.compress(b"hello")
    assert Judged().final(200, "Content-Encoding: gzip", body=packed).text == "hello"
    assert Judged(decompress=False).final(200, "Content-Encoding: gzip", body=packed).body == packed


def test_a_body_too_large_when_unpacked_fails() -> None:
    """max_body holds for both."""
    response = Judged(max_body=100).final(200, "Content-Encoding: gzip", body=gzip.compress(b"a" * 101))
    assert response.error == "body too large"


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        (None, "grün".encode(), "grün"),
        ("text/plain", "grün".encode(), "grün"),
        ("text/plain; charset=latin-1", b"gr\xfcn", "grün"),
        ('text/plain; charset="ISO-8859-1"; x=y', b"gr\xfcn", "grün"),
        ("text/plain;Charset=utf-16", "grün".encode("utf-16"), "grün"),
        ("text/plain; charset=nonsense", "grün".encode(), "grün"),
        ("text/plain; charset=hex", b"6162", "6162"),
        ("text/plain; charset=base64", b"YWI=", "YWI="),
        ("text/plain; charset=idna", b"a\xff", "a\ufffd"),
        ("text/plain; charset=undefined", b"ab", "ab"),
        ("text/plain; charset=", b"ab", "ab"),
        ("text/plain; charset=\xfc", b"ab", "ab"),
        ("text/plain; charset=utf-8", b"a\xffb", "a\ufffdb"),
    ],
)
def test_text_is_read_by_its_charset(kind: str | None, body: bytes, text: str) -> None:
    """UTF-8 where there is none that Python knows; what cannot be decoded is replaced, never raised."""
    assert Judged().final(200, *([f"Content-Type: {kind}"] if kind else []), body=body).text == text


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"{'a': 1}", b"[" * 100_000, b"nonsense"], ids=lambda b: repr(b[:9])
)
def test_json_that_is_none_ends_the_call(body: bytes) -> None:
    """By CallFailed, whose text has the group and nothing of the body."""
    with pytest.raises(CallFailed, match="GET /: the body is no JSON"):
        Judged().final(200, body=body).json()


def test_json_of_a_failed_request_ends_the_call() -> None:
    """Its error is booked already, and told again."""
    with pytest.raises(CallFailed, match=r"GET /items/\{\}: HTTP 500"):
        Judged("GET", "/items/7").final(500, body=b"{}").json()


def test_json_is_read_in_any_unicode() -> None:
    """As RFC 4627 had it, with or without a byte order mark."""
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        assert Judged().final(200, body='{"a": "ü"}'.encode(encoding)).json() == {"a": "ü"}


def test_headers_are_found_by_any_spelling() -> None:
    """Repeated ones are joined, or each by itself; names are lower case."""
    headers = Judged().final(200, "X-One: a", "Set-Cookie: a=1", "set-cookie: b=2, c", "X-Gr: gr\xfcn").headers
    assert headers["x-one"] == headers["X-ONE"] == headers.get("X-One") == "a"
    assert headers.get("nothing") is None and "X-ONE" in headers and "nothing" not in headers
    assert headers["set-cookie"] == "a=1, b=2, c" and headers["x-gr"] == "grün"
    assert headers.get_all("Set-Cookie") == ["a=1", "b=2, c"] and headers.get_all("nothing") == []


def test_reprs_show_no_values() -> None:
    """Neither headers nor body: logs are full of reprs."""
    response = Judged("GET", "/?token=hush").final(200, "Set-Cookie: session=hush", body=b"hush")
    assert "hush" not in repr(response) + repr(response.headers) + str(response)
    assert repr(response) == "<Response GET /: 200, 4 bytes>"


def test_a_response_without_an_answer_has_all_there_is() -> None:
    """Status 0, no headers, no body, no exception."""
    judged = Judged()
    response = judged.client._judge.failed(judged.talk, TIMEOUT)
    assert (response.status, response.body, response.text, dict(response.headers), response.ok) == (
        0,
        b"",
        "",
        {},
        False,
    )
    assert response.recorded and response.url == "http://shop.test/" and response.service_s >= 0


@pytest.mark.parametrize(
    ("method", "asks", "error", "received", "was_sent", "again"),
    [
        ("GET", {}, NO_ANSWER, b"", True, True),
        ("GET", {}, RESET, b"", True, True),
        ("GET", {}, TIMEOUT, b"", True, False),
        ("GET", {}, NO_ANSWER, b"H", True, False),
        ("GET", {}, RESET, b"HTTP/1.1 100 Continue\r\n\r\n", True, False),
        ("HEAD", {}, RESET, b"", True, True),
        ("PUT", {"body": b"x"}, RESET, b"", True, True),
        ("DELETE", {}, RESET, b"", True, True),
        ("OPTIONS", {}, RESET, b"", True, True),
        ("POST", {"body": b"x"}, RESET, b"", True, False),
        ("PATCH", {"body": b"x"}, RESET, b"", True, False),
        ("PROPFIND", {}, RESET, b"", True, False),
        ("POST", {"body": b"x"}, RESET, b"", False, True),
        ("POST", {"body": b"x"}, TIMEOUT, b"", False, False),
        ("PUT", {"body": [b"x"]}, RESET, b"", True, False),
        ("PUT", {"body": [b"x"]}, RESET, b"", False, False),
    ],
)
def test_a_request_is_sent_again_only_when_that_does_no_harm(
    method: str, asks: dict[str, Any], error: str, received: bytes, was_sent: bool, again: bool
) -> None:
    """Nothing was read, and it is idempotent or was not sent; once, and counted."""
    judged = Judged(method, "/", asks=asks)
    reader = AnswerReader(1000)
    reader.expect()
    if received:
        reader.feed(received)
    judge = judged.client._judge
    assert judge.may_repeat(judged.talk, reader, error, was_sent) is again
    assert not judge.may_repeat(judged.talk, reader, error, was_sent) or not again
    assert judged.recorder.counters == ({"http retries": 1} if again else {})
