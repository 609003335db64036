"""The exporter: a process of its own (a thread in the inline runtime) in which the sinks of a node work.

Messages in: plan, begin, windows, totals, event, finish. Out: ready or refused, books once a second, closed. Samples come by a
stream of their own from the aggregator. It ends when the node is gone.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from contextlib import suppress
from pathlib import Path

from wasp_ray.clock import now_ns, wall_s
from wasp_ray.errors import WaspError
from wasp_ray.plan import Plan
from wasp_ray.sinks.base import SinkRun
from wasp_ray.sinks.outlet import Outlet
from wasp_ray.sinks.rows import FrameReader
from wasp_ray.wire.channel import Channel, ChannelClosed, Message, served_channel

CHUNK = 1 << 18
REPORT_S = 1.0
LAST_SAMPLES_S = 10.0
"""How long after the load's end the aggregator's last samples may take."""
NICE = 5
"""Between the engine (0) and users (10): when all cores are busy results come later, calls do not."""


class Exporter:
    """The sinks and the loop that feeds them. Raises WaspError in `open` for a sink that can never work."""

    def __init__(self, channel: Channel, feed: socket.socket, message: Message) -> None:
        self._channel, self._feed = channel, feed
        folder, self._plan = message["folder"], Plan.from_data(message["plan"])
        self._run = SinkRun(
            message["run_id"], self._plan, message["node"], message["nodes"], Path(folder) if folder else None
        )
        self._outlets: list[Outlet] = []
        self._frames = FrameReader([generator.name for generator in self._plan.generators])
        self._received = 0
        self._heard: Counter[str] = Counter()  # lines by need, beside samples
        self._fed = asyncio.Event()
        self._finish = asyncio.Event()
        self._deadline_s = 0.0

    async def run(self) -> None:
        """Until `finish` was answered or the node is gone."""
        loop = asyncio.get_running_loop()
        self._feed.setblocking(False)
        try:
            for sink in self._plan.sinks:
                outlet = Outlet(sink, self._run)
                self._outlets.append(outlet)
                await outlet.open()
        except (WaspError, OSError, TimeoutError) as exc:
            self._tell({"refused": f"sink {sink.name}: {exc or type(exc).__name__}"})
            return
        self._tell({"ready": True})
        loop.add_reader(self._channel, self._listen)
        self._listen()
        try:
            while not self._finish.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._finish.wait(), REPORT_S)
                self._tell({"books": self._books()})
            if not self._channel.closed:
                await self._close()
        finally:
            loop.remove_reader(self._channel)
            loop.remove_reader(self._feed)

    def _begin(self, start_ns: int, start_wall_ns: int) -> None:
        """Samples of setups wait in the stream until now: their instants are told from t = 0."""
        for run in (self._run, *(outlet.run for outlet in self._outlets)):
            run.begin(start_ns, start_wall_ns)
        asyncio.get_running_loop().add_reader(self._feed, self._take_samples)

    def _take_samples(self) -> None:
        try:
            chunk = self._feed.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            asyncio.get_running_loop().remove_reader(self._feed)
            self._fed.set()
        for samples in self._frames.read(chunk):
            self._received += len(samples)
            for outlet in self._outlets:
                outlet.samples(samples)

    def _listen(self) -> None:
        for message in self._channel.receive():
            self._answer(message)
        if self._channel.closed:
            asyncio.get_running_loop().remove_reader(self._channel)
            self._finish.set()

    def _answer(self, message: Message) -> None:
        match message["op"]:
            case "begin":
                self._begin(message["start_ns"], message["start_wall_ns"])
            case "windows":
                self._heard["windows"] += len(message["windows"])
                for outlet in self._outlets:
                    outlet.windows(message["windows"])
            case "totals":
                self._heard["totals"] += 1
                for outlet in self._outlets:
                    outlet.totals(message["generators"])
            case "event":
                self._heard["events"] += 1
                for outlet in self._outlets:
                    outlet.event(message["event"])
            case "finish":
                self._deadline_s = message["deadline_s"]
                if not self._run.start_ns:
                    self._begin(now_ns(), int(wall_s() * 1e9))
                self._finish.set()

    async def _close(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._fed.wait(), LAST_SAMPLES_S)
        closing = [asyncio.ensure_future(outlet.close(self._deadline_s)) for outlet in self._outlets]
        while closing:
            _, left = await asyncio.wait(closing, timeout=REPORT_S)
            closing = list(left)
            if closing:
                self._tell({"books": self._books()})
        self._tell({"books": self._books(), "closed": True})

    def _books(self) -> Message:
        sinks = {outlet.name: outlet.books.to_data() for outlet in self._outlets}
        return {"received": self._received, "heard": self._heard, "sinks": sinks}

    def _tell(self, message: Message) -> None:
        with suppress(ChannelClosed):
            self._channel.send(message)


def serve(channel: Channel, feed: socket.socket | None = None) -> None:
    """Waits for the plan, then runs. A process is sent the stream's descriptor with the plan."""
    message = channel.first()
    if message is not None:
        if feed is None:
            feed = socket.socket(fileno=channel.fds[0])
        with feed:
            asyncio.run(Exporter(channel, feed, message).run())
    elif feed is not None:
        feed.close()
    channel.close()


def main() -> None:
    """The process."""
    serve(served_channel(NICE))
