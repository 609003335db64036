"""The specification of a worker, as its parent's fork or thread is given it.

It owns no behaviour but the life-cycle words of its ring.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from wasp_ray.clock import now_ns
from wasp_ray.plan import GeneratorPlan
from wasp_ray.wire.arena import Arena, Header, State
from wasp_ray.wire.control import Control, Word
from wasp_ray.worker.cpu import own_cpu_ns
from wasp_ray.worker.user_life import UserLife

RowSource = Callable[[int, int], "dict[str, Any] | None"]
"""(tick or -1, user id) -> the next row, None when the rows are used up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorPart(GeneratorPlan):
    """One Generator as its workers need it: its plan, and what exists in their processes only. The same for all of them.

    `max_calls` is that of the plan for guns, which count their ticks over all nodes, and this node's share for users.
    """

    index: int
    actor: type[Any]
    params: Mapping[str, Any]
    think: Any  # draws ns from a random.Random; None = no wait
    pacing: Any
    sample: float
    feeds: Mapping[str, RowSource]
    per_user: frozenset[str]  # feeders whose row is bound to the user
    shared_data: memoryview | None
    ticket: Callable[[], int] | None  # users: the next call number of all users, when max_calls is set
    guard: Any = field(default_factory=Lock)  # of what its threads draw from: rows, tickets


_PLAIN = (
    "ring", "worker", "workers", "incarnation", "first_user", "users", "node", "nodes", "share", "shares", "seed", "run_id",
    "user_dir", "wants_raw", "verbose", "setup_data", "setup_backoff_ns", "stopped_users",
)  # fmt: skip


@dataclass(slots=True)
class WorkerSpec:
    """One worker: its place in the arena, its descriptors, its numbers."""

    arena: Arena
    control: Control
    part: GeneratorPart
    ring: int
    worker: int
    workers: int  # rate: how many share the ticks
    incarnation: int
    first_user: int  # local user ids first_user .. first_user + users - 1
    users: int
    node: int  # 0-based
    nodes: int
    share: int  # this node does share `share` of `shares` of each schedule
    shares: int
    seed: int
    run_id: str
    user_dir: str
    wake_fd: int
    notes_fd: int
    ticks_fd: int
    wants_raw: bool
    verbose: bool  # prints every request
    setup_data: Any = None
    setup_backoff_ns: Sequence[int] = ()  # waits before the retries of a failed setup, of a user that is not alone
    stopped_users: Sequence[int] = ()  # those of a pack that stopped themselves in an earlier process, from 0 on
    pid: int = 0  # of the process that the worker runs in
    owns_process: bool = True  # the inline runtime has threads in the user's own process
    abandoned: Callable[[], bool] = field(default=lambda: False)  # inline: this thread was given up
    was_ready_early: bool = False  # it was set up before t = 0, and has begun nothing yet

    def to_data(self) -> dict[str, Any]:
        """JSON-able: all but what lives in this process; the other way round: WorkerSpec(**data, arena=..., ...)."""
        return {name: getattr(self, name) for name in _PLAIN}

    def header(self, word: int) -> int:
        """Index of a header word of this worker's ring in `arena.words`."""
        return self.arena.slabs[self.part.index].header_word(self.ring) + word

    def enter(self, state: int) -> None:
        """Publish the life-cycle state; on the way to t = 0 also the CPU time that was taken until then."""
        words, now = self.arena.words, now_ns()
        if state == State.READY:
            self.was_ready_early = self.control.start_ns > now
        if self.was_ready_early and state in (State.READY, State.RUNNING):
            self.publish_cpu_before()
            self.was_ready_early = state == State.READY
        words[self.header(Header.STATE_SINCE)] = now
        words[self.header(Header.STATE)] = state

    def publish_cpu_before(self) -> None:
        """CPU time that was taken by now is none of the load's."""
        self.arena.words[self.header(Header.CPU_BEFORE_NS)] = own_cpu_ns(is_thread=not self.owns_process)

    def global_user(self, local: int) -> int:
        """The id of a local user over all nodes: node j of N owns j, j + N, ..."""
        return self.node + self.nodes * local

    def stream_seed(self, *more: object) -> str:
        """The seed of a random stream that no other worker of the run has, on whatever node; equal for equal run seeds."""
        parts = (self.seed, self.part.name, self.global_user(self.first_user), self.incarnation, *more)
        return "/".join(map(str, parts))

    def count_dropped_paces(self, life: UserLife) -> None:
        """Count the paces that a user's life has dropped."""
        busy, late = life.take_dropped()
        self.arena.words[self.header(Header.DROPPED_BUSY)] += busy
        self.arena.words[self.header(Header.DROPPED_GENERATOR)] += late

    def entry_word(self, local_user: int) -> int:
        """Return the first word of the in-flight entry that a user has for itself; a blocking gun has one, as user `first_user`."""
        return self.arena.slabs[self.part.index].entry_word(self.ring, local_user - self.first_user)

    def ask_stop(self, why: int) -> None:
        """Ask the node to end this Generator, `why` is an Ask. No user begins another call."""
        if self.abandoned():  # what becomes of its Generator is its successor's business
            return
        words = self.arena.words
        words[Control.at(self.part.index, why)] = 1
        words[Control.at(self.part.index, Word.RUN_LIMIT)] = 0
