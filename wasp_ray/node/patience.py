"""Which workers of a Generator have taken too long for what they are at, by what their headers say. It kills nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wasp_ray.runtime.fleet import Member
from wasp_ray.wire.arena import Arena, Header, State

SECOND = 1_000_000_000
ASYNC_MERCY_NS = SECOND
"""A cancelled async call has so long to end before its process is killed."""
PLACE_NS = 60 * SECOND
"""What another engine has to make a process, before setup_timeout runs."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """A worker to be killed, as what; `why` is for a person."""

    worker: int
    kill_as: str
    why: str = ""


class Patience:
    """Of one Generator, whose options are in `part`."""

    def __init__(self, gen: int, part: Mapping[str, Any], arena: Arena) -> None:
        self._gen, self._arena = gen, arena
        self._mercy_ns = ASYNC_MERCY_NS if part["is_async"] else 0
        self._place_ns = 0 if part["placement"] is None else PLACE_NS
        self._setup_ns: int = part["setup_timeout_ns"]
        self._teardown_ns: int = part["teardown_timeout_ns"]
        self._call_ns: int | None = part["call_timeout_ns"]

    def look(self, live: Mapping[int, Member], now: int) -> tuple[int, list[Overdue]]:
        """How many are setting up, and who is overdue."""
        setting_up, out = 0, []
        slab, words = self._arena.slabs[self._gen], self._arena.words
        for worker, member in live.items():
            header = slab.header_word(member.ring)
            state, since = words[header + Header.STATE], words[header + Header.STATE_SINCE] or member.spawned_ns
            if state in (State.EMPTY, State.SETUP):
                setting_up += 1
                place_ns = self._place_ns if state == State.EMPTY else 0
                if now - since > self._setup_ns + self._mercy_ns + place_ns:
                    out.append(Overdue(worker, "setup", self._late_setup(place_ns)))
            elif state == State.TEARDOWN and now - since > self._teardown_ns + self._mercy_ns:
                out.append(Overdue(worker, "teardown"))
            elif self._call_ns is not None and self._hangs(member.ring, now - self._call_ns - self._mercy_ns):
                out.append(Overdue(worker, "timeout"))
        return setting_up, out

    def _late_setup(self, place_ns: int) -> str:
        what = "setup took longer than setup_timeout"
        if place_ns:
            what = f"its process did not come within {place_ns / 1e9:g} s and setup_timeout"
        return f"{what}, {self._setup_ns / 1e9:g} s"

    def _hangs(self, ring: int, before_ns: int) -> bool:
        """Whether a call in flight began before that instant."""
        slab, words = self._arena.slabs[self._gen], self._arena.words
        if slab.entries == 1:
            at = slab.entry_word(ring, 0)
            return bool(words[at] and words[at + 2] < before_ns and words[at])  # it may end while it is looked at
        return any(started_ns < before_ns for _, _, started_ns, _ in self._arena.entries(self._gen, ring))
