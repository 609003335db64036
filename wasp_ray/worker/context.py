"""The Context of a user or worker (contract: load/context.py). It must not keep calls or time anything itself."""

from __future__ import annotations

import random
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from wasp_ray.errors import BadInput, WaspError
from wasp_ray.http.optional import client_module
from wasp_ray.wire.control import NEVER, Ask, Word
from wasp_ray.worker.booking import Booker, TimedGroup
from wasp_ray.worker.call_state import RowsUsedUp
from wasp_ray.worker.http_recorder import HttpRecorder
from wasp_ray.worker.notes import Notes
from wasp_ray.worker.spec import WorkerSpec

if TYPE_CHECKING:
    import asyncio  # which takes 7 MB: a load of sync actors does without


class WorkerContext:
    """One object a user (packed users have one each) or gun worker."""

    def __init__(self, spec: WorkerSpec, booker: Booker, notes: Notes, local_user: int, number: int = 0) -> None:
        part = spec.part
        self._spec, self._booker, self._notes, self.local_user = spec, booker, notes, local_user
        self.run_id = spec.run_id
        self.node_id = spec.node + 1
        self.nodes = spec.nodes
        self.user_id = spec.global_user(local_user)
        self.generator = part.name
        self.labels = dict(part.labels)
        self.params = dict(part.params)
        self.random = random.Random(f"{spec.seed}/{part.name}/{self.user_id}/{spec.incarnation}/{number}")
        self.shared_data = part.shared_data
        self.setup_data = spec.setup_data
        self.tasks: set[asyncio.Task[Any]] = set()
        self._rows: dict[str, dict[str, Any]] = {}
        self._log: Any = None
        self._recorder: HttpRecorder | None = None
        self._clients: list[Any] = []  # which want to be closed
        for name in part.per_user:  # drawn before setup, bound to the user id
            self._rows[name] = self._draw(name)

    @property
    def log(self) -> Any:
        """A structlog logger bound to run, node, generator and user."""
        if self._log is None:
            from wasp_ray.worker.logs import logger

            self._log = logger(run_id=self.run_id, node=self.node_id, generator=self.generator, user=self.user_id)
        return self._log

    @property
    def stopping(self) -> bool:
        """Whether this user or worker is to end."""
        control, gen = self._spec.control, self._spec.part.index
        if control.get(gen, Word.STOP_NS) != NEVER:
            return True
        return self._spec.part.kind == "users" and control.get(gen, Word.KEEP_LIMIT) <= self.local_user

    def feed(self, name: str) -> dict[str, Any]:
        """The next row of a feeder. Raises WaspError for an unknown name; ends the Generator when used up."""
        if name in self._rows:
            return self._rows[name]
        return self._draw(name)

    def _draw(self, name: str) -> dict[str, Any]:
        source = self._spec.part.feeds.get(name)
        if source is None:
            known = ", ".join(sorted(self._spec.part.feeds)) or "none"
            raise WaspError(f"feed({name!r}): Generator {self.generator!r} has no such feeder (it has: {known})")
        call = self._booker.current()
        row = source(call.tick if call is not None else -1, self.local_user)
        if row is None:
            self._end(f"feeder {name!r} is used up", Ask.ROWS)
            raise RowsUsedUp(f"feeder {name!r} is used up")
        return row

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Starts a task that is cancelled after teardown at the latest."""
        from asyncio import get_running_loop

        task = get_running_loop().create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def stop(self, why: str = "") -> None:
        """Ends this Generator, on all nodes."""
        self._end(str(why), Ask.STOP)

    def _end(self, why: str, asked: int) -> None:
        self._notes.send("stop", why=why)
        self._spec.ask_stop(asked)

    def group(self, name: str) -> TimedGroup:
        """Times a block."""
        return self._booker.group(name)

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
        """Books a request that user code timed."""
        self._booker.record(str(group), service_s, status, error, bytes_in, bytes_out)

    def http(self, base_url: str, **options: Any) -> Any:
        """A client whose requests are recorded, async in an async actor."""
        import wasp_ray.http

        make = wasp_ray.http.AsyncClient if self._spec.part.is_async else wasp_ray.http.SyncClient
        client = make(base_url, self._http_recorder(), **options)
        self._clients.append(client)
        return client

    def aiohttp(self, base_url: str | None = None, **options: Any) -> Any:
        """An aiohttp.ClientSession whose requests are recorded."""
        return self._session("aiohttp", True, base_url, options)

    def requests(self, base_url: str | None = None, **options: Any) -> Any:
        """A requests.Session whose requests are recorded."""
        return self._session("requests", False, base_url, options)

    def http2(self, base_url: str | None = None, **options: Any) -> Any:
        """An httpx2.AsyncClient whose requests are recorded."""
        return self._session("http2", True, base_url, options)

    def _session(self, name: str, is_async: bool, base_url: str | None, options: dict[str, Any]) -> Any:
        if self._spec.part.is_async != is_async:
            needed, other = (
                ("async def call", "http() or requests()") if is_async else ("def call", "http() or aiohttp()")
            )
            raise BadInput(f"self.context.{name}() needs an actor with `{needed}`; there is {other} for this one")
        recorder = HttpRecorder(self._spec, self._booker.writer, self._booker, sends_together=False)
        session = client_module(name).open_session(recorder, base_url, **options)
        self._clients.append(session)
        return session

    async def close_clients(self) -> None:
        """Close what http() and its like opened; waits for nothing in a sync actor."""
        while self._clients:
            with suppress(Exception):  # of a library; the user's own code has ended well by now
                if (closing := self._clients.pop().close()) is not None:
                    await closing

    def _http_recorder(self) -> HttpRecorder:
        if self._recorder is None:
            self._recorder = HttpRecorder(self._spec, self._booker.writer, self._booker)
        return self._recorder

    def count(self, name: str, n: int = 1) -> None:
        """Adds to a counter."""
        self._booker.count(name, n)
