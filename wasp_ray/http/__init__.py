"""HTTP clients that record every request. See docs/http.md; actors get theirs from `self.context.http()`."""

from __future__ import annotations

from wasp_ray.http.client import AsyncClient
from wasp_ray.http.recorder import NoRecorder, Recorder
from wasp_ray.http.response import Headers, Response
from wasp_ray.http.sync_client import SyncClient

__all__ = ["AsyncClient", "Headers", "NoRecorder", "Recorder", "Response", "SyncClient"]
