"""A node from plan to result: starts the engines, runs every Generator's loop, stops on order, gathers the books.

One thread, one loop. It never touches a record and never waits without a deadline.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from wasp_ray.clock import now_ns, wall_s
from wasp_ray.errors import NodeFailed
from wasp_ray.node.bring_up import load, prepare
from wasp_ray.node.crew import Crew
from wasp_ray.node.exports import Exports
from wasp_ray.node.gate import Gate, OpenGate
from wasp_ray.node.generator import GeneratorRun
from wasp_ray.node.intake import Intake
from wasp_ray.node.ledger import missed_seconds
from wasp_ray.node.links import AGGREGATOR, ZYGOTE, Interrupted, Links
from wasp_ray.node.machine import MachineWatch
from wasp_ray.node.options import Listener, NodeOptions, NodeResult
from wasp_ray.node.orders import Orders, Stop
from wasp_ray.node.progress import tell_progress
from wasp_ray.node.result import node_result, node_totals, totals_so_far
from wasp_ray.node.shape import estimate, shape_of
from wasp_ray.plan import Plan
from wasp_ray.stats.totals import NodeTotals
from wasp_ray.wire.arena import Arena, lay_out
from wasp_ray.wire.channel import Message
from wasp_ray.wire.control import NEVER, Control

LOOP_MS = 10.0
PROGRESS_NS = 200_000_000
FINISH_TIMEOUT_S = ANSWER_TIMEOUT_S = 60.0
"""The aggregator answers within this time, or it is given up."""
TOO_LATE_NS = 1_000_000_000
"""A start that is told so late makes a run invalid."""


class Node:
    """One node of one run. `run` once; `stop`, `pause`, `resume` from any thread or signal handler."""

    control: Control  # these two from `prepare` on
    intake: Intake

    def __init__(self, options: NodeOptions, listener: Listener, gate: Gate | None = None) -> None:
        self.options, self.listener = options, listener
        self._gate: Gate = gate if gate is not None else OpenGate()
        self.inline = options.runtime == "inline"
        self.orders = Orders(self)
        self.links = Links(self.inline)
        self.exports = Exports(self.inline)
        self.machine = MachineWatch()
        self.arena: Arena | None = None
        self.plan = Plan.unknown()
        self.snapshot: dict[str, Any] = {}
        self.errors: list[str] = []
        self.invalid: list[str] = []
        self.failed: list[str] = []
        self.warnings: list[str] = []
        self.traces: dict[tuple[int, str], str] = {}
        self.final = False
        self._aggregator_ready = False
        self._lost: set[str] = set()  # engine processes that are lost
        self.start_ns = NEVER
        self.told_late_ns = 0
        self.started_wall_s = wall_s()
        self._next_progress = 0
        self.crew = Crew(self.links, self.errors, self.invalid, self.warnings)

    # -- from outside

    def stop(self, signal_name: str | None = None) -> None:
        """Ends the load; a second time: at once. Async-signal-safe."""
        self.orders.stop.ask(signal_name)
        self.wake()

    @property
    def stop_signal(self) -> str | None:
        """The signal that asked for the end."""
        return self.orders.stop.signal

    def command(self, name: str) -> None:
        """ "pause", "resume", or STOP_GENERATOR and a name: its code ended it on another node."""
        self.orders.commands.append(name)
        self.wake()

    def wake(self) -> None:
        """Makes the loop look at once at what it was told and at its gate; from any thread."""
        self.links.wake()

    @property
    def generators(self) -> list[GeneratorRun]:
        """In the order of the plan; none before that is known."""
        return self.crew.generators

    @property
    def start_ns_known(self) -> bool:
        """Whether the load began."""
        return self.start_ns != NEVER

    # -- from plan to result

    def run(self) -> NodeResult:
        """Raises BadInput when nothing was started, NodeFailed when a node could not be made."""
        try:
            load(self)
            prepare(self)
            try:
                self._set_up()
                self._run_load(self._wait_at_gate())
            except Interrupted:
                self._end_before_start()
            return self._finish()
        finally:
            self._close()

    def describe(self) -> Plan:
        """The plan alone; nothing is started but the zygote that reads the load file."""
        try:
            load(self)
            return self.plan
        finally:
            self._close()

    def needs(self) -> dict[str, int]:
        """Processes and memory of this node at the peak of its load, estimated."""
        shapes = [shape_of(part, *self.options.share, self.inline) for part in self.plan.generators]
        need = estimate(shapes, lay_out([(s.rings, s.slots, s.entries) for s in shapes])[-1].end)
        return {"processes": need.processes, "memory_bytes": need.memory_bytes}

    def ask(self, message: Message, timeout_s: float, what: str, fds: Sequence[int] = ()) -> Message:
        """The zygote, unless a stop comes first. See Links.ask."""
        return self.links.ask(message, timeout_s, what, lambda: self.orders.stop.asked, fds)

    # -- setup and load

    def _set_up(self) -> None:
        """The workers of the first instant, all set up, and the aggregator at its post."""
        for generator in self.generators:
            generator.prepare()
        while not (self._aggregator_ready and all(g.ready for g in self.generators)):
            self._idle_turn()

    def _wait_at_gate(self) -> int:
        """t = 0, once it is known."""
        self._gate.arrived()
        while (start_ns := self._gate.start_ns(now_ns(), self.crew.workers)) is None:
            self._idle_turn()
        return start_ns

    def _idle_turn(self) -> None:
        """A turn of the loop before the load. Raises Interrupted when it is not going to begin."""
        self._turn(now_ns())
        self._poll(LOOP_MS)
        if self.lost_engine() or self.errors or self.invalid or self.orders.stop.asked:
            raise Interrupted

    def _run_load(self, start_ns: int) -> None:
        now = now_ns()
        self.start_ns = start_ns
        self.told_late_ns = max(0, now - start_ns)
        if self.told_late_ns > TOO_LATE_NS:
            self.invalid.append(
                f"the load began {self.told_late_ns / 1e9:.1f} s late: its start came too late to this node"
            )
        self.started_wall_s = wall_s() + (self.start_ns - now) / 1e9
        ends = [[self.start_ns + s.to_ns for s in part.segments] for part in self.plan.generators]
        self.links.tell_aggregator({"op": "begin", "start_ns": self.start_ns, "ends_ns": ends})
        self.exports.begin(self.start_ns)
        self.exports.event("start", f"run {self.options.run_id} begins")
        self.machine.begin()
        paused = self.orders.begins_paused(self.start_ns)
        self.control.start(self.start_ns, paused=paused)  # only now: the first record must find t = 0 told
        for generator in self.generators:
            generator.begin(now)
        while not all(g.over for g in self.generators):
            now = now_ns()
            wake_at = min((g.advance(now) for g in self.generators if not g.over), default=NEVER)
            self._turn(now)
            self.orders.obey(now)
            self._poll(LOOP_MS, wake_at)

    def lost_engine(self) -> bool:
        """Whether an engine process has died or does not answer any more, which is an error from then on. Both may have."""
        if self.crew.unanswered_ns(now_ns()) > ANSWER_TIMEOUT_S * 1e9 and AGGREGATOR not in self._lost:
            self._lost.add(AGGREGATOR)
            self.errors.append(f"the aggregator process did not answer for {ANSWER_TIMEOUT_S:g} s: the load was ended")
            assert self.links.aggregator is not None
            self.links.aggregator.end()
        for name in self.links.lost():
            if name not in self._lost:
                self._lost.add(name)
                self.errors.append(f"the {name} process died: the load was ended")
                if name == ZYGOTE:
                    self.crew.bury()
        if AGGREGATOR in self._lost:
            self.crew.forget_closing()
        return bool(self._lost)

    # -- one turn

    def _turn(self, now: int) -> None:
        """The workers' affairs, and progress."""
        self.crew.turn(now)
        if now >= self._next_progress:
            self._next_progress = now + PROGRESS_NS
            tell_progress(self, now)

    def _poll(self, timeout_ms: float, wake_at: int = NEVER) -> None:
        """Waits for messages, notes, output, a wake-up or the instant; handles what came."""
        links = self.links
        links.wait(timeout_ms, wake_at, [*self.intake.fds, *self.exports.fds])
        self.intake.read()
        self.exports.turn()
        for message in links.heard(links.zygote):
            self.crew.told(message)
        for message in links.heard(links.aggregator):
            self._from_aggregator(message)

    def _from_aggregator(self, message: Message) -> None:
        if "closed" in message:
            self.crew.closed(message)
        elif "ready" in message:
            self._aggregator_ready = True
        elif "windows" in message:
            self.listener.windows(message["windows"])
            self.exports.windows(message["windows"])
        elif "snapshot" in message:
            self.snapshot = message["snapshot"]
            if self.exports.wants_totals:
                self.exports.totals(totals_so_far(self))
        elif "final" in message:
            self.snapshot, self.final = message["final"], True

    # -- the end

    def _end_before_start(self) -> None:
        """A stop or a failed setup came before t = 0: nothing was called yet, but what setup made is to be torn down."""
        now = now_ns()
        for generator in self.generators:
            generator.cancel(now)
        while not all(g.over for g in self.generators):
            now = now_ns()
            for generator in self.generators:
                generator.advance(now)
            self._turn(now)
            self.orders.obey(now)
            self._poll(LOOP_MS)

    def _finish(self) -> NodeResult:
        """Last records, the profile's teardown, the books."""
        ended_ns = now_ns()
        self.links.tell_aggregator({"op": "unwatch"})
        if self.start_ns_known:
            self.machine.end()
            self._report_missed()
        if self.links.tell_aggregator({"op": "finish"}):
            give_up = now_ns() + int(FINISH_TIMEOUT_S * 1e9)
            while not self.final and AGGREGATOR not in self.links.lost() and now_ns() < give_up:
                self._poll(20.0)
            self._poll(0.0)
        if not self.final and self.generators:
            self.lost_engine()
        self._tear_down()
        self.intake.read()
        totals = node_totals(self)
        self._finish_exports(totals)
        return node_result(self, totals, ended_ns)

    def _report_missed(self) -> None:
        """Ticks that no worker took are as late as any; only the node knows them."""
        for generator in self.generators:
            if seconds := missed_seconds(generator):
                message = {"op": "missed", "gen": generator.gen, "seconds": sorted(seconds.items())}
                self.links.tell_aggregator(message)

    def _finish_exports(self, totals: NodeTotals) -> None:
        """A signal that comes now ends the wait for the sinks."""
        before, self.orders.stop = self.orders.stop, Stop()
        self.exports.event("end", f"run {self.options.run_id} has ended")
        self.exports.last_totals(totals.generators)
        self.exports.finish(lambda: self._poll(50.0), lambda: self.orders.stop.asked, at_once=before.again)
        self.orders.stop = before

    def _tear_down(self) -> None:
        if ZYGOTE in self.links.lost() or not self.plan.has_teardown:
            return
        if not self.orders.stop.again:
            self.orders.stop = Stop(self.orders.stop.signal)
        with suppress(NodeFailed, Interrupted):
            answer = self.ask({"op": "teardown"}, 90.0, "teardown")
            if "failed" in answer:
                self.errors.append(answer["failed"])

    def _close(self) -> None:
        self.exports.close()
        self.links.close()
        if self.generators:
            self.intake.close()
            for generator in self.generators:
                if generator.ticks is not None:
                    generator.ticks.dispose()
        if self.arena is not None:
            self.arena.close()
