"""The methods that both clients have: they differ in what `_run` gives, a Response or a coroutine of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any, Generic, TypedDict, TypeVar, Unpack

from wasp_ray.http.cookies import Jar
from wasp_ray.http.options import Expect, read_options
from wasp_ray.http.parts import Auth
from wasp_ray.http.recipes import Recipes
from wasp_ray.http.recorder import NoRecorder, Recorder
from wasp_ray.http.request import Pairs, Request, RequestMaker
from wasp_ray.http.talk import Judge

T = TypeVar("T")
VERBS = frozenset({"get", "post", "put", "patch", "delete", "head", "options"})
"""Methods that clients and sessions have a function for."""


class RequestOptions(TypedDict, total=False):
    """What a request may be given; see docs/http.md."""

    query: Pairs | None
    headers: Mapping[str, str] | None
    json: Any
    form: Pairs | None
    body: str | bytes | Iterable[bytes] | AsyncIterable[bytes] | None
    auth: Auth
    cookies: Mapping[str, str] | None
    timeout: str | float | None
    expect: Expect
    redirects: int | None
    group: str | None


class PathRequestOptions(RequestOptions, total=False):
    """And the values of a path's template."""

    path: Mapping[str, Any] | None


def verb_of(method: str) -> str:
    """Return the name of the function that sends requests of a method."""
    return method.lower() if method.lower() in VERBS else "request"


class Client(ABC, Generic[T]):
    """What a client is made of. Raises BadInput with all that is wrong with its options."""

    def __init__(self, base_url: str, recorder: Recorder | None = None, **options: Any) -> None:
        self.settings = made = read_options(base_url, options)
        self._recorder: Recorder = recorder if recorder is not None else NoRecorder()
        self._jar = Jar(made.cookies, made.origin.host)
        self._maker = RequestMaker(made, self._jar)
        self._recipes = Recipes(made, self._jar, self._maker)
        self._judge = Judge(made, self._maker, self._jar, self._recorder)

    @abstractmethod
    def _run(self, request: Request) -> T:
        """Sends it, as often as it takes."""

    def get(self, template: str, /, **request: Unpack[PathRequestOptions]) -> T:
        """The method is GET."""
        return self._run(self._recipes.make("GET", template, request))

    def post(self, template: str, /, **request: Unpack[PathRequestOptions]) -> T:
        """The method is POST."""
        return self._run(self._recipes.make("POST", template, request))

    def put(self, template: str, /, **request: Unpack[PathRequestOptions]) -> T:
        """The method is PUT."""
        return self.request("PUT", template, **request)

    def patch(self, template: str, /, **request: Unpack[PathRequestOptions]) -> T:
        """The method is PATCH."""
        return self.request("PATCH", template, **request)

    def delete(self, template: str, /, **request: Unpack[PathRequestOptions]) -> T:
        """The method is DELETE."""
        return self.request("DELETE", template, **request)

    def head(self, template: str, /, **request: Unpack[PathRequestOptions]) -> T:
        """The method is HEAD."""
        return self.request("HEAD", template, **request)

    def options(self, template: str, /, **request: Unpack[PathRequestOptions]) -> T:
        """The method is OPTIONS."""
        return self.request("OPTIONS", template, **request)

    def request(self, method: str, template: str, /, **request: Unpack[PathRequestOptions]) -> T:
        """Any method. Raises BadInput for what cannot be sent; never for what the server or the network does."""
        return self._run(self._recipes.make(method.upper(), template, request))
