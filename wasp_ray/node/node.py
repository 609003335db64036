"""A node from plan to result: starts the engine processes, runs every Generator's loop, stops on order, gathers the results.

One thread, one loop. It never touches a record and never waits without a deadline.
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from wasp_ray.clock import now_ns, wall_s
from wasp_ray.errors import BadInput, NodeFailed
from wasp_ray.node.conclude import Evidence, conclude, totals_of, totals_so_far
from wasp_ray.node.cpu import CpuWatch
from wasp_ray.node.engines import AGGREGATOR, ZYGOTE, Engines, Interrupted
from wasp_ray.node.exports import Exports
from wasp_ray.node.findings import Findings
from wasp_ray.node.gate import Gate, OpenGate
from wasp_ray.node.generator import GeneratorRun
from wasp_ray.node.intake import Intake
from wasp_ray.node.load import Layout, Load
from wasp_ray.node.load_counts import LoadCounts
from wasp_ray.node.machine import MachineWatch
from wasp_ray.node.options import NodeOptions, NodeResult, Process
from wasp_ray.node.orders import Orders, Stop
from wasp_ray.node.shape import shortages
from wasp_ray.node.supervisor import Supervisor
from wasp_ray.plan import Plan
from wasp_ray.report.listener import Listener, Phase, Snapshot
from wasp_ray.stats.seconds import Second
from wasp_ray.stats.totals import NodeTotals
from wasp_ray.wire.channel import Message
from wasp_ray.wire.control import NEVER

LOAD_TIMEOUT_S = 300.0
LOOP_MS = 10.0
PROGRESS_NS = 200_000_000
FINISH_TIMEOUT_S = ANSWER_TIMEOUT_S = 60.0
"""The aggregator answers within this time, or it is given up."""
TEARDOWN_TIMEOUT_S = 90.0
TOO_LATE_NS = 1_000_000_000
"""A run is invalid when the order to start arrives so late."""


class Node:
    """One node of one run. `run` once; `stop`, `command` and `wake` from any thread or signal handler."""

    intake: Intake  # from `_prepare` on

    def __init__(self, options: NodeOptions, listener: Listener, gate: Gate | None = None) -> None:
        self.options, self.listener = options, listener
        self._gate: Gate = gate if gate is not None else OpenGate()
        self._inline = options.runtime == "inline"
        self.orders = Orders()
        self.engines = Engines(self._inline)
        self.exports = Exports(self._inline)
        self.machine, self.cpu = MachineWatch(), CpuWatch()
        self.findings = Findings()
        self.plan = Plan.unknown()
        self.load: Load | None = None
        self._evidence = Evidence(options.node + 1, socket.gethostname(), started_wall_s=wall_s())
        self._aggregator_ready = False
        self._lost: set[str] = set()  # engine processes that are lost
        self._has_closed = False
        self._next_progress = 0
        self._supervisor = Supervisor(self.engines, self.findings)
        self._counts: LoadCounts | None = None

    # -- from outside

    def stop(self, signal_name: str | None = None) -> None:
        """End the load; a second time: at once. Async-signal-safe."""
        self.orders.stop.ask(signal_name)
        self.wake()

    @property
    def stop_signal(self) -> str | None:
        """The signal that asked for the end."""
        return self.orders.stop.signal

    def command(self, name: str) -> None:
        """Take "pause", "resume", or STOP_GENERATOR and a name: its code ended it on another node."""
        self.orders.commands.append(name)
        self.wake()

    def wake(self) -> None:
        """Make the loop look at its orders and its gate at once; from any thread."""
        self.engines.wake()

    @property
    def generators(self) -> Sequence[GeneratorRun]:
        """In the order of the plan; none before that is known."""
        return self._supervisor.generators

    @property
    def start_ns(self) -> int:
        """t = 0 in monotonic ns; NEVER before it is known."""
        return self._evidence.start_ns

    @property
    def has_begun(self) -> bool:
        """Whether t = 0 is known."""
        return self.start_ns != NEVER

    @property
    def elapsed_s(self) -> float | None:
        """Seconds since t = 0, None before it."""
        elapsed_ns = now_ns() - self.start_ns
        return elapsed_ns / 1e9 if elapsed_ns >= 0 else None

    def processes(self) -> list[Process]:
        """Return the engine processes and workers that are not known to have ended; from any thread."""
        if self._has_closed:
            return []
        found: list[Process] = []
        zygote, aggregator, exporter = self.engines.zygote, self.engines.aggregator, self.exports.pid
        if zygote is not None and ZYGOTE not in self._lost:
            found.append(Process(ZYGOTE, zygote.pid))
        if aggregator is not None and AGGREGATOR not in self._lost:
            found.append(Process(AGGREGATOR, aggregator.pid))
        if exporter is not None:
            found.append(Process("exporter", exporter))
        try:
            return found + [process for generator in self.generators for process in generator.processes()]
        except ValueError:  # the memory with their pids was unmapped just now
            return []

    # -- from plan to result

    def run(self) -> NodeResult:
        """Run the load. Raises BadInput when nothing was started, NodeFailed when a node could not be made."""
        try:
            self._read_plan()
            load = self._prepare()
            try:
                self._set_up(load)
                self._run_load(load, self._wait_at_gate())
            except Interrupted:
                self._cancel(load)
            return self._finish(load)
        finally:
            self._close()

    def describe(self) -> Plan:
        """Return the plan alone; nothing is started but the zygote that reads the load file. Raises BadInput."""
        try:
            self._read_plan()
            return self.plan
        finally:
            self._close()

    def needs(self) -> dict[str, int]:
        """Return the processes and memory of this node at the peak of its load, estimated."""
        need = Layout.of(self.plan, self.options.share, self._inline).need
        return {"processes": need.processes, "memory_bytes": need.memory_bytes}

    # -- preparation

    def _ask(self, message: Message, timeout_s: float, what: str, fds: Sequence[int] = ()) -> Message:
        """Ask the zygote, unless a stop comes first. See Engines.ask."""
        return self.engines.ask(message, timeout_s, what, lambda: self.orders.stop.asked, fds)

    def _read_plan(self) -> None:
        """Have the zygote read the load file. Raises BadInput."""
        options = self.options
        self.engines.start_zygote(options.profile)
        message: Message = {
            "op": "load", "path": [], "seed": options.seed, "nodes": options.nodes, "load": options.load,
            "thresholds": options.thresholds, "only": options.only, "once": options.once,
            "places": options.places, **options.source,
        }  # fmt: skip
        answer = self._ask(message, LOAD_TIMEOUT_S, "reading the load file")
        if "problems" in answer:
            raise BadInput(answer["problems"])
        self.plan = Plan.from_data(answer["plan"]).seeded(options.node if options.load == "per-node" else 0)
        self.findings.warnings += answer["warnings"]

    def _prepare(self) -> Load:
        """Make memory, engine processes, rows and the profile's setup. Raises BadInput and NodeFailed."""
        layout = Layout.of(self.plan, self.options.share, self._inline)
        if not self._inline and (lacking := shortages(layout.need)):
            raise BadInput(lacking)
        self.listener.begin(self.plan, self.findings.warnings)
        load = self.load = Load(self.plan, layout, self.options.share, self._inline)
        self._supervisor.generators = self._evidence.generators = load.generators
        self.intake = Intake(load.generators, self.findings, self.listener, self.exports)
        self._start_aggregator(load)
        self.exports.wait_ready(lambda: self.orders.stop.asked)
        self._prepare_zygote(load)
        return load

    def _start_aggregator(self, load: Load) -> None:
        options = self.options
        folder = str(options.bundle_dir) if options.bundle_dir is not None else None
        of_run = {"run_id": options.run_id, "node": options.node + 1, "nodes": options.nodes, "folder": folder}
        self.exports.start(self.plan, of_run)
        message = {"op": "plan", "plan": self.plan.to_data(), "slabs": load.slabs_data}
        self.engines.start_aggregator(load.arena, message, self.exports.feed)
        self.exports.feed_given()

    def _prepare_zygote(self, load: Load) -> None:
        options, zygote, intake = self.options, self.engines.zygote, self.intake
        assert zygote is not None
        pipes = [generator.driver.ticks_fd for generator in load.generators]
        ticks = [intake.notes_write if fd is None else fd for fd in pipes]
        fds = [intake.notes_write, intake.output_write, *ticks, *(options.placer or ())]
        message: Message = {
            "op": "prepare", "slabs": load.slabs_data, "run_id": options.run_id, "seed": self.plan.seed,
            "node": options.node, "nodes": options.nodes, "share": options.share[0], "shares": options.share[1],
            "user_dir": options.user_dir, "wants_raw": self.exports.wants_samples, "verbose": options.once,
            "plan": self.plan.to_data(), "placed": options.placer is not None,
        }  # fmt: skip
        if self._inline:
            zygote.hand_over(load.arena)
            message["fds"], fds = fds, []
        else:
            assert load.arena.fd is not None
            fds = [load.arena.fd, *fds]
        answer = self._ask(message, LOAD_TIMEOUT_S, "preparing the load", fds)
        for fd in options.placer or ():
            os.close(fd)
        if "problems" in answer:
            raise BadInput(answer["problems"])
        if "failed" in answer:
            raise NodeFailed(answer["failed"])
        intake.close_write_ends(keep=self._inline)

    # -- setup and load

    def _set_up(self, load: Load) -> None:
        """Set up the workers of the first instant, and wait for the aggregator."""
        for generator in load.generators:
            generator.prepare()
        while not (self._aggregator_ready and all(g.ready for g in load.generators)):
            self._idle_turn()

    def _wait_at_gate(self) -> int:
        """Return t = 0, once it is known."""
        self._gate.arrived()
        while (start_ns := self._gate.start_ns(now_ns(), self._supervisor.workers)) is None:
            self._idle_turn()
        return start_ns

    def _idle_turn(self) -> None:
        """Do a turn of the loop before the load. Raises Interrupted when it is not going to begin."""
        self._turn(now_ns())
        self._poll(LOOP_MS)
        if self.lost_engine() or self.findings.errors or self.findings.invalid or self.orders.stop.asked:
            raise Interrupted

    def _run_load(self, load: Load, start_ns: int) -> None:
        now = now_ns()
        late_ns = max(0, now - start_ns)
        if late_ns > TOO_LATE_NS:
            self.findings.invalid.append(
                f"the load began {late_ns / 1e9:.1f} s late: its start came too late to this node"
            )
        self._evidence.start_ns, self._evidence.started_late_ns = start_ns, late_ns
        self._evidence.started_wall_s = wall_s() + (start_ns - now) / 1e9
        ends = [[start_ns + s.to_ns for s in generator.segments] for generator in self.plan.generators]
        self.engines.tell_aggregator({"op": "begin", "start_ns": start_ns, "ends_ns": ends})
        self.exports.begin(start_ns)
        self.exports.event("start", f"run {self.options.run_id} begins")
        self.machine.begin()
        self.cpu.begin([process.pid for process in self.processes() if process.kind != "worker"])
        paused = self.orders.begins_paused(start_ns)
        load.control.start(start_ns, paused=paused)  # only now: the aggregator must know t = 0 before the first record
        for generator in load.generators:
            generator.begin(now)
        self._counts = counts = LoadCounts(load, self.options.share)
        while not load.is_over:
            now = now_ns()
            counts.note(now)
            wake_at = min((g.advance(now) for g in load.generators if not g.over), default=NEVER)
            self._turn(now)
            self._obey(load, now)
            self._poll(LOOP_MS, min(wake_at, counts.wake_ns))

    def _obey(self, load: Load, now: int) -> None:
        must_abort = self.lost_engine()
        if self.orders.obey(load, now, must_stop=bool(self.findings.errors), must_abort=must_abort):
            self.engines.tell_aggregator({"op": "bounds", "ends_ns": load.segment_ends_ns()})

    def lost_engine(self) -> bool:
        """Whether an engine process has died or does not answer any more, which is an error from then on. Both may have."""
        if self._supervisor.unanswered_ns(now_ns()) > ANSWER_TIMEOUT_S * 1e9 and AGGREGATOR not in self._lost:
            self._lost.add(AGGREGATOR)
            self.findings.errors.append(
                f"the aggregator process did not answer for {ANSWER_TIMEOUT_S:g} s: the load was ended"
            )
            assert self.engines.aggregator is not None
            self.engines.aggregator.end()
        for name in self.engines.lost():
            if name not in self._lost:
                self._lost.add(name)
                self.findings.errors.append(f"the {name} process died: the load was ended")
                if name == ZYGOTE:
                    self._supervisor.reap_lost()
        if AGGREGATOR in self._lost:
            self._supervisor.forget_closing()
        return bool(self._lost)

    def _cancel(self, load: Load) -> None:
        """A stop or a failed setup came before t = 0: nothing was called yet, but what setup made is to be torn down."""
        now = now_ns()
        for generator in load.generators:
            generator.cancel(now)
        while not load.is_over:
            now = now_ns()
            for generator in load.generators:
                generator.advance(now)
            self._turn(now)
            self._obey(load, now)
            self._poll(LOOP_MS)

    # -- one turn

    def _turn(self, now: int) -> None:
        """Supervise the workers, report progress."""
        self._supervisor.turn(now)
        if now >= self._next_progress:
            self._next_progress = now + PROGRESS_NS
            self._report_progress(now)

    def _report_progress(self, now: int) -> None:
        load = self.load
        assert load is not None
        t = load.control.schedule_ns(now) if load.has_begun else 0
        states = load.states(t, self._report.get("generators", {}))
        self.exports.states(states)
        self.listener.update(
            Snapshot(round(max(0, t) / 1e9, 3), self.plan.duration_ns / 1e9, self._phase(load), states)
        )

    @property
    def _report(self) -> Mapping[str, Any]:
        return self._evidence.report

    def _phase(self, load: Load) -> Phase:
        if not load.has_begun:
            return "setting up"
        if load.control.paused:
            return "paused"
        if all(generator.ended for generator in load.generators):
            return "draining"
        return "stopping" if self.orders.stop.asked else "running"

    def _poll(self, timeout_ms: float, wake_at: int = NEVER) -> None:
        """Wait for messages, notes, output, a wake-up or the instant; handle what came."""
        engines = self.engines
        engines.wait(timeout_ms, wake_at, [*self.intake.fds, *self.exports.fds])
        self.intake.read()
        self.exports.turn()
        for message in engines.heard(engines.zygote):
            self._supervisor.reported(message)
        for message in engines.heard(engines.aggregator):
            self._from_aggregator(message)

    def _from_aggregator(self, message: Message) -> None:
        if "closed" in message:
            self._supervisor.closed(message)
        elif "ready" in message:
            self._aggregator_ready = True
        elif "windows" in message and self._counts is not None:
            closed = {name: list(map(Second.from_data, seconds)) for name, seconds in message["windows"].items()}
            self._counts.complete(closed)
            self.listener.windows(closed)
            self.exports.windows(closed)
        elif "snapshot" in message:
            self._evidence.report = message["snapshot"]
            if self.exports.wants_totals:
                self.exports.totals(totals_so_far(self.generators, self._report))
        elif "final" in message:
            self._evidence.report, self._evidence.is_final = message["final"], True

    # -- the end

    def _finish(self, load: Load) -> NodeResult:
        """Last records, the profile's teardown, the results."""
        self._evidence.ended_ns = now_ns()
        self.engines.tell_aggregator({"op": "unwatch"})
        if load.has_begun:
            self.machine.end()
            self.cpu.end()
            self._evidence.throttled_ns = self.machine.throttled_ns
            self._report_missed()
        if self.engines.tell_aggregator({"op": "finish"}):
            give_up = now_ns() + int(FINISH_TIMEOUT_S * 1e9)
            while not self._evidence.is_final and AGGREGATOR not in self.engines.lost() and now_ns() < give_up:
                self._poll(20.0)
            self._poll(0.0)
        if not self._evidence.is_final:
            self.lost_engine()
        self._tear_down()
        self.intake.read()
        self._evidence.rss_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        totals = totals_of(self._evidence, self.findings, self.cpu, are_workers_apart=not self._inline)
        if load.has_begun and self._counts is not None:
            self.listener.windows(self._counts.rest(totals.generators))
        self._finish_exports(totals)
        stop = self.orders.stop
        return conclude(self._evidence, totals, self.findings, self.plan, signal=stop.signal, stopped=stop.asked)

    def _report_missed(self) -> None:
        """Ticks that no worker took are as late as any; only the node knows them."""
        for generator in self.generators:
            if seconds := generator.driver.missed_seconds():
                message = {"op": "missed", "gen": generator.gen, "seconds": sorted(seconds.items())}
                self.engines.tell_aggregator(message)

    def _finish_exports(self, totals: NodeTotals) -> None:
        """Let the sinks deliver the rest; a signal that comes now ends the wait for them."""
        before, self.orders.stop = self.orders.stop, Stop()
        self.exports.event("end", f"run {self.options.run_id} has ended")
        self.exports.last_totals(totals.generators)
        self.exports.finish(lambda: self._poll(50.0), lambda: self.orders.stop.asked, at_once=before.again)
        self.orders.stop = before
        self.findings.invalid += self.machine.reasons()
        totals.sinks = self.exports.results(*self._report.get("samples", (0, 0)))
        judged = self.exports.judge(totals.sinks)
        self.findings.warnings += judged["warn"]
        self.findings.invalid += judged["invalid"]
        self.findings.failed += judged["fail"]

    def _tear_down(self) -> None:
        """Run the profile's teardown, unless the zygote is lost or a second stop came; a stop that comes now ends the wait."""
        if ZYGOTE in self.engines.lost() or not self.plan.has_teardown:
            return
        before = self.orders.stop
        if not before.again:
            self.orders.stop = Stop(before.signal)
        with suppress(NodeFailed, Interrupted):
            answer = self._ask({"op": "teardown"}, TEARDOWN_TIMEOUT_S, "teardown")
            if "failed" in answer:
                self.findings.errors.append(answer["failed"])
        during, self.orders.stop = self.orders.stop, before
        if during.asked and during is not before:
            before.ask(during.signal)

    def _close(self) -> None:
        self.exports.close()
        self.engines.close()
        self._has_closed = True
        if self.load is not None:
            self.intake.close()
            self.load.close()
