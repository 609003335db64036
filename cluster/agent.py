"""A node that is steered from outside: tells its story in protocol lines, waits for the common start, obeys.

It owns the one writer of this process' stdout; what users print goes to stderr. Where the orders come from (a pipe, a
Kubernetes object) is its starter's affair: `open_at`, `stop`, `command` may be called from any thread.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wasp_ray._version import __version__
from wasp_ray.clock import now_ns, wall_s
from wasp_ray.cluster.snapshot import Encoder, packed_size
from wasp_ray.errors import BadInput
from wasp_ray.execution import run_node
from wasp_ray.node.gate import HeldGate
from wasp_ray.node.node import Node
from wasp_ray.node.options import NodeOptions, NodeResult
from wasp_ray.plan import Plan
from wasp_ray.report.listener import Listener, Snapshot
from wasp_ray.stats.seconds import Seconds

STATE_EVERY_NS = 1_000_000_000
STEPS = (128, 32, 16, 8)
"""Buckets of the histograms of a second to an octave; 128 are exact."""
MAX_NOTE_CHARS = 6000


class Agent(Listener):
    """One node of a run, and its Listener. `write_line` takes whole lines; `on_ready` is called when it could start. Histograms of
    seconds have as many buckets as fit into `bytes_per_s`, None for no limit; all counts are exact.
    """

    def __init__(
        self, options: NodeOptions, uid: str, write_line: Callable[[str], None], on_ready: Callable[[], None],
        bytes_per_s: int | None = None,
    ) -> None:  # fmt: skip
        self._encoder = Encoder(options.run_id, options.node + 1, uid)
        self._write_line, self._on_ready = write_line, on_ready
        self._lock = threading.Lock()
        self._bytes_per_s, self._steps = bytes_per_s, [*STEPS]
        self._next_state = 0
        self._gate = HeldGate(self._ready)
        self.node = Node(options, self, self._gate)

    # -- orders, from any thread

    def open_at(self, start_wall_s: float) -> None:
        """t = 0 is this instant of this machine's wall clock."""
        self._gate.open(now_ns() + int((start_wall_s - wall_s()) * 1e9))
        self.node.wake()

    def stop(self, *, at_once: bool = False) -> None:
        """Ends the load with its grace, or at once."""
        self.node.stop()
        if at_once:
            self.node.stop()

    def command(self, name: str) -> None:
        """As Node.command."""
        self.node.command(name)

    # -- the run

    def run(self) -> NodeResult | None:
        """To the result, which is told; None when the input was refused, which is told as well."""
        try:
            result = run_node(self.node)
        except BadInput as exc:
            self._tell("refused", {"problems": exc.problems})
            return None
        self._tell("result", result.to_data())
        return result

    def _tell(self, kind: str, data: Mapping[str, Any]) -> None:
        with self._lock:
            for line in self._encoder.lines(kind, data):
                self._write_line(line)

    def _ready(self) -> None:
        self._tell("ready", {"at": wall_s()})
        self._on_ready()

    # -- told by the node

    def begin(self, plan: Plan, warnings: Sequence[str]) -> None:
        """The load is known: what others compare and a controller shows."""
        shared = plan.seeded(None)
        self._tell("plan", {
            "plan": shared.to_data(), "warnings": list(warnings), "hash": plan_hash(shared), "version": __version__,
            "python": platform.python_version(), "host": platform.node(), "at": wall_s(),
        })  # fmt: skip

    def update(self, snapshot: Snapshot) -> None:
        """A cumulative state a second; before the start it is the heartbeat."""
        now = now_ns()
        if now < self._next_state:
            return
        self._next_state = now + STATE_EVERY_NS
        stopped = [generator.name for generator in self.node.generators if generator.stops_everywhere]
        self._tell("state", {**snapshot.to_data(), "at": wall_s(), "stopped": stopped})

    def windows(self, closed: Seconds) -> None:
        """Reported at once, with the finest histograms that there is room for; once they were too fine they stay coarse."""
        seconds = max(map(len, closed.values()), default=0)
        data = self._thinned(closed)
        while (
            self._bytes_per_s is not None and len(self._steps) > 1 and packed_size(data) > self._bytes_per_s * seconds
        ):
            self._steps = self._steps[1:]
            data = self._thinned(closed)
        if seconds:
            self._tell("windows", data)

    def _thinned(self, closed: Seconds) -> dict[str, Any]:
        steps = self._steps[0]
        return {name: [second.thinned(steps).to_data() for second in seconds] for name, seconds in closed.items()}

    def note(self, text: str) -> None:
        """A message of the engine."""
        self._tell("note", {"text": text[:MAX_NOTE_CHARS]})

    def output(self, line: str) -> None:
        """What user code printed is no protocol."""
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def plan_hash(plan: Plan) -> str:
    """The same for the same load, whatever process described it."""
    return hashlib.sha256(json.dumps(plan.to_data(), sort_keys=True).encode()).hexdigest()


def take_stdout() -> Callable[[str], None]:
    """A writer of whole lines to this process' stdout, which nobody else has from now on: file 1 becomes stderr."""
    fd = os.dup(1)
    os.dup2(2, 1)

    def write_line(line: str) -> None:
        raw = line.encode() + b"\n"
        while raw:
            raw = raw[os.write(fd, raw) :]

    return write_line


def options_from(data: Mapping[str, Any]) -> NodeOptions:
    """NodeOptions of an order's JSON. Raises TypeError for an unknown name."""
    folder = data.get("bundle_dir")
    return NodeOptions(**{**data, "bundle_dir": Path(folder) if folder else None})
