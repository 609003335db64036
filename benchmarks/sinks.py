"""What sinks cost: lines a second of one core, the load's punctuality beside a real Loki, and a minute without it.

Needs Go for the real Loki, which is built once.
"""

from __future__ import annotations

import gzip
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.actors import ENGINE_CPU, WORKER_CPU, EmptyGun, PinnedGun
from benchmarks.figure import Figure
from benchmarks.processes import pss
from wasp_ray import Generator, Loki, Profile, RunResult, plain
from wasp_ray.plan import Plan
from wasp_ray.sinks.base import SinkRun
from wasp_ray.sinks.loki_lines import LokiLines
from wasp_ray.sinks.rows import NAMES, SLOT, SampleRows

ROUNDS = 5
LINES = 4_000
RATE, SECONDS, SAMPLED = 50_000, 8, 0.1
DOWN_RATE, BEFORE_S, DOWN_S, AFTER_S = 5_000, 20, 60, 40
TENANT = "bench"
ROOM = {"ingestion_rate_mb": 1_000, "ingestion_burst_size_mb": 1_000, "per_stream_rate_limit": "1GB",
        "per_stream_rate_limit_burst": "1GB"}  # fmt: skip


def samples_of(number: int) -> SampleRows:
    """Requests of some milliseconds each."""
    rng = np.random.default_rng(1)
    rows, names = np.zeros(number, SLOT), np.zeros(number, NAMES)
    rows["due"] = 10**15 + np.arange(number) * 200_000
    rows["start"] = rows["due"] + rng.integers(10**4, 10**5, number)
    rows["end"] = rows["start"] + rng.integers(10**6, 10**8, number)
    rows["user"], rows["call"], names["worker"] = rng.integers(0, 100, number), np.arange(number), 1
    names["group"], names["path"], names["status"] = 2, 3, 4
    return SampleRows("shop", rows, names, ["", "", "GET /items/{}", "/items/{}", "200"], {})


def serialising() -> list[Figure]:
    """From sampled records to the compressed body of a push; against json.dumps of a line and gzip."""
    shop = Generator("shop", gun=EmptyGun, schedule=plain(1, "1s")).to_plan(1)
    samples, plan = samples_of(LINES), replace(Plan.unknown("p"), generators=(shop,))
    ours, peers = [], []
    for _ in range(ROUNDS):
        lines = LokiLines(SinkRun("run-1", plan, 1, 1, None))
        began = time.process_time()
        lines.samples(samples)
        _, body = lines.take()
        ours.append(LINES / (time.process_time() - began))
        streams = json.loads(gzip.decompress(body))["streams"]
        found = [(at, json.loads(text)) for stream in streams for at, text in stream["values"]]
        began = time.process_time()
        values = [(at, json.dumps(line)) for at, line in found]
        gzip.compress(json.dumps({"streams": [{"stream": {}, "values": values}]}).encode(), 1)
        peers.append(LINES / (time.process_time() - began))
    rate = statistics.median(ours)
    name = "Loki: lines serialised and compressed on one core"
    return [Figure(name, rate, "/s", ">= 300 k/s", rate >= 300_000, "json.dumps of dicts that are there",
                   rate / statistics.median(peers), ROUNDS)]  # fmt: skip


@contextmanager
def real_loki() -> Iterator[Any]:
    """The one of the tests, with room for all that comes."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from support.loki import Loki as Server

    with tempfile.TemporaryDirectory() as folder, Server(Path(folder), **ROOM) as server:
        yield server


def books_of(result: RunResult) -> dict[str, Any]:
    """Of the sink; nothing may be open."""
    books: dict[str, Any] = result.summary["sinks"]["loki"]
    assert books["accepted"] == books["delivered"] + sum(books["not_delivered"].values()), books
    return books


def beside_loki() -> list[Figure]:
    """start - due p99 of 50,000 empty calls a second of which a tenth is sampled, with and without the sink, in turn."""
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[min(ENGINE_CPU, len(cpus) - 1)]})
    found: dict[bool, list[float]] = {True: [], False: []}
    accepted = delivered = 0
    try:
        with real_loki() as server:
            for _ in range(ROUNDS):
                for has_sink, p99s in found.items():
                    sinks = [Loki(url=server.url, tenant_id=TENANT)] if has_sink else []
                    generator = Generator(
                        "g", gun=PinnedGun, schedule=plain(RATE, f"{SECONDS}s"), sample=SAMPLED,
                        params={"cpu": cpus[WORKER_CPU]},
                    )  # fmt: skip
                    result = Profile(generator, sinks=sinks).run()
                    assert result.ledger.started == result.ledger.ok == RATE * SECONDS, result
                    p99s.append(result.summary["generators"]["g"]["start_delay_s"]["p99"])
                    if has_sink:
                        books = books_of(result)
                        accepted, delivered = accepted + books["accepted"], delivered + books["delivered"]
    finally:
        os.sched_setaffinity(0, cpus)
    ratio = statistics.median(found[True]) / statistics.median(found[False])
    p99 = statistics.median(found[True]) * 1000
    return [
        Figure("start - due p99 at 50,000/s, 10 % to Loki", p99, "ms", "<= 1.1 x none", ratio <= 1.1, "no sink", ratio, ROUNDS),
        Figure("Loki: lines lost of those", accepted - delivered, "", "0", accepted == delivered, rounds=ROUNDS),
    ]  # fmt: skip


def without_loki() -> list[Figure]:
    """Loki is killed for a minute at 5,000 lines a second: what grows meanwhile, and what is lost in the end."""
    with real_loki() as server:
        seconds = BEFORE_S + DOWN_S + AFTER_S
        generator = Generator("g", gun=EmptyGun, schedule=plain(DOWN_RATE, f"{seconds}s"))
        going = Profile(generator, sinks=[Loki(url=server.url, tenant_id=TENANT)]).start()
        while going.elapsed_s is None:
            time.sleep(0.1)
        found = {process.kind: process.pid for process in going.processes()}
        pids = found["aggregator"], found["exporter"]
        time.sleep(BEFORE_S)
        before = [pss(pid) for pid in pids]
        server.kill()
        highest = list(before)
        until = time.monotonic() + DOWN_S
        while time.monotonic() < until:
            time.sleep(2)
            highest = [max(known, pss(pid)) for known, pid in zip(highest, pids, strict=True)]
        server.start()
        books = books_of(going.wait(seconds + 60))
    grown = [(after - earlier) / 2**20 for earlier, after in zip(before, highest, strict=True)]
    lost = books["accepted"] - books["delivered"]
    return [
        Figure("a minute without Loki: aggregator grows", grown[0], "MiB", "<= 64 MiB", grown[0] <= 64),
        Figure("a minute without Loki: exporter grows", grown[1], "MiB", "<= 64 MiB", grown[1] <= 64),
        Figure("a minute without Loki: lines lost", lost, "", "0", lost == 0),
        Figure("a minute without Loki: lines maybe double", books["maybe_double"], "", "told", True),
    ]


def sinks() -> list[Figure]:
    """All of them: five minutes."""
    return [*serialising(), *beside_loki(), *without_loki()]
