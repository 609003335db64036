"""The aggregator's loop: polls the slabs, answers the generator. A process of its own by exec, or a thread of the
inline runtime.

Messages in: plan, begin, bounds, close, missed, unwatch, finish. Out: ready, closed, snapshot, windows, final. It ends when
the generator has exited.
"""

from __future__ import annotations

import resource
import select
import socket
from contextlib import suppress

from wasp_ray.aggregator.book import GeneratorBook
from wasp_ray.aggregator.drain import MAX_STRINGS, SlabReader, Strings
from wasp_ray.clock import now_ns, sleep_s
from wasp_ray.plan import Plan
from wasp_ray.process import give_back_memory
from wasp_ray.sinks.feed import SampleFeed
from wasp_ray.stats.batch import Batch
from wasp_ray.stats.limits import OTHER
from wasp_ray.wire.arena import Arena, Header, SlabLayout
from wasp_ray.wire.channel import Channel, ChannelClosed, Message, served_channel

SLOWEST_POLL_S, FASTEST_POLL_S = 0.02, 0.0005
WANTED_FILL = 0.15
"""The time between polls is such that the fullest ring has so much of its slots in use."""
SNAPSHOT_NS = 1_000_000_000
TRIM_NS = 10_000_000_000
SNAPSHOT_SHARE = 20
"""A snapshot takes at most one part in so many of the time."""
LAST_SAMPLES_NS = 10_000_000_000
"""How long the exporter may take for the last samples."""


