"""Runs the worker's loop a few times before the first fork, with a user that does nothing or asks a server that is not there.

CPython specialises bytecode in place while it warms up; done here once, those pages stay shared by all workers instead of
being written in each. No user code runs, nothing is sent, and nothing of it is counted.
"""

from __future__ import annotations

import os
import random
import socket
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from wasp_ray.clock import now_ns
from wasp_ray.load.actors import VirtualUser
from wasp_ray.load.waits import Drawn
from wasp_ray.wire.arena import Arena, Header, lay_out
from wasp_ray.wire.control import Control, Word
from wasp_ray.worker.child import open_streams, reseed
from wasp_ray.worker.host import GeneratorPart, Host
from wasp_ray.worker.main import run_worker

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
        self.http = self.context.http("http://rehearsal")
        self.http.dialer = Answered()
        self.calls = 0

    def call(self) -> None:
        """Asks and reads the answer."""
        self.calls += 1
        if self.calls % CALLS_A_REQUEST == 0:
            self.http.get("/a/1").text  # noqa: B018 - decoding is part of what users do


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


def rehearse(part: GeneratorPart, host_like: Host) -> None:
    """Some calls of a blocking user on memory of its own; `host_like` lends its numbers."""
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
    host = replace(
        host_like, arena=arena, control=control, part=quiet, ring=0, worker=0, first_user=0, users=1, wake_fd=read,
        notes_fd=write, wants_raw=True, verbose=False,
    )  # fmt: skip
    state, streams = random.getstate(), (sys.stdout, sys.stderr)
    for _ in range(RUNS):
        open_streams(host)
        reseed(host)
        control.start(now_ns() + BEFORE_START_NS)
        run_worker(host)
        arena.reset(0, 0)
        host.wants_raw = False
    random.setstate(state)
    sys.stdout, sys.stderr = streams
    os.close(read)
    os.close(write)
