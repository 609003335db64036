"""Runs the worker's loop a few times before the first fork, with a user that does nothing.

CPython specialises bytecode in place while it warms up; done here once, those pages stay shared by all workers instead of
being written in each. No user code runs, and nothing of it is counted.
"""

from __future__ import annotations

import os
import random
import sys
from dataclasses import replace

from wasp_ray.clock import now_ns
from wasp_ray.load.actors import VirtualUser
from wasp_ray.load.waits import Drawn
from wasp_ray.wire.arena import Arena, Header, lay_out
from wasp_ray.wire.control import Control, Word
from wasp_ray.worker.child import open_streams, reseed
from wasp_ray.worker.host import GeneratorPart, Host
from wasp_ray.worker.main import run_worker

RUNS, CALLS = 30, 40
BEFORE_START_NS = 50_000
"""Long enough for a wait."""


class Nobody(VirtualUser):
    """Does nothing."""

    def call(self) -> None:
        """Nothing."""


def rehearse(part: GeneratorPart, host_like: Host) -> None:
    """Some calls of a blocking user on memory of its own; `host_like` lends its numbers."""
    arena = Arena.create(lay_out([(1, 1024, 1)]), shared=False)
    control = Control(arena)
    control.initialise(1)
    control.set(0, Word.RUN_LIMIT, 1)
    control.set(0, Word.KEEP_LIMIT, 1)
    quiet = replace(
        part, index=0, actor=Nobody, is_async=False, kind="users", feeds={}, per_user=frozenset(), pacing=None,
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
