"""Supervises the workers of all Generators: has the engine processes do what the fleets want, reports back what became of it."""

from __future__ import annotations

from collections.abc import Sequence

from wasp_ray.clock import now_ns, sleep_s
from wasp_ray.node.engines import Engines
from wasp_ray.node.findings import Findings
from wasp_ray.node.generator import GeneratorRun
from wasp_ray.runtime.fleet import Close, GiveUp, Instruction, Spawn, Warn
from wasp_ray.wire.channel import Message

SCAN_NS = 20_000_000
PLACED_END_S = 0.5
"""What workers that are no children of ours have to see that their zygote has exited."""


class Supervisor:
    """Used from the node's loop."""

    def __init__(self, engines: Engines, findings: Findings) -> None:
        self._engines, self._findings = engines, findings
        self.generators: Sequence[GeneratorRun] = ()
        self._next_scan = 0
        self._answered_ns = 0  # the aggregator's last answer, or its first order without one

    @property
    def workers(self) -> int:
        """How many are alive."""
        return sum(len(g.fleet.live) for g in self.generators)

    def turn(self, now: int) -> None:
        """Scans the workers, sends what the fleets want and the wakes and kills that are due."""
        if now >= self._next_scan:
            self._next_scan = now + SCAN_NS
            for generator in self.generators:
                self._perform(generator, generator.scan(now))
        for op, name in (("kill", "kills"), ("wake", "wakes")):
            workers = [[g.gen, w] for g in self.generators for w in getattr(g, name) if w in g.fleet.live]
            for generator in self.generators:
                getattr(generator, name).clear()
            if workers:
                self._engines.tell_zygote({"op": op, "workers": workers})

    def _perform(self, generator: GeneratorRun, orders: Sequence[Instruction]) -> None:
        spawns: list[Message] = []
        for order in orders:
            if isinstance(order, Spawn):
                spawns.append({
                    "gen": generator.gen, "worker": order.worker, "ring": order.ring, "incarnation": order.incarnation,
                    "workers": generator.workers.most, "users": generator.driver.peak,
                    "setup_backoff_ns": generator.fleet.setup_backoff_ns,
                    "stopped_users": generator.driver.stopped_users.get(order.worker, []),
                })  # fmt: skip
            elif isinstance(order, Close):
                if sum(len(g.fleet.closing) for g in self.generators) == 1:  # the one that is to be closed here
                    self._answered_ns = now_ns()
                rings = [[generator.gen, order.ring, order.as_, order.at_ns]]
                abandon = not generator.fleet.reuse_rings
                if not self._engines.tell_aggregator({"op": "close", "rings": rings, "abandon": abandon}):
                    generator.fleet.closed(order.ring)
            elif isinstance(order, GiveUp):
                reason = f"Generator {generator.name!r}: {order.reason}"
                (self._findings.errors if order.verdict == "error" else self._findings.invalid).append(reason)
                generator.stop()
            elif isinstance(order, Warn):
                self._findings.warnings.append(f"Generator {generator.name!r}: {order.reason}")
        if spawns:
            self._engines.tell_zygote({"op": "spawn", "workers": spawns})

    # -- what became of it

    def reported(self, message: Message) -> None:
        """By the zygote: workers that have ended, were stopped by a signal, or could not be started."""
        if "exits" in message:
            for gen, worker, _pid, status, cpu_s, wait_s, rss, at_ns in message["exits"]:
                generator = self.generators[gen]
                self._perform(generator, generator.exited(worker, status, cpu_s, wait_s, rss, at_ns))
        elif "standstills" in message:
            for gen, _worker, since_ns, until_ns in message["standstills"]:
                self.generators[gen].stood_still(since_ns, until_ns)
        elif "refused" in message:
            gen, worker = message["refused"]
            generator = self.generators[gen]
            self._findings.errors.append(
                f"a worker of Generator {generator.name!r} could not be started: {message['error']}"
            )
            self._perform(generator, generator.exited(worker, 0, 0.0, 0.0, 0, now_ns()))

    def closed(self, message: Message) -> None:
        """By the aggregator: rings whose last records are booked."""
        self._answered_ns = now_ns()
        for gen, ring, _unfinished in message["closed"]:
            self.generators[gen].fleet.closed(ring)

    def unanswered_ns(self, now: int) -> int:
        """How long the aggregator has left orders to close rings unanswered, in ns; 0 without such orders."""
        return now - self._answered_ns if any(g.fleet.closing for g in self.generators) else 0

    def reap_lost(self) -> None:
        """The zygote has exited and its workers died with it: book what their headers say."""
        if self._engines.zygote is not None:
            self._engines.zygote.reap_lost()
        if any(generator.plan.is_placed for generator in self.generators):
            sleep_s(PLACED_END_S)
        now = now_ns()
        for generator in self.generators:
            for worker in list(generator.fleet.live):
                self._perform(generator, generator.exited(worker, 9, 0.0, 0.0, 0, now))

    def forget_closing(self) -> None:
        """The aggregator has exited: nobody will take the last records."""
        for generator in self.generators:
            for ring in list(generator.fleet.closing):
                generator.fleet.closed(ring)
