"""Addresses by host name, kept for a while by each process. It knows no client.

The system's resolver cannot be told how long to wait, nor be interrupted: each question is asked by a thread of its own, which
nobody has to wait for, once for all that ask it at the same time.
"""

from __future__ import annotations

import socket
import threading
from concurrent.futures import Future
from ipaddress import ip_address

from wasp_ray.clock import now_ns
from wasp_ray.http import failures
from wasp_ray.http.failures import RequestFailed

MAX_HOSTS = 1024
Address = tuple[int, tuple[str, int]]  # family, (address, port)


class Addresses:
    """A cache; clear of hosts that are addresses already."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], tuple[int, list[Address]]] = {}
        self._asked: dict[tuple[str, int], Future[list[Address]]] = {}
        self._lock = threading.Lock()

    def known(self, host: str, port: int) -> list[Address] | None:
        """None when they must be looked up."""
        try:
            literal = ip_address(host.partition("%")[0])
        except ValueError:
            kept = self._kept.get((host, port))
            return kept[1] if kept is not None and kept[0] > now_ns() else None
        return [(socket.AF_INET6 if literal.version == 6 else socket.AF_INET, (host, port))]

    def look_up(self, host: str, port: int, ttl_ns: int) -> Future[list[Address]]:
        """Never empty; raises RequestFailed. It cannot be cancelled: others may wait for it too."""
        with self._lock:
            future = self._asked.get((host, port))
            if future is None:
                future = self._asked[host, port] = Future()
                future.set_running_or_notify_cancel()
                thread = threading.Thread(
                    target=self._ask, args=(host, port, ttl_ns, future), name="wasp-dns", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:  # the system has no room for one more
                    del self._asked[host, port]
                    raise RequestFailed(failures.DNS) from None
        return future

    def _ask(self, host: str, port: int, ttl_ns: int, future: Future[list[Address]]) -> None:
        try:
            answer = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            answer = []
        found: list[Address] = list(
            dict.fromkeys((int(family), (str(at[0]), int(at[1]))) for family, _, _, _, at in answer)
        )
        with self._lock:
            if found:
                if len(self._kept) >= MAX_HOSTS:
                    self._kept.clear()
                self._kept[host, port] = (now_ns() + ttl_ns, found)
            del self._asked[host, port]
        if found:
            future.set_result(found)
        else:
            future.set_exception(RequestFailed(failures.DNS))

    def forget(self, host: str, port: int) -> None:
        """None of them could be reached."""
        self._kept.pop((host, port), None)


addresses = Addresses()
"""Of this process: its users share it."""
