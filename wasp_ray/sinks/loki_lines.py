"""Results as Loki's streams: few labels, JSON lines with the field names of Go WASP where those exist. It must not do I/O."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from wasp_ray.errors import WaspError
from wasp_ray.sinks.base import SinkRun
from wasp_ray.sinks.loki_batch import Labels, Part, pack
from wasp_ray.sinks.rows import SampleRows
from wasp_ray.stats.outcomes import Outcome
from wasp_ray.wire.record import Flag

OK, TIMEOUT, ENDS_CALL = int(Outcome.OK), int(Outcome.TIMEOUT), int(Flag.ENDS_CALL)

MAX_LABELS = 14
"""Loki's own limit is 15; what is replayed has one more."""
MAX_STREAMS = 5_000
"""Loki's own limit of what a tenant may have open."""
MOST_NODE_LABELS = 50
"""Of more nodes, or more streams than Loki allows, the node is in the line alone."""
KINDS = ("responses", "stats", "events")
SUMS = (("calls_total", "calls"), ("success", "ok"), ("failed", "failed"), ("callTimeout", "timeout"))
OVERHEAD = 40
"""Bytes around a line in a push."""


class ResponseLine(msgspec.Struct, gc=False):
    """Of a sampled request or call end. `data`: what user code gave, JSON already."""

    duration: int
    response: int
    group: str
    path: str
    status_code: str
    error: str
    failed: bool
    timeout: bool
    call: int
    user: int
    worker: int
    ends_call: bool
    node: int
    batch: str
    n: int
    data: Raw | UnsetType = UNSET


_encode = msgspec.json.Encoder().encode


class LokiLines:
    """Gathers lines of one node until a batch is taken. Raises WaspError for labels that Loki would refuse."""

    def __init__(self, run: SinkRun) -> None:
        self._run, plan = run, run.typed_plan
        self.batches = f"{run.run_id}-{run.node}"
        """What the ids of its batches begin with."""
        streams = len(KINDS) * len(plan.generators) + 1
        if streams > MAX_STREAMS:
            raise WaspError(
                f"{len(plan.generators):,} Generators make {streams:,} streams, more than the {MAX_STREAMS:,} that Loki"
                " allows: have fewer of them"
            )
        self._has_node_label = run.nodes <= MOST_NODE_LABELS and streams * run.nodes <= MAX_STREAMS
        self._user_labels = {part.name: part.labels for part in plan.generators}
        self._kinds = {part.name: part.kind for part in plan.generators}
        self._known_labels: dict[tuple[str, str], Labels] = {}
        self._streams: dict[Labels, list[tuple[int, str]]] = defaultdict(list)
        self._cumulative: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._number = 1
        self.lines = self.size = 0
        for name in self._user_labels:
            found = len(self._labels("responses", name))
            if found > MAX_LABELS:
                raise WaspError(
                    f"Generator {name!r}: {found} labels make a stream that Loki refuses (at most {MAX_LABELS}): leave out some"
                    " of the Profile's or the Generator's labels"
                )

    def _labels(self, kind: str, generator: str) -> Labels:
        if (kind, generator) not in self._known_labels:
            self._known_labels[kind, generator] = self._make_labels(kind, generator)
        return self._known_labels[kind, generator]

    def _make_labels(self, kind: str, generator: str) -> Labels:
        run = self._run
        labels = {**run.typed_plan.labels, **self._user_labels.get(generator, {})}
        labels |= {"service_name": "wasp_ray", "profile": run.typed_plan.profile, "run": run.run_id, "kind": kind}
        if generator:
            labels["generator"] = generator
        if self._has_node_label:
            labels["node"] = str(run.node)
        return tuple(sorted(labels.items()))

    def _add(self, labels: Labels, at_ns: int, line: dict[str, Any]) -> None:
        """Each line is unique: its node and number are in it."""
        self.lines += 1
        line |= {"node": self._run.node, "batch": f"{self.batches}-{self._number}", "n": self.lines}
        text = json.dumps(line, separators=(",", ":"))
        self._streams[labels].append((at_ns, text))
        self.size += len(text) + OVERHEAD

    def samples(self, samples: SampleRows) -> None:
        """A line each, at the instant of its end."""
        labels, offset, node = self._labels("responses", samples.generator), self._run.wall_offset_ns, self._run.node
        lines, batch, n, size = self._streams[labels], f"{self.batches}-{self._number}", self.lines, self.size
        for sample in samples.tuples():
            due, start, end, outcome, flags, user, call, _, _, worker, group, path, status, error, data = sample
            n += 1
            text = _encode(ResponseLine(
                end - start, end - due, group, path, status, error, outcome != OK, outcome == TIMEOUT, call, user, worker,
                flags & ENDS_CALL != 0, node, batch, n, UNSET if data is None else Raw(data),
            )).decode()  # fmt: skip
            lines.append((end + offset, text))
            size += len(text) + OVERHEAD
        self.lines, self.size = n, size

    def windows(self, windows: Sequence[Mapping[str, Any]]) -> None:
        """A line each, at the end of its second; `success`, `failed` and `callTimeout` are sums since the start, as in Go WASP.

        So is `calls_total`; `before` has what they were without this second. From both a query gets what happened in any
        interval, and a line that is there twice changes nothing.
        """
        start_ns = self._run.start_ns + self._run.wall_offset_ns
        for window in windows:
            name, sums = window["generator"], self._cumulative[window["generator"]]
            before = {total: sums[total] for total, _ in SUMS}
            for total, column in SUMS:
                sums[total] += window.get(column, 0)
            line = {f"window_{key}" if key in ("failed", "timeout") else key: value for key, value in window.items()}
            line |= {
                "window": line.pop("at_s"),
                "current_rps": window["calls"],
                "current_instances": window.get("users", 0),
                "generator_kind": self._kinds.get(name, ""),
                **sums,
                "before": before,
            }
            self._add(self._labels("stats", name), start_ns + int((window["at_s"] + 1) * 1e9), line)

    def event(self, event: Mapping[str, Any]) -> None:
        """A line."""
        self._add(
            self._labels("events", event.get("generator", "")),
            event["at_ns"],
            {"event": event["event"], "text": event["text"]},
        )

    def take(self) -> tuple[Part, bytes]:
        """All that was gathered, and the body of its push; the next batch begins empty."""
        part, body = Part(self._number, 1, self.lines), pack(self._streams)
        self._streams.clear()
        self._number += 1
        self.lines = self.size = 0
        return part, body
