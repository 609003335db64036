"""What the sessions of other libraries have in common: names, judgement, exactly one record for each request.

It knows no library: each has its own module, which says when a request begins and ends and what an exception means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from wasp_ray.clock import now_ns
from wasp_ray.errors import BadInput
from wasp_ray.http.judgement import judged, record_phases
from wasp_ray.http.options import Expect, checked_expect
from wasp_ray.http.recorder import NoRecorder, Recorder
from wasp_ray.http.routes import route_of

Naming = Callable[[str, Any], "str | None"] | str | None
"""(method, URL) -> group; None: method and route."""

MAX_KNOWN_ROUTES = 1024
OWN = frozenset({"group", "expect"})


class SessionRecorder(Recorder, Protocol):
    """Of clients that raise: the call in which they do is to have no second error."""

    def request_raised(self, opened: Any, exc: BaseException) -> None:
        """User code is about to get `exc`, which is the failure of a request that was recorded."""


class NoSessionRecorder(NoRecorder):
    """Records nothing."""

    def request_raised(self, opened: Any, exc: BaseException) -> None:
        """Nothing."""


class Desk:
    """Of one session: where its requests are named, judged and recorded."""

    def __init__(self, recorder: SessionRecorder | None, expect: Expect, naming: Naming, phases: bool) -> None:
        self.recorder = recorder if recorder is not None else NoSessionRecorder()
        self.expect, self.naming, self.phases = expect, naming, phases
        self.open: set[Any] = set()  # exchanges that have not ended
        self._known: dict[tuple[str, str], tuple[str, str]] = {}

    def name(self, method: str, url: Any, path: str, asked: str | None) -> tuple[str, str]:
        """Group and route of a request."""
        named = self._known.get((method, path))
        if named is None:
            if len(self._known) >= MAX_KNOWN_ROUTES:
                self._known.clear()
            route = route_of(path)
            named = self._known[method, path] = (f"{method} {route}", route)
        if asked is None and self.naming is not None:
            asked = self.naming if isinstance(self.naming, str) else self.naming(method, url)
        return (asked, named[1]) if asked else named

    def close(self) -> None:
        """The session ends: what nobody read or released is recorded as it is."""
        for exchange in list(self.open):
            exchange.end(now_ns())


class Exchange:
    """One request, from its start until its answer was read, released or failed; recorded once. Instants in ns."""

    __slots__ = (
        "asked", "bytes_in", "bytes_out", "desk", "error", "group", "is_done", "opened", "phases", "route", "since", "start",
        "status",
    )  # fmt: skip

    def __init__(self, desk: Desk, asked: Mapping[str, Any] | None = None) -> None:
        self.desk = desk
        self.asked = _checked(asked) if asked is not None else None
        self.start = now_ns()
        self.opened: Any = None
        self.status = self.bytes_in = self.bytes_out = 0
        self.error = self.group = self.route = ""
        self.is_done = False
        self.phases: dict[str, int] | None = None
        self.since: dict[str, int] | None = None  # phases under way

    def named(self, method: str, url: Any, path: str) -> None:
        """Set group and route by what it asks for; a redirect leads elsewhere under the same name."""
        asked = self.asked
        self.group, self.route = self.desk.name(method, url, path, asked.get("group") if asked is not None else None)

    def begins(self) -> None:
        """Open it under its name: from here on it counts, however its call ends."""
        self.opened = self.desk.recorder.request_begins(self.start, self.group, self.route, self)

    def never_sent(self) -> None:
        """User code was at fault: its call gets an exception, and there was no request."""
        self.is_done = True
        self.desk.open.discard(self)
        self.desk.recorder.request_dropped(self.opened)

    def answered(self, status: int, answer: Any) -> None:
        """There is a status; `answer` is what a predicate is asked about."""
        self.status = status
        asked = self.asked
        expect = self.desk.expect if asked is None else asked.get("expect", self.desk.expect)
        self.error = judged(expect, status, answer)

    def failed(self, error: str, exc: BaseException) -> None:
        """It ends with one of failures.ALL, and user code gets `exc`."""
        if not self.is_done:
            self.error = error
            self.end(now_ns())
            if isinstance(exc, Exception):
                self.desk.recorder.request_raised(self.opened, exc)

    def phase_begins(self, phase: str) -> None:
        """Now."""
        if self.since is None:
            self.since = {}
        self.since[phase] = now_ns()

    def phase_ends(self, phase: str) -> None:
        """Adds to the time of a phase; a look-up of the name is no part of the connection's time."""
        since = self.since.pop(phase, None) if self.since is not None else None
        if since is None:
            return
        if self.phases is None:
            self.phases = {}
        took = now_ns() - since - (self.phases.get("dns", 0) if phase == "connect" else 0)
        self.phases[phase] = self.phases.get(phase, 0) + took

    def end(self, end: int) -> None:
        """Recorded, unless it was."""
        if self.is_done:
            return
        self.is_done = True
        desk = self.desk
        if desk.open:
            desk.open.discard(self)
        desk.recorder.request_ended(self.opened, end, self.status, self.error, self.bytes_in, self.bytes_out)
        if self.phases is not None:
            record_phases(desk.recorder, self.phases, end, self.group, self.route)


def read_naming(client: str, naming: Any) -> Naming:
    """Raises BadInput."""
    if naming is None or isinstance(naming, str) or callable(naming):
        return naming  # type: ignore[no-any-return]
    raise BadInput(f"{client}(group={naming!r}): expected a name or a function of method and URL")


def _checked(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(asked, Mapping) or asked.keys() - OWN:
        raise BadInput(f"expected {{'group': ..., 'expect': ...}} for this request, found {type(asked).__name__}")
    return {
        name: checked_expect(value) if name == "expect" else value for name, value in asked.items() if value is not None
    }
