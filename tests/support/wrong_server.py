"""A real HTTP server on loopback that does what a script says, byte by byte. It parses no more than it must.

A script is a list of steps, played when a request for its path came: bytes are sent as they are, the rest are the
classes below. Behind the last step the connection is closed, unless the script said Keep. `/good/N` is always answered
well: with N.
"""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

GIVE_UP_S = 30.0
"""No thread of a server outlives a test for longer, whatever the client does."""


@dataclass(frozen=True)
class Drip:
    """These bytes one by one, with a pause after each; an endless stream of them with `times` 0."""

    data: bytes
    every_s: float = 0.02
    times: int = 1


@dataclass(frozen=True)
class Endless:
    """These bytes again and again, as fast as they are taken."""

    data: bytes


@dataclass(frozen=True)
class Pause:
    """Nothing for a while."""

    s: float


@dataclass(frozen=True)
class Later:
    """The rest is sent when the test says so, by `server.go_on()`."""


@dataclass(frozen=True)
class Hang:
    """Nothing more, until the client hangs up: the end of a script that does not close."""


@dataclass(frozen=True)
class Read:
    """The body of the request, where that was not done before the script."""


@dataclass(frozen=True)
class Deaf:
    """Nothing more, and nothing is read either, until the server ends."""


@dataclass(frozen=True)
class Keep:
    """The connection is open for one more request, if this holds for the one before."""

    when: Callable[[Seen], bool] = lambda _: True


@dataclass(frozen=True)
class Reset:
    """The connection ends by RST."""


@dataclass(frozen=True)
class ByRequest:
    """Bytes that depend on the request."""

    make: Callable[[Seen], bytes]


Step = bytes | Drip | Endless | Pause | Later | Hang | Read | Deaf | Keep | Reset | ByRequest
Script = Sequence[Step]


@dataclass
class Seen:
    """A request as the server saw it; `connection` counts from 1. `body` is None where the script did not wait for it."""

    connection: int
    line: str
    headers: list[tuple[str, str]]
    body: bytes | None = None

    @property
    def method(self) -> str:
        """GET or another."""
        return self.line.split(" ")[0]

    @property
    def target(self) -> str:
        """As it was sent."""
        return self.line.split(" ")[1]

    def all(self, name: str) -> list[str]:
        """Values of a header."""
        return [value for known, value in self.headers if known.lower() == name.lower()]


@dataclass
class Route:
    """What is done at a path: scripts in turn, the last one again and again. `reads_body`: before the first step."""

    scripts: list[Script]
    reads_body: bool = True
    played: int = 0
    done: int = 0  # scripts that have come to their end, with their connection where they did not keep it


def good(number: object, *more: str, status: str = "200 OK") -> bytes:
    """A valid answer that tells the number of its request."""
    body = json.dumps({"number": number}).encode()
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *more, "", ""]
    return "\r\n".join(lines).encode() + body


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
            except OSError:
                return
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
            served = _Served(self, sock, number)
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


class _Served:
    """One connection of it."""

    def __init__(self, server: WrongServer, sock: socket.socket, number: int) -> None:
        self.server, self.sock, self.number = server, sock, number
        self.buffer = b""
        self.playing: Route | None = None

    def run(self) -> None:
        """Requests and answers, until one of them ends it."""
        server = self.server
        if server.greeting is not None and not self.play(server.greeting, None):
            return
        while (seen := self.read_head()) is not None:
            path = seen.target.split("?")[0]
            number = re.fullmatch(r"(?:http://[^/]+)?/good/(\d+)", path)
            route = server.routes.get(path)
            if route is None:
                status = "200 OK" if number else "404 Not Found"
                route = Route([[good(int(number[1]) if number else None, status=status), Keep()]])
            if route.reads_body:
                seen.body = self.read_body(seen)
            with server._lock:
                server.seen.append(seen)
                script = route.scripts[min(route.played, len(route.scripts) - 1)]
                route.played += 1
            self.playing = route
            if not self.play(script, seen):
                return
            self.ended()

    def ended(self) -> None:
        """The script has said all that it says."""
        if self.playing is not None:
            self.playing.done += 1
            self.playing = None

    def read_head(self) -> Seen | None:
        """The next request, None at the end of the connection."""
        while b"\r\n\r\n" not in self.buffer:
            if not self.receive():
                return None
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (each.partition(":") for each in lines)]
        return Seen(self.number, line, headers)

    def receive(self) -> bool:
        """Some bytes more; False at the end."""
        data = self.sock.recv(65536)
        self.buffer += data
        return bool(data)

    def read_body(self, seen: Seen) -> bytes:
        """By its length, or chunked."""
        if seen.all("transfer-encoding"):
            body = b""
            while True:
                while b"\r\n" not in self.buffer:
                    if not self.receive():
                        return body
                line, self.buffer = self.buffer.split(b"\r\n", 1)
                size = int(line, 16)
                body += self.take(size + 2)[:size]
                if not size:
                    return body
        return self.take(int((seen.all("content-length") or ["0"])[0]))

    def take(self, size: int) -> bytes:
        """So many bytes."""
        pieces, left = [self.buffer[:size]], size - len(self.buffer)
        self.buffer = self.buffer[size:]
        while left > 0:
            data = self.sock.recv(1 << 20)
            if not data:
                break
            pieces.append(data[:left])
            self.buffer = data[left:]
            left -= len(pieces[-1])
        return b"".join(pieces)

    def play(self, script: Script, seen: Seen | None) -> bool:
        """Whether the connection is still open for one more request."""
        for step in script:
            if isinstance(step, Keep):
                return seen is None or step.when(seen)
            if isinstance(step, Reset):
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            self.perform(step, seen)
            if self.server._ended.is_set():
                return False
        return False

    def perform(self, step: Step, seen: Seen | None) -> None:
        """One of the steps that leave the connection open."""
        ended = self.server._ended
        if isinstance(step, bytes):
            self.sock.sendall(step)
        elif isinstance(step, ByRequest):
            assert seen is not None
            self.sock.sendall(step.make(seen))
        elif isinstance(step, Pause):
            ended.wait(step.s)
        elif isinstance(step, Later):
            self.server._later.wait(GIVE_UP_S)
        elif isinstance(step, Hang):
            self.ended()
            while self.sock.recv(65536):
                pass
        elif isinstance(step, Read):
            assert seen is not None
            seen.body = self.read_body(seen)
        elif isinstance(step, Deaf):
            self.ended()
            ended.wait(GIVE_UP_S)
        elif isinstance(step, Endless):
            while not ended.is_set():
                self.sock.sendall(step.data)
        elif isinstance(step, Drip):
            left = step.times or 1_000_000
            while left and not ended.is_set():
                left -= 1
                for at in range(len(step.data)):
                    self.sock.sendall(step.data[at : at + 1])
                    if ended.wait(step.every_s):
                        return
