"""Redirects: where they lead, with which method and body, and what does not go along to another host."""

from __future__ import annotations

from typing import Any

import pytest
from support.http_judged import Judged
from support.http_requests import Sent, sent

BASE = "http://shop.test/a/b?c=d"


def followed(location: str, status: int = 302, **asks: object) -> Sent:
    """The request that follows."""
    judged = Judged("GET", "/a/b?c=d", redirects=5, asks=asks)
    assert judged.answer(status, f"Location: {location}") is None
    return sent(judged.talk.request)


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/x", "http://shop.test/x"),
        ("x", "http://shop.test/a/x"),
        ("../x", "http://shop.test/x"),
        ("?e=f", "http://shop.test/a/b?e=f"),
        ("", "http://shop.test/a/b?c=d"),
        ("#part", "http://shop.test/a/b?c=d"),
        ("/x#part", "http://shop.test/x"),
        ("//other.test/x", "http://other.test/x"),
        ("https://other.test", "https://other.test/"),
        ("HTTP://OTHER.test:81/X", "http://other.test:81/X"),
        ("http://[::1]:81/", "http://[::1]:81/"),
        ("/a b\tc", "http://shop.test/a%20b%09c"),
        ("/gr\xc3\xbcn", "http://shop.test/gr%C3%BCn"),
        ("/gr%C3%BCn", "http://shop.test/gr%C3%BCn"),
        ("/gr\xfcn", "http://shop.test/gr%FCn"),
    ],
)
def test_a_location_is_read_as_browsers_read_it(location: str, url: str) -> None:
    """Relative ones, those with raw bytes of UTF-8 or Latin-1, other hosts and schemes."""
    judged = Judged("GET", "/a/b?c=d", redirects=5)
    assert judged.answer(302, f"Location: {location}") is None
    assert judged.talk.request.url == url


@pytest.mark.parametrize(
    "location",
    ["ftp://shop.test/", "javascript:alert(1)", "http://[::1/", "http://shop.test:99999/", "http://a b/",
     "http://ada:secret@shop.test/", "mailto:ada@shop.test", "http://\xff/"],
)  # fmt: skip
def test_a_location_that_is_none_fails(location: str) -> None:
    """It ends the request, not the user."""
    response = Judged(redirects=5).final(302, f"Location: {location}")
    assert (response.error, response.status) == ("redirect without a place", 302)


def test_a_redirect_without_a_location_fails() -> None:
    """As one that says nothing."""
    assert Judged(redirects=5).final(302).error == "redirect without a place"


def test_redirects_are_answers_where_they_are_not_followed() -> None:
    """The default: 302 is fine, as any status below 400."""
    response = Judged().final(302, "Location: /x")
    assert (response.error, response.status, response.headers["location"]) == ("", 302, "/x")


def test_more_redirects_than_allowed_fail() -> None:
    """The last one is the answer."""
    judged = Judged(redirects=2)
    assert judged.answer(302, "Location: /x") is None
    assert judged.answer(302, "Location: /y") is None
    response = judged.final(302, "Location: /z")
    assert (response.error, response.status, response.url) == ("too many redirects", 302, "http://shop.test/y")
    assert [each["error"] for each in judged.recorder.requests] == ["too many redirects"]


def test_300_and_304_are_not_followed() -> None:
    """Though they may have a Location."""
    for status in (300, 304, 305, 306):
        assert Judged(redirects=5).final(status, "Location: /x").status == status


@pytest.mark.parametrize(
    ("status", "method", "following"),
    [
        (301, "POST", "GET"), (302, "POST", "GET"), (303, "POST", "GET"), (307, "POST", "POST"), (308, "POST", "POST"),
        (301, "PUT", "PUT"), (302, "PUT", "PUT"), (303, "PUT", "GET"), (307, "PUT", "PUT"), (308, "DELETE", "DELETE"),
        (301, "GET", "GET"), (303, "GET", "GET"), (301, "HEAD", "HEAD"), (303, "HEAD", "HEAD"), (303, "DELETE", "GET"),
    ],
)  # fmt: skip
def test_the_method_changes_as_browsers_change_it(status: int, method: str, following: str) -> None:
    """303 makes GET, 301 and 302 make GET of POST; a body goes with its method, and so do its headers."""
    body = b"hello" if method in ("POST", "PUT") else None
    judged = Judged(method, "/", redirects=5, asks={"body": body, "headers": {"Content-Type": "text/x"}})
    assert judged.answer(status, "Location: /x") is None
    request = sent(judged.talk.request)
    assert request.line == f"{following} /x HTTP/1.1"
    keeps = body is not None and following == method
    assert request.body == (b"hello" if keeps else b"")
    assert request.all("content-length") == (["5"] if keeps else [])
    if body is not None:
        assert request.all("content-type") == (["text/x"] if keeps else [])


def test_a_body_in_pieces_cannot_be_sent_again() -> None:
    """It was read already; 303 does not need it."""
    asks = {"body": iter([b"a"])}
    assert Judged("POST", "/", redirects=5, asks=asks).final(307, "Location: /x").error == "body cannot be sent again"
    assert Judged("POST", "/", redirects=5, asks=asks).answer(303, "Location: /x") is None


