"""Nothing that user code hands over can end a line of a request, or begin a second one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.http_requests import maker, sent

from wasp_ray.errors import BadInput
from wasp_ray.http import SyncClient

BREAKS = ["\r", "\n", "\r\n", "\0", "\r\nX-Evil: 1", "\r\n\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\n"]
ANY = st.text(st.characters(codec="latin-1"), max_size=30)


@pytest.mark.parametrize("evil", BREAKS, ids=repr)
@pytest.mark.parametrize(
    "asked",
    [
        {"headers": {"X": "a{}b"}},
        {"headers": {"X": "{}"}},
        {"headers": {"X{}": "a"}},
        {"headers": {"Host": "shop.test{}"}},
        {"headers": {"Cookie": "a=b{}"}},
        {"cookies": {"a": "b{}"}},
        {"cookies": {"a{}": "b"}},
        {"auth": "token{}"},
    ],
    ids=str,
)
def test_line_breaks_and_nul_are_refused_in(asked: dict[str, Any], evil: str) -> None:
    """Headers, their names, cookies, tokens."""

    def spoilt(value: Any) -> Any:
        if isinstance(value, dict):
            return {spoilt(name): spoilt(inner) for name, inner in value.items()}
        return value.replace("{}", evil)

    with pytest.raises(BadInput):
        maker().make("GET", "/", spoilt(asked))


@pytest.mark.parametrize("evil", BREAKS, ids=repr)
def test_line_breaks_and_nul_are_refused_in_methods_and_paths(evil: str) -> None:
    """Also in whole URLs, and at their ends."""
    for method, path in [
        (f"GET{evil}", "/"),
        ("GET", f"/{evil}"),
        ("GET", f"/a{evil}b"),
        ("GET", f"http://shop.test{evil}/"),
        ("GET", f"http://shop.test/a{evil}"),
        ("GET", f"/?a={evil}"),
    ]:
        with pytest.raises(BadInput):
            maker().make(method, path, {})


@pytest.mark.parametrize("method", ["", "GET ", "GET /evil HTTP/1.1", "GÉT", "get\n", "G:T", "5"])
def test_a_method_that_is_none_is_refused(method: str) -> None:
    """A space in it would be the end of it."""
    with pytest.raises(BadInput):
        SyncClient("http://127.0.0.1:9").request(method, "/")


@pytest.mark.parametrize("evil", BREAKS, ids=repr)
def test_line_breaks_are_quoted_in_values_of_templates_queries_and_forms(evil: str) -> None:
    """They are data there: the server gets them as such, in one request."""
    asked = {"path": {"id": evil}, "query": {evil: evil}, "form": {evil: evil}}
    request = sent(maker().make("POST", "/items/{id}", asked))
    assert request.line.count(" ") == 2 and request.all("x-evil") == []


@pytest.mark.parametrize("name", ["Content-Length", "content-length", "Transfer-Encoding", "TRANSFER-ENCODING"])
def test_headers_that_frame_the_body_are_refused(name: str) -> None:
    """Two opinions of where a request ends are a way to smuggle one in."""
    with pytest.raises(BadInput):
        maker().make("POST", "/", {"headers": {name: "5"}, "body": b"hello"})


@given(text=ANY)
@pytest.mark.parametrize(
    "where", ["path", "header", "name", "cookie", "token", "method", "url", "host", "template", "query"]
)
def test_any_text_gives_one_request_or_none(where: str, text: str) -> None:
    """Wherever it is put, llhttp reads exactly one request from the bytes, with the same headers as ever."""
    places: dict[str, tuple[str, str, dict[str, Any]]] = {
        "path": ("GET", text, {}),
        "header": ("GET", "/", {"headers": {"X": text}}),
        "name": ("GET", "/", {"headers": {text: "a"}}),
        "cookie": ("GET", "/", {"cookies": {"a": text}}),
        "token": ("GET", "/", {"auth": text}),
        "method": (text, "/", {}),
        "url": ("GET", f"http://shop.test/{text}", {}),
        "host": ("GET", f"http://{text}/", {}),
        "template": ("GET", "/a/{b}", {"path": {"b": text}}),
        "query": ("GET", "/", {"query": {text: text}}),
    }
    method, path, asked = places[where]
    try:
        made = maker().make(method, path, asked)
    except BadInput:
        return
    lines = made.data.split(b"\r\n")
    assert lines[-2:] == [b"", b""] and b"" not in lines[:-2]
    assert all(b"\n" not in line and b"\r" not in line and b"\0" not in line for line in lines)
    assert lines[0].count(b" ") == 2
    usual = len(maker().make("GET", "/", {}).data.split(b"\r\n"))
    assert len(lines) <= usual + 1
    if where not in ("method", "header", "name"):
        sent(made)


@pytest.mark.parametrize(
    "location",
    [
        "/a\r\nX-Evil: 1",
        "/a\nb",
        "/a\0b",
        "http://other.test\r\n/",
        "http://a b/",
        "http://other.test:0/",
        "http://[::1/",
    ],
)
def test_a_redirect_cannot_break_a_line_either(location: str) -> None:
    """The server's Location is refused as user code's path is."""
    made = maker()
    with pytest.raises(BadInput):
        made.redirected(made.make("GET", "/", {}), 302, location)


@given(location=ANY)
def test_any_location_gives_one_request_or_none(location: str) -> None:
    """Whatever a server sends there."""
    made = maker()
    try:
        following = made.redirected(made.make("GET", "/a/b?c", {}), 302, location)
    except BadInput:
        return
    assert following is not None
    sent(following)
