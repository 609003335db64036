"""The bytes of requests: targets, quoting, bodies, headers, cookies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.http_requests import make, maker, sent

from wasp_ray.errors import BadInput

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


@pytest.mark.parametrize(
    ("base", "path", "target"),
    [
        ("http://shop.test", "/items", "/items"),
        ("http://shop.test", "items", "/items"),
        ("http://shop.test", "", "/"),
        ("http://shop.test", "/", "/"),
        ("http://shop.test", "?a=b", "/?a=b"),
        ("http://shop.test/", "/items", "/items"),
        ("http://shop.test/api", "/items", "/api/items"),
        ("http://shop.test/api/", "items", "/api/items"),
        ("http://shop.test/api/v1/", "", "/api/v1"),
        ("http://shop.test/a b", "/c d", "/a%20b/c%20d"),
        ("http://shop.test", "/straße/größe?farbe=grün", "/stra%C3%9Fe/gr%C3%B6%C3%9Fe?farbe=gr%C3%BCn"),
        ("http://shop.test", "/a%20b%2Fc", "/a%20b%2Fc"),
        ("http://shop.test", '/a\tb"<>\\^`{|}', "/a%09b%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ("http://shop.test", "//double", "//double"),
        ("http://shop.test", "/../up", "/../up"),
        ("http://shop.test", "http://other.test/a?b=c d", "/a?b=c%20d"),
        ("http://shop.test", "https://other.test", "/"),
    ],
)
def test_a_path_goes_below_the_base_url(base: str, path: str, target: str) -> None:
    """Quoted once, never twice; a whole URL goes its own way."""
    assert make("GET", path, base).target == target


@given(value=TEXTS)
def test_a_template_s_value_is_one_piece_of_the_path(value: str) -> None:
    """Whatever is in it: slashes, question marks, CR and LF come back as they were."""
    target = sent(maker().make("GET", "/items/{id}/reviews", {"path": {"id": value}})).target
    first, items, found, reviews = target.split("/")
    assert (first, items, reviews) == ("", "items", "reviews")
    assert unquote(found) == value and "?" not in found


@given(pairs=st.lists(st.tuples(TEXTS, TEXTS), max_size=5))
def test_a_query_comes_back_as_it_was(pairs: list[tuple[str, str]]) -> None:
    """Any names and values, in their order."""
    target = make("GET", "/search", query=pairs).target
    query = target.partition("?")[2]
    assert parse_qsl(query, keep_blank_values=True) == pairs


def test_a_query_takes_lists_numbers_and_truths() -> None:
    """A list repeats its key, None leaves it out, truths are those of JSON; it is added to one in the path."""
    query = {"q": "a b&c", "tag": ["x", "y"], "page": 2, "new": True, "old": False, "none": None, "empty": []}
    assert make("GET", "/s?x=1", query=query).target == "/s?x=1&q=a+b%26c&tag=x&tag=y&page=2&new=true&old=false"
    assert make("GET", "/s", query={}).target == "/s"


@pytest.mark.parametrize(
    ("asked", "body", "kind"),
    [
        ({"json": {"a": [1, None, "ü"]}}, '{"a":[1,null,"ü"]}'.encode(), "application/json"),
        ({"json": []}, b"[]", "application/json"),
        ({"json": 0}, b"0", "application/json"),
        ({"form": {"a": "b c", "d": ["e", "f"]}}, b"a=b+c&d=e&d=f", "application/x-www-form-urlencoded"),
        ({"form": [("a", "ü")]}, b"a=%C3%BC", "application/x-www-form-urlencoded"),
        ({"body": "grün"}, "grün".encode(), "text/plain; charset=utf-8"),
        ({"body": b"\0\xff"}, b"\0\xff", None),
        ({"body": bytearray(b"ab")}, b"ab", None),
        ({"body": memoryview(b"ab")}, b"ab", None),
        ({"body": b""}, b"", None),
    ],
)
def test_a_body_has_its_length_and_type(asked: dict[str, Any], body: bytes, kind: str | None) -> None:
    """Each form of body, also with GET and DELETE."""
    for method in ("POST", "PUT", "GET", "DELETE"):
        request = make(method, "/", **asked)
        assert request.body == body
        assert request.one("content-length") == str(len(body))
        assert request.all("content-type") == ([kind] if kind else [])


@given(value=st.recursive(st.none() | st.booleans() | st.integers() | TEXTS, lambda inner: st.lists(inner, max_size=3)))
def test_json_comes_back_as_it_was(value: Any) -> None:
    """As the server reads it, also when the request's head was made before."""
    made = maker()
    for _ in range(2):
        request = sent(made.make("POST", "/", {"json": value}))
        if value is not None:
            assert json.loads(request.body) == value
        assert request.one("content-length") == str(len(request.body))


