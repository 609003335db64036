"""What the zygote does once before the first fork, so that its pages stay shared by all workers instead of being written in each.

It imports the clients that workers will need: an import that each makes for itself costs 7 to 14 MB and 40 to 110 ms each time
(docs/decisions/0015-http-dependencies.md). Many loads need none, so they are guessed from the names in the actors' code: a name
that means something else costs one import, a client that was not guessed is imported by its worker.

And it warms up: it runs the worker's loop a few times, with a user that does nothing or asks a server that is not there, since
CPython specialises bytecode in place while it warms up. No user code runs, nothing is sent, and nothing of it is counted.
"""

from __future__ import annotations

import os
import random
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from wasp_ray.clock import now_ns
from wasp_ray.errors import BadInput
from wasp_ray.http.optional import CLIENTS, client_module
from wasp_ray.load.actors import VirtualUser
from wasp_ray.load.waits import Drawn
from wasp_ray.wire.arena import Arena, Header, lay_out
from wasp_ray.wire.control import Control, Word
from wasp_ray.worker.child import open_streams, reseed
from wasp_ray.worker.logs import preload
from wasp_ray.worker.main import run_worker
from wasp_ray.worker.spec import GeneratorPart, WorkerSpec

if TYPE_CHECKING:
    from wasp_ray.http.parts import Origin
    from wasp_ray.http.sync_connection import SyncConnection
    from wasp_ray.http.talk import Talk

RUNS, CALLS = 30, 40
CALLS_A_REQUEST = 8
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
BEFORE_START_NS = 50_000
"""Long enough for a wait."""


class Nobody(VirtualUser):
    """Does nothing."""

    def call(self) -> None:
        """Nothing."""


class Asking(VirtualUser):
    """Makes a request in some of its calls. The class is used when the HTTP client is imported already."""

    def setup(self) -> None:
        """Makes the client, whose connections lead to an answer that was given before."""
        self.http = self.context.http("http://nobody")
        self.http.dialer = Answered()
        self.calls = 0

    def call(self) -> None:
        """Asks and reads the answer."""
        self.calls += 1
        if self.calls % CALLS_A_REQUEST == 0:
            self.answer = self.http.get("/a/1").text


class Answered:
    """In place of a SyncDialer."""

    def __init__(self) -> None:
        self._peer: socket.socket | None = None

    def dial(self, origin: Origin, talk: Talk) -> SyncConnection:
        """A connection to nobody, whose answer has come already."""
        from wasp_ray.http.sync_connection import SyncConnection

        mine, self._peer = socket.socketpair()
        self._peer.sendall(ANSWER)
        return SyncConnection(mine, 1000)


def warm_up(part: GeneratorPart, like: WorkerSpec) -> None:
    """Some calls of a blocking user on memory of its own; `like` lends its numbers."""
    actor = Asking if "wasp_ray.http.sync_client" in sys.modules else Nobody
    arena = Arena.create(lay_out([(1, 1024, 1)]), shared=False)
    control = Control(arena)
    control.initialise(1)
    control.set(0, Word.RUN_LIMIT, 1)
    control.set(0, Word.KEEP_LIMIT, 1)
    quiet = replace(
        part, index=0, actor=actor, is_async=False, kind="users", feeds={}, per_user=frozenset(), pacing=None,
        think=Drawn("constant", 1, 0), max_calls=CALLS, ticket=lambda: arena.read(0, 0, Header.BEGUN),
    )  # fmt: skip
    read, write = os.pipe()
    spec = replace(
        like, arena=arena, control=control, part=quiet, ring=0, worker=0, first_user=0, users=1, wake_fd=read,
        notes_fd=write, wants_raw=True, verbose=False,
    )  # fmt: skip
    state, streams = random.getstate(), (sys.stdout, sys.stderr)
    for _ in range(RUNS):
        open_streams(spec)
        reseed(spec)
        control.start(now_ns() + BEFORE_START_NS)
        run_worker(spec)
        arena.reset(0, 0)
        spec.wants_raw = False
    random.setstate(state)
    sys.stdout, sys.stderr = streams
    os.close(read)
    os.close(write)


def preimport(actors: Iterable[type[Any]]) -> None:
    """The clients and the logger that the actors seem to use; one that is not installed is reported when it is used."""
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
