"""Nodes as processes of this machine: the same node, barrier and life cycle as in a cluster, with none needed.

Orders go to a node's stdin as JSON lines; its end is an order to stop at once, so that no node outlives its controller.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from wasp_ray.clock import now_ns, wall_s
from wasp_ray.cluster.backend import Happening, Line
from wasp_ray.cluster.lifecycle import Cleaned, Collected, Ended, Seen
from wasp_ray.node.engines import python_command

LEAD_S = 0.3
"""From the release to the common start: many times what a pipe takes."""
END_S = 5.0
MAX_LINE_BYTES = 1 << 20
_READ = 1 << 16


class _Node:
    """One process and what of its output is no whole line yet."""

    def __init__(self, number: int, order: Mapping[str, Any]) -> None:
        self.number = number
        self.process = subprocess.Popen(
            python_command("wasp_ray.cluster.local_node"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self.uid = str(order.get("uid") or self.process.pid)
        self.rest: dict[int, bytes] = {}
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            self.rest[stream.fileno()] = b""
        self.ended_told = False
        self.send(order)

    @property
    def stdout_fd(self) -> int:
        """The descriptor of its protocol lines."""
        stream: IO[bytes] | None = self.process.stdout
        assert stream is not None
        return stream.fileno()

    def send(self, order: Mapping[str, Any]) -> None:
        """One order; a process that is gone is no error."""
        assert self.process.stdin is not None
        with suppress(OSError, ValueError):
            self.process.stdin.write(json.dumps(order).encode() + b"\n")
            self.process.stdin.flush()

    def lines(self, fd: int) -> list[str]:
        """Whole lines that are there; closes at the end of the stream."""
        data = self.rest[fd]
        ended = False
        while len(data) < MAX_LINE_BYTES:
            try:
                chunk = os.read(fd, _READ)
            except BlockingIOError:
                break
            if not chunk:
                ended = True
                break
            data += chunk
        *lines, rest = data.split(b"\n")
        if ended or len(rest) >= MAX_LINE_BYTES:
            lines, rest = ([*lines, rest] if rest else lines), b""
        if ended:
            del self.rest[fd]
        else:
            self.rest[fd] = rest
        return [line.decode("utf-8", "replace") for line in lines]


class LocalNodes:
    """See Backend. `orders`: what each node is told first, by node `first`, ..."""

    lead_s = LEAD_S

    def __init__(self, orders: Sequence[Mapping[str, Any]], first: int = 1) -> None:
        self._orders, self._first = orders, first
        self._nodes: list[_Node] = []
        self._pending: list[Happening] = []
        self._start_s: float | None = None

    def deploy(self) -> None:
        """One process a node."""
        for number, order in enumerate(self._orders[len(self._nodes) :], self._first + len(self._nodes)):
            node = _Node(number, order)
            self._nodes.append(node)
            self._pending.append(Seen(number, node.uid, f"process {node.uid}"))

    def events(self, timeout_s: float) -> Sequence[Happening]:
        """Lines and ends of processes."""
        poller = select.poll()
        owners = {fd: node for node in self._nodes for fd in node.rest}
        for fd in owners:
            poller.register(fd, select.POLLIN)
        ready = poller.poll(0 if self._pending else timeout_s * 1000)
        out, self._pending = self._pending, []
        for fd, _ in ready:
            node = owners[fd]
            is_error = fd != node.stdout_fd
            out += [Line(node.number, node.uid, text, is_error) for text in node.lines(fd)]
        for node in self._nodes:
            if not node.rest and not node.ended_told and node.process.poll() is not None:
                node.ended_told = True
                out.append(Ended(node.number, node.uid, _how(node.process.returncode)))
        return out

    def release(self) -> float:
        """All nodes have the same clock here."""
        if self._start_s is None:
            self._start_s = wall_s() + LEAD_S
        self.send({"op": "start", "at": self._start_s})
        return self._start_s

    def tell(self, order: str) -> None:
        """Through the pipes."""
        self.send({"op": order})

    def send(self, order: Mapping[str, Any]) -> None:
        """The order itself, to every node."""
        for node in self._nodes:
            node.send(order)

    def collect(self) -> None:
        """All has come through the pipes."""
        self._pending.append(Collected())

    def clean(self) -> None:
        """Ends what is left."""
        for node in self._nodes:
            assert node.process.stdin is not None
            with suppress(OSError):
                node.process.stdin.close()
        give_up = now_ns() + int(END_S * 1e9)
        for node in self._nodes:
            try:
                node.process.wait(max(0.05, (give_up - now_ns()) / 1e9))
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(node.process.pid, signal.SIGKILL)
                node.process.wait()
            for stream in (node.process.stdout, node.process.stderr):
                assert stream is not None
                stream.close()
            node.rest = {}
        self._pending.append(Cleaned())


def _how(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    try:
        return f"its process was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"its process was ended by signal {-code}"
