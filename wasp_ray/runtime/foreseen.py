"""Imports before the first fork what the workers will need. It must not start threads, open connections or run user code.

An import that each worker makes for itself costs 7 to 14 MB and 40 to 110 ms each time; made here, once, its pages are
shared (docs/decisions/0015-http-dependencies.md). Many loads need none, so they are foreseen by the names in the
actors' code: a name that means something else costs one import, a client that is not foreseen is imported by its worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import CodeType, FunctionType
from typing import Any

from wasp_ray.errors import BadInput
from wasp_ray.http.optional import CLIENTS, client_module
from wasp_ray.worker.logs import preload


def import_named(actors: Iterable[type[Any]]) -> None:
    """The clients and the logger that the actors seem to use; one that is not installed is told when it is used."""
    named = {name for actor in actors for name in names_in(actor)}
    if "http" in named:
        import wasp_ray.http.client
        import wasp_ray.http.sync_client  # noqa: F401 - for the workers
        from wasp_ray.http.decode import accepted

        accepted()  # imports what decodes
    if "log" in named:
        preload()
    for name in sorted(named & CLIENTS.keys()):
        with suppress(BadInput):
            client_module(name)


def names_in(actor: type[Any]) -> set[str]:
    """Every attribute and global that the methods of a class, and the functions of their modules, mention."""
    found: set[str] = set()
    modules: dict[int, dict[str, Any]] = {}
    for cls in actor.__mro__:
        if cls is object or cls.__module__.partition(".")[0] == "wasp_ray":
            continue
        for value in vars(cls).values():
            function = getattr(value, "__wrapped__", getattr(value, "__func__", value))
            if isinstance(function, FunctionType):
                modules[id(function.__globals__)] = function.__globals__
                found |= _names_of(function.__code__)
    for namespace in modules.values():
        for value in list(namespace.values()):
            if isinstance(value, FunctionType) and value.__globals__ is namespace:
                found |= _names_of(value.__code__)
    return found


def _names_of(code: CodeType) -> set[str]:
    return {name for each in _with_inner(code) for name in each.co_names}


def _with_inner(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _with_inner(constant)
