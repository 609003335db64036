"""What every kind of load has in common: the workers of one Generator on a node, and the interface of their driver."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from wasp_ray.node.hang_detector import CANCEL_GRACE_NS
from wasp_ray.node.sums import Sums
from wasp_ray.plan import GeneratorPlan
from wasp_ray.runtime.fleet import Fleet
from wasp_ray.schedule import SECOND_NS
from wasp_ray.stats.tallies import UserTotals
from wasp_ray.wire.arena import Arena, Header
from wasp_ray.wire.control import NEVER, Control

LATE_START_NS = SECOND_NS
"""Overdue ticks may start until so long after the end of the schedule or a stop."""


@dataclass(slots=True)
class WorkerSet:
    """The workers of one Generator on this node, and the memory that they share with it."""

    gen: int
    plan: GeneratorPlan
    arena: Arena
    control: Control
    fleet: Fleet
    most: int
    """So many workers at most."""
    share: int
    shares: int
    """This node does `share` of `shares` of the schedule."""
    wakes: set[int] = field(default_factory=set)
    """Workers that have to look at the control block."""
    stop_cut_ns: int = NEVER
    """Ticks due from this schedule instant on were cut off by a stop."""
    cut_ns: int = NEVER
    """Where the load ended, by its schedule or a stop; monotonic."""

    @property
    def is_stopped(self) -> bool:
        """Whether a stop came before the end of the schedule."""
        return self.stop_cut_ns != NEVER

    @property
    def clean_up_ns(self) -> int:
        """What a worker may take to leave once its calls had to end: cancellation, teardown, its process' end."""
        return self.plan.teardown_timeout_ns + 2 * CANCEL_GRACE_NS

    def state(self, ring: int) -> int:
        """Return the State of the worker that has a ring."""
        return self.arena.read(self.gen, ring, Header.STATE)

    def in_flight(self, ring: int) -> int:
        """Return the number of calls in flight of the worker that has a ring."""
        return len(self.arena.entries(self.gen, ring))

    def wake_all(self) -> None:
        """Have every worker look at the control block."""
        self.wakes.update(self.fleet.live)


class Driver(Protocol):
    """Makes the workers of one Generator follow its schedule; used from the node's loop alone.

    Implementations inherit what says nothing about their kind of load.
    """

    workers: WorkerSet
    until_ns: int
    """Until this instant of the schedule something becomes due; its end, unless max_calls comes before."""
    peak: int = 0
    """Users of this node at most; 0 for rates."""
    ticks_fd: int | None = None
    """What workers read their ticks from; None when they compute them."""
    stopped_users: Mapping[int, list[int]] = MappingProxyType({})
    """By worker, the users of a pack that stopped themselves, numbered from 0: they do not come back."""

    @abstractmethod
    def prepare(self) -> None:
        """Want the workers of the first instant."""

    def follow(self, now: int) -> int:
        """Follow the schedule until its end; return the monotonic instant of the next turn that matters."""
        return NEVER

    @abstractmethod
    def is_done(self) -> bool:
        """Return whether nothing more becomes due, although the schedule has not ended."""

    def end(self) -> None:
        """The schedule's end or a stop: nothing becomes due any more."""
        return

    def drain(self, now: int) -> None:
        """Start what is overdue, for at most LATE_START_NS after the end; then have the workers leave."""
        return

    def abort(self) -> None:
        """Have the workers leave; what is overdue is not started."""
        self.workers.fleet.wanted = 0

    def measure(self, now: int, active: int, in_setup: int) -> None:
        """Take a sample of the users at work and of the workers whose setup runs; called at each scan of the load."""
        return

    def users(self) -> UserTotals:
        """Return what was measured of users."""
        return UserTotals()

    def overdue(self, now: int) -> Sequence[tuple[int, str]]:
        """Return the workers to be killed since a call of a user that had to leave outlasted graceful_stop, with the outcome."""
        return ()

    def spawning(self, worker: int, ring: int) -> None:
        """A worker is about to be started with this ring."""
        return

    def stop_growing(self) -> None:
        """Want no more workers than now: one more could not be set up."""
        return

    def exited(self, worker: int, ring: int, sums: Sums, at_ns: int) -> None:
        """A worker was dead at `at_ns`, with these sums in its header; add what only its in-flight table shows."""
        return

    def is_replaceable_by_others(self, worker: int) -> bool:
        """Return whether other workers that are ready do all that this one did."""
        return False

    @abstractmethod
    def planned_at(self, t_ns: int) -> float:
        """Return the calls per second, or users, that the whole schedule wants at an instant."""

    @abstractmethod
    def scheduled(self, sums: Sums) -> int:
        """Return the calls of this node that were due by the end or the stop. `sums`: of all workers."""

    @abstractmethod
    def dropped_by(self, sums: Sums, *, is_final: bool) -> Mapping[str, int]:
        """Return the calls that were due and not started, by cause; those of the living workers alone unless `is_final`."""

    def missed_seconds(self) -> Counter[int]:
        """Return the ticks that idle workers should have taken, by the second of the load in which they were due."""
        return Counter()

    def close(self) -> None:
        """Close the descriptors."""
        return
