"""One request of a recorded aiohttp session: awaited or entered as aiohttp's own, judged, cut short at its deadline, recorded
once. It must not decide how a session is made.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from itertools import chain
from typing import Any

import aiohttp
from yarl import URL

from wasp_ray.clock import now_ns
from wasp_ray.http import failures
from wasp_ray.http.aio_errors import error_of
from wasp_ray.http.foreign import Desk, Exchange, Naming, SessionRecorder
from wasp_ray.http.methods import verb_of
from wasp_ray.http.options import Expect
from wasp_ray.wire.control import NEVER

SWITCHED = 101
SET_COOKIE = aiohttp.hdrs.SET_COOKIE
STATUS_LINE = len("HTTP/1.1 200 OK\r\n\r\n")
MAX_PLAIN = 1024
EXCHANGE = "exchange"
"""Key of the recorded request in the context of aiohttp's traces."""


class AioDesk(Desk):
    """And the deadlines of a session: one timer of the loop looks after all, where aiohttp makes two objects and a timer for
    each request, which take a sixth of its time.
    """

    def __init__(
        self, recorder: SessionRecorder | None, expect: Expect, naming: Naming, phases: bool, timeout_ns: int
    ) -> None:
        super().__init__(recorder, expect, naming, phases)
        self.timeout_ns = timeout_ns
        self.plain: dict[tuple[str, Any], tuple[str, str, int]] = {}
        """group, route and size of requests that are a URL only"""
        self.base: URL | None = None

    def sweep(self, now: int) -> None:
        """See LoopShare."""
        for exchange in [late for late in self.open if late.deadline <= now]:
            exchange.expire()

    def describe_unawaited(self, method: str, url: Any, asked: Mapping[str, Any] | None) -> str:
        """Name a request that was never awaited, and the cure."""
        parsed = URL(url)
        group, _ = self.name(method, parsed, parsed.raw_path, asked.get("group") if asked is not None else None)
        verb = verb_of(method)
        return f"{group} was never awaited: write `async with` or `await` before the session's {verb}(...)"

    def keep(self, key: tuple[str, Any], group: str, route: str, size: int) -> None:
        """For the next time."""
        if len(self.plain) >= MAX_PLAIN:
            self.plain.clear()
        self.plain[key] = (group, route, size)


