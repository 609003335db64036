"""The aggregator alone: records a second through drain and books, and its CPU with a thousand quiet rings."""

from __future__ import annotations

import statistics
import time

import numpy as np

from benchmarks.figure import Figure
from wasp_ray import Generator, VirtualUser, plain
from wasp_ray.aggregator.book import GeneratorBook
from wasp_ray.aggregator.drain import SLOT, SlabReader, Strings
from wasp_ray.wire.arena import Arena, Header, lay_out
from wasp_ray.wire.record import SEQ_MASK, Flag, Kind
from wasp_ray.wire.ring import RingWriter

PLAN = Generator("u", user=VirtualUser, schedule=plain(1, "1000000s"), call_timeout=None).to_plan(1)
ROUNDS = 5
RINGS = 1000


class Bench:
    """A slab whose rings are filled by numpy, as workers would."""

    def __init__(self, rings: int, slots: int) -> None:
        self.arena = Arena.create(lay_out([(rings, slots, 1)]), shared=True)
        strings = Strings()
        self.reader = SlabReader(self.arena, 0, strings)
        self.book = GeneratorBook(PLAN, rings, strings)
        self.book.begin(0, [10**15])
        for ring in range(rings):
            RingWriter(self.arena, 0, ring).intern("u", 256)
        self.drain()
        self.slots = self.reader._memory.reshape(-1).view(SLOT).reshape(rings, slots)
        self.mask = slots - 1
        self.rng = np.random.default_rng(1)

    def fill(self, ring: int, count: int, now: int) -> None:
        """`count` ends of calls of some milliseconds each."""
        head = int(self.reader.headers[ring, Header.HEAD])
        numbers = np.arange(head, head + count)
        rows = np.zeros(count, SLOT)
        rows["seq"] = numbers & SEQ_MASK
        rows["kind"], rows["flags"], rows["group"] = Kind.RECORD, Flag.ENDS_CALL | Flag.IN_GROUP, 1
        rows["start"] = rows["due"] = now
        rows["end"] = now + self.rng.integers(10**6, 10**8, count)
        self.slots[ring, numbers & self.mask] = rows
        self.reader.headers[ring, Header.HEAD] = head + count

    def drain(self) -> int:
        """Takes and books what is new."""
        batch = self.reader.drain()
        if batch is None:
            return 0
        self.book.add(batch)
        return len(batch.rows)


def throughput() -> list[Figure]:
    """Records a second from 64 full rings, against a bare copy of as many bytes by numpy."""
    bench = Bench(64, 16_384)
    rates, copies = [], []
    for at in range(ROUNDS):
        for ring in range(64):
            bench.fill(ring, 16_000, at * 10**9)
        began = time.perf_counter()
        records = bench.drain()
        rates.append(records / (time.perf_counter() - began))
        began = time.perf_counter()
        bench.slots.copy()
        copies.append(bench.slots.size / (time.perf_counter() - began))
    rate = statistics.median(rates)
    return [
        Figure(
            "aggregator, records drained and booked",
            rate,
            "/s",
            ">= 5 M/s",
            rate >= 5e6,
            "plain copy",
            rate / statistics.median(copies),
            ROUNDS,
        )
    ]


def quiet_rings() -> list[Figure]:
    """CPU share at 100,000 records a second from 1,000 rings, polled every 10 ms."""
    bench = Bench(RINGS, 1024)
    spent, polls = 0.0, 100
    for at in range(polls):
        for ring in range(RINGS):
            bench.fill(ring, 1, at * 10**7)
        began = time.perf_counter()
        bench.drain()
        spent += time.perf_counter() - began
    share = 100 * spent / (polls * 0.01)
    return [Figure("aggregator CPU, 100 k records/s, 1,000 rings", share, "%", "<= 10 %", share <= 10)]
