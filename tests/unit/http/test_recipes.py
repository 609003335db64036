"""Requests made of the bytes of others are those that are made from the beginning, whatever they are asked for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.http_requests import sent

from wasp_ray.errors import BadInput
from wasp_ray.http.cookies import Jar
from wasp_ray.http.options import read_options
from wasp_ray.http.recipes import MAX_KEPT, Recipes, shape_of
from wasp_ray.http.request import Request, RequestMaker

TEXTS = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["7", "a b", "x/y", "%2F", "é", "\r\n", "", "{id}"]
)
VALUES = TEXTS | st.integers() | st.booleans() | st.none()
PATHS = st.sampled_from([
    "/items", "/items/{id}", "/items/{id}/of/{id}?size={size}", "/items?a=b", "/", "items", "", "/7/x", "/ä ö", "/a\nb",
    "http://other.test/x", "//double", "/{size}",
])  # fmt: skip


def is_small(_: Any) -> bool:
    """A predicate."""
    return True


async def asks(_: Any) -> bool:
    """One that cannot be asked."""
    return True


ASKED = st.fixed_dictionaries({}, optional={
    "path": st.dictionaries(st.sampled_from(["id", "size"]), VALUES) | st.just(7),
    "query": st.dictionaries(TEXTS, VALUES | st.lists(VALUES, max_size=2), max_size=3) | st.none() | st.just(3),
    "json": st.recursive(VALUES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2)),
    "form": st.dictionaries(TEXTS, VALUES, max_size=2) | st.none(),
    "body": st.binary(max_size=3),
    "headers": st.dictionaries(st.sampled_from(["X-A", "content-type", "X B"]), st.sampled_from(["a", "b\r\nc", 1, True])),
    "group": TEXTS | st.none(),
    "expect": st.sampled_from([1, {1}, {True}, [200], 200, {200, 201}, range(200, 202), is_small, asks, True, "200", None, [[1]]]),
    "timeout": st.sampled_from(["1s", 1.0, 1, True, "soon", None, [1]]),
    "redirects": st.sampled_from([0, 1, 1.0, -1, True]),
    "auth": st.just("token"),
    "cookies": st.just({"a": "b"}),
    "wrong": st.just(1),
})  # fmt: skip
CALLS = st.lists(
    st.tuples(st.sampled_from(["GET", "POST", "HEAD", "PUT", "get it"]), PATHS, ASKED), min_size=1, max_size=4
)
OPTIONS = st.sampled_from([
    {}, {"proxy": "http://proxy.test:3128"}, {"headers": {"X-Own": "1"}, "auth": ("me", "secret")}, {"cookies": {"c": "d"}},
    {"expect": 204, "timeout": "9s", "decompress": False},
])  # fmt: skip
BASES = st.sampled_from(["http://shop.test", "https://shop.test/api/", "http://shop.test/a b"])
SET_COOKIES = st.sampled_from([[], ["a=1"], ["a=1; Path=/items"], ["a=1; Max-Age=100"], ["a=1; Path=/; Secure"]])


def of_a_client(
    base: str = "http://shop.test", options: dict[str, Any] | None = None
) -> tuple[Recipes, RequestMaker, Jar]:
    """What makes its requests."""
    made = read_options(base, options or {})
    jar = Jar(made.cookies, made.origin.host)
    maker = RequestMaker(made, jar)
    return Recipes(made, jar, maker), maker, jar


def said(maker: RequestMaker | Recipes, method: str, path: str, asked: Any) -> Request | str:
    """The request, or what is wrong with it."""
    try:
        return maker.make(method, path, asked)
    except BadInput as exc:
        return str(exc)


@settings(max_examples=400, deadline=None)
@given(options=OPTIONS, base=BASES, set_cookies=SET_COOKIES, calls=CALLS)
def test_they_are_the_same_as_from_the_beginning(
    options: dict[str, Any], base: str, set_cookies: list[str], calls: list[tuple[str, str, Any]]
) -> None:
    """The first one of its kind, those after it, and those after cookies have come."""
    recipes, maker, jar = of_a_client(base, options)
    for round_ in range(3):
        if round_ == 2 and set_cookies:
            jar.take(f"{base}/items", set_cookies)
        for method, path, asked in calls:
            assert said(recipes, method, path, asked) == said(maker, method, path, asked)


def test_what_varies_shares_a_recipe() -> None:
    """Values, queries, bodies, names, and the lambda that each call makes anew."""

    def asked(number: int) -> dict[str, Any]:
        return {
            "path": {"id": number}, "query": {"page": number}, "json": [number], "group": f"g{number}",
            "expect": lambda answer: answer.status == number, "headers": {"X-A": "b"},
        }  # fmt: skip

    assert shape_of("POST", "/items/{id}", asked(1)) == shape_of("POST", "/other/{id}", asked(2)) is not None


@pytest.mark.parametrize("asked", [
    {"expect": asks}, {"expect": True}, {"expect": {True}}, {"timeout": [1]}, {"timeout": True}, {"redirects": True},
    {"headers": {"A": 1}},
])  # fmt: skip
def test_what_is_wrong_stays_wrong(asked: dict[str, Any]) -> None:
    """Also behind a good one that is equal to it."""
    recipes, maker, _ = of_a_client()
    goods: list[dict[str, Any]] = [
        {"expect": is_small}, {"expect": 1}, {"expect": {1}}, {"timeout": 1}, {"redirects": 1}, {"headers": {"A": "1"}},
    ]  # fmt: skip
    for good in goods:
        recipes.make("GET", "/x", good)
    assert said(recipes, "GET", "/x", asked) == said(maker, "GET", "/x", asked)


def test_what_is_kept_is_bounded() -> None:
    """However many paths, templates and headers there are."""
    recipes, _, _ = of_a_client()
    for number in range(3 * MAX_KEPT):
        recipes.make("GET", f"/items/{number}", {})
        recipes.make("GET", f"/{number}/{{id}}", {"path": {"id": 1}})
        recipes.make("GET", "/", {"headers": {"X": str(number)}})
    assert max(len(recipes._plain), len(recipes._places), len(recipes._recipes)) <= MAX_KEPT


def test_requests_made_once_are_made_again_when_cookies_change() -> None:
    """The bytes of a usual request are kept, but not over a Set-Cookie."""
    recipes, _, jar = of_a_client()
    first = recipes.make("GET", "/", {})
    assert recipes.make("GET", "/", {}) is first
    jar.take("http://shop.test/", ["session=7"])
    assert sent(recipes.make("GET", "/", {})).one("cookie") == "session=7"
    assert sent(recipes.make("POST", "/", {"json": 1})).one("cookie") == "session=7"
