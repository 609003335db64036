"""A process of ours that is told by JSON lines on its stdin, whose end is an order too, and tells by lines of its own."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

from wasp_ray.clock import now_ns
from wasp_ray.node.engines import python_command

MAX_LINE_BYTES = 1 << 20
_READ = 1 << 16
C = TypeVar("C", bound="ChildProcess")


class ChildProcess:
    """`module.main()` in an interpreter and a session of its own, told `order` first. `fds`: what it has of ours."""

    def __init__(self, module: str, order: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
        self.process = subprocess.Popen(
            python_command(module),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            pass_fds=fds,
        )  # fmt: skip
        self.rest: dict[int, bytes] = {}
        """By open descriptor, what is no whole line yet."""
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            self.rest[stream.fileno()] = b""
        self.stdout_fd = next(iter(self.rest))
        self.send(order)

    @property
    def over(self) -> bool:
        """It has ended and all it told was read."""
        return not self.rest and self.process.poll() is not None

    def send(self, order: Mapping[str, Any]) -> None:
        """One order; a process that is gone is no error."""
        assert self.process.stdin is not None
        with suppress(OSError, ValueError):
            self.process.stdin.write(json.dumps(order).encode() + b"\n")
            self.process.stdin.flush()

    def lines(self, fd: int) -> list[str]:
        """Whole lines that are there; closes at the end of the stream."""
        data = self.rest[fd]
        ended = False
        while len(data) < MAX_LINE_BYTES:
            try:
                chunk = os.read(fd, _READ)
            except BlockingIOError:
                break
            if not chunk:
                ended = True
                break
            data += chunk
        *lines, rest = data.split(b"\n")
        if ended or len(rest) >= MAX_LINE_BYTES:
            lines, rest = ([*lines, rest] if rest else lines), b""
        if ended:
            del self.rest[fd]
        else:
            self.rest[fd] = rest
        return [line.decode("utf-8", "replace") for line in lines]

    def close_stdin(self) -> None:
        """The order to end."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()

    def end(self, give_up_ns: int) -> None:
        """Waits for its end till then, then kills it and what it started."""
        self.close_stdin()
        try:
            self.process.wait(max(0.05, (give_up_ns - now_ns()) / 1e9))
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        self.rest = {}


def heard(children: Iterable[C], timeout_s: float) -> list[tuple[C, bool, str]]:
    """Lines of processes, each with whether it is of stderr, waiting for the first at most so long."""
    poller = select.poll()
    owners = {fd: child for child in children for fd in child.rest}
    for fd in owners:
        poller.register(fd, select.POLLIN)
    return [
        (owners[fd], fd != owners[fd].stdout_fd, text)
        for fd, _ in poller.poll(timeout_s * 1000)
        for text in owners[fd].lines(fd)
    ]


def leave(code: int) -> NoReturn:
    """Ends a process that has a thread at its stdin, which the interpreter's own end could not take the lock of."""
    sys.stderr.flush()
    os._exit(code)
