"""Processes that user code forks from a worker: each is a copy of it that must neither write for it nor continue as it.

At the fork the child's view of the run's memory becomes its own, and the worker's descriptors lead nowhere in it. It may use
groups, records and everything else, of which nothing is counted. Where it comes back from user code, by a return or an
exception, it ends. The worker counts such children. A fork that starts a program (subprocess, os.spawn*) is left alone.
"""

from __future__ import annotations

import opcode
import os
import signal
import sys
from contextlib import suppress
from threading import get_ident
from types import FrameType, TracebackType
from typing import NoReturn

from wasp_ray.errors import StopUser
from wasp_ray.load.locate import trim_traceback
from wasp_ray.wire.arena import Header
from wasp_ray.wire.control import Control, Word
from wasp_ray.wire.ring import RingWriter
from wasp_ray.worker.spec import WorkerSpec

has_forked = False
"""Whether this process was forked from a worker by user code: looked at where getpid() would cost too much."""
_ENDLESS = 1 << 62
_SEND = opcode.opmap["SEND"]
_workers: dict[int, tuple[WorkerSpec, RingWriter]] = {}
"""By thread: one in a process of its own, several in the inline runtime."""
_is_registered = False


def register() -> None:
    """Have forks of this process and of its forks noticed from now on, for good; without workers in it they mean nothing."""
    global _is_registered
    if not _is_registered:
        _is_registered = True
        os.register_at_fork(after_in_parent=_in_parent, after_in_child=_in_child)


def watch(spec: WorkerSpec, writer: RingWriter) -> None:
    """From now on until `unwatch` this thread is that of a worker."""
    spec.pid = os.getpid()
    _workers[get_ident()] = spec, writer


def unwatch() -> None:
    """The worker of this thread has ended."""
    _workers.pop(get_ident(), None)


class ForkGuard:
    """Around user code: a process that it forked ends at the end of the block, with the exit code that Python would give it."""

    __slots__ = ("_spec",)

    def __init__(self, spec: WorkerSpec) -> None:
        self._spec = spec

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        end_if_forked(self._spec.pid, exc)


def end_if_forked(pid: int, exc: BaseException | None = None) -> None:
    """Called with the pid of the process that user code was entered in, and with what it raised."""
    if os.getpid() != pid:
        _end(exc)


def _end(exc: BaseException | None) -> NoReturn:
    code = 1
    with suppress(Exception):  # of a __str__, or a stream that was closed
        code = _exit_code(exc)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _exit_code(exc: BaseException | None) -> int:
    """Return the exit code of an interpreter that ends with this exception, and print what it would print."""
    if exc is None or isinstance(exc, StopUser):
        return 0
    if not isinstance(exc, SystemExit):
        print(trim_traceback(exc, ""), file=sys.stderr)
        return 1
    if exc.code is None or isinstance(exc.code, int):
        return (exc.code or 0) & 0xFF
    print(exc.code, file=sys.stderr)
    return 1


def _in_parent() -> None:
    if _workers and not _starts_program(sys._getframe(1)):
        with suppress(RuntimeError, StopIteration):  # the inline runtime's last worker ends meanwhile
            any_worker = iter(_workers.values())  # of which a thread of the user's may be
            spec, _ = _workers.get(get_ident()) or next(any_worker)
            spec.arena.words[spec.header(Header.FORKS)] += 1


def _in_child() -> None:
    global has_forked
    caller = sys._getframe(1)
    if not _workers or _starts_program(caller):
        return
    has_forked = True
    try:
        _detach(list(_workers.values()))
        never_returns = caller.f_globals.get("__name__") == "multiprocessing.popen_fork"
        if not never_returns and any(spec.part.is_async for spec, _ in _workers.values()):
            _end_at_return_to_loop(caller)
    except BaseException as exc:  # which Python would ignore
        _end(exc)
    _workers.clear()


def _detach(workers: list[tuple[WorkerSpec, RingWriter]]) -> None:
    """Separate this process from all workers of its parent: nothing that it writes is seen in their memory."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for spec, writer in workers:
        spec.arena.make_private()
        spec.arena.words[spec.header(Header.TAIL)] = _ENDLESS  # nobody reads: there is always room
        spec.arena.words[Control.at(spec.part.index, Word.RUN_LIMIT)] = 0  # no user begins another call
        writer.repair_after_fork()
        spec.part.guard._at_fork_reinit()
        for fd in {spec.wake_fd, spec.notes_fd, spec.ticks_fd} - {-1}:
            os.dup2(null, fd, inheritable=False)
    os.close(null)
    with suppress(ValueError):  # of an event loop, which would take this process' signals for its own
        signal.set_wakeup_fd(-1)


def _end_at_return_to_loop(frame: FrameType | None) -> None:
    """End the process where the coroutine or callback that forked, with `frame` on its stack, gives way to the event loop.

    The loop would run what is ready of its other tasks, which are the parent's, and read from descriptors of its own. No
    callback of ours comes before that; the profiler does, at a price that only such a child pays.
    """
    import asyncio  # is there: a worker has a loop

    run = asyncio.Runner.run.__code__
    while frame is not None and (frame.f_back is None or frame.f_back.f_code is not run):
        frame = frame.f_back
    if frame is None:  # a thread beside the loop's
        return

    def profile(at: FrameType, event: str, _: object) -> None:
        if event == "return" and at is frame:  # of a coroutine a yield, too
            os._exit(0)

    sys.setprofile(profile)


def _starts_program(caller: FrameType) -> bool:
    """Tell by the Python code that forks whether a program takes the place of the child at once. Python runs the hooks then, too,
    if there is a preexec_fn.

    uvloop forks for its subprocesses in a coroutine that has no frame of its own: it shows as an `await` of its caller, or as
    asyncio itself.
    """
    module = str(caller.f_globals.get("__name__"))
    if module in ("subprocess", "os") or module.partition(".")[0] == "asyncio":
        return True
    return caller.f_code.co_code[caller.f_lasti] == _SEND
