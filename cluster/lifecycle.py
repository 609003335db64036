"""The life of a run of several nodes as a pure state machine: events in, instructions out, time as an argument.

Every phase has a deadline. What happens is told by events; what is to be done is answered by instructions, each of which
may safely be carried out twice.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from wasp_ray.cluster.barrier import Barrier

COLLECT_S = 60.0
CLEAN_S = 60.0
AT_ONCE_S = 5.0


class Phase(enum.Enum):
    """Where a run stands."""

    DEPLOYING = "deploying"  # until all nodes are ready
    RUNNING = "running"  # the common start is fixed
    DRAINING = "draining"  # told to stop; results are awaited
    COLLECTING = "collecting"
    CLEANING = "cleaning up"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Terms:
    """What the run is held to; seconds."""

    nodes: int
    deploy_timeout_s: float = 600.0
    run_timeout_s: float | None = None  # from the common start; a run that is not over then is an error
    drain_s: float = 60.0
    on_lost_node: str = "stop"  # or "continue"; the run is invalid either way


# -- events


@dataclass(frozen=True, slots=True)
class Seen:
    """A process or pod that is to be a node was found."""

    node: int
    uid: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """A node has read its load."""

    node: int
    uid: str
    version: str
    plan_hash: str


@dataclass(frozen=True, slots=True)
class Ready:
    """A node's first users are set up."""

    node: int
    uid: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A node found its input bad."""

    node: int
    uid: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """A node's result has come. `failed`: it could not do its part."""

    node: int
    uid: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """A node's process or container is no more."""

    node: int
    uid: str
    why: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something keeps a node from coming up; `fatal`: it will not pass by itself."""

    node: int
    why: str
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class StopAsked:
    """By a signal, or by a handle (None). A second one means at once."""

    signal: str | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """The controller itself cannot go on: its cluster refuses it, its disk is gone."""

    why: str


@dataclass(frozen=True, slots=True)
class Collected:
    """Logs, events and results are here."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Nothing of the run is left where it ran."""


Event = Seen | Planned | Ready | Refused | Finished | Ended | Trouble | StopAsked | Broken | Collected | Cleaned


# -- instructions


@dataclass(frozen=True, slots=True)
class Release:
    """Fix the common start and tell all nodes."""


@dataclass(frozen=True, slots=True)
class Abort:
    """Tell all nodes to stop: with their grace, or at once."""

    why: str
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Collect:
    """Fetch what is left to fetch."""


@dataclass(frozen=True, slots=True)
class Clean:
    """Remove everything of the run."""


Instruction = Release | Abort | Collect | Clean


