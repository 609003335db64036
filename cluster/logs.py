"""Follows the logs of many pods in one asyncio loop of its own thread. It decides nothing and parses no protocol.

A connection that ends is opened again a second before the last line that came; by the lines' own timestamps nothing is
said twice. `timestamps` are the container runtime's, nanoseconds. A log that cannot be read is told and asked for again.
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

from wasp_ray.clock import now_ns, wall_s
from wasp_ray.cluster.backend import Line
from wasp_ray.cluster.credentials import Credentials
from wasp_ray.errors import BadInput

RETRY_MIN_S, RETRY_MAX_S = 0.3, 5.0
END_PAUSE_S, END_PAUSE_MAX_S = 3.0, 12.0
"""A log that the server ended is most likely at its end, and the news of that on its way: no hurry to ask again."""
QUIET_S = 30.0
"""A node that says nothing for so long has a dead connection, or is busy with its setup: it has a heartbeat a second."""
LAST_WORDS_S = 5.0
"""A log ends with its container; one that does not is cut off."""
LAST_READS = 32
"""At a time: a thousand nodes end together, and their connections are there to be used again."""
LAST_READ_NS = 30_000_000_000
"""So long the end of a log is asked for, since a node's result is there."""
TROUBLE_NS = 5_000_000_000
"""A log that cannot be read for so long is told, and told again after as long."""
MAX_LINE_BYTES = 1 << 20
CONTAINER = "wasp"
TLS_BUFFER_BYTES = 4 * 1024
"""Of each connection; asyncio's own 256 KiB would be 256 MB for 1,000 nodes."""


@dataclass(slots=True)
class _Followed:
    """One container's log."""

    node: int
    uid: str
    pod: str
    last: str = ""  # timestamp of the last line said
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    done: Callable[[bool], None] | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)
    trouble_since: int | None = None
    is_gone: bool = False


