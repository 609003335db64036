"""What the proxy can do to requests: faults as data, and which of them meet a request. Does no I/O.

A fault matches by method and by a regular expression on path and query. Watches and followed logs are streams of lines;
stream faults act after a number of lines.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qs, urlsplit

Effect = Literal[
    "delay",  # wait `seconds`, then go on
    "answer",  # answer `status` without asking the API server
    "hang",  # take the request and never answer
    "refuse",  # cut the connection instead of answering
    "stale",  # answer a list with the first answer to it since `Proxy.forget()`
    "drop",  # stream: after `after` lines cut the connection
    "end",  # stream: after `after` lines end the answer properly, as the API server does when a watch times out
    "stall",  # stream: after `after` lines forward nothing more, but keep the connection
    "gone",  # stream: after `after` lines one ERROR event with status 410, then the proper end
    "lag",  # stream: each line after the first `after` comes `seconds` later
    "repeat",  # stream: each line after the first `after` is sent `copies` times
    "skip",  # stream: `lines` lines after the first `after` are left out
]
STREAM_EFFECTS = frozenset({"drop", "end", "stall", "gone", "lag", "repeat", "skip"})
REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@dataclass
class Fault:
    """One kind of trouble for some requests.

    `method` is an HTTP method, `WATCH` (a GET that watches) or `*`; `path` is searched for in path and query. `times` is the
    number of requests it meets before it wears off (None: it does not), `probability` the chance to meet each.
    """

    effect: Effect
    method: str = "*"
    path: str = ""
    times: int | None = None
    probability: float = 1.0
    seconds: float = 0.0
    status: int = 500
    retry_after_s: int | None = None
    after: int = 0
    copies: int = 2
    lines: int = 1
    met: int = field(default=0, compare=False)

    def matches(self, method: str, target: str) -> bool:
        """It would meet such a request."""
        return self.method in ("*", method) and re.search(self.path, target) is not None


class Faults:
    """The faults in force; may be changed from any thread at any time."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        """Starts with these."""
        self._lock = threading.Lock()
        self._faults = list(faults)

    def set(self, *faults: Fault) -> None:
        """Puts these in place of all others."""
        with self._lock:
            self._faults = list(faults)

    def meet(self, method: str, target: str) -> list[Fault]:
        """The faults that strike this request; each is counted and may wear off."""
        with self._lock:
            struck = [fault for fault in self._faults if self._strikes(fault, method, target)]
            for fault in struck:
                fault.met += 1
            return struck

    @staticmethod
    def _strikes(fault: Fault, method: str, target: str) -> bool:
        fresh = fault.times is None or fault.met < fault.times
        return fresh and fault.matches(method, target) and random.random() < fault.probability


def method_of(method: str, target: str) -> str:
    """The HTTP method, or `WATCH`."""
    watches = parse_qs(urlsplit(target).query).get("watch", ["0"])[0] in ("1", "true", "True")
    return "WATCH" if method == "GET" and watches else method


def shape_of(target: str) -> str:
    """A path with its names replaced: `/api/v1/namespaces/*/pods/*/log`; without the query."""
    parts = urlsplit(target).path.strip("/").split("/")
    start = {"api": 2, "apis": 3}.get(parts[0], len(parts))
    rest = parts[start:]
    # RESOURCE [NAME [SUBRESOURCE]], with namespaces/NAME in front of namespaced ones
    rest = [part if index in (0, 2, 4) else "*" for index, part in enumerate(rest)]
    return "/" + "/".join(parts[:start] + rest)


def list_key(target: str) -> str:
    """What makes two lists the same but for their time."""
    split = urlsplit(target)
    query = parse_qs(split.query)
    chosen = [
        f"{name}={query[name]}" for name in ("labelSelector", "fieldSelector", "limit", "continue") if name in query
    ]
    return "&".join([split.path, *chosen])


def status_body(code: int, message: str) -> dict[str, object]:
    """A Status object as the API server answers it."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": REASONS.get(code, "Unknown"),
        "code": code,
    }