SECRETS = {"auth": "token", "cookies": {"s": "1"}, "headers": {"X-Note": "n", "Host": "shop.test"}}


@pytest.mark.parametrize(
    "location", ["http://other.test/", "http://shop.test:81/", "https://shop.test/", "//other.test/"]
)
@pytest.mark.parametrize(
    "asks",
    [
        {},
        {"auth": ("ada", "x")},
        {"cookies": {"t": "2"}},
        {"headers": {"Authorization": "Bearer mine", "Cookie": "u=3", "Proxy-Authorization": "Basic x"}},
    ],
    ids=["of the client", "auth of the request", "cookies of the request", "headers of the request"],
)
def test_credentials_stay_with_their_host(location: str, asks: dict[str, object]) -> None:
    """Another host, port or scheme gets neither Authorization nor cookies nor the Host that was set."""
    judged = Judged("GET", "/", redirects=5, asks=asks, auth="token", cookies={"s": "1"}, headers={"X-Note": "n"})
    assert judged.answer(302, f"Location: {location}") is None
    request = sent(judged.talk.request)
    assert request.all("authorization") == [] and request.all("proxy-authorization") == []
    if "other.test" in location:
        assert request.all("cookie") == []
    assert [value for value in request.all("cookie") if "2" in value or "3" in value] == []
    assert request.one("host") == judged.talk.request.origin.authority
    assert judged.answer(302, "Location: http://shop.test/") is None
    assert sent(judged.talk.request).all("authorization") == []


@pytest.mark.parametrize(
    "location", ["http://other.test/", "http://shop.test:81/", "https://shop.test/", "//other.test/"]
)
@pytest.mark.parametrize("given_to", ["client", "request"])
def test_headers_of_ones_own_stay_with_their_origin(given_to: str, location: str) -> None:
    """Any of them may be a key; a redirect that leads back does not get them either, since another server has chosen its URL."""
    own = {
        "X-Api-Key": "hush",
        "X-Note": "n",
        "If-None-Match": "tag",
        "Referer": "http://shop.test/account",
        "Origin": "x",
    }
    given: dict[str, Any] = {"headers": {**own, "Authorization": "hush"}}
    judged = Judged(redirects=5, asks=given) if given_to == "request" else Judged(redirects=5, **given)
    assert sent(judged.talk.request).one("x-api-key") == "hush"
    assert judged.answer(302, "Location: /same") is None
    assert sent(judged.talk.request).one("x-api-key") == "hush"
    for place in (location, "http://shop.test/back"):
        assert judged.answer(307, f"Location: {place}") is None
        request = sent(judged.talk.request)
        assert [name for name in (*own, "Authorization") if request.all(name)] == []
    assert judged.final().ok
    if given_to == "client":
        judged.ask("GET", "/next")
        assert sent(judged.talk.request).one("x-api-key") == "hush"


def test_headers_that_choose_or_describe_content_go_along_to_any_origin() -> None:
    """Without them another representation would come, or a body that nobody can read would be sent."""
    kept = {
        "Accept": "image/webp", "Accept-Charset": "utf-8", "Accept-Encoding": "br", "Accept-Language": "pt", "Range": "bytes=0-9",
        "User-Agent": "browser/1",
    }  # fmt: skip
    of_body = {"Content-Type": "text/x", "Content-Encoding": "gzip", "Content-Language": "pt"}
    judged = Judged("POST", redirects=5, headers=kept, asks={"body": b"a", "headers": of_body})
    assert judged.answer(307, "Location: https://other.test/") is None
    request = sent(judged.talk.request)
    assert {name: request.one(name) for name in {**kept, **of_body}} == {**kept, **of_body}
    assert judged.answer(303, "Location: /made") is None
    request = sent(judged.talk.request)
    assert {name: request.one(name) for name in kept} == kept
    assert [name for name in of_body if request.all(name)] == []


def test_credentials_go_along_on_the_same_host() -> None:
    """And cookies that the redirect itself has set."""
    judged = Judged("GET", "/", redirects=5, auth="token", asks={"cookies": {"t": "2"}})
    assert judged.answer(302, "Location: /home", "Set-Cookie: session=7; Path=/") is None
    request = sent(judged.talk.request)
    assert request.one("authorization") == "Bearer token"
    assert sorted(request.one("cookie").split("; ")) == ["session=7", "t=2"]


def test_a_chain_is_one_request_by_its_first_name() -> None:
    """One record, with the bytes of all; `url` is the last one."""
    judged = Judged("GET", "/login", redirects=5)
    assert judged.answer(302, "Location: /home", body=b"x" * 100) is None
    response = judged.final(200, body=b"ok")
    (record,) = judged.recorder.requests
    assert (record["group"], record["status"], record["error"]) == ("GET /login", 200, "")
    assert record["in"] > 150 and record["out"] > 150
    assert response.url == "http://shop.test/home" and response.group == "GET /login"


def test_what_is_expected_is_asked_of_the_last_answer() -> None:
    """With redirects=0 a redirect can be what is expected."""
    assert Judged(expect=302).final(302, "Location: /x").ok
    judged = Judged(expect=201, redirects=5)
    assert judged.answer(302, "Location: /x") is None
    assert judged.final(201).ok
