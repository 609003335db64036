"""The loop that runs several nodes: hears what they tell, asks the life cycle, does what it says. It decides nothing."""

from __future__ import annotations

import queue
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from wasp_ray._version import __version__
from wasp_ray.clock import now_ns
from wasp_ray.cluster.backend import Backend, Keeper, LastWord, Line, Note
from wasp_ray.cluster.clocks import Clocks
from wasp_ray.cluster.lifecycle import (
    Abort,
    Broken,
    Clean,
    Collect,
    Event,
    Finished,
    Instruction,
    Lifecycle,
    Phase,
    Planned,
    Ready,
    Refused,
    Release,
    Released,
    StopAsked,
    Terms,
)
from wasp_ray.cluster.record import CAUSES, PLAN, VERSION, Adopted
from wasp_ray.cluster.snapshot import Decoder, Told
from wasp_ray.errors import BadInput, NodeFailed
from wasp_ray.node.options import NodeResult
from wasp_ray.node.orders import STOP_GENERATOR
from wasp_ray.plan import DataError, Plan

POLL_S = 0.1
LIVE = (Phase.DEPLOYING, Phase.RUNNING, Phase.DRAINING)


class Ear(Protocol):
    """Who is shown what nodes tell; called from the controller's loop."""

    def line(self, node: int, text: str) -> None:
        """A line of a node's output before it is understood; of node 0, what the cluster says of the run."""

    def planned(self, plan: Plan, warnings: Sequence[str]) -> None:
        """A node's plan, and its warnings. Raises BadInput for a plan that cannot be judged from here."""

    def state(self, node: int, data: Mapping[str, Any]) -> None:
        """A node's counts so far."""

    def windows(self, node: int, data: Mapping[str, list[dict[str, Any]]]) -> None:
        """A node's closed seconds."""

    def note(self, node: int, text: str) -> None:
        """A message of a node's engine, or of the controller (node 0)."""

    def output(self, node: int, line: str) -> None:
        """What users of a node printed."""

    def phase(self, state: Lifecycle) -> None:
        """Once a turn: where the run stands."""


