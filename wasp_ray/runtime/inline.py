"""Workers as threads of this process: for pdb, for tests, and where there is no memfd.

A thread cannot be killed, only given up.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import suppress

from wasp_ray.clock import cpu_ns_of_thread, thread_cpu_ns
from wasp_ray.runtime.worker_backend import Exit, Standstill, WorkerKey
from wasp_ray.worker import forks
from wasp_ray.worker.main import run_worker
from wasp_ray.worker.spec import WorkerSpec


class _Thread:
    def __init__(self, wake_fd: int) -> None:
        self.wake_fd = wake_fd
        self.given_up = False
        self.is_over = False  # its end is reported, or will be at the next `reap`: it has one, whoever comes first
        self.thread: threading.Thread | None = None


class ThreadBackend:
    """See WorkerBackend. A worker that is killed is abandoned: its thread may go on, its ring is never used again."""

    def __init__(self) -> None:
        self._threads: dict[WorkerKey, _Thread] = {}
        self._ended: list[Exit] = []
        self._lock = threading.Lock()

    def launch(self, specs: Sequence[WorkerSpec]) -> list[str]:
        """Starts a daemon thread each."""
        for spec in specs:
            self._launch(spec)
        return [""] * len(specs)

    def _launch(self, spec: WorkerSpec) -> None:
        key = (spec.part.index, spec.worker)
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        entry = _Thread(wake_write)
        spec.wake_fd = wake_read
        spec.owns_process = False
        spec.abandoned = lambda: entry.given_up
        entry.thread = threading.Thread(
            target=self._live, args=(key, spec, entry), name=f"wasp-{spec.part.name}-{spec.worker}", daemon=True
        )
        self._threads[key] = entry
        forks.register()
        entry.thread.start()

    def _live(self, key: WorkerKey, spec: WorkerSpec, entry: _Thread) -> None:
        try:
            run_worker(spec)
        finally:
            with suppress(OSError):
                os.close(spec.wake_fd)
            with self._lock:
                self._end(key, entry, 0, thread_cpu_ns())

    def wake(self, key: WorkerKey) -> None:
        """One byte; a full pipe is awake anyway."""
        if key in self._threads:
            with suppress(OSError):
                os.write(self._threads[key].wake_fd, b"w")

    def kill(self, key: WorkerKey) -> None:
        """Gives the thread up; it is reported as gone."""
        entry = self._threads.get(key)
        if entry is None:
            return
        with self._lock:
            entry.given_up = True
            ident = entry.thread.ident if entry.thread is not None and not entry.is_over else None
            self._end(key, entry, 9, 0 if ident is None else cpu_ns_of_thread(ident))
        self.wake(key)

    def _end(self, key: WorkerKey, entry: _Thread, status: int, cpu_ns: int) -> None:
        if not entry.is_over:
            entry.is_over = True
            self._ended.append(Exit(key, 0, status, cpu_ns / 1e9))

    def reap(self) -> list[Exit]:
        """Threads that have ended or were given up."""
        with self._lock:
            ended, self._ended = self._ended, []
        for gone in ended:
            os.close(self._threads.pop(gone.key).wake_fd)
        return ended

    def standstills(self) -> list[Standstill]:
        """None: a signal stops the whole process, which the aggregator's thread notices."""
        return []

    def end_all(self) -> None:
        """Gives up what is left."""
        for key in list(self._threads):
            self.kill(key)
        self.reap()
