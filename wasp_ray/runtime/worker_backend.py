"""Where workers live: the contract that forked processes and threads of one process both keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from wasp_ray.worker.spec import WorkerSpec

WorkerKey = tuple[int, int]
"""(generator index, worker number); a worker's ring has the worker's number."""


@dataclass(slots=True)
class Exit:
    """A worker that has exited. `status` as of wait4 (0 for threads); `cpu_s`: all the CPU time that its process (or thread) took;
    `cpu_wait_s`: how long its main thread waited for a core; `rss`: its own peak memory, bytes.
    """

    key: WorkerKey
    pid: int
    status: int
    cpu_s: float = 0.0
    cpu_wait_s: float = 0.0
    rss: int = 0


@dataclass(slots=True)
class Standstill:
    """A worker that a signal had stopped, from `since_ns` until it was continued or ended; monotonic."""

    key: WorkerKey
    since_ns: int
    until_ns: int


class WorkerBackend(Protocol):
    """Used by the zygote's loop only, from one thread. Nothing here waits for a worker."""

    def launch(self, specs: Sequence[WorkerSpec]) -> list[str]:
        """Start a worker for each, in order; return "" for each, or why the machine refused it."""

    def wake(self, key: WorkerKey) -> None:
        """Makes a waiting worker look at the control block. A worker that has exited is no error."""

    def kill(self, key: WorkerKey) -> None:
        """Ends a worker at once, whatever it does. A worker that has exited is no error."""

    def reap(self) -> list[Exit]:
        """The workers that have ended since the last time."""

    def standstills(self) -> list[Standstill]:
        """The standstills that ended since the last time, those of workers that `reap` found ended included. Empty where
        workers cannot be stopped.
        """

    def end_all(self) -> None:
        """Kills what is left and waits for it."""
