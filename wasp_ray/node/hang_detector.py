"""Which workers of a Generator have exceeded a time limit, according to their headers. It kills nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wasp_ray.node.headers import entries_of, headers_of
from wasp_ray.plan import GeneratorPlan
from wasp_ray.runtime.fleet import Member
from wasp_ray.schedule import SECOND_NS
from wasp_ray.wire.arena import Arena, Entry, Header, State

CANCEL_GRACE_NS = SECOND_NS
"""Time a cancelled async call has to end before its process is killed."""
PLACED_START_NS = 60 * SECOND_NS
"""Time another backend has to start a process; setup_timeout counts from then on."""
ASYNC_LOOK_NS = SECOND_NS // 10
"""Interval between looks at the calls of async workers, which have a second of grace: their tables are large."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """A worker to be killed, with the outcome of its calls; `why` is for a person."""

    worker: int
    kill_as: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What the headers of a Generator's workers said at one instant."""

    starting: int = 0
    """Workers whose process starts or whose setup runs."""
    in_setup: int = 0
    """Those of them whose setup runs."""
    active_users: int = 0
    has_given_up_setup: bool = False
    """Whether a user of a pack, which its worker sets up again and again, has failed for good."""
    overdue: Sequence[Overdue] = ()


class HangDetector:
    """Compares the states and calls of one Generator's workers with the limits of its plan."""

    def __init__(self, gen: int, plan: GeneratorPlan, arena: Arena) -> None:
        self._gen, self._arena = gen, arena
        self._is_async = plan.is_async
        self._grace_ns = CANCEL_GRACE_NS if self._is_async else 0
        self._placed_ns = PLACED_START_NS if plan.is_placed else 0
        self._setup_ns = plan.setup_timeout_ns
        self._teardown_ns = plan.teardown_timeout_ns
        self._call_ns = plan.call_timeout_ns
        self._look_at_calls_ns = 0

    def look(self, live: Mapping[int, Member], now: int) -> Look:
        """Read the headers of all living workers; `now` is monotonic ns."""
        if not live:
            return Look()
        workers, members = list(live), list(live.values())
        rings = np.fromiter((member.ring for member in members), np.intp, len(members))
        headers = headers_of(self._arena, self._gen)
        state, since = headers[rings, Header.STATE], headers[rings, Header.STATE_SINCE]
        setup_since = headers[rings, Header.SETUP_SINCE]
        is_setting_up = state <= State.SETUP
        late = setup_since < max(0, now - self._setup_limit_ns(False))
        late &= setup_since != 0  # of a pack at work, too
        out = [Overdue(workers[at], "setup", self._late_setup(False)) for at in np.flatnonzero(late).tolist()]
        out += [
            Overdue(workers[at], "setup", self._late_setup(True))
            for at in np.flatnonzero(state == State.EMPTY).tolist()
            if now - members[at].spawned_ns > self._setup_limit_ns(True)
        ]
        is_leaving = state == State.TEARDOWN
        late = is_leaving & (since < max(0, now - self._teardown_ns - self._grace_ns))
        out += [Overdue(workers[at], "teardown") for at in np.flatnonzero(late).tolist()]
        hung = self._hung(rings, now) & ~is_setting_up & ~is_leaving
        out += [Overdue(workers[at], "timeout") for at in np.flatnonzero(hung).tolist()]
        return Look(
            starting=int(is_setting_up.sum()), in_setup=int((state == State.SETUP).sum()), overdue=out,
            active_users=int(headers[rings, Header.ACTIVE_USERS].sum()),
            has_given_up_setup=bool(headers[rings, Header.SETUP_GAVE_UP].any()),
        )  # fmt: skip

    def _setup_limit_ns(self, not_started: bool) -> int:
        return self._setup_ns + self._grace_ns + (self._placed_ns if not_started else 0)

    def _late_setup(self, not_started: bool) -> str:
        what = "setup took longer than setup_timeout"
        if not_started and self._placed_ns:
            what = f"its process did not start within {self._placed_ns / 1e9:g} s and setup_timeout"
        return f"{what}, {self._setup_ns / 1e9:g} s"

    def _hung(self, rings: NDArray[np.intp], now: int) -> NDArray[np.bool_]:
        """Which of the rings have a call in flight that is past call_timeout and the grace."""
        if self._call_ns is None or (self._is_async and now < self._look_at_calls_ns):
            return np.zeros(len(rings), bool)
        self._look_at_calls_ns = now + ASYNC_LOOK_NS
        entries = entries_of(self._arena, self._gen)
        before = max(0, now - self._call_ns - self._grace_ns)
        numbers = entries[:, :, Entry.NUMBER].copy()
        suspects = (numbers != 0) & (entries[:, :, Entry.START] < before)
        suspects &= entries[:, :, Entry.NUMBER] == numbers  # if it has changed, the start is that of another call
        has_suspects: NDArray[np.bool_] = suspects.any(axis=1)
        return has_suspects[rings]
