"""Makes what workers need of each Generator, once, before the first fork: rows, shared data, counters, curves."""

from __future__ import annotations

import json
import mmap
import os
import tempfile
import threading
from functools import partial
from typing import Any

from wasp_ray.load.feeders import RowOrder, RowTable, SharedCounter, load_rows, row_source
from wasp_ray.load.generator import Generator
from wasp_ray.schedule import Schedule, make_curve, share_count
from wasp_ray.worker.host import GeneratorPart, RowSource


class PartsFactory:
    """Builds the parts of one profile; `message` is the generator's prepare message."""

    def __init__(self, profile: Any, message: dict[str, Any], *, inline: bool) -> None:
        self._profile, self._message = profile, message
        self._guard = threading.Lock() if inline else None
        self._counters = 0
        self._fd = -1

    def parts(self) -> list[GeneratorPart]:
        """One part a Generator. Raises BadInput for rows that cannot be read."""
        plans = self._message["plan"]["generators"]
        return [
            self._part(index, g, plan)
            for index, (g, plan) in enumerate(zip(self._profile.generators, plans, strict=True))
        ]

    def close(self) -> None:
        """Closes the file of the counters."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _part(self, index: int, g: Generator, plan: dict[str, Any]) -> GeneratorPart:
        feeds = {name: self._feed(name, feeder, g, plan["seed"]) for name, feeder in g.feeders.items()}
        ticket = self._counter().next if g.kind == "users" and g.max_calls is not None else None
        return GeneratorPart(
            index=index, name=g.name, kind=g.kind, actor=g.actor, is_async=g.is_async, params=dict(g.params), labels=dict(g.labels),
            curve=partial(_curve, plan), think=g.think, pacing=g.pace, call_timeout_ns=g.call_timeout_ns,
            setup_timeout_ns=g.setup_timeout_ns, teardown_timeout_ns=g.teardown_timeout_ns, graceful_stop_ns=g.graceful_stop_ns,
            fail_on_error=g.fail_on_error, on_late_drop=g.on_late == "drop", sample=g.sample,
            users_per_process=g.users_per_process, feeds=feeds,
            per_user=frozenset(name for name, feeder in g.feeders.items() if feeder.per == "user"),
            shared_data=_shared(g.shared_data), ticket=ticket, max_calls=self._max_calls(g),
        )  # fmt: skip

    def _max_calls(self, g: Generator) -> int | None:
        """Guns count their ticks over all nodes, users the calls of this node."""
        if g.max_calls is None or g.kind == "rate":
            return g.max_calls
        return share_count(g.max_calls, self._message["share"], self._message["shares"])

    def _feed(self, name: str, feeder: Any, g: Generator, seed: int) -> RowSource:
        table = RowTable(load_rows(feeder, self._message["user_dir"], name), name)
        node, nodes = self._message["node"], self._message["nodes"]
        order = RowOrder(feeder.order, len(table), seed, node, nodes)
        return row_source(feeder, table, order, self._counter(), g.kind, self._message["shares"])

    def _counter(self) -> SharedCounter:
        if self._fd < 0:
            self._fd = _anonymous_file()
        os.ftruncate(self._fd, 8 * (self._counters + 1))
        counter = SharedCounter(self._fd, self._counters, self._guard)
        self._counters += 1
        return counter


def _curve(plan: dict[str, Any]) -> Any:
    return make_curve(
        Schedule.from_data(plan["schedule"]), plan["rate_unit_ns"], plan["arrivals"], plan["arrival_seed"]
    )


def _shared(data: Any) -> memoryview | None:
    """Bytes in memory that forks share and nobody can write through the view."""
    if data is None:
        return None
    if isinstance(data, str):
        data = data.encode()
    elif not isinstance(data, (bytes, bytearray, memoryview)):
        data = json.dumps(data, separators=(",", ":")).encode()
    area = mmap.mmap(-1, max(1, len(data)))
    area[: len(data)] = bytes(data)
    return memoryview(area)[: len(data)].toreadonly()


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("wasp_ray_counters", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