def test_methods_that_have_a_body_say_that_it_is_empty() -> None:
    """A server waits for a body of POST, PUT and PATCH otherwise; GET and DELETE say nothing."""
    for method in ("POST", "PUT", "PATCH"):
        assert make(method, "/").one("content-length") == "0"
    for method in ("GET", "HEAD", "DELETE", "OPTIONS"):
        assert make(method, "/").all("content-length") == []


def test_an_iterable_is_sent_chunked() -> None:
    """Its length is not known."""

    def pieces() -> Iterator[bytes]:
        yield b"a"

    for body in (pieces(), [b"a"], (b"a", b"b")):
        request = make("POST", "/", body=body)
        assert request.one("transfer-encoding") == "chunked" and not request.all("content-length")


def test_headers_of_the_client_are_added_and_outdone_by_the_request_s() -> None:
    """Whatever their spelling; what the client sends by itself too."""
    made = maker(headers={"X-A": "client", "x-b": "client", "User-Agent": "mine", "accept": "text/html"})
    request = sent(made.make("GET", "/", {"headers": {"x-a": "request", "Host": "other.test"}}))
    assert request.all("x-a") == ["request"] and request.all("x-b") == ["client"]
    assert request.all("user-agent") == ["mine"] and request.all("accept") == ["text/html"]
    assert request.all("host") == ["other.test"]
    assert sent(made.make("GET", "/", {})).all("x-a") == ["client"]


def test_a_content_type_of_ones_own_is_kept() -> None:
    """JSON has many names."""
    request = make("POST", "/", json={}, headers={"content-type": "application/vnd.api+json"})
    assert request.all("content-type") == ["application/vnd.api+json"]


def test_a_header_is_latin_1_without_spaces_around() -> None:
    """As servers read it; bytes are taken as they are."""
    request = make("GET", "/", headers={"X-A": "  grün\t", "X-B": b"gr\xfcn", "X-N": 5})
    assert request.one("x-a") == request.one("x-b") == "grün"
    assert request.one("x-n") == "5"


