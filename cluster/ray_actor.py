"""What runs in a Ray actor on a node's host: starts the node as a process of its own, relays its lines and its orders.

Ray carries this class by value, so that a host without wasp_ray, or with another one, can say so: at its top it must not
import wasp_ray. Records never come here; the node ends itself when this process is gone, with the pipe of its orders.
"""

from __future__ import annotations

import os
import platform
import threading
from importlib.metadata import PackageNotFoundError, version
from typing import Any


class NodeActor:
    """One node. `start` first; then `read` and `end` from one thread, `send` from another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turn, self._told = 0, ([], 0.0)  # type: tuple[int, tuple[list[Any], float]]
        self._nodes: Any = None

    def start(self, number: int, order: dict[str, Any], wanted: str) -> dict[str, str]:
        """Starts the node where wasp_ray has the `wanted` version; which one there is, and where this is, either way."""
        try:
            found = version("wasp-ray")
        except PackageNotFoundError:
            found = ""
        if found == wanted:
            from wasp_ray.cluster.local import LocalNodes

            self._nodes = LocalNodes([{**order, "user_dir": os.getcwd()}], first=number)
            self._nodes.deploy()
        return {"version": found, "host": platform.node(), "kernel": boot_id(), "pid": str(os.getpid())}

    def read(self, turn: int, timeout_s: float) -> tuple[list[Any], float]:
        """What has happened since the turn before, waiting for it, and this host's wall clock. The same turn is told again:
        its answer may have been lost on the way.
        """
        from wasp_ray.clock import wall_s

        with self._lock:
            if turn != self._turn:
                self._turn, self._told = turn, (list(self._nodes.events(timeout_s)), wall_s())
            return self._told

    def send(self, order: dict[str, Any]) -> None:
        """An order for the node."""
        self._nodes.send(order)

    def end(self) -> None:
        """Ends the node, if it is still there."""
        with self._lock:
            if self._nodes is not None:
                self._nodes.clean()


def boot_id() -> str:
    """Processes with the same one have the same clock."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""
