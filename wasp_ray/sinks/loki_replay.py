"""Pushes what runs have left in their bundles. It must not print."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wasp_ray.errors import BadInput
from wasp_ray.sinks.base import SinkBooks
from wasp_ray.sinks.loki_batch import replayed
from wasp_ray.sinks.loki_courier import Courier
from wasp_ray.sinks.loki_server import TARGET_NAMES, LokiServer, root_of
from wasp_ray.sinks.loki_spool import TARGET, Spool

TOLD_S = 0.5
Told = Callable[[SinkBooks], None]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A spool with lines in it."""

    spool: Spool
    target: Mapping[str, Any]

    @property
    def lines(self) -> int:
        """Not delivered yet, or not known to be."""
        return self.spool.lines


def waiting_in(bundle: Path, url: str = "") -> list[Waiting]:
    """All spools of a bundle, those of its nodes too. `url`: of a server that has moved. Raises BadInput."""
    if not bundle.is_dir():
        raise BadInput(f"{bundle}: expected the folder of a bundle, found none")
    out = []
    for path in sorted(bundle.rglob(f"spool/*/{TARGET}")):
        try:
            target = json.loads(path.read_text())
            spool = Spool.found(path.parent)
        except BlockingIOError as exc:
            raise BadInput(f"{path.parent}: its run goes on, or another `wasp push`: wait for its end") from exc
        except (OSError, ValueError) as exc:
            raise BadInput(f"{path}: cannot be read ({exc})") from exc
        if not isinstance(target, dict) or TARGET_NAMES - target.keys():
            raise BadInput(f"{path}: expected {', '.join(sorted(TARGET_NAMES))}: is the bundle of another version?")
        out.append(Waiting(spool, {**target, "url": root_of(url)} if url else target))
    return out


async def push(waiting: Waiting, deadline_s: float, told: Told) -> SinkBooks:
    """Oldest first, into streams of their own, until all is delivered or refused, or the deadline. What is left stays."""
    books = SinkBooks(accepted=waiting.lines)
    in_flight = int(waiting.target["in_flight"])
    courier = Courier(LokiServer(waiting.target), waiting.spool, books, in_flight, made_ready=replayed)
    courier.start()
    ending = asyncio.create_task(courier.finish(deadline_s))
    try:
        while not ending.done():
            await asyncio.wait([ending], timeout=TOLD_S)
            told(books)
    finally:
        if not ending.done():  # interrupted
            ending.cancel()
            await courier.finish(0)
        books.give_up(courier.reason)
        waiting.spool.close()
    return books
