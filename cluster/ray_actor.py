"""What runs in Ray actors on the hosts: one starts a node as a process of its own and relays its lines and its orders, others
are users.

Ray carries NodeActor by value, so that a host without wasp_ray, or with another one, can say so: at its top it must not
import wasp_ray. Records never come here; the node ends itself when this process is gone, with the pipe of its orders.
"""

from __future__ import annotations

import os
import platform
import threading
from importlib.metadata import PackageNotFoundError, version
from typing import Any


class NodeActor:
    """One node, or who reads the plan before there is one. `start` first; then `read` and `end` from one thread, `send` from
    another.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turn, self._told = 0, ([], 0.0)  # type: tuple[int, tuple[list[Any], float]]
        self._nodes: Any = None
        self._users: Any = None

    def plan(self, order: dict[str, Any], wanted: str) -> dict[str, Any]:
        """What `start` tells, and where wasp_ray has the `wanted` version the `plan` of that node, `problems` or an `error`."""
        facts = _facts()
        if facts["version"] != wanted:
            return facts
        from wasp_ray.cluster.ray_plan import read_plan

        return {**facts, **read_plan({**order, "user_dir": os.getcwd()})}

    def start(
        self, number: int, order: dict[str, Any], wanted: str, group: Any, users: dict[str, Any]
    ) -> dict[str, Any]:
        """Starts the node where wasp_ray has the `wanted` version; which one there is, and where this is, either way. `users`:
        what a placed user of each Generator asks for, in place `number` of the `group`.
        """
        facts = _facts()
        if facts["version"] == wanted:
            from wasp_ray.cluster.local import LocalNodes
            from wasp_ray.cluster.ray_users import RayUsers

            order = {**order, "user_dir": os.getcwd()}
            if users:
                self._users = RayUsers(group, number - 1, users, order.get("env", {}))
                order |= {"places": True, "placer": self._users.fds}
            self._nodes = LocalNodes([order], first=number)
            self._nodes.deploy()
            if users:
                self._users.begin()
        return facts

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
            if self._users is not None:
                self._users.close()


class UserActor:
    """One placed user, or a pack: what it is to do is told by its node, with the node's memory."""

    def live(self, address: str, name: list[int], env: dict[str, str]) -> None:
        """To its end, in this process' main thread."""
        from wasp_ray.runtime.placed_user import live

        os.environ.update(env)
        live(address, name)


def _facts() -> dict[str, Any]:
    try:
        found = version("wasp-ray")
    except PackageNotFoundError:
        found = ""
    return {"version": found, "host": platform.node(), "kernel": boot_id()}


def boot_id() -> str:
    """Processes with the same one have the same clock."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""
