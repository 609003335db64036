"""The life of a run of several nodes as a pure state machine: events in, instructions out, time as an argument.

Every phase has a deadline. What happens is told by events; what is to be done is answered by instructions, each of which
may safely be carried out twice.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wasp_ray.cluster.barrier import Barrier
from wasp_ray.cluster.story import (
    Abort,
    Broken,
    Clean,
    Cleaned,
    Collect,
    Collected,
    Ended,
    Event,
    Finished,
    Instruction,
    Planned,
    Ready,
    Refused,
    Release,
    Released,
    Seen,
    StopAsked,
    Trouble,
)

__all__ = [
    "Abort", "Broken", "Clean", "Cleaned", "Collect", "Collected", "Ended", "Event", "Finished", "Instruction",
    "Lifecycle", "Phase", "Planned", "Ready", "Refused", "Release", "Released", "Seen", "StopAsked", "Terms", "Trouble",
]  # fmt: skip

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


@dataclass(slots=True)
class Lifecycle:
    """`begin`, then `step` with each event, or None to let time pass.

    `version`: of wasp_ray in the controller; nodes of another one are refused before the start ("": any is taken). `image`:
    what nodes run, for the message about that.
    """

    terms: Terms
    version: str = ""
    image: str = ""
    phase: Phase = Phase.DEPLOYING
    barrier: Barrier = field(init=False)
    problems: list[str] = field(default_factory=list)  # bad input: nothing was started
    errors: list[str] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    interrupted: str | None = None
    stopped: bool = False
    released: bool = False
    finished: dict[int, str] = field(default_factory=dict)  # node -> uid whose result has come
    lost: dict[int, str] = field(default_factory=dict)  # node -> why no result will come
    _deadline_s: float = float("inf")
    _aborted_s: float = 0.0
    _stops: int = 0

    def __post_init__(self) -> None:
        self.barrier = Barrier(self.terms.nodes)

    def begin(self, now_s: float) -> None:
        """Nodes are deployed from now on."""
        self._deadline_s = now_s + self.terms.deploy_timeout_s

    def adopt(self, released: bool, aborted: bool, now_s: float, causes: Mapping[str, Any] = {}) -> None:
        """Continue a run that another controller began: what it had decided stays decided. `causes`: see there."""
        if released:
            self.phase, self.released = Phase.RUNNING, True
            self._deadline_s = self._run_deadline_s(now_s)
        if aborted:
            self.phase, self.stopped = Phase.DRAINING, True
            self._deadline_s = now_s + self.terms.drain_s
        if causes:
            self.problems += causes["problems"]
            self.errors += causes["errors"]
            self.invalid += causes["invalid"]
            self.interrupted, self.stopped = causes["interrupted"], bool(causes["stopped"])
            self.lost |= {int(node): str(why) for node, why in causes["lost"].items()}

    def causes(self) -> dict[str, Any]:
        """Return why the run was ended or cannot be trusted so far, JSON-able, for a controller that takes over."""
        return {
            "problems": list(self.problems), "errors": list(self.errors), "invalid": list(self.invalid),
            "interrupted": self.interrupted, "stopped": self.stopped,
            "lost": {str(node): why for node, why in self.lost.items()},
        }  # fmt: skip

    def causes_mark(self) -> tuple[object, ...]:
        """Return a value that changes whenever `causes` does; it costs nothing to make."""
        counts = (len(self.problems), len(self.errors), len(self.invalid), len(self.lost))
        return (*counts, self.interrupted, self.stopped)

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
                return self._compare_version(node, version, now_s)
            case Ready(node, uid):
                self.barrier.ready(node, uid)
            case Refused(_, _, problems):
                self.problems += [text for text in problems if text not in self.problems]
                return self._abort("a node refused its input", now_s, at_once=True)
            case Finished():
                return self._finished(event, now_s)
            case Ended():
                return self._ended(event, now_s)
            case Trouble(node, why, fatal):
                return self._trouble(node, why, fatal, now_s)
            case StopAsked(signal):
                return self._stop(signal, now_s)
            case Broken(why):
                self.errors += [why] if why not in self.errors else []
                return self._abort(why, now_s)
            case Released(lead_s):
                if self.phase is Phase.RUNNING:
                    self._deadline_s = self._run_deadline_s(now_s + lead_s)
            case Collected():
                return self._go(Phase.CLEANING, now_s) if self.phase is Phase.COLLECTING else []
            case Cleaned():
                return self._go(Phase.DONE, now_s) if self.phase is Phase.CLEANING else []
        return []

    # -- nodes

    def _compare_version(self, node: int, version: str, now_s: float) -> list[Instruction]:
        """Nodes of another version may report what this controller reads wrongly or not at all, hours later."""
        if not self.version or version == self.version or self.phase is not Phase.DEPLOYING:
            return []
        self.errors.append(f"{self.barrier.name_of(node)} runs {other_version(version, self.version, self.image)}")
        return self._abort(f"node {node} runs another version of wasp_ray", now_s, at_once=True)

    def _seen(self, node: int, uid: str, where: str, now_s: float) -> list[Instruction]:
        replaced = self.barrier.seen(node, uid, where)
        if not replaced or not self.released or node in self.finished:
            return []
        why = "another pod took its place in the middle of the run"
        self.lost[node] = why
        self.invalid.append(f"node {node}: {why}")
        return self._abort(f"node {node}: {why}", now_s)

    def _finished(self, event: Finished, now_s: float) -> list[Instruction]:
        node = event.node
        self.finished[node] = event.uid
        self.lost.pop(node, None)
        if event.signal and self.phase in (Phase.DEPLOYING, Phase.RUNNING):
            why = f"node {node} was ended by {event.signal} from outside, as a pod is that is deleted, evicted or preempted"
            if not self.released:
                self.errors.append(f"{why}, before the start")
            else:
                self.invalid.append(f"{why} in the middle of the run, which cut its load short")
            if not self.released or self.terms.on_lost_node == "stop":
                return self._abort(why, now_s)
        elif event.failed or not self.released:
            if self.phase is Phase.DEPLOYING and not event.failed:
                self.errors.append(f"node {node} ended before the start, and did not say why")
            return self._abort(f"node {node} could not do its part", now_s)
        return []

    def _ended(self, event: Ended, now_s: float) -> list[Instruction]:
        node, uid, why = event.node, event.uid, event.why
        if self.finished.get(node) == uid and event.bad and self.phase is not Phase.CLEANING:
            self.warnings.append(f"node {node}: its result had come whole, but then {why}")
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
        if event.counted:
            told = f"the result of node {node} was not heard: {why}; its counts are those it left at its end, its times are lost"
        else:
            told = f"node {node} was lost: {why}; what it did after its last word is not in the counts"
        self.invalid.append(told)
        if self.terms.on_lost_node == "stop":
            return self._abort(f"node {node} was lost", now_s)
        return []

    def _trouble(self, node: int, why: str, fatal: bool, now_s: float) -> list[Instruction]:
        if node > self.terms.nodes:  # of a pod beside those of the run
            return []
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
            self._aborted_s = now_s
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
            if self._all_over(now_s):
                return self._go(Phase.COLLECTING, now_s)
            if late:
                return self._too_late(now_s)
        elif late and self.phase is Phase.COLLECTING:
            return self._go(Phase.CLEANING, now_s)
        elif late and self.phase is Phase.CLEANING:
            self.errors.append(f"the run could not be removed within {CLEAN_S:g} s")
            return self._go(Phase.DONE, now_s)
        return []

    def _all_over(self, now_s: float) -> bool:
        if self.released and len(self.finished) + len(self.lost) < self.terms.nodes:
            return False  # cheaply: it is asked after each event of each node
        return all(self._is_over(node, now_s) for node in range(1, self.terms.nodes + 1))

    def _is_over(self, node: int, now_s: float) -> bool:
        if node in self.finished or node in self.lost:
            return True
        if self.released or self.phase is not Phase.DRAINING:
            return False
        member = self.barrier.members.get(node)
        if member is None:
            return True
        # one that has no load yet has nothing to end; it may have bad input to tell, or never come up at all
        return not member.plan_hash and now_s >= self._aborted_s + AT_ONCE_S

    def _open(self, now_s: float) -> list[Instruction]:
        versions, plans = self.barrier.different_versions(), self.barrier.different_plans()
        if unknown := self.barrier.without_plan():
            self.errors.append(
                f"the plan of {unknown} could not be read from its output, so nothing could be judged by it: expected it before"
                " the node was ready; print less in setup() (logs are rotated) and start the run again"
            )
            return self._abort("a plan is not known", now_s, at_once=True)
        if versions:
            self.errors.append(f"the nodes run different versions of wasp_ray: {versions}; build one image for all")
            return self._abort("different versions", now_s, at_once=True)
        if plans:
            self.problems.append(f"the nodes read different loads: {plans}; give all the same image and parameters")
            return self._abort("different plans", now_s, at_once=True)
        self.phase, self.released = Phase.RUNNING, True
        self._deadline_s = self._run_deadline_s(now_s)
        return [Release()]

    def _run_deadline_s(self, start_s: float) -> float:
        return float("inf") if self.terms.run_timeout_s is None else start_s + self.terms.run_timeout_s

    def _too_late(self, now_s: float) -> list[Instruction]:
        if self.phase is Phase.RUNNING:
            self.errors.append(f"the run was not over within its timeout, {self.terms.run_timeout_s:g} s")
            return self._abort("timeout", now_s)
        for node in range(1, self.terms.nodes + 1):
            if not self._is_over(node, now_s):
                self.lost[node] = "no result came in time"
                if self.released:
                    self.invalid.append(f"node {node}: no result came within the time to drain")
        return self._go(Phase.COLLECTING, now_s)


def other_version(theirs: str, ours: str, image: str) -> str:
    """`wasp_ray 0.2.0 and this controller 0.1.0`, what is expected and the commands that bring it about."""
    return (
        f"wasp_ray {theirs} and this controller {ours}: expected one version; rebuild the image with this one"
        f" (`wasp cluster image build --build-root DIR --tag {image or 'IMAGE'} --push`), or install that of the image here"
        f" (`pip install 'wasp-ray[cluster]=={theirs}'`)"
    )
