"""The process that asks for alerts during a run: beside who makes the verdict, so that a large answer delays nobody's load.

Messages in: watch (the checks of the plan), finish (when the load began and ended), cut (tell what is known now). Out: note,
until, results. It ends when its starter is gone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import aiohttp

from wasp_ray.alerts.api import look, new_session
from wasp_ray.alerts.check import check_name
from wasp_ray.alerts.server import server_of
from wasp_ray.alerts.watch import AlertWatch
from wasp_ray.clock import now_ns, wall_s
from wasp_ray.plan import AlertPlan
from wasp_ray.wire.channel import Channel, ChannelClosed, served_channel

MAX_NOTES = 20
"""Of one check."""
NICE = 5


class Checks:
    """All checks of one run. `run` once."""

    def __init__(self, channel: Channel, checks: Sequence[AlertPlan], run_id: str, *, is_foreign: bool = False) -> None:
        """`is_foreign`: see server_of."""
        self._channel, self._checks, self._is_foreign = channel, checks, is_foreign
        self._watches = [AlertWatch(run_id) for _ in checks]
        self._told: list[set[str]] = [set() for _ in checks]
        self._offset_s = wall_s() - now_ns() / 1e9
        self._span: tuple[float, float] | None = None
        self._load_over, self._cut = asyncio.Event(), asyncio.Event()

    def _now_s(self) -> float:
        """Wall time that does not jump."""
        return now_ns() / 1e9 + self._offset_s

    async def run(self) -> None:
        """Until the results are told or nobody wants them."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel, self._listen)
        self._listen()
        async with new_session() as session:
            work = asyncio.create_task(self._look_at_all(session))
            waited_for: set[asyncio.Task[Any]] = {work, asyncio.create_task(self._cut.wait())}
            await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
            for task in waited_for:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await work
        loop.remove_reader(self._channel)
        if self._span is not None:
            self._tell({"results": [watch.result(*self._span) for watch in self._watches]})

    async def _look_at_all(self, session: aiohttp.ClientSession) -> None:
        async with asyncio.TaskGroup() as group:
            for at in range(len(self._checks)):
                group.create_task(self._look(session, at))

    async def _look(self, session: aiohttp.ClientSession, at: int) -> None:
        """One check until nothing more is to be learnt of it."""
        check, watch = self._checks[at], self._watches[at]
        server = server_of(check, os.environ, is_foreign=self._is_foreign)
        told_until: bool | None = None  # of the deadline, then of the patience beyond it
        while True:
            sent_s = await look(session, server, check, watch, self._now_s)
            self._tell_news(at)
            if self._span is None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._load_over.wait(), watch.period_s)
                continue
            start_s, end_s = self._span
            if watch.over(start_s, end_s, sent_s):
                return
            left_s = watch.deadline_s(end_s) - self._now_s()
            patient = left_s <= 0
            if told_until is not patient:
                told_until = patient
                self._tell({"until": left_s + watch.patience_s(end_s) if patient else left_s})
            await asyncio.sleep(min(watch.period_s, 1.0 if patient else left_s))

    def _tell_news(self, at: int) -> None:
        told, name = self._told[at], check_name(self._checks[at])
        for text in self._watches[at].news():
            if text not in told and len(told) < MAX_NOTES:
                told.add(text)
                self._tell({"note": f"{name}: {text}"})

    def _tell(self, message: Mapping[str, Any]) -> None:
        with suppress(ChannelClosed):
            self._channel.send(dict(message))

    def _listen(self) -> None:
        for message in self._channel.receive():
            if message["op"] == "finish":
                self._span = (message["start_s"], message["end_s"])
                self._load_over.set()
            elif message["op"] == "cut":
                self._cut.set()
        if self._channel.closed:
            asyncio.get_running_loop().remove_reader(self._channel)
            self._cut.set()


def main() -> None:
    """The process."""
    channel = served_channel(NICE)
    message = channel.first()
    if message is not None:
        checks = [AlertPlan.from_data(check) for check in message["checks"]]
        asyncio.run(Checks(channel, checks, message["run_id"], is_foreign=message["is_foreign"]).run())
    channel.close()
