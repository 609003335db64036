"""Workers as forks of this single-threaded process.

Only the parent kills and reaps, so a pid is never another process.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from wasp_ray.clock import now_ns
from wasp_ray.runtime.exit_handlers import Inherited, forget_inherited_handlers, run_exit_handlers
from wasp_ray.runtime.worker_backend import Exit, Standstill, WorkerKey
from wasp_ray.runtime.zygote_main import give_back_hooks
from wasp_ray.worker import forks
from wasp_ray.worker.child import enter_child, inherited_signals, load_prctl
from wasp_ray.worker.main import run_worker
from wasp_ray.worker.spec import WorkerSpec

_END_ALL_NS = 5_000_000_000


class ForkBackend:
    """See WorkerBackend. `foreign`: descriptors of this process, now, that no worker may hold."""

    def __init__(self, foreign: Callable[[], Sequence[int]], output_fd: int) -> None:
        self._foreign, self._output = foreign, output_fd
        self._pids: dict[int, WorkerKey] = {}
        self._wakes: dict[WorkerKey, tuple[int, int]] = {}  # pid, write end of the wake pipe
        self._stopped: dict[int, int] = {}  # pid, since when
        self._standstills: list[Standstill] = []
        self._prctl = load_prctl()
        self._pid = os.getpid()
        inherited_signals()
        forks.register()
        self._inherited = Inherited.now()
        gc.collect()
        gc.freeze()
        self._base_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def launch(self, specs: Sequence[WorkerSpec]) -> list[str]:
        """Forks in a tight loop: each page this process writes between two forks is a page more of every child."""
        pipes = []
        for _ in specs:
            read, write = os.pipe()
            os.set_blocking(write, False)
            pipes.append((read, write))
        foreign = [*self._foreign(), *(fd for _, fd in self._wakes.values()), *(fd for _, fd in pipes)]
        pids: list[tuple[int, str]] = []
        for spec, (read, _) in zip(specs, pipes, strict=True):
            try:
                pid = os.fork()
            except OSError as exc:
                pids.append((0, exc.strerror or str(exc)))
                continue
            if pid == 0:
                spec.wake_fd = read
                self._live(spec, [*foreign, *(fd for fd, _ in pipes if fd != read)])
            pids.append((pid, ""))
        for spec, (read, write), (pid, why) in zip(specs, pipes, pids, strict=True):
            os.close(read)
            if why:
                os.close(write)
                continue
            key = (spec.part.index, spec.worker)
            self._pids[pid] = key
            self._wakes[key] = (pid, write)
        return [why for _, why in pids]

    def _live(self, spec: WorkerSpec, foreign: Sequence[int]) -> None:
        """In the child: ends by _exit, whatever happens."""
        code = 1
        try:
            forget_inherited_handlers()
            enter_child(spec, self._pid, self._prctl, foreign, self._output, polite=spec.part.kind == "users")
            give_back_hooks()
            run_worker(spec)
            code = 0
        finally:
            with suppress(BaseException):
                run_exit_handlers(self._inherited, spec.part.teardown_timeout_ns / 1e9)
            with suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def wake(self, key: WorkerKey) -> None:
        """One byte; a full pipe is awake anyway."""
        if key in self._wakes:
            with suppress(OSError):
                os.write(self._wakes[key][1], b"w")

    def kill(self, key: WorkerKey) -> None:
        """SIGKILL to a child that is not reaped yet."""
        if key in self._wakes:
            os.kill(self._wakes[key][0], signal.SIGKILL)

    def reap(self) -> list[Exit]:
        """wait4 for each dead worker, after a look at its scheduler statistics, which die with it."""
        exits = []
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                break
            if found is None:
                break
            pid = found.si_pid
            waited_s = _run_queue_wait_s(pid)
            _, status, usage = os.wait4(pid, 0)
            key = self._pids.pop(pid, None)
            if key is None:  # an orphan of a worker: this process is their subreaper
                continue
            os.close(self._wakes.pop(key)[1])
            self._runs_again(pid, key)
            rss = max(0, usage.ru_maxrss * 1024 - self._base_rss)
            exits.append(Exit(key, pid, status, usage.ru_utime + usage.ru_stime, waited_s, rss))
        return exits

    def standstills(self) -> list[Standstill]:
        """What the kernel reports of SIGSTOP and SIGCONT; both arrive as SIGCHLD."""
        with suppress(ChildProcessError):
            while found := os.waitid(os.P_ALL, 0, os.WSTOPPED | os.WCONTINUED | os.WNOHANG):
                key = self._pids.get(found.si_pid)
                if key is None:
                    continue
                if found.si_code == os.CLD_CONTINUED:
                    self._runs_again(found.si_pid, key)
                else:
                    self._stopped.setdefault(found.si_pid, now_ns())
        over, self._standstills = self._standstills, []
        return over

    def _runs_again(self, pid: int, key: WorkerKey) -> None:
        """Or has ended."""
        if (since := self._stopped.pop(pid, None)) is not None:
            self._standstills.append(Standstill(key, since, now_ns()))

    def end_all(self) -> None:
        """SIGKILL to every worker, reaped within 5 s."""
        give_up = now_ns() + _END_ALL_NS
        for key in list(self._wakes):
            self.kill(key)
        while self._pids and now_ns() < give_up:
            try:
                pid, _ = os.waitpid(-1, 0)
            except ChildProcessError:
                break
            self._pids.pop(pid, None)


def _run_queue_wait_s(pid: int) -> float:
    """Seconds a process waited for a CPU, from field 2 of schedstat; 0 where the kernel does not report it."""
    try:
        with open(f"/proc/{pid}/schedstat", "rb") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
