"""HTTP clients that record every request. See docs/http.md; actors get theirs from `self.context.http()`.

The names are imported when they are asked for: parser, TLS and event loop are no business of a load without HTTP.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wasp_ray.http.client import AsyncClient
    from wasp_ray.http.recorder import NoRecorder, Recorder
    from wasp_ray.http.response import Headers, Response
    from wasp_ray.http.sync_client import SyncClient

__all__ = ["AsyncClient", "Headers", "NoRecorder", "Recorder", "Response", "SyncClient"]

_HOMES = {
    "AsyncClient": "client", "Headers": "response", "NoRecorder": "recorder", "Recorder": "recorder", "Response": "response",
    "SyncClient": "sync_client",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
