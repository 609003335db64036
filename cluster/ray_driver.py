"""The process that is Ray's driver: carries out the orders of its pipe on a RayNodes and tells what happens, line by line.

It is no thread of who runs the load test, since Ray cannot be interrupted while it connects, prints to stdout, takes
SIGTERM for itself, and ends its process when a raylet or the head is gone.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any, get_args

from wasp_ray.cluster.agent import take_stdout
from wasp_ray.cluster.backend import Happening, Line
from wasp_ray.cluster.child_process import leave
from wasp_ray.cluster.lifecycle import Broken
from wasp_ray.cluster.ray_config import RayConfig
from wasp_ray.cluster.ray_head import HeadWatch
from wasp_ray.errors import BadInput, NodeFailed

POLL_S = 0.1
MAX_CHARS = 100_000
"""Of a line, which may take six bytes a character as JSON; a line of the pipe has at most 1 MiB."""
LEAVE_S = 20.0
"""To end nodes that are left, actors and group; what Ray takes longer for it does by itself when its driver is gone."""
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # in a job that was submitted with a working_dir, the load file's folder takes its place instead of being refused
    "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1",
    "RAY_gcs_server_request_timeout_seconds": "20",  # of each request while it connects
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",  # Ray ends a driver without a head then: HeadWatch sees it sooner
}
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Happening)}


def to_data(happening: Happening) -> dict[str, Any]:
    """For JSON; see from_data. What a node's native code prints without line ends is cut."""
    if isinstance(happening, Line) and len(happening.text) > MAX_CHARS:
        happening = replace(happening, text=happening.text[:MAX_CHARS])
    return {type(happening).__name__: asdict(happening)}


def from_data(data: Mapping[str, Any]) -> Happening:
    """What `to_data` made."""
    ((kind, fields),) = data.items()
    made: Happening = _KINDS[kind](**fields)
    return made


class Driver:
    """One run. `tell` takes what the other process is to know."""

    def __init__(self, nodes: Any, tell: Callable[[Mapping[str, Any]], None]) -> None:
        self._nodes, self._tell = nodes, tell
        self._orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._connected = self._headless = False

    def run(self) -> int:
        """Until it is told to clean up."""
        threading.Thread(target=self._listen, name="wasp-orders", daemon=True).start()
        try:
            self._nodes.deploy()
        except BadInput as exc:
            self._tell({"refused": exc.problems})
            return 2
        except NodeFailed as exc:
            self._tell({"failed": str(exc)})
            return 4
        self._connected = True
        self._tell({"connected": True})
        watch = HeadWatch(self._nodes.head)
        while True:
            for happening in self._nodes.events(POLL_S):
                self._tell(to_data(happening))
            if not self._headless and watch.gone:
                self._headless = True
                self._tell(to_data(Broken(watch.gone)))
            while not self._orders.empty():
                if not self._obey(self._orders.get()):
                    return 0

    def _obey(self, order: Mapping[str, Any]) -> bool:
        match order["op"]:
            case "release":
                self._tell({"released": self._nodes.release()})
            case "tell":
                self._nodes.tell(order["order"])
            case "collect":
                self._nodes.collect()
            case "clean":
                if (
                    not self._headless
                ):  # else nobody would remove anything; hosts end what they have when they miss their head
                    self._nodes.clean()
                return False
        return True

    def _listen(self) -> None:
        for raw in sys.stdin.buffer:
            self._orders.put(json.loads(raw))
        self._orders.put({"op": "clean"})
        if not self._connected:
            _end_session()  # Ray would go on connecting
        timer = threading.Timer(LEAVE_S, _end_session)
        timer.daemon = True
        timer.start()


def _end_session() -> None:
    """This process and, of a Ray made for this run alone, Ray's."""
    os.killpg(0, signal.SIGKILL)


def main() -> int:
    """0 when all was removed."""
    write_line = take_stdout()
    order = json.loads(sys.stdin.buffer.readline() or b"null")
    if order is None:
        return 1
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from wasp_ray.cluster.ray_nodes import RayNodes  # imports ray

    nodes = RayNodes(RayConfig(**order["config"]), order["orders"], order["runtime_env"], order["kernel"])
    leave(Driver(nodes, lambda data: write_line(json.dumps(data))).run())
