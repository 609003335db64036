"""The sinks that the contract suite looks at: those of the project, and some of others that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pytest
from e2e.harness.processes import free_port

from wasp_ray import Grafana, Loki, Otlp, Prometheus
from wasp_ray.errors import WaspError
from wasp_ray.sinks import registry
from wasp_ray.sinks.base import SinkBooks, SinkRun
from wasp_ray.sinks.rows import SampleRows


@dataclass(frozen=True)
class SinkCase:
    """A kind with options, and for which reasons lines of it are not delivered."""

    kind: str
    needs: frozenset[str]
    options: Mapping[str, Any] = field(default_factory=dict)
    reasons: frozenset[str] = frozenset()

    def lines(self, **handed: int) -> int:
        """How many of the lines handed in are its own."""
        return sum(number for need, number in handed.items() if need in self.needs)


class Keeper:
    """Delivers everything to a list."""

    def __init__(self, options: Mapping[str, Any], run: SinkRun) -> None:
        self.books = SinkBooks()

    async def open(self) -> None:
        """At once."""

    def _take(self, number: int) -> None:
        self.books.accepted += number
        self.books.delivered += number

    def samples(self, samples: SampleRows) -> None:
        """All of them."""
        self._take(len(samples))

    def windows(self, windows: Sequence[Mapping[str, Any]]) -> None:
        """All of them."""
        self._take(len(windows))

    def totals(self, generators: Mapping[str, Any]) -> None:
        """One state."""
        self._take(1)

    def event(self, event: Mapping[str, Any]) -> None:
        """One."""
        self._take(1)

    async def close(self, deadline_s: float) -> None:
        """Nothing is left."""


class Raising(Keeper):
    """Fails in its second window."""

    seen = 0

    def windows(self, windows: Sequence[Mapping[str, Any]]) -> None:
        """One, then none."""
        self.seen += 1
        if self.seen > 1:
            raise RuntimeError("no more")
        super().windows(windows)


class Hanging(Keeper):
    """Never delivers and never ends."""

    def _take(self, number: int) -> None:
        self.books.accepted += number

    async def close(self, deadline_s: float) -> None:
        """Not in this life."""
        await asyncio.sleep(3600)


class RaisingClose(Hanging):
    """Fails at the end."""

    async def close(self, deadline_s: float) -> None:
        """With what it has not delivered."""
        raise OSError("the disk is gone")


class Refusing(Keeper):
    """Lacks its token."""

    async def open(self) -> None:
        """Never."""
        raise WaspError("expected a token in THE_TOKEN, found none")


EVERYTHING = frozenset({"samples", "windows", "totals", "events"})
KEEPER = SinkCase("keeper", EVERYTHING)
REFUSING = SinkCase("refusing", EVERYTHING)
ALL = [
    SinkCase("grafana", Grafana.needs, Grafana().options(), reasons=frozenset({"unreachable"})),
    SinkCase("loki", Loki.needs, Loki(url="http://127.0.0.1:9").options(), reasons=frozenset({"unreachable"})),
    SinkCase("otlp", Otlp.needs, Otlp(endpoint="http://127.0.0.1:9").options(), reasons=frozenset({"unreachable"})),
    SinkCase(
        "prometheus", Prometheus.needs, Prometheus(port=free_port()).options(), reasons=frozenset({"not_scraped"})
    ),
    SinkCase("samples", frozenset({"samples"})),
    KEEPER,
    SinkCase("raising", EVERYTHING, reasons=frozenset({"sink_failed"})),
    SinkCase("hanging", EVERYTHING, reasons=frozenset({"deadline"})),
    SinkCase("raising-close", EVERYTHING, reasons=frozenset({"sink_failed"})),
]
OWN = {
    "keeper": "Keeper", "raising": "Raising", "hanging": "Hanging", "raising-close": "RaisingClose", "refusing": "Refusing",
}  # fmt: skip


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the installed ones; where a Grafana is comes from the environment alone."""
    monkeypatch.setenv("GRAFANA_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("GRAFANA_TOKEN", "t")
    installed = entry_points(group=registry.GROUP)
    own = [EntryPoint(kind, f"{__name__}:{name}", registry.GROUP) for kind, name in OWN.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: [*installed, *own])