class LogFollower:
    """`follow` and `finish` from any thread; lines go into `out`. `close` ends the thread within a second.

    `trouble(node, why)`: from its thread, every 5 s in which a log could not be read.
    """

    def __init__(
        self, credentials: Credentials, namespace: str, out: Callable[[Line], None], user_agent: str = "wasp-ray",
        trouble: Callable[[int, str], None] = lambda node, why: None,
    ) -> None:  # fmt: skip
        self._credentials, self._namespace, self._out, self._agent = credentials, namespace, out, user_agent
        self._trouble = trouble
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._followed: dict[str, _Followed] = {}
        self._ready = threading.Event()
        asyncio.sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._live, name="wasp-logs", daemon=True)
        self._thread.start()

    def follow(self, node: int, uid: str, pod: str) -> None:
        """Begins with the first line; again is no harm."""
        self._loop.call_soon_threadsafe(self._begin, node, uid, pod)

    def finish(self, uid: str, done: Callable[[bool], None]) -> None:
        """The container has ended. `done` is called from the loop after the last line: whether all was read."""
        self._loop.call_soon_threadsafe(self._finish, uid, done)

    def close(self) -> None:
        """Follows no more."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(5.0)

    # -- in the loop

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._stop, self._last_reads = asyncio.Event(), asyncio.Semaphore(LAST_READS)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, ssl=self._credentials.ssl_context())
        async with aiohttp.ClientSession(connector=connector, trust_env=False) as self._session:
            await self._stop.wait()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}  # those that followers wait for too
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, node: int, uid: str, pod: str) -> None:
        if uid not in self._followed:
            followed = self._followed[uid] = _Followed(node, uid, pod)
            followed.task = self._loop.create_task(self._follow(followed))

    def _finish(self, uid: str, done: Callable[[bool], None]) -> None:
        followed = self._followed.get(uid)
        if followed is None:
            done(False)
            return
        followed.done = done
        followed.ended.set()

    async def _follow(self, followed: _Followed) -> None:
        """Until the container's end, and then once more without waiting: what came last is read for certain."""
        pause_s = 0.0
        while not followed.ended.is_set():
            before = followed.last
            following = asyncio.ensure_future(self._try(followed, follow=True))
            ended = asyncio.ensure_future(followed.ended.wait())
            await asyncio.wait([following, ended], return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                await asyncio.wait([following], timeout=LAST_WORDS_S)
            said = following.done() and following.result()
            following.cancel()
            pause_s = 0.0 if followed.last != before else 2 * pause_s
            least_s, most_s = (END_PAUSE_S, END_PAUSE_MAX_S) if said else (RETRY_MIN_S, RETRY_MAX_S)
            pause_s = min(max(pause_s, least_s), most_s)
            await asyncio.wait([ended], timeout=pause_s)
            ended.cancel()
        async with self._last_reads:
            said = await self._read_end(followed)
        if followed.done is not None:
            followed.done(said)

    async def _read_end(self, followed: _Followed) -> bool:
        """What is there after the end; False when that cannot be had."""
        give_up, pause_s = now_ns() + LAST_READ_NS, RETRY_MIN_S
        while not await self._try(followed, follow=False):
            if followed.is_gone or now_ns() > give_up:
                return False
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RETRY_MAX_S / 2)
        return True

    async def _try(self, followed: _Followed, *, follow: bool) -> bool:
        try:
            why = await self._connection(followed, follow)
        except (aiohttp.ClientError, TimeoutError, OSError, BadInput) as exc:  # BadInput: credentials cannot be read
            why = f"{type(exc).__name__}: {str(exc)[:200]}".rstrip(": ")
        now = now_ns()
        if not why:
            followed.trouble_since = None
        elif followed.trouble_since is None:
            followed.trouble_since = now
        elif now - followed.trouble_since > TROUBLE_NS:
            followed.trouble_since = now
            self._trouble(followed.node, f"its log cannot be read: {why}")
        return not why

    async def _connection(self, followed: _Followed, follow: bool) -> str:
        """One connection; why it was not answered, nothing when it was and the server ended it."""
        url = f"{self._credentials.server}/api/v1/namespaces/{self._namespace}/pods/{followed.pod}/log"
        params = {"container": CONTAINER, "timestamps": "true", **({"follow": "true"} if follow else {})}
        if followed.last:
            params["sinceTime"] = followed.last[:19] + "Z"  # whole seconds: what was said is left out below
        headers = {**self._credentials.headers(), "User-Agent": self._agent}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=QUIET_S)
        async with self._session.get(
            url, params=params, headers=headers, timeout=timeout, proxy=self._credentials.proxy,
            server_hostname=self._credentials.server_name,
        ) as answer:  # fmt: skip
            if answer.status == 401:
                self._credentials.reload()
            followed.is_gone = answer.status == 404
            if answer.status != 200:
                return f"HTTP {answer.status} {(await answer.text())[:200]}"
            rest = b""
            async for chunk in answer.content.iter_any():
                followed.trouble_since = None
                *lines, rest = (rest + chunk).split(b"\n")
                for raw in lines:
                    self._say(followed, raw)
                if len(rest) > MAX_LINE_BYTES:
                    rest = rest[:MAX_LINE_BYTES]
            if rest and not follow:  # a last line without its end
                self._say(followed, rest)
            return ""

    def _say(self, followed: _Followed, raw: bytes) -> None:
        at, _, text = raw.decode("utf-8", "replace").partition(" ")
        if at[:4].isdigit() and _sortable(at) > _sortable(followed.last):  # else it is the kubelet that speaks
            followed.last = at
            self._out(Line(followed.node, followed.uid, text, arrived_s=wall_s()))


def _sortable(at: str) -> str:
    """A timestamp with all nine digits of its fraction, whose end the runtime cuts."""
    whole, _, fraction = at.rstrip("Z").partition(".")
    return f"{whole}.{fraction:0<9}"
