"""Addresses by host name, kept for a while by each process. It does not look them up itself."""

from __future__ import annotations

import socket
from ipaddress import ip_address

from wasp_ray.clock import now_ns

MAX_HOSTS = 1024
Address = tuple[int, tuple[str, int]]  # family, (address, port)


class Addresses:
    """A cache; clear of hosts that are addresses already."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], tuple[int, list[Address]]] = {}

    def known(self, host: str, port: int) -> list[Address] | None:
        """None when they must be looked up."""
        try:
            literal = ip_address(host.partition("%")[0])
        except ValueError:
            kept = self._kept.get((host, port))
            return kept[1] if kept is not None and kept[0] > now_ns() else None
        return [(socket.AF_INET6 if literal.version == 6 else socket.AF_INET, (host, port))]

    def keep(
        self, host: str, port: int, found: list[tuple[int, int, int, str, tuple[str, int]]], ttl_ns: int
    ) -> list[Address]:
        """What getaddrinfo answered."""
        addresses = list(dict.fromkeys((family, (at[0], at[1])) for family, _, _, _, at in found))
        if len(self._kept) >= MAX_HOSTS:
            self._kept.clear()
        self._kept[host, port] = (now_ns() + ttl_ns, addresses)
        return addresses

    def forget(self, host: str, port: int) -> None:
        """None of them could be reached."""
        self._kept.pop((host, port), None)


addresses = Addresses()
"""Of this process: its users share it."""
