"""Where the clients of other libraries are, which are extras: imported when they are asked for. It must not import them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

from wasp_ray.errors import BadInput


class Foreign(NamedTuple):
    """The module of ours, the library that it is about, and the extra that installs it."""

    module: str
    library: str
    extra: str


CLIENTS: Mapping[str, Foreign] = {
    "aiohttp": Foreign("wasp_ray.http.aio", "aiohttp", "http"),
    "requests": Foreign("wasp_ray.http.sessions", "requests", "http"),
    "http2": Foreign("wasp_ray.http.http2", "httpx2", "http2"),
}
"""By the Context's method."""


def client_module(name: str) -> Any:
    """The module behind `self.context.<name>()`. Raises BadInput that names the extra when its library is missing."""
    wanted = CLIENTS[name]
    try:
        return import_module(wanted.module)
    except ImportError as exc:
        raise BadInput(
            f"self.context.{name}() needs the library {wanted.library}, which cannot be imported ({exc}):"
            f" pip install 'wasp-ray[{wanted.extra}]'"
        ) from exc
