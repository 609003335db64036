"""A real HTTP server on loopback that does what a script says, byte by byte. It parses no more than it must.

A script is a list of steps, played when a request for its path came: bytes are sent as they are, the rest are the
classes of wrong_steps. Behind the last step the connection is closed, unless the script said Keep. `/good/N` is always answered
well: with N.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from support.http_clock import Clock
from support.wrong_connection import GIVE_UP_S, Served
from support.wrong_steps import Route, Script, Seen


@dataclass
class WrongServer:
    """Use as a context. `tls`: wraps each connection; `greeting`: a script played before any request is read."""

    family: int = socket.AF_INET
    address: Any = ("127.0.0.1", 0)
    tls: ssl.SSLContext | None = None
    greeting: Script | None = None
    routes: dict[str, Route] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    clock: Clock | None = None

    def on(self, path: str, *scripts: Script, reads_body: bool = True) -> None:
        """Plays a script for each request of this path, the last one from then on."""
        self.routes[path] = Route(list(scripts), reads_body)

    def go_on(self) -> None:
        """What waits for the test goes on."""
        self._later.set()

    def wait_for_end(self, path: str) -> None:
        """Until all scripts that were begun at a path have come to their end."""
        give_up, route = time.monotonic() + GIVE_UP_S, self.routes[path]
        while route.done < route.played:
            assert time.monotonic() < give_up, "the script does not end"
            time.sleep(0.001)

    def wait_for_request(self, path: str, number: int) -> None:
        """Until so many requests for a path have come."""
        give_up = time.monotonic() + GIVE_UP_S
        while len(self.seen_at(path)) < number:
            assert time.monotonic() < give_up, f"{len(self.seen_at(path))} requests have come, not {number}"
            time.sleep(0.001)

    def wait_for_open(self, number: int) -> None:
        """Until so many connections are open."""
        give_up = time.monotonic() + GIVE_UP_S
        while len(self._live) != number:
            assert time.monotonic() < give_up, f"{len(self._live)} connections are open, not {number}"
            time.sleep(0.001)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        """Of its root."""
        host = "[::1]" if self.family == socket.AF_INET6 else "127.0.0.1"
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    def seen_at(self, path: str) -> list[Seen]:
        """The requests for a path, in their order."""
        return [seen for seen in self.seen if seen.target.split("?")[0] == path]

    def __enter__(self) -> WrongServer:
        self._lock = threading.Lock()
        self._later, self._ended = threading.Event(), threading.Event()
        self._live: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._socket = socket.socket(self.family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(self.address)
        self._socket.listen(1024)
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._later.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes accept()
        with self._lock:
            for each in self._live:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(GIVE_UP_S)
            assert not thread.is_alive(), "a thread of the server hangs"
        self._socket.close()
        if self.family == socket.AF_UNIX:
            os.unlink(self.address)

    def _start(self, run: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=run, args=arguments, name="wrong-server")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                raw = self._socket.accept()[0]
            except OSError:  # the end, or no descriptor left: Linux takes one before it waits
                self._ended.wait(0.01)
                continue
            with self._lock:
                self.connections += 1
                self._live.add(raw)
            if self._ended.is_set():
                raw.close()
                return
            self._start(self._serve, raw, self.connections)

    def _serve(self, raw: socket.socket, number: int) -> None:
        raw.settimeout(GIVE_UP_S)
        sock, served = raw, None
        try:
            if self.tls is not None:
                sock = self.tls.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
                with self._lock:
                    self._live.discard(raw)
                    self._live.add(sock)
                sock.do_handshake()
            served = Served(self, sock, number)
            served.run()
        except (OSError, ValueError):  # the client went away
            pass
        finally:
            with self._lock:
                self._live.discard(raw)
                self._live.discard(sock)
            sock.close()
            if served is not None:
                served.ended()