class Controller:
    """One run of several nodes. `run` once; `stop` and `command` from any thread or signal handler."""

    def __init__(
        self, backend: Backend, terms: Terms, run_id: str, ear: Ear, adopted: Adopted | None = None, *,
        keeper: Keeper | None = None, image: str = "",
    ) -> None:  # fmt: skip
        """`adopted`: a run that another controller began. `keeper`: the backend, where nodes outlive their controller."""
        self._backend, self._ear, self._adopted, self._keeper = backend, ear, adopted, keeper
        self._decoder = Decoder(run_id)
        self._asked: queue.SimpleQueue[StopAsked | str] = queue.SimpleQueue()
        self._plan = Plan.unknown() if adopted is None else adopted.plan
        self._stopped: set[str] = set()
        self.state = Lifecycle(terms, __version__, image)
        self._causes_mark = self.state.causes_mark()
        self.results: dict[int, NodeResult] = {}
        self.last_words: dict[int, Mapping[str, Any]] = {}
        self.clocks = Clocks()
        self.start_wall_s: float | None = None

    def stop(self, signal: str | None = None) -> None:
        """Ends the run; a second time: at once. Async-signal-safe."""
        self._asked.put(StopAsked(signal))

    def command(self, name: str) -> None:
        """ "pause" or "resume", to all nodes."""
        self._asked.put(name)

    def run(self) -> None:
        """Until nothing of the run is left; what came of it is in `state` and `results`. Raises what deploy and events raise.

        After an exception that nobody foresaw, a run that outlives its controller is left as it is, with a note on how to go on.
        """
        try:
            self.state.begin(_now_s())
            self._backend.deploy()
            self._live()
        except (BadInput, NodeFailed):
            raise
        except BaseException as exc:
            if self._keeper is None:
                self._backend.clean()
            else:
                exc.add_note(self._keeper.leave())
            raise

    def _live(self) -> None:
        try:
            if self._adopted is not None:
                self._adopt(self._adopted)
            while self.state.phase is not Phase.DONE:
                for happening in self._backend.events(POLL_S):
                    match happening:
                        case Line():
                            self._hear(happening)
                        case LastWord(node, _, data):
                            self.last_words[node] = data
                        case Note(text):
                            self._ear.note(0, text)
                        case _:
                            self._step(happening)
                self._take_asked()
                self._step(None)
                self._ear.phase(self.state)
        except (BadInput, NodeFailed):
            self._backend.clean()
            raise

    def _adopt(self, adopted: Adopted) -> None:
        self.state.adopt(adopted.released, adopted.aborted, _now_s(), adopted.causes)
        self._causes_mark = self.state.causes_mark()
        for why in adopted.problems:
            self._step(Broken(why))

    # -- what is done

    def _step(self, event: Event | None) -> None:
        instructions = self.state.step(event, _now_s())
        self._record_causes()  # before what follows from them
        for instruction in instructions:
            self._perform(instruction)

    def _record_causes(self) -> None:
        mark = self.state.causes_mark()
        if self._keeper is not None and mark != self._causes_mark:
            self._causes_mark = mark
            self._keeper.record({CAUSES: self.state.causes()})

    def _perform(self, instruction: Instruction) -> None:
        match instruction:
            case Release():
                self.start_wall_s = self._backend.release()
                self._step(Released(self._backend.lead_s))
            case Abort(why, at_once):
                self._ear.note(0, f"stopping all nodes{' at once' if at_once else ''}: {why}")
                self._backend.tell("stop at once" if at_once else "stop")
            case Collect():
                self._backend.collect()
            case Clean():
                self._backend.clean()

    def _take_asked(self) -> None:
        while not self._asked.empty():
            asked = self._asked.get_nowait()
            if isinstance(asked, str):
                self._backend.tell(asked)
            else:
                self._step(asked)

    # -- what is heard

    def _hear(self, line: Line) -> None:
        self._ear.line(line.node, line.text)
        if not line.node:
            return
        told = line.text if line.is_error else self._decoder.read(line.text)
        if isinstance(told, str):
            self._ear.output(line.node, told)
        elif told is not None and told.node == line.node and told.uid == line.uid:
            if line.arrived_s and "at" in told.data:
                self.clocks.heard(line.node, float(told.data["at"]), line.arrived_s)
            self._told(told)

    @property
    def has_gaps(self) -> bool:
        """Whether messages of a node never came, as when its log was rotated away."""
        return self._decoder.has_gaps

    def _told(self, told: Told) -> None:
        node, uid, data = told.node, told.uid, told.data
        match told.kind:
            case "plan":
                self._step(Planned(node, uid, data["version"], data["hash"]))
                if data["version"] == __version__:
                    self._hear_plan(node, uid, data)
            case "ready":
                self._step(Ready(node, uid))
            case "state":
                self._stop_everywhere(data.get("stopped") or [])
                self._ear.state(node, data)
            case "windows":
                self._ear.windows(node, data)
            case "note":
                self._ear.note(node, data["text"])
            case "refused":
                self._step(Refused(node, uid, tuple(data["problems"])))
            case "result":
                result = NodeResult.from_data(data, self._plan)
                signal, result.interrupted = result.interrupted, None  # whether the run was is the life cycle's to say
                self.results[node] = result
                self._step(Finished(node, uid, bool(result.errors), signal))

    def _hear_plan(self, node: int, uid: str, data: Mapping[str, Any]) -> None:
        try:
            plan = Plan.from_data(data["plan"])
            self._ear.planned(plan, data["warnings"])
            if not self._plan.is_known:
                self._plan = plan
                if self._keeper is not None:
                    self._keeper.record({PLAN: self._plan, VERSION: data["version"]})
        except BadInput as exc:
            self._step(Refused(node, uid, tuple(exc.problems)))
        except DataError as exc:
            self._step(Refused(node, uid, (f"node {node} reported a plan that cannot be read: {exc}",)))

    def _stop_everywhere(self, names: Iterable[str]) -> None:
        """A Generator whose code ended it on one node ends on all."""
        for name in names:
            if name not in self._stopped:
                self._stopped.add(name)
                self._backend.tell(f"{STOP_GENERATOR}{name}")


def _now_s() -> float:
    return now_ns() / 1e9
