"""Runs the worker's loop a few times before the first fork, with a user that does nothing.

CPython specialises bytecode in place while it warms up; done here once, those pages stay shared by all workers instead of
being written in each. No user code runs, and nothing of it is counted.
"""

from __future__ import annotations

import os
from dataclasses import replace

from wasp_ray.load.actors import VirtualUser
from wasp_ray.wire.arena import Arena, Header, lay_out
from wasp_ray.wire.control import Control, Word
from wasp_ray.worker.host import GeneratorPart, Host
from wasp_ray.worker.main import run_worker

CALLS = 40


class Nobody(VirtualUser):
    """Does nothing."""

    def call(self) -> None:
        """Nothing."""


def rehearse(part: GeneratorPart, host_like: Host) -> None:
    """Some calls of a blocking user on memory of its own; `host_like` lends its numbers."""
    arena = Arena.create(lay_out([(1, 1024, 1)]), shared=False)
    control = Control(arena)
    control.initialise(1)
    control.start(1)
    control.set(0, Word.RUN_LIMIT, 1)
    control.set(0, Word.KEEP_LIMIT, 1)
    quiet = replace(
        part, index=0, actor=Nobody, is_async=False, kind="users", feeds={}, per_user=frozenset(), think=None, pacing=None,
        max_calls=CALLS, ticket=lambda: arena.read(0, 0, Header.BEGUN),
    )  # fmt: skip
    read, write = os.pipe()
    host = replace(
        host_like, arena=arena, control=control, part=quiet, ring=0, worker=0, first_user=0, users=1, wake_fd=read,
        notes_fd=write, wants_raw=True, verbose=False,
    )  # fmt: skip
    for _ in range(2):
        run_worker(host)
        arena.reset(0, 0)
        host.wants_raw = False
    os.close(read)
    os.close(write)
