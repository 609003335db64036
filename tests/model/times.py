"""What the witness says about instants of a run, as bounds: every value is the earliest or the latest that is possible.

Truth and check draw a conclusion from time only where these bounds decide it. All instants are CLOCK_MONOTONIC ns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from model import counting
from model.counting import MS, SECOND
from model.scenario import Load, Scenario, Swallow, has
from model.witness import Call, Life, Note

NEVER = 2**63
SLACK_NS = 200 * MS
"""How much earlier than its `begin` line the engine may have taken a call's start, and how late a look at a clock may act."""
CLAIM_NS = 5 * MS
"""How exactly `started_at` (in ms, wall time) says when t = 0 was."""
CRASH_LOOP, SETUP_TRIES = 5, 4
"""Deaths in a row, and failed setups, that end a Generator (docs/verdicts.md)."""
FAILURES = ("failed", "error", "wrong", "raised", "restarted", "timeout")


@dataclass(frozen=True)
class Death:
    """A worker process that ended: last seen alive, first seen dead."""

    alive_ns: int
    dead_ns: int


class Times:
    """Bounds for one run."""

    def __init__(
        self, scenario: Scenario, lives: Sequence[Life], notes: Sequence[Note], started_at: str | None = None
    ) -> None:
        self.scenario, self.lives, self.notes = scenario, lives, notes
        self.over_ns = self._first("over", NEVER)
        begins = [call.begin_ns for life in lives for call in life.calls]
        self.t0_hi = min(begins, default=self.over_ns)
        """t = 0 was not later than the first call"""
        self.t0_lo = min(self.t0_hi, max([self._first("start", 0), *self._first_ready()]))
        """nor before the workers of the first instant were ready"""
        self.claimed_ns = self._claim(started_at) if begins else None
        """the run's own word for t = 0; it sharpens the bounds when it lies within them"""
        if self.claimed_ns is not None and self.t0_lo - CLAIM_NS <= self.claimed_ns <= self.t0_hi + CLAIM_NS:
            self.t0_lo = max(self.t0_lo, min(self.claimed_ns - CLAIM_NS, self.t0_hi))
            self.t0_hi = min(self.t0_hi, max(self.claimed_ns + CLAIM_NS, self.t0_lo))
        self.hurry_ns = self._second_stop()
        self.deaths = self._deaths()
        self.killed_pids = {note.detail[0]: note.ns for note in notes if note.what == "kill"}

    def _claim(self, started_at: str | None) -> int | None:
        start = next((note for note in self.notes if note.what == "start"), None)
        if started_at is None or start is None or not start.detail:
            return None
        wall = datetime.fromisoformat(started_at) - datetime(1970, 1, 1, tzinfo=UTC)
        return wall // timedelta(microseconds=1) * 1000 - int(start.detail[0])

    def _first(self, what: str, default: int) -> int:
        return next((note.ns for note in self.notes if note.what == what), default)

    def _all(self, what: str) -> list[int]:
        return [note.ns for note in self.notes if note.what == what]

    def _first_ready(self) -> Iterator[int]:
        for index, load in enumerate(self.scenario.loads):
            if load.is_rate:
                yield from self._first_workers(load, index)
            else:
                for user in range(counting.users_at(load.schedule, 0)):
                    ready = [
                        ns for life in self.of(index) if life.user == user and (ns := life.at("ready")) is not None
                    ]
                    if ready:
                        yield min(ready)

    def _first_workers(self, load: Load, index: int) -> Iterator[int]:
        """One worker of each node; of an async gun all of them, since it has no more later."""
        for node in range(1, self.scenario.nodes + 1):
            ready: dict[int, int] = {}
            for life in self.of(index, node):
                at = life.at("ready")
                if at is not None:
                    ready[life.user if load.is_async else -1] = min(
                        at, ready.get(life.user if load.is_async else -1, at)
                    )
            yield from ready.values()

    def _second_stop(self) -> int:
        stops = self._all("stop")
        return stops[1] if len(stops) > 1 else NEVER

    def _deaths(self) -> dict[int, Death]:
        if self.scenario.runtime == "inline":
            return {}
        seen = {note.detail[0]: Death(note.detail[1], note.ns) for note in self.notes if note.what == "dead"}
        for life in self.lives:
            if life.pid not in seen:  # it outlived the driver's last look, or was never seen
                seen[life.pid] = Death(life.lines[-1].ns, NEVER)
        return seen

    def of(self, index: int, node: int | None = None) -> list[Life]:
        """Return the lives of a load, on one node or on all."""
        return [life for life in self.lives if life.load == index and node in (None, life.node)]

    def is_killed_by_other(self, life: Life, begin_ns: int, timeout_ns: int) -> bool:
        """Return whether something else than this call may have ended its process: a signal, its own code, a hung mate."""
        if life.pid in self.killed_pids:
            return True
        dead_ns = min(self.deaths[life.pid].dead_ns, self.over_ns)
        setup_ns = self.scenario.loads[life.load].setup_timeout_ms * MS
        for mate in (each for each in self.lives if each.pid == life.pid):
            if mate.at("die") is not None:
                return True
            in_setup = mate.at("ready") is None and mate.at("unready") is None
            if mate is not life and in_setup and dead_ns - mate.began_ns >= setup_ns - SLACK_NS:
                return True
            for call in mate.calls:
                is_open = call.end_ns is None and not (mate is life and call.begin_ns == begin_ns)
                if is_open and dead_ns - call.begin_ns >= timeout_ns - SLACK_NS:
                    return True
        return False

    # -- pauses

    def paused(self) -> list[tuple[int, int, int, int]]:
        """Return (pause asked, pause told, resume asked, resume told) of each pause; a missing resume is `over`."""
        out: list[tuple[int, int, int, int]] = []
        at = 0
        notes = [note for note in self.notes if note.what in ("pause", "pause done", "resume", "resume done")]
        while at < len(notes):
            if notes[at].what == "pause":
                done = notes[at + 1].ns if at + 1 < len(notes) else self.over_ns
                resume = next((n for n, note in enumerate(notes) if n > at and note.what == "resume"), None)
                if resume is None:
                    return [*out, (notes[at].ns, done, self.over_ns, self.over_ns)]
                out.append((notes[at].ns, done, notes[resume].ns, notes[resume + 1].ns))
                at = resume
            at += 1
        return out

    def held_lo(self, until_ns: int) -> int:
        """Return how long pauses have surely held the schedule by an instant: PAUSE_SETTLES after each was told."""
        held = 0
        for _, told, resumed, _ in self.paused():
            begins = max(told + PAUSE_SETTLES_NS, self.t0_hi)
            held += max(0, min(until_ns, resumed) - begins)
        return held

    # -- ends

    def stops(self, index: int) -> list[int]:
        """Return the instants before which no stop of a load was possible, one for each thing that may stop it."""
        load, out = self.scenario.loads[index], self._all("stop")
        lives = self.of(index)
        for life in lives:
            out += [line.ns for line in life.lines if line.what in ("stopping", "dry")]
            for call in life.calls:
                if load.is_rate and call.how == "left" and call.end_ns is not None:
                    out.append(call.end_ns)
                if load.fail_on_error:
                    out += _failing(load, call.how, call.begin_ns, call.end_ns)
                    out += [ns for ns, fails in _request_failures(call) if fails]
        out += self._give_ups(index)
        for other in range(len(self.scenario.loads)):  # an error ends every Generator
            out += self._setup_give_ups(other)
        return out

    def _give_ups(self, index: int) -> list[int]:
        pids = {life.pid for life in self.of(index) if life.lines[-1].what not in ("gone", "unready")}
        deaths = sorted(death.alive_ns for pid, death in self.deaths.items() if pid in pids)
        return deaths[:1] if len(deaths) >= CRASH_LOOP else []

    def _setup_give_ups(self, index: int) -> list[int]:
        """Any four failed or unfinished setups of a load: retries of one user cannot be told from those of another."""
        ended = sorted(life.began_ns for life in self.of(index) if life.at("ready") is None)
        return ended[:1] if len(ended) >= SETUP_TRIES else []

    @property
    def setups_count_until(self) -> int:
        """Setups that end later may be cut at once: a second stop, a stop before t = 0, or four failed setups came first."""
        loads = range(len(self.scenario.loads))
        stops = self._all("stop")[:1] if self.t0_hi >= self.over_ns else []
        failed = [sorted(ns for life in self.of(i) if (ns := life.at("unready")) is not None)[3:4] for i in loads]
        return min([self.hurry_ns, *stops, *(ns + 1 for found in failed for ns in found)])

    @property
    def stopped_early(self) -> bool:
        """Whether a stop may have come before t = 0."""
        return min(self._all("stop"), default=NEVER) <= self.t0_hi

    def stop_lo(self, index: int) -> int:
        """Return the earliest instant at which something may have stopped the load; NEVER: nothing did."""
        return min(self.stops(index), default=NEVER)

    def end_lo(self, index: int, user: int | None = None) -> int:
        """Return the earliest end of a load, or the earliest instant at which a user may have had to leave."""
        load = self.scenario.loads[index]
        ends = self.t0_lo + counting.duration_ns(load.schedule)
        if user is not None and not load.is_rate:
            for _, until in counting.wanted_spans(load.schedule, user):
                ends = min(ends, self.t0_lo + until - MS)
        return min(ends, self.stop_lo(index), *self._max_calls_reached(index))

    def _max_calls_reached(self, index: int) -> Iterator[int]:
        """When the blocking gun of a node had taken its share of max_calls, which ends its load at once."""
        load, nodes = self.scenario.loads[index], self.scenario.nodes
        if load.kind != "sync gun" or load.max_calls is None:
            return
        for node in range(nodes):
            begins = sorted(call.begin_ns for life in self.of(index, node + 1) for call in life.calls)
            number = counting.share(load.max_calls, node, nodes)
            if number <= len(begins):
                yield begins[number - 1] if number else self.t0_lo

    def grace_lo(self, index: int, user: int | None = None) -> int:
        """Return the earliest instant at which graceful_stop may have run out."""
        return min(self.end_lo(index, user) + self.scenario.loads[index].graceful_ms * MS, self.hurry_ns)

    def given_up_lo(self, life: Life) -> int:
        """Return the earliest instant at which the inline runtime may have given up the thread of an actor."""
        return min(self.grace_lo(life.load, life.user), self.hung_lo(life))

    def hung_lo(self, life: Life, but: Call | None = None) -> int:
        """Return from when on a setup or a call `but` this one had outlasted its limit for so long that its thread was given up.

        Calls of an async actor share their loop, so that one which outlasts its deadline by a second takes the others along.
        """
        load, out = self.scenario.loads[life.load], [NEVER]
        setup_ns = load.setup_timeout_ms * MS - SLACK_NS
        call_ns = NEVER if load.call_timeout_ms is None else load.call_timeout_ms * MS - SLACK_NS
        for mate in self.of(life.load) if load.is_async else [life]:
            settled_ns = mate.at("ready") or mate.at("unready") or self.over_ns
            spans = [(mate.began_ns, settled_ns, setup_ns)]
            spans += [(call.begin_ns, self._ended_hi(load, call), call_ns) for call in mate.calls if call is not but]
            grace_ns = SECOND if load.is_async else 0
            out += [begin + limit + grace_ns for begin, end, limit in spans if end - begin >= limit + grace_ns]
        return min(out)

    def _ended_hi(self, load: Load, call: Call) -> int:
        """Return when a call was over at the latest; one that swallows its cancellation continues."""
        if call.cancelled_ns and not has(load, Swallow):
            return call.cleaned_ns or call.cancelled_ns[0]
        return call.end_ns or self.over_ns


PAUSE_SETTLES_NS = 750 * MS
"""A pause that was told so long ago is in effect on every node, however busy the machine."""


def _failing(load: Load, how: str, begin_ns: int, end_ns: int | None) -> list[int]:
    out = [end_ns] if end_ns is not None and how in FAILURES else []
    if load.call_timeout_ms is not None:
        deadline = begin_ns + load.call_timeout_ms * MS - SLACK_NS
        if end_ns is None or end_ns > deadline:
            out.append(deadline)
    return out


def _request_failures(call: Call) -> Iterator[tuple[int, bool]]:
    for request in call.requests:
        if request.close_ns is not None:
            yield request.close_ns, request.how not in ("ok", "left", "dry")
    for record in call.records:
        yield record.ns, record.fails


__all__ = ["NEVER", "PAUSE_SETTLES_NS", "SECOND", "SLACK_NS", "Death", "Times"]
