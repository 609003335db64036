"""Where users of tests/e2e/image/lifecycle.py ask before each step, so that a test knows and decides how far a run is."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """What one user asked for: "setup", "going" (in the middle of its calls) or "teardown". `pid`: as it sees it itself."""

    name: str
    node: int
    user: int
    pid: int


class Gate:
    """Answers at once, but for the (step, node) that are `held`, until `let`."""

    def __init__(self, held: Collection[tuple[str, int]] = ()) -> None:
        self._held, self._changed, self._closed = set(held), threading.Condition(), False
        self._asked: list[Step] = []
        self._users: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._begin(self._accept)

    def asked(self, step: str) -> list[Step]:
        """Who asked for it so far."""
        with self._changed:
            return [found for found in self._asked if found.name == step]

    def let(self) -> None:
        """Holds nothing any more."""
        with self._changed:
            self._held.clear()
            self._changed.notify_all()

    def close(self) -> None:
        """Users that still wait hear the end of the connection."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            for user in (self._server, *self._users):
                with suppress(OSError):
                    user.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._server.close()

    def _begin(self, what: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=what, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                user = self._server.accept()[0]
            except OSError:
                return
            with self._changed:
                if self._closed:
                    user.close()
                    return
                self._users.append(user)
                self._begin(self._serve, user)

    def _serve(self, user: socket.socket) -> None:
        with user, user.makefile("r") as lines, suppress(OSError):
            for line in lines:
                name, *numbers = line.split()
                step = Step(name, *map(int, numbers))
                with self._changed:
                    self._asked.append(step)
                    while (name, step.node) in self._held and not self._closed:
                        self._changed.wait()
                    if self._closed:
                        return
                user.sendall(b"\n")
