"""What a script for the wrong server is made of: bytes, and these."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass


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
class Taken:
    """Nothing until the client has read all that was sent."""


@dataclass(frozen=True)
class Asked:
    """Nothing until the client has sent something, which stays unread."""


@dataclass(frozen=True)
class Ahead:
    """So many seconds pass for the client, which has `server.clock`."""

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


@dataclass(frozen=True)
class Tunnel:
    """As a proxy that was asked for CONNECT: a connection to there, and all that comes is passed on, both ways."""


Step = (
    bytes
    | Tunnel
    | Drip
    | Endless
    | Pause
    | Taken
    | Asked
    | Ahead
    | Later
    | Hang
    | Read
    | Deaf
    | Keep
    | Reset
    | ByRequest
)
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
    """What is done at a path: scripts in turn, the last one again and again, or from the first again if it `cycles`.
    `reads_body`: before the first step.
    """

    scripts: list[Script]
    reads_body: bool = True
    cycles: bool = False
    played: int = 0
    done: int = 0  # scripts that have come to their end, with their connection where they did not keep it

    def next(self) -> Script:
        """The script to be played now."""
        at = self.played % len(self.scripts) if self.cycles else min(self.played, len(self.scripts) - 1)
        self.played += 1
        return self.scripts[at]


def good(number: object, *more: str, status: str = "200 OK") -> bytes:
    """A valid answer that tells the number of its request."""
    body = json.dumps({"number": number}).encode()
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *more, "", ""]
    return "\r\n".join(lines).encode() + body
