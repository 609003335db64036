"""Requests that differ from one made before in path, query, body and name alone are made of its bytes. No I/O.

To check a request and to frame it from the beginning takes some 10 us, half of all that a call of an async user takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from wasp_ray.http.cookies import Jar
from wasp_ray.http.options import Options
from wasp_ray.http.parts import clean
from wasp_ray.http.request import FIELD, TARGET_SAFE, WRONG_TYPES, Request, RequestMaker, encoded, json_bytes, value_of
from wasp_ray.http.routes import route_of

MAX_KEPT = 1024
"""Of each kind; then it is begun anew."""
VARYING = frozenset({"path", "query", "json", "form", "group"})
FIXED = frozenset({"timeout", "redirects"})
_VERSION = b" HTTP/1.1\r\n"
Shape = tuple[object, ...]
K = TypeVar("K")
V = TypeVar("V")


class Place(NamedTuple):
    """Target of a path below the base URL: `pieces`, with the values of `names` between them."""

    pieces: tuple[str, ...]
    names: tuple[str, ...]
    route: str
    group: str


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
        self._places: dict[tuple[str, str, bool], Place] = {}
        self._known_of = -1
        self._lasts = self._is_same = False

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
        self._is_same = self._lasts and jar.is_for_all_paths
        self._plain.clear()
        self._recipes.clear()

    def _made(self, method: str, path: str, asked: Mapping[str, Any]) -> Request:
        try:
            shape = shape_of(method, path, asked) if self._is_same else None
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
            after = after[: len(after) - len(_told(b"", body))]
        _keep(self._recipes, shape, Recipe(before, after, request))

    def _like(self, recipe: Recipe, method: str, path: str, asked: Mapping[str, Any]) -> Request:
        get, like = asked.get, recipe.like
        values = get("path")
        key = (method, path, values is not None)
        place = self._places.get(key)
        if place is None:
            place = self._place(*key)
            _keep(self._places, key, place)
        target = place.pieces[0] if values is None else _filled(place, values)
        if query := get("query"):
            target += ("&" if "?" in target else "?") + encoded(query)
        json, form, expect = get("json"), get("form"), get("expect")
        body = json_bytes(json) if json is not None else encoded(form).encode() if form is not None else None
        data = b"%b%b%b" % (recipe.before, target.encode(), recipe.after)
        return Request(
            method, like.origin, target, get("group") or place.group, place.route, like.headers, body,
            expect if type(expect) is FunctionType else like.expect, like.timeout_ns, like.redirects, False, like.head_only,
            data if body is None else _told(data, body),
        )  # fmt: skip

    def _place(self, method: str, path: str, is_template: bool) -> Place:
        """As RequestMaker finds target and route. Raises BadInput."""
        clean(path, "path")
        if not is_template:
            target = quote(self._prefix + path, safe=TARGET_SAFE)
            route = route_of(target)
            return Place((target,), (), route, f"{method} {route}")
        first, *rest = FIELD.split(path)
        literals = (self._prefix + first, *rest[1::2])
        route = (self._prefix + path).split("?", 1)[0]
        pieces = tuple(quote(piece, safe=TARGET_SAFE) for piece in literals)
        return Place(pieces, tuple(rest[::2]), route, f"{method} {route}")


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
            shape.append((name, value))
        elif name == "headers" and all(
            type(text) is str for text in value.values()
        ):  # 1 and True are equal, but not in bytes
            shape.append((name, *value.items()))
        elif name == "expect":
            kind = type(value)
            if kind is int:
                shape.append(value)
            elif kind is FunctionType:
                shape.append(value.__code__)  # a lambda of the call's own is a new one each time
            elif kind in (set, frozenset, list, tuple):
                shape.append(frozenset(value))
            else:
                return None
        else:
            return None
    return tuple(shape)


def _told(head: bytes, body: bytes) -> bytes:
    return b"%b%d\r\n\r\n%b" % (head, len(body), body)


def _filled(place: Place, values: Mapping[str, Any]) -> str:
    target = place.pieces[0]
    for name, piece in zip(place.names, place.pieces[1:], strict=True):
        text = str(value_of(values, name))
        target += (text if text.isalnum() and text.isascii() else quote(text, safe="")) + piece
    return target


def _keep(known: dict[K, V], key: K, value: V) -> None:
    if len(known) >= MAX_KEPT:
        known.clear()
    known[key] = value