@pytest.mark.parametrize(
    ("base", "host"),
    [
        ("http://shop.test:80", "shop.test"),
        ("https://shop.test:443", "shop.test"),
        ("https://shop.test:80", "shop.test:80"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("http://bücher.test", "xn--bcher-kva.test"),
    ],
)
def test_the_host_header_names_the_origin(base: str, host: str) -> None:
    """First of all headers, without a default port."""
    request = make("GET", "/", base)
    assert request.headers[0] == ("Host", host)


def test_a_proxy_gets_whole_urls_of_http_and_its_own_credentials() -> None:
    """Of https it gets CONNECT, and the target only sees its path; a unix socket goes around it."""
    proxy = "http://ada:p%40ss@proxy.test:3128"
    plain = sent(maker("http://shop.test:81/api", proxy=proxy).make("GET", "/a b", {"query": {"q": 1}}))
    assert plain.target == "http://shop.test:81/api/a%20b?q=1"
    assert plain.one("host") == "shop.test:81"
    assert plain.one("proxy-authorization") == "Basic YWRhOnBAc3M="
    secure = sent(maker("https://shop.test", proxy=proxy).make("GET", "/a", {}))
    assert secure.target == "/a" and secure.all("proxy-authorization") == []
    socket = sent(maker("http://shop.test", proxy=proxy, unix="/run/x").make("GET", "/a", {}))
    assert socket.target == "/a" and socket.all("proxy-authorization") == []


def test_credentials_are_basic_or_bearer() -> None:
    """Of the client or of the request, which outdoes the other and a header."""
    made = maker(auth=("ada", "grün:x"))
    assert sent(made.make("GET", "/", {})).one("authorization") == "Basic YWRhOmdyw7xuOng="
    assert sent(made.make("GET", "/", {"auth": "token"})).one("authorization") == "Bearer token"
    assert (
        sent(made.make("GET", "/", {"auth": "t", "headers": {"Authorization": "Digest x"}})).one("authorization")
        == "Bearer t"
    )
    assert make("GET", "/", headers={"authorization": "Digest x"}).one("authorization") == "Digest x"


def test_credentials_headers_and_cookies_of_the_client_are_for_its_base_url_only() -> None:
    """A whole URL of another host, port or scheme gets none of them, but those of the request."""
    made = maker("http://shop.test", auth="token", headers={"X-Key": "k"}, cookies={"s": "1"})
    for url in ("http://other.test/", "http://shop.test:81/", "https://shop.test/"):
        request = sent(made.make("GET", url, {}))
        assert request.all("authorization") == [] and request.all("x-key") == []
    assert sent(made.make("GET", "http://other.test/", {})).all("cookie") == []
    own = sent(
        made.make("GET", "http://other.test/", {"auth": "theirs", "cookies": {"t": "2"}, "headers": {"X-Key": "o"}})
    )
    assert own.one("authorization") == "Bearer theirs" and own.one("cookie") == "t=2" and own.one("x-key") == "o"
    same = sent(made.make("GET", "http://shop.test/", {}))
    assert same.one("authorization") == "Bearer token" and same.one("cookie") == "s=1"


def test_cookies_of_a_request_are_sent_beside_those_of_the_client() -> None:
    """For this request; one of the same name in its stead. None are kept."""
    made = maker(cookies={"a": "1", "b": "2"})
    assert sent(made.make("GET", "/", {"cookies": {"b": "3", "c": "4"}})).one("cookie") == "a=1; b=3; c=4"
    assert sent(made.make("GET", "/", {})).one("cookie") == "a=1; b=2"
    assert sent(made.make("GET", "/", {"headers": {"Cookie": "x=y"}})).all("cookie") == ["x=y"]


def test_only_what_can_be_undone_is_asked_for() -> None:
    """decompress=False asks for nothing encoded."""
    assert make("GET", "/").one("accept-encoding") == "gzip, deflate, br, zstd"
    assert sent(maker(decompress=False).make("GET", "/", {})).one("accept-encoding") == "identity"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"querry": {}}, "querry"),
        ({"json": {}, "body": b""}, "one body"),
        ({"json": {1, 2}}, "json=set"),
        ({"json": float("nan")}, "json=float"),
        ({"json": "\ud800"}, "json=str"),
        ({"body": 5}, "body=int"),
        ({"body": {"a": 1}}, "json= and form="),
        ({"body": "\ud800"}, "body=str"),
        ({"form": 5}, "form=int"),
        ({"query": 5}, "query=int"),
        ({"query": {"a": "\ud800"}}, "query=dict"),
        ({"path": {}}, "{id}"),
        ({"path": 5}, "path=int"),
        ({"headers": 5}, "headers=int"),
        ({"headers": {5: "a"}}, "header name"),
        ({"auth": 5}, "(user, password)"),
        ({"cookies": 5}, "cookies=int"),
        ({"cookies": {"a": "b; c=d"}}, "without ;"),
        ({"cookies": {"a": "b"}, "headers": {"Cookie": "c=d"}}, "give one of them"),
        ({"timeout": "soon"}, "not a duration"),
        ({"timeout": 0}, "above zero"),
        ({"expect": "200"}, "predicate"),
        ({"redirects": "3"}, "whole number"),
        ({"redirects": -1}, "whole number"),
    ],
)
def test_what_cannot_be_sent_is_a_bad_input(asked: dict[str, Any], told: str) -> None:
    """And never another exception; all else is a Response."""
    path = "/items/{id}" if "path" in asked else "/"
    with pytest.raises(BadInput) as caught:
        maker().make("POST", path, asked)
    assert told in str(caught.value), caught.value


def test_deep_and_circular_json_is_a_bad_input() -> None:
    """Its message does not hold the value."""
    circular: list[Any] = ["hush"]
    circular.append(circular)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (circular, deep):
        with pytest.raises(BadInput) as caught:
            maker().make("POST", "/", {"json": value})
        assert "hush" not in str(caught.value)
