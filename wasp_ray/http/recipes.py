"""Requests that differ from one made before in path, query, body and name alone are made of its bytes. No I/O.

To check a request and to frame it from the beginning takes some 10 us, half of all that a call of an async user takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType
from typing import Any, NamedTuple, TypeVar

from wasp_ray.http.cookies import Jar
from wasp_ray.http.options import Options
from wasp_ray.http.parts import clean
from wasp_ray.http.places import Place, place_of
from wasp_ray.http.request import WRONG_TYPES, Request, RequestMaker, encoded, json_bytes, with_length

MAX_KEPT = 1024
"""Of each kind; then it is begun anew."""
VARYING = frozenset({"path", "query", "json", "form", "group"})
FIXED = frozenset({"timeout", "redirects"})
_VERSION = b" HTTP/1.1\r\n"
Shape = tuple[object, ...]
K = TypeVar("K")
V = TypeVar("V")


class Recipe(NamedTuple):
    """What surrounds the target, up to the body's length where there is a body, and a request with all the rest."""

    before: bytes
    after: bytes
    like: Request


class Recipes:
    """Of one client. They hold as long as its cookies stay as they are."""

    def __init__(self, options: Options, jar: Jar, maker: RequestMaker) -> None:
        self._prefix, self._jar, self._maker = options.prefix, jar, maker
        self._plain: dict[tuple[str, str], Request] = {}
        self._recipes: dict[Shape, Recipe] = {}
        self._places: dict[tuple[str, bool], Place] = {}
        self._known_of = -1
        self._lasts = self._holds_everywhere = False

    def make(self, method: str, path: str, asked: Mapping[str, Any]) -> Request:
        """As RequestMaker makes it. Raises BadInput."""
        if self._known_of != self._jar.version:
            self._forget()
        if asked:
            return self._made(method, path, asked)
        kept = self._plain.get((method, path))
        if kept is None:
            kept = self._made(method, path, asked)
            if self._lasts:
                _keep(self._plain, (method, path), kept)
        return kept

    def _forget(self) -> None:
        jar = self._jar
        self._known_of = jar.version
        self._lasts = jar.is_lasting
        self._holds_everywhere = self._lasts and jar.is_for_all_paths
        self._plain.clear()
        self._recipes.clear()

    def _made(self, method: str, path: str, asked: Mapping[str, Any]) -> Request:
        try:
            shape = shape_of(method, path, asked) if self._holds_everywhere else None
            recipe = self._recipes.get(shape) if shape is not None else None
            if recipe is not None:
                return self._like(recipe, method, path, asked)
        except WRONG_TYPES:  # of what was asked for: the maker says what is wrong with it
            shape = None
        request = self._maker.make(method, path, asked)
        if shape is not None:
            self._learn(shape, request)
        return request

    def _learn(self, shape: Shape, request: Request) -> None:
        before, target, body = f"{request.method} ".encode(), request.target.encode(), request.body
        if request.is_chunked or not request.data.startswith(before + target + _VERSION):  # a proxy is told whole URLs
            return
        after = request.data[len(before) + len(target) :]
        if isinstance(body, bytes):
            after = after[: len(after) - len(with_length(b"", body))]
        _keep(self._recipes, shape, Recipe(before, after, request))

    def _like(self, recipe: Recipe, method: str, path: str, asked: Mapping[str, Any]) -> Request:
        get, like = asked.get, recipe.like
        values = get("path")
        key = (path, values is not None)
        place = self._places.get(key)
        if place is None:
            place = place_of(self._prefix, clean(path, "path"), key[1])
            _keep(self._places, key, place)
        target = place.target(values)
        if query := get("query"):
            target += ("&" if "?" in target else "?") + encoded(query)
        json, form, expect = get("json"), get("form"), get("expect")
        body = json_bytes(json) if json is not None else encoded(form).encode() if form is not None else None
        data = b"%b%b%b" % (recipe.before, target.encode(), recipe.after)
        return Request(
            method, like.origin, target, get("group") or f"{method} {place.route}", place.route, like.headers, body,
            expect if type(expect) is FunctionType else like.expect, like.timeout_ns, like.redirects, False, like.head_only,
            data if body is None else with_length(data, body),
        )  # fmt: skip


def shape_of(method: str, path: str, asked: Mapping[str, Any]) -> Shape | None:
    """What requests have in common that one recipe makes; None for those that are made from the beginning.

    Raises what a wrong value raises.
    """
    if not path.startswith("/"):
        return None
    shape: list[object] = [method]
    for name, value in asked.items():
        if value is None:
            continue
        if name in VARYING:
            shape.append(name)
        elif name in FIXED:
            shape.append((name, type(value), value))  # 1, 1.0 and True are equal, but not all of them are good
        elif name == "headers":
            if not all(type(text) is str for text in value.values()):
                return None
            shape.append((name, *value.items()))
        elif name == "expect":
            if type(value) is FunctionType:
                shape.append(value.__code__)  # a lambda of the call's own is a new one each time
            elif type(value) is int:
                shape.append(value)
            elif type(value) in (set, frozenset, list, tuple) and all(type(status) is int for status in value):
                shape.append(frozenset(value))
            else:
                return None
        else:
            return None
    return tuple(shape)


def _keep(known: dict[K, V], key: K, value: V) -> None:
    if len(known) >= MAX_KEPT:
        known.clear()
    known[key] = value
