"""Nodes on Ray as the controller sees them: the process that is Ray's driver, its deadline, and what is left when it ends."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from wasp_ray.clock import now_ns, wall_s
from wasp_ray.cluster.backend import Happening, Line
from wasp_ray.cluster.child_process import ChildProcess, heard
from wasp_ray.cluster.lifecycle import Broken, Cleaned, Collected, Ended, Seen
from wasp_ray.cluster.ray_config import LEAD_S
from wasp_ray.cluster.ray_driver import LEAVE_S, from_data
from wasp_ray.errors import BadInput

CONNECT_S = 30.0
MAKE_S = 90.0
"""For a Ray that is made for this run alone."""
SEND_S = 600.0
"""For the load file's folder, which may have 512 MiB, once Ray says that it sends it."""
RELEASE_S = 5.0
UNCONNECTED_S = 1.0
"""For a driver that connects to end by itself: Ray may let none of its threads run meanwhile."""
_PREFIX = re.compile(r"^(\[[^\]]*\] (\(\S+\) )?\S+:\d+: |\d{4}-\S+ \S+\s)")
"""Of a log line of Ray's: time, process, place in its source."""
_CURE = (
    "a driver needs a raylet on its own host, and all ports of the cluster's hosts: they must not listen on loopback only or be"
    " behind a firewall; start the run inside of the cluster (`ray job submit -- wasp run ... --on ray`)"
)
_SENDING, _SENT = "Pushing file package", "Successfully pushed file package"


class RayProcess:
    """See Backend. `order`: what ray_driver is told first; `address`: where its cluster is."""

    lead_s = LEAD_S

    module = "wasp_ray.cluster.ray_driver"

    def __init__(self, address: str, order: Mapping[str, Any]) -> None:
        self._address, self._order = address, order
        self._child: ChildProcess | None = None
        self._pending: list[Happening] = []
        self._said: deque[str] = deque(maxlen=3)
        self._connected = False
        self._nodes: dict[int, str] = {}
        self._start_s: float | None = None
        self._over_told = False

    def deploy(self) -> None:
        """Begins to connect; what becomes of that is told by events."""
        if self._child is None:
            self._child = ChildProcess(self.module, self._order)
            self._allow(MAKE_S if self._address == "local" else CONNECT_S)

    def _allow(self, seconds: float) -> None:
        self._seconds, self._deadline_ns = seconds, now_ns() + int(seconds * 1e9)

    def events(self, timeout_s: float) -> Sequence[Happening]:
        """What the driver tells. Raises BadInput for what Ray cannot be asked."""
        out, self._pending = self._pending, []
        if self._child is None:
            return out
        out += self._hear(self._child, 0 if out else timeout_s)
        if _is_over(self._child) and not self._over_told:
            out += self._over(self._child)
        elif not self._connected and not self._over_told and now_ns() >= self._deadline_ns:
            out += self._broken(self._too_late())
        return out

    def _hear(self, child: ChildProcess, timeout_s: float) -> list[Happening]:
        out: list[Happening] = []
        for _, is_error, text in heard([child], timeout_s):
            out += self._print(text) if is_error else self._told(json.loads(text))
        return out

    def _print(self, text: str) -> list[Happening]:
        """What Ray prints: kept, and of use when it fails."""
        if text.strip() and not text.startswith((" ", "\t")) and "\tINFO " not in text:
            self._said.append(_PREFIX.sub("", text.strip()))
        if not self._connected and _SENDING in text:
            self._allow(SEND_S)
        elif not self._connected and _SENT in text:
            self._allow(CONNECT_S)
        return [Line(0, "", text, is_error=True)]

    def _told(self, data: Mapping[str, Any]) -> list[Happening]:
        match data:
            case {"refused": problems}:
                raise BadInput(problems)
            case {"failed": why}:
                return self._broken(why)
            case {"connected": _}:
                self._connected = True
                return []
            case {"released": start_s}:
                self._start_s = start_s
                return []
        happening = from_data(data)
        match happening:
            case Seen(node, uid):
                self._nodes[node] = uid
            case Ended(node):
                self._nodes.pop(node, None)
        return [happening]

    def _broken(self, why: str) -> list[Happening]:
        """There is no driver, or none any more."""
        self._over_told = True
        return [Broken(why), *(Ended(node, uid, "Ray's driver was gone") for node, uid in self._nodes.items())]

    def _over(self, child: ChildProcess) -> list[Happening]:
        if not self._connected:
            return self._broken(
                f"the Ray cluster at {self._address} did not take this process as a driver: {_CURE}.{self._last_words()}"
            )
        return self._broken(
            f"the process that is Ray's driver ended with {child.process.returncode}, as Ray ends it when the raylet of this"
            f" host is gone.{self._last_words()}"
        )

    def _too_late(self) -> str:
        return (
            f"the Ray cluster at {self._address} did not take this process as a driver within {self._seconds:g} s:"
            f" {_CURE}.{self._last_words()}"
        )

    def _last_words(self) -> str:
        return f" Ray said: {' '.join(self._said)}"[:800] if self._said else ""

    def release(self) -> float:
        """The instant that the driver tells the nodes."""
        self._send({"op": "release"})
        give_up = now_ns() + int(RELEASE_S * 1e9)
        while self._start_s is None and self._child is not None and not _is_over(self._child) and now_ns() < give_up:
            self._pending += self._hear(self._child, 0.1)
        return self._start_s if self._start_s is not None else wall_s()

    def tell(self, order: str) -> None:
        """By the driver's calls of its actors."""
        self._send({"op": "tell", "order": order})

    def collect(self) -> None:
        """As the driver collects, if it can hear."""
        if self._child is None or not self._connected or _is_over(self._child):
            self._pending.append(Collected())
        else:
            self._send({"op": "collect"})

    def _send(self, order: Mapping[str, Any]) -> None:
        if self._child is not None:
            self._child.send(order)

    def clean(self) -> None:
        """Has the driver remove all; one that takes too long is killed, upon which Ray does it."""
        child, self._child = self._child, None
        if child is not None:
            child.close_stdin()
            give_up_ns = now_ns() + int((LEAVE_S if self._connected else UNCONNECTED_S) * 1e9)
            while not _is_over(child) and now_ns() < give_up_ns:
                for _, is_error, text in heard([child], 0.2):
                    if is_error:
                        self._pending.append(Line(0, "", text, is_error=True))
            child.end(give_up_ns)
        self._pending.append(Cleaned())


def _is_over(child: ChildProcess) -> bool:
    """All it told was read; of its stderr a Ray that it had made may keep an end."""
    return child.stdout_fd not in child.rest and child.process.poll() is not None
