"""What an actor sees of the run: the Context contract. The implementation lives in worker/; this module must not import
it.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol


class Group(Protocol):
    """A timed request inside a call, open while its `with` block runs."""

    status: str | int

    def fail(self, why: str) -> None:
        """Books the request, and so its call, as failed."""


class Context(Protocol):
    """Read by user code in the worker; every attribute is there before `setup()` runs."""

    run_id: str
    node_id: int
    nodes: int
    user_id: int
    generator: str
    labels: Mapping[str, str]
    params: Mapping[str, Any]
    random: random.Random
    shared_data: memoryview | None
    setup_data: Any

    @property
    def log(self) -> Any:
        """A structlog logger bound to run, node, generator and user."""

    @property
    def stopping(self) -> bool:
        """Whether this user or worker is to end: long calls may look at it."""

    def feed(self, name: str) -> dict[str, Any]:
        """The next row of a feeder (or this user's row). Ends the Generator when the rows are used up."""

    def http(self, base_url: str, **options: Any) -> Any:
        """A client whose requests are timed and recorded (docs/http.md): awaited in an async actor, blocking in a sync one.
        Connects on first use. Raises BadInput with all that is wrong with the options.
        """

    def aiohttp(self, base_url: str | None = None, **options: Any) -> Any:
        """For an async actor: an aiohttp.ClientSession whose requests are recorded, closed after teardown; see
        "Other clients" in docs/http.md. Raises BadInput, also when the extra `http` is not installed.
        """

    def requests(self, base_url: str | None = None, **options: Any) -> Any:
        """For a sync actor: a requests.Session whose requests are recorded, as with `aiohttp`."""

    def http2(self, base_url: str | None = None, **options: Any) -> Any:
        """For an async actor: an httpx2.AsyncClient that speaks HTTP/2, as with `aiohttp`; the extra is `http2`."""

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Starts a task that lives until it ends or the actor does."""

    def stop(self, why: str = "") -> None:
        """Ends this Generator; the run is judged as usual."""

    def group(self, name: str) -> AbstractContextManager[Group]:
        """Times a block as a request of the running call."""

    def record(
        self,
        group: str,
        service_s: float,
        *,
        status: str | int = "",
        error: str = "",
        bytes_in: int = 0,
        bytes_out: int = 0,
    ) -> None:
        """Books a request that user code timed itself: it ended now and took `service_s` seconds."""

    def count(self, name: str, n: int = 1) -> None:
        """Adds to a counter of the Generator."""