class Pending(Exchange, Coroutine[Any, Any, aiohttp.ClientResponse]):
    """One request: to be awaited or entered, as what aiohttp's own methods return is, and recorded."""

    desk: AioDesk
    __slots__ = (
        "_cancelling",
        "_inner",
        "_is_late",
        "_is_plain",
        "_method",
        "_params",
        "_running",
        "_task",
        "_trace",
        "_url",
        "deadline",
        "response",
    )

    def __init__(self, desk: AioDesk, ask: Callable[..., Any], method: str, url: Any, asked: dict[str, Any]) -> None:
        self._trace: dict[str, Any] | None = None
        if asked or desk.phases:
            own = asked.get("trace_request_ctx")
            super().__init__(desk, own)
            if desk.phases:  # it holds this object from its start only: one that is never awaited is freed at once
                self._trace = asked["trace_request_ctx"] = {**(own or {})}
            self.deadline = NEVER if "timeout" in asked else self.start + desk.timeout_ns
            self._is_plain = False
        else:
            super().__init__(desk)
            self.deadline = self.start + desk.timeout_ns
            self._is_plain = True
        self._inner = ask(url, **asked)
        self._method, self._url, self._params, self._is_late = method, url, asked.get("params"), False
        self.response: aiohttp.ClientResponse | None = None
        self._task: asyncio.Task[Any] | None = None
        self._running: Coroutine[Any, Any, aiohttp.ClientResponse] | None = None

    def __aenter__(self) -> Coroutine[Any, Any, aiohttp.ClientResponse]:
        return self._run()

    async def __aexit__(self, *_: object) -> None:
        response = self.response
        assert response is not None
        response.release()
        await response.wait_for_close()

    async def _run(self) -> aiohttp.ClientResponse:
        try:
            self._wait()
        except BaseException:  # of a function that names groups
            self._inner.close()
            raise
        try:
            self.response = response = await self._inner
        except BaseException as exc:
            self._raised(exc)
            raise
        self._answered(response)
        return response  # type: ignore[no-any-return]

    def __await__(self) -> Any:
        return self._run().__await__()

    def send(self, value: Any) -> Any:
        """Of a coroutine, for those who make a task of it."""
        if self._running is None:
            self._running = self._run()
        return self._running.send(value)

    def throw(self, *exc: Any) -> Any:
        """As `send`."""
        if self._running is None:
            self._inner.close()  # it will never be awaited, and that is nobody's mistake
            self._running = self._run()
        return self._running.throw(*exc)

    def close(self) -> None:
        """As `send`."""
        (self._inner if self._running is None else self._running).close()

    def unawaited_error(self) -> str:
        """Name this request, which was never awaited, and the cure."""
        return self.desk.describe_unawaited(self._method, self._url, self.asked)

    # -- its deadline

    def _wait(self) -> None:
        """From here on, the running task does."""
        self._task = asyncio.current_task()
        if self._trace is not None:
            self._trace[EXCHANGE] = self
        self._name()
        self.begins()
        self.desk.open.add(self)

    def expire(self) -> None:
        """The deadline has passed."""
        self.deadline = NEVER
        if self.response is not None:
            self.response.content.set_exception(TimeoutError())
            self.response.close()
        elif self._task is not None:
            self._is_late, self._cancelling = True, self._task.cancelling()
            self._task.cancel()

    def _was_late(self) -> bool:
        """Whether the wait that has ended now was cut short by `expire`, and by nobody else; asyncio.timeout does the same."""
        if not self._is_late or self._task is None:
            return False
        self._is_late = False
        return self._task.uncancel() <= self._cancelling

    # -- its end

    def _raised(self, exc: BaseException) -> None:
        """Raises TimeoutError instead of the CancelledError that `expire` has caused."""
        if self._was_late() and isinstance(exc, asyncio.CancelledError):
            late = TimeoutError()
            self.failed(failures.TIMEOUT, late)
            raise late from exc
        error = error_of(exc)
        if error:
            if isinstance(exc, aiohttp.ClientResponseError) and error.startswith("HTTP "):
                self.status = exc.status
            self.failed(error, exc)
        else:
            self.never_sent()

    def _plain(self) -> tuple[str, str, int] | None:
        return self.desk.plain.get((self._method, self._url)) if self._is_plain else None

    def _name(self) -> None:
        """By the URL that is asked for, joined and completed as aiohttp does it; aiohttp raises for what is no URL."""
        try:
            plain = self._plain()
            if plain is not None:
                self.group, self.route, _ = plain
                return
            url = URL(self._url)
            if self.desk.base is not None and not url.absolute:
                url = self.desk.base.join(url)
            if self._params:
                url = url.extend_query(self._params)
        except (TypeError, ValueError):
            return
        self.named(self._method, url, url.raw_path)

    def _answered(self, response: aiohttp.ClientResponse) -> None:
        """The head of the last answer is there."""
        if self._is_late:
            self._was_late()
        self.answered(response.status, response)
        self.bytes_in = _received(response)
        plain = self._plain()
        if plain is not None:
            self.bytes_out = plain[2]
        else:
            self._look_closely(response)
        if SET_COOKIE in response.headers:
            self.desk.plain.clear()  # what is sent has changed
        content = response.content
        if content.is_eof() or response.status == SWITCHED:
            self.bytes_in += content.total_bytes
            self.end(now_ns())
        else:
            self._watch(response)

    def _look_closely(self, response: aiohttp.ClientResponse) -> None:
        """What is the same for each request that is a URL only; and for others."""
        history = response.history
        self.bytes_out = sum(map(_sent, (*history, response)))
        self.bytes_in += sum(_received(each) for each in history)
        if self._is_plain and not history and not callable(self.desk.naming):
            self.desk.keep((self._method, self._url), self.group, self.route, self.bytes_out)

    def _watch(self, response: aiohttp.ClientResponse) -> None:
        """The body is still to come."""
        response.content.on_eof(self._complete)
        for name in ("close", "release"):  # of this one alone: most answers are complete by now
            setattr(response, name, partial(self._left, response, getattr(response, name)))

    def _complete(self) -> None:
        if not self.is_done and self.response is not None:
            self.bytes_in += self.response.content.total_bytes
            self.end(now_ns())

    def _left(self, response: aiohttp.ClientResponse, leave: Callable[[], Any]) -> Any:
        """User code, or aiohttp for it, is done with an answer: maybe before all of it has come."""
        if self.is_done:
            return leave()
        exc = response.content.exception() or sys.exc_info()[1]
        error = error_of(exc) if exc is not None else ""
        self.bytes_in += response.content.total_bytes
        if exc is not None and error:
            self.failed(error, exc)
        else:
            self.end(now_ns())
        return leave()


def _received(response: aiohttp.ClientResponse) -> int:
    """Size of an answer's head as it was on the wire."""
    lines = response.raw_headers
    return sum(map(len, chain.from_iterable(lines))) + 4 * len(lines) + STATUS_LINE


def _sent(response: aiohttp.ClientResponse) -> int:
    """Size of a request: its head as it was on the wire, and its body when its length was told."""
    sent = response.request_info
    lines = sent.headers
    head = sum(len(name) + len(value) + 4 for name, value in lines.items())
    return head + len(sent.method) + len(sent.url.raw_path_qs) + 13 + int(lines.get("Content-Length", 0))
