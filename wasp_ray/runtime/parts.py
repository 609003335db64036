"""Makes what workers need of each Generator, once, before the first fork: rows, shared data, counters, curves."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from wasp_ray.load.feeders import RowOrder, RowTable, SharedCounter, load_rows, pack_rows, row_source
from wasp_ray.load.generator import Generator
from wasp_ray.plan import Plan
from wasp_ray.schedule import share_count
from wasp_ray.wire.shared import share, shared_view
from wasp_ray.worker.spec import GeneratorPart, RowSource


class PartsFactory:
    """Builds the parts of one profile; `message` is the generator's prepare message. Raises DataError for one without a plan.

    What workers share lies in files of memory. A process that is no fork makes the same part of `given`, the descriptors
    that `files` returned where they were made.
    """

    def __init__(
        self, profile: Any, message: dict[str, Any], *, inline: bool, given: Sequence[int] | None = None
    ) -> None:
        self._generators, self._message, self._plan = profile.generators, message, Plan.from_data(message["plan"])
        self._inline, self._guard = inline, threading.Lock()
        self._given = None if given is None else list(given)
        self._files: dict[int, list[int]] = {}

    def parts(self) -> list[GeneratorPart]:
        """One part a Generator. Raises BadInput for rows that cannot be read."""
        return [self.part(index) for index in range(len(self._generators))]

    def files(self, index: int) -> list[int]:
        """What processes that are no forks need of a Generator."""
        return self._files.get(index, [])

    def close(self) -> None:
        """Closes what is still open."""
        for files in self._files.values():
            for fd in files:
                os.close(fd)
        self._files.clear()

    def part(self, index: int) -> GeneratorPart:
        """Return the part of a Generator. Raises BadInput for rows that cannot be read."""
        g: Generator = self._generators[index]
        plan = self._plan.generators[index]
        has_tickets = plan.kind == "users" and plan.max_calls is not None
        counters = self._counters(index, len(g.feeders) + has_tickets)
        feeds = {
            name: self._feed(index, name, feeder, plan.seed, counter)
            for (name, feeder), counter in zip(g.feeders.items(), counters, strict=False)
        }
        shared = None if g.shared_data is None else self._view(index, lambda: [_as_bytes(g.shared_data)])
        planned: dict[str, Any] = {field.name: getattr(plan, field.name) for field in fields(plan)}
        if has_tickets:
            planned["max_calls"] = share_count(plan.max_calls or 0, self._message["share"], self._message["shares"])
        return GeneratorPart(
            **planned, index=index, actor=g.actor, params=dict(g.params), think=g.think, pacing=g.pace, sample=g.sample,
            feeds=feeds, per_user=frozenset(name for name, feeder in g.feeders.items() if feeder.per == "user"),
            shared_data=shared, ticket=counters[-1].next if has_tickets else None, guard=self._guard,
        )  # fmt: skip

    def _feed(self, index: int, name: str, feeder: Any, seed: int, counter: SharedCounter) -> RowSource:
        packed = self._view(index, lambda: pack_rows(load_rows(feeder, self._message["user_dir"], name), name))
        table = RowTable(packed)
        order = RowOrder(feeder.order, len(table), seed, self._message["node"], self._message["nodes"])
        return row_source(feeder, table, order, counter, self._generators[index].kind, self._message["shares"])

    def _counters(self, index: int, count: int) -> list[SharedCounter]:
        if not count:
            return []
        fd = self._file(index, lambda: [bytes(8 * count)])
        return [SharedCounter(fd, at, self._guard) for at in range(count)]

    def _view(self, index: int, pieces: Callable[[], Sequence[bytes | bytearray | memoryview]]) -> memoryview:
        """Threads need no file, forks its mapping only, others the file as well."""
        if self._inline:
            return memoryview(b"".join(pieces())).toreadonly()
        fd = self._file(index, pieces)
        view = shared_view(fd)
        if self._generators[index].placement is None:
            self._files[index].remove(fd)
            os.close(fd)
        return view

    def _file(self, index: int, pieces: Callable[[], Sequence[bytes | bytearray | memoryview]]) -> int:
        fd = share("parts", pieces()) if self._given is None else self._given.pop(0)
        self._files.setdefault(index, []).append(fd)
        return fd


def _as_bytes(data: Any) -> bytes | bytearray | memoryview:
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, (bytes, bytearray, memoryview)):
        return data
    return json.dumps(data, separators=(",", ":")).encode()
