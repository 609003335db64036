"""One connection of the wrong server: requests as they come, and the scripts that are played for them."""

from __future__ import annotations

import re
import select
import socket
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from support.wrong_steps import (
    Ahead,
    Asked,
    ByRequest,
    Deaf,
    Drip,
    Endless,
    Hang,
    Keep,
    Later,
    Pause,
    Read,
    Reset,
    Route,
    Script,
    Seen,
    Step,
    Taken,
    Tunnel,
    good,
)

if TYPE_CHECKING:
    from support.wrong_server import WrongServer

GIVE_UP_S = 30.0
"""No thread of a server outlives a test for longer, whatever the client does."""
TURN_S = 0.05


class Served:
    """`run` it to its end; it may raise OSError and ValueError when the client goes away."""

    def __init__(self, server: WrongServer, sock: socket.socket, number: int) -> None:
        self.server, self.sock, self.number = server, sock, number
        if server.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is sent in pieces comes in pieces
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
                script = route.next()
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
        elif isinstance(step, Taken):
            self.wait_until_read()
        elif isinstance(step, Asked):
            self.sock.recv(1, socket.MSG_PEEK)
        elif isinstance(step, Ahead):
            assert self.server.clock is not None
            self.server.clock.advance(step.s)
        elif isinstance(step, Later):
            self.server._later.wait(GIVE_UP_S)
        elif isinstance(step, Hang):
            self.ended()
            while self.sock.recv(65536):
                pass
        elif isinstance(step, Tunnel):
            assert seen is not None
            self.tunnel(seen.target)
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

    def wait_until_read(self) -> None:
        """Until neither this socket's queue to the client nor the client's own holds a byte: a reset would throw it away."""
        here, there = (_in_proc(address) for address in (self.sock.getsockname(), self.sock.getpeername()))
        give_up = time.monotonic() + GIVE_UP_S
        while True:
            lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
            queues = {(own, other): queued.split(":") for _, own, other, _, queued, *_ in lines}
            to_send = queues.get((here, there), ["0", "0"])[0]
            to_read = queues.get((there, here), ["0", "0"])[1]
            if int(to_send, 16) == int(to_read, 16) == 0 or self.server._ended.is_set():
                return
            assert time.monotonic() < give_up, "the client does not read"
            time.sleep(0.001)

    def tunnel(self, target: str) -> None:
        """Passes on what comes, until one of the two ends."""
        host, _, port = target.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), GIVE_UP_S) as other:
            self.sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self.ended()
            ways = {self.sock: other, other: self.sock}
            while not self.server._ended.is_set():
                for source in select.select(list(ways), [], [], TURN_S)[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    ways[source].sendall(data)


def _in_proc(address: tuple[str, int]) -> str:
    """An address as /proc/net/tcp has it."""
    return f"{int.from_bytes(socket.inet_aton(address[0]), sys.byteorder):08X}:{address[1]:04X}"
