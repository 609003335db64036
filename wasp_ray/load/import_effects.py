"""Threads and sockets that the import of a load file left behind: forked workers would miss the ones and share the others."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress


def thread_problems() -> list[str]:
    """Return a sentence for each Python thread beside the main one."""
    return [
        f"the load file leaves the Python thread {thread.name!r} running after its import: workers are forked, and a thread"
        " does not survive that; start it in setup()"
        for thread in threading.enumerate()
        if thread is not threading.main_thread()
    ]


def socket_problems() -> list[str]:
    """Return a sentence for each IPv4 or IPv6 socket that is connected or listens: users would read each other's answers."""
    return [
        f"the load file's import left {use} open: users are forked and would share it, and read each other's answers; open it"
        " in setup(), or allow it with Profile(import_sockets='warn')"
        for use in (_use_of(fd) for fd in _sockets())
        if use
    ]


def import_warnings() -> list[str]:
    """Return a sentence about native threads and one about sockets of other kinds."""
    out = []
    with suppress(OSError):
        native = len(os.listdir("/proc/self/task")) - len(threading.enumerate())
        if native > 0:
            out.append(
                f"the load file's import started {native} native threads; they do not exist in the workers, which are forked"
            )
    others = sum(not _use_of(fd) for fd in _sockets()) - 1  # one is the connection to the node
    if others > 0:
        counted = "1 open socket" if others == 1 else f"{others} open sockets"
        out.append(f"the load file's import left {counted}, which all users share: open sockets in setup()")
    return out


def _sockets() -> Iterator[int]:
    """Yield the descriptors of this process that are sockets; none where there is no /proc."""
    with suppress(FileNotFoundError):
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # the descriptor of the listing itself is closed by now
                if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                    yield int(name)


def _use_of(fd: int) -> str:
    """Return what an IPv4 or IPv6 socket is used for; "" for a socket of another kind or without a use."""
    with socket.socket(fileno=os.dup(fd)) as copy:
        if copy.family not in (socket.AF_INET, socket.AF_INET6):
            return ""
        with suppress(OSError):
            return f"a connection to {_shown(copy.getpeername())}"
        with suppress(OSError):
            if copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return f"a socket that listens on {_shown(copy.getsockname())}"
    return ""


def _shown(address: tuple[str, int]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
