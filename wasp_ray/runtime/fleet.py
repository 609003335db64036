"""Which workers to start, replace, give up: decisions of one Generator's fleet. Pure: events in, instructions out.

The caller performs instructions and reports what happened; nothing here reads a clock or touches a process.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

from wasp_ray.schedule import SECOND_NS
from wasp_ray.wire.arena import State

SETUP_BACKOFF_NS: tuple[int, ...] = (1 * SECOND_NS, 2 * SECOND_NS, 4 * SECOND_NS)
"""Waits before the retries of a failed setup, one for each retry. Read at each failure, so that tests can shorten them (fixture
`short_setup_backoff`).
"""
CRASH_LOOP = 5
SET_UP = (State.READY, State.RUNNING, State.TEARDOWN, State.DONE, State.STOPPED_ITSELF)
"""States that a worker reaches only through a successful setup."""
UNKNOWN_END = -1
"""Instead of a status, of a process whose parent is another."""


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start worker `worker` on ring `ring`."""

    worker: int
    ring: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class Close:
    """Take the last records of a ring. Calls it left at `at_ns` before their deadline count as `as_`, "killed" or
    "interrupted".
    """

    ring: int
    as_: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The Generator cannot go on: `verdict` is "error" or "invalid"."""

    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class Warn:
    """The Generator continues with fewer workers than it wanted."""

    reason: str


Instruction = Spawn | Close | GiveUp | Warn


@dataclass(slots=True)
class WorkerExit:
    """What is known of a worker that ended."""

    state: int  # the last State of its header
    status: int  # of wait4, or UNKNOWN_END
    completed: bool  # at least one of its calls was completed
    at_ns: int
    has_others: bool = False  # other workers are ready that can do all that this one did


@dataclass(slots=True)
class Member:
    """A live worker."""

    ring: int
    incarnation: int
    spawned_ns: int
    kill_as: str = ""  # "", "timeout", "setup", "interrupted", "teardown": why we killed it


@dataclass(slots=True)
class Fleet:
    """The workers of one Generator. `reuse_rings`: a dead worker's ring may be used again (not if its thread may live
    on).
    """

    rings: int
    setup_concurrency: int
    reuse_rings: bool = True
    wanted: int = 0
    live: dict[int, Member] = field(default_factory=dict)
    closing: dict[int, int] = field(default_factory=dict)  # ring -> worker, until its last records are taken
    gone: set[int] = field(default_factory=set)  # ended by themselves: not replaced
    setup_failed: int = 0
    replaced: int = 0
    deaths: int = 0
    hung: int = 0  # those of them that we killed since a call outlasted its timeout
    last_error: str = ""  # the last setup failure or traceback that was reported
    _free: list[int] = field(default_factory=list)
    _incarnations: dict[int, int] = field(default_factory=dict)
    _retry_at: dict[int, int] = field(default_factory=dict)
    _tries: dict[int, int] = field(default_factory=dict)
    _deaths_in_row: dict[int, int] = field(default_factory=dict)
    _given_up: bool = False
    _warned: bool = False

    def __post_init__(self) -> None:
        self._free = list(range(self.rings))[::-1]

    @property
    def empty(self) -> bool:
        """No worker lives and no ring waits for its last records."""
        return not self.live and not self.closing

    @property
    def settled(self) -> bool:
        """Every wanted worker lives or has ended by itself."""
        return all(w in self.live or w in self.gone for w in range(self.wanted))

    @property
    def setup_backoff_ns(self) -> tuple[int, ...]:
        """The waits before the retries of a failed setup."""
        return SETUP_BACKOFF_NS

    def step(self, now_ns: int, setting_up: int) -> list[Instruction]:
        """Starts what is wanted and missing, at most setup_concurrency setups at once."""
        out: list[Instruction] = []
        if self._given_up:
            return out
        busy = set(self.closing.values())
        for worker in range(self.wanted):
            if setting_up >= self.setup_concurrency:
                break
            if worker in self.live or worker in self.gone or worker in busy or self._retry_at.get(worker, 0) > now_ns:
                continue
            if not self._free:
                if not busy:
                    out += self._give_up("invalid", "more calls hang than this runtime can replace")
                break
            setting_up += 1
            incarnation = self._incarnations.get(worker, -1) + 1
            self._incarnations[worker] = incarnation
            member = Member(self._free.pop(), incarnation, now_ns)
            self.live[worker] = member
            out.append(Spawn(worker, member.ring, incarnation))
        return out

    def exited(self, worker: int, gone: WorkerExit) -> list[Instruction]:
        """A worker ended, whatever the reason."""
        member = self.live.pop(worker)
        self.closing[member.ring] = worker
        if (gone.state in SET_UP or gone.completed) and member.kill_as != "setup":
            self._tries.pop(worker, None)  # its setup has succeeded; after RestartUser another one may have failed
        as_ = "interrupted" if member.kill_as == "interrupted" else "killed"
        out: list[Instruction] = [Close(member.ring, as_, gone.at_ns)]
        if gone.state == State.DONE or member.kill_as == "teardown" or member.kill_as == "interrupted":
            return out
        if gone.state == State.STOPPED_ITSELF:
            self.gone.add(worker)
            return out
        if gone.state == State.SETUP_FAILED or member.kill_as == "setup":
            out.extend(self._setup_failed(worker, gone))
            return out
        if gone.state == State.TEARDOWN:
            self.deaths += 1
            return out
        out.extend(self._died(worker, member, gone))
        return out

    def closed(self, ring: int) -> None:
        """The aggregator has taken a ring's last records."""
        self.closing.pop(ring, None)
        if self.reuse_rings:
            self._free.append(ring)

    def _setup_failed(self, worker: int, gone: WorkerExit) -> list[Instruction]:
        self.setup_failed += 1
        tries = self._tries[worker] = self._tries.get(worker, 0) + 1
        if tries <= len(SETUP_BACKOFF_NS):
            self._retry_at[worker] = gone.at_ns + SETUP_BACKOFF_NS[tries - 1]
            return []
        if not gone.has_others:
            return self.setup_gave_up()
        self.gone.add(worker)
        if self._warned:
            return []
        self._warned = True
        reason = f": {self.last_error.splitlines()[0]}" if self.last_error else ""
        return [
            Warn(
                f"setup of a further worker failed {tries} times; no more workers are added, calls wait for the present"
                f" ones{reason}"
            )
        ]

    def setup_gave_up(self) -> list[Instruction]:
        """All retries of a setup failed, of a worker or of a user in a pack."""
        reason = f": {self.last_error}" if self.last_error else ""
        return self._give_up("error", f"setup failed {len(SETUP_BACKOFF_NS) + 1} times{reason}")

    def _give_up(self, verdict: str, reason: str) -> list[Instruction]:
        """Said once, however many workers come to the same end."""
        if self._given_up:
            return []
        self._given_up = True
        return [GiveUp(verdict, reason)]

    def _died(self, worker: int, member: Member, gone: WorkerExit) -> list[Instruction]:
        self.deaths += 1
        if worker < self.wanted:
            self.replaced += 1
        if member.kill_as == "timeout":
            self.hung += 1
            return []
        in_row = 1 if gone.completed else self._deaths_in_row.get(worker, 0) + 1
        self._deaths_in_row[worker] = in_row
        if in_row < CRASH_LOOP:
            return []
        how = describe_status(gone.status)
        error = f"; last error: {self.last_error}" if self.last_error else ""
        return self._give_up(
            "invalid", f"a worker died {in_row} times in a row without completing a call, last by {how}{error}"
        )


def describe_status(status: int) -> str:
    """`SIGSEGV`, or `exit code 3`, of a wait4 status."""
    if status == UNKNOWN_END:
        return "an end without a status"
    number = status & 0x7F
    if number:
        try:
            return signal.Signals(number).name
        except ValueError:
            return f"signal {number}"
    return f"exit code {status >> 8}"