@dataclass(slots=True)
class Lifecycle:
    """`step` with each event, or None to let time pass. `started_s`: the controller's clock at the beginning."""

    terms: Terms
    started_s: float
    phase: Phase = Phase.DEPLOYING
    barrier: Barrier = field(init=False)
    problems: list[str] = field(default_factory=list)  # bad input: nothing was started
    errors: list[str] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    interrupted: str | None = None
    stopped: bool = False
    released: bool = False
    finished: dict[int, str] = field(default_factory=dict)  # node -> uid whose result has come
    lost: dict[int, str] = field(default_factory=dict)  # node -> why no result will come
    _deadline_s: float = field(init=False)
    _stops: int = 0

    def __post_init__(self) -> None:
        self.barrier = Barrier(self.terms.nodes)
        self._deadline_s = self.started_s + self.terms.deploy_timeout_s

    def adopt(self, released: bool, aborted: bool, now_s: float) -> None:
        """Goes on with a run that another controller began: what it had decided stays decided."""
        if released:
            self.phase, self.released = Phase.RUNNING, True
            self._deadline_s = float("inf") if self.terms.run_timeout_s is None else now_s + self.terms.run_timeout_s
        if aborted:
            self.phase, self.stopped = Phase.DRAINING, True
            self._deadline_s = now_s + self.terms.drain_s

    def step(self, event: Event | None, now_s: float) -> list[Instruction]:
        """What is to be done now."""
        out = [] if event is None else self._take(event, now_s)
        return out + self._advance(now_s)

    def _take(self, event: Event, now_s: float) -> list[Instruction]:
        match event:
            case Seen(node, uid, where):
                return self._seen(node, uid, where, now_s)
            case Planned(node, uid, version, plan_hash):
                self.barrier.planned(node, uid, version, plan_hash)
            case Ready(node, uid):
                self.barrier.ready(node, uid)
            case Refused(_, _, problems):
                self.problems += [text for text in problems if text not in self.problems]
                return self._abort("a node refused its input", now_s, at_once=True)
            case Finished(node, uid, failed):
                self.finished[node] = uid
                self.lost.pop(node, None)
                if failed or not self.released:
                    return self._abort(f"node {node} could not do its part", now_s)
            case Ended(node, uid, why):
                return self._ended(node, uid, why, now_s)
            case Trouble(node, why, fatal):
                return self._trouble(node, why, fatal, now_s)
            case StopAsked(signal):
                return self._stop(signal, now_s)
            case Broken(why):
                self.errors.append(why)
                return self._abort(why, now_s)
            case Collected():
                return self._go(Phase.CLEANING, now_s) if self.phase is Phase.COLLECTING else []
            case Cleaned():
                return self._go(Phase.DONE, now_s) if self.phase is Phase.CLEANING else []
        return []

    # -- nodes

    def _seen(self, node: int, uid: str, where: str, now_s: float) -> list[Instruction]:
        replaced = self.barrier.seen(node, uid, where)
        if not replaced or not self.released or node in self.finished:
            return []
        why = "another pod took its place in the middle of the run"
        self.lost[node] = why
        self.invalid.append(f"node {node}: {why}")
        return self._abort(f"node {node}: {why}", now_s)

    def _ended(self, node: int, uid: str, why: str, now_s: float) -> list[Instruction]:
        if self.finished.get(node) == uid or node in self.lost or not self.barrier.is_member(node, uid):
            return []
        if self.problems:
            self.lost[node] = why
            return []
        if not self.released:
            self.barrier.gone(node, uid)
            self.lost[node] = why
            if self.phase is Phase.DEPLOYING:
                self.errors.append(f"node {node} ended before the start: {why}")
                return self._abort(f"node {node}: {why}", now_s)
            return []
        self.lost[node] = why
        self.invalid.append(f"node {node} was lost: {why}; what it did after its last word is not in the counts")
        if self.terms.on_lost_node == "stop":
            return self._abort(f"node {node} was lost", now_s)
        return []

    def _trouble(self, node: int, why: str, fatal: bool, now_s: float) -> list[Instruction]:
        self.barrier.trouble(node, why)
        if not fatal or self.phase is not Phase.DEPLOYING:
            return []
        self.errors.append(f"node {node} cannot start: {why}")
        return self._abort(f"node {node}: {why}", now_s)

    # -- ends

    def _stop(self, signal: str | None, now_s: float) -> list[Instruction]:
        self._stops += 1
        self.stopped = True
        self.interrupted = self.interrupted or signal
        return self._abort(f"{signal or 'a stop'} was asked for", now_s, at_once=self._stops > 1)

    def _abort(self, why: str, now_s: float, *, at_once: bool = False) -> list[Instruction]:
        if self.phase not in (Phase.DEPLOYING, Phase.RUNNING, Phase.DRAINING):
            return []
        patience_s = AT_ONCE_S if at_once else self.terms.drain_s
        if self.phase is Phase.DRAINING:
            if not at_once:
                return []
            self._deadline_s = min(self._deadline_s, now_s + patience_s)
        else:
            self._deadline_s = now_s + patience_s
        self.phase = Phase.DRAINING
        return [Abort(why, at_once)]

    def _go(self, phase: Phase, now_s: float) -> list[Instruction]:
        self.phase = phase
        if phase is Phase.COLLECTING:
            self._deadline_s = now_s + COLLECT_S
            return [Collect()]
        if phase is Phase.CLEANING:
            self._deadline_s = now_s + CLEAN_S
            return [Clean()]
        return []

    def _advance(self, now_s: float) -> list[Instruction]:
        late = now_s >= self._deadline_s
        if self.phase is Phase.DEPLOYING:
            if self.barrier.full:
                return self._open(now_s)
            if late:
                missing = self.barrier.missing()
                self.errors.append(
                    f"{len(missing)} of {self.terms.nodes} nodes were not ready within {self.terms.deploy_timeout_s:g} s: "
                    + "; ".join(missing[:10])
                )
                return self._abort("not all nodes came up", now_s)
        elif self.phase in (Phase.RUNNING, Phase.DRAINING):
            if all(self._is_over(node) for node in range(1, self.terms.nodes + 1)):
                return self._go(Phase.COLLECTING, now_s)
            if late:
                return self._too_late(now_s)
        elif late and self.phase is Phase.COLLECTING:
            return self._go(Phase.CLEANING, now_s)
        elif late and self.phase is Phase.CLEANING:
            self.errors.append(f"the run could not be removed within {CLEAN_S:g} s")
            return self._go(Phase.DONE, now_s)
        return []

    def _is_over(self, node: int) -> bool:
        if node in self.finished or node in self.lost:
            return True
        return not self.released and self.phase is Phase.DRAINING and node not in self.barrier.members

    def _open(self, now_s: float) -> list[Instruction]:
        versions, plans = self.barrier.different_versions(), self.barrier.different_plans()
        if versions:
            self.errors.append(f"the nodes run different versions of wasp_ray: {versions}; build one image for all")
            return self._abort("different versions", now_s, at_once=True)
        if plans:
            self.problems.append(f"the nodes read different loads: {plans}; give all the same image and parameters")
            return self._abort("different plans", now_s, at_once=True)
        self.phase, self.released = Phase.RUNNING, True
        self._deadline_s = float("inf") if self.terms.run_timeout_s is None else now_s + self.terms.run_timeout_s
        return [Release()]

    def _too_late(self, now_s: float) -> list[Instruction]:
        if self.phase is Phase.RUNNING:
            self.errors.append(f"the run was not over within its timeout, {self.terms.run_timeout_s:g} s")
            return self._abort("timeout", now_s)
        for node in range(1, self.terms.nodes + 1):
            if not self._is_over(node):
                self.lost[node] = "no result came in time"
                if self.released:
                    self.invalid.append(f"node {node}: no result came within the time to drain")
        return self._go(Phase.COLLECTING, now_s)