class Aggregator:
    """The books of a node and the loop that fills them."""

    def __init__(self, channel: Channel, arena: Arena, plan: Plan, feed: SampleFeed | None) -> None:
        self._channel, self._arena = channel, arena
        self._strings = Strings()
        self.books = [
            GeneratorBook(part, slab.rings, self._strings)
            for part, slab in zip(plan.generators, arena.slabs, strict=True)
        ]
        self.readers = [SlabReader(arena, gen, self._strings) for gen in range(len(arena.slabs))]
        self._feed = feed
        self._start_ns = 0
        self._polled_at = now_ns()
        self.max_gap_ns = 0
        self._watching = False
        self._next_snapshot = 0
        self._next_trim = 0
        self._finished = False
        self._pending: list[Message] = []

    def run(self) -> None:
        """Until `finish` was answered or the generator has exited."""
        with suppress(ChannelClosed):
            self._channel.send({"ready": True})
        self._listen()
        poller = select.poll()
        poller.register(self._channel, select.POLLIN)
        wait_s = FASTEST_POLL_S
        while not self._finished:
            self.poll()
            fill = max((reader.fullest for reader in self.readers), default=0.0)
            wait_s = min(SLOWEST_POLL_S, max(FASTEST_POLL_S, wait_s * min(2.0, WANTED_FILL / max(fill, 0.001))))
            if poller.poll(wait_s * 1000) or self._pending:
                self._listen()
                if self._channel.closed:
                    break
        if self._feed is not None:
            self._feed.close()

    def _listen(self) -> None:
        self._pending += self._channel.receive()
        while self._pending:
            self._answer(self._pending.pop(0))

    def _look_for_begin(self) -> None:
        """t = 0 was told before the first call could begin; what else was told waits until its records are booked."""
        self._pending += self._channel.receive()
        for message in self._pending:
            if message["op"] == "begin":
                self._pending.remove(message)
                self._answer(message)
                return

    def poll(self) -> None:
        """Drains every slab once; windows and snapshots when they are due."""
        now = now_ns()
        if self._watching:
            self.max_gap_ns = max(self.max_gap_ns, now - self._polled_at)
        self._polled_at = now
        for gen, reader in enumerate(self.readers):
            batch = reader.drain()
            if batch is not None:
                if not self._start_ns:
                    self._look_for_begin()
                self._add(gen, batch)
        if self._feed is not None:
            self._feed.flush()
        if self._start_ns and now >= self._next_snapshot:
            self._report(now)

    def _add(self, gen: int, batch: Batch) -> None:
        self.books[gen].add(batch)
        if self._feed is not None and len(batch.rows):
            self._feed.add(gen, batch, self._strings.texts)

    def _report(self, now: int) -> None:
        """Closed windows and a cumulative snapshot; less often when they are dear."""
        with suppress(ChannelClosed):
            self._send_windows(now)
            self._channel.send({"snapshot": self._totals()})
        if now >= self._next_trim:
            self._next_trim = now + TRIM_NS
            give_back_memory()
        spent = now_ns() - now
        self._next_snapshot = now + max(SNAPSHOT_NS, SNAPSHOT_SHARE * spent)

    def _send_windows(self, now: int | None) -> None:
        """Those that have closed by now; None: all."""
        windows = {book.name: [window.to_data() for window in book.windows.close(now)] for book in self.books}
        if any(windows.values()):
            self._channel.send({"windows": windows})

    def _totals(self) -> Message:
        warnings = []
        if self._strings.overflowed:
            warnings.append(f"more distinct strings than {MAX_STRINGS:,}: the later ones are counted as {OTHER}")
        return {
            "generators": {book.name: book.to_data() for book in self.books},
            "slow_seconds": {book.name: list(book.slow_seconds.longest_row()) for book in self.books},
            "first_delay_ns": self._first_delay_ns(),
            "last_end_ns": max((book.last_end_ns for book in self.books), default=0),
            "max_gap_s": self.max_gap_ns / 1e9,
            "torn": sum(reader.torn for reader in self.readers),
            "rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "samples": [self._feed.sent, self._feed.dropped] if self._feed is not None else [0, 0],
            "warnings": warnings,
        }

    def _first_delay_ns(self) -> int:
        """start - due of the very first call."""
        firsts = [(b.first_start_ns, b.first_delay_ns) for b in self.books if b.first_start_ns is not None]
        return min(firsts, default=(0, 0))[1]

    # -- messages

    def _answer(self, message: Message) -> None:
        match message["op"]:
            case "begin":
                self._start_ns = message["start_ns"]
                self._next_snapshot = now_ns()
                self._polled_at = min(
                    now_ns(), max(self._polled_at, self._start_ns)
                )  # reported late: not polled since t = 0
                self._watching = True
                for book, ends in zip(self.books, message["ends_ns"], strict=True):
                    book.begin(self._start_ns, ends)
            case "bounds":
                self.poll()
                for book, ends in zip(self.books, message["ends_ns"], strict=True):
                    book.begin(self._start_ns, ends)
            case "close":
                self._close_rings(message)
            case "missed":
                for second, calls in message["seconds"]:
                    self.books[message["gen"]].slow_seconds.add_missed(second, calls)
            case "unwatch":
                self._watching = False
            case "finish":
                self._finish()

    def _close_rings(self, message: Message) -> None:
        """Each worker has exited: takes its last records, books what it left, gives the ring back clean."""
        closed = []
        for gen, ring, as_, at_ns in message["rings"]:
            reader, book = self.readers[gen], self.books[gen]
            batch = reader.drain(final=ring)
            if batch is not None:
                self._add(gen, batch)
            begun, lost = self._arena.read(gen, ring, Header.BEGUN), self._arena.read(gen, ring, Header.LOST)
            unfinished = begun - int(book.ended[ring]) - lost
            left = [entry for entry in self._arena.left(gen, ring) if entry.number <= begun]
            book.end_unfinished(ring, left, unfinished, as_, at_ns, reader.names(ring))
            closed.append([gen, ring, unfinished])
            if message["abandon"]:
                reader.retire(ring)
            else:
                self._arena.reset(gen, ring)
                reader.forget(ring)
                book.forget(ring)
        with suppress(ChannelClosed):
            self._channel.send({"closed": closed})

    def _finish(self) -> None:
        self.poll()
        with suppress(ChannelClosed):
            self._send_windows(None)
            self._end_feed()
            self._channel.send({"final": self._totals()})
        self._finished = True

    def _end_feed(self) -> None:
        give_up = now_ns() + LAST_SAMPLES_NS
        while self._feed is not None and not self._feed.is_empty and now_ns() < give_up:
            self._feed.flush()
            sleep_s(0.001)
        if self._feed is not None:
            self._feed.close()


def serve(channel: Channel, arena: Arena | None = None, feed: socket.socket | None = None) -> None:
    """Wait for the plan, then run. A process is sent the memory and the connection to the exporter as descriptors."""
    message = channel.first()
    if message is None:
        channel.close()
        return
    if arena is None:
        arena = Arena.attach([SlabLayout(**slab) for slab in message["slabs"]], channel.fds[0])
        if len(channel.fds) > 1:
            feed = socket.socket(fileno=channel.fds[1])
    plan = Plan.from_data(message["plan"])
    Aggregator(channel, arena, plan, SampleFeed(feed) if feed is not None else None).run()
    channel.close()


def main() -> None:
    """The process."""
    serve(served_channel())
