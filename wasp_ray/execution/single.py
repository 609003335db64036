"""One run on this machine with one node, from source to verdict."""

from __future__ import annotations

import platform

from wasp_ray.clock import wall_s
from wasp_ray.errors import BadInput, NodeFailed
from wasp_ray.execution.reporter import STOPPED_EARLY, Reporter
from wasp_ray.execution.settings import Outcome, Settings
from wasp_ray.execution.signals import signals_to
from wasp_ray.node.engines import Interrupted
from wasp_ray.node.node import Node
from wasp_ray.node.options import NodeOptions, NodeResult, Process
from wasp_ray.report.listener import Listener
from wasp_ray.stats.totals import NodeTotals


class Execution:
    """One run. `run` once, in any thread; stop, pause and resume from any other."""

    def __init__(self, settings: Settings, view: Listener) -> None:
        self._reporter = Reporter(settings, view)
        bundle = self._reporter.bundle
        options = NodeOptions(
            source=settings.source, run_id=settings.run_id, seed=settings.seed, load=settings.load, runtime=settings.runtime,
            thresholds=settings.thresholds, only=settings.only, once=settings.once, profile=settings.profile,
            bundle_dir=bundle.path if bundle is not None else None, user_dir=settings.user_dir,
        )  # fmt: skip
        self.node = Node(options, self._reporter)
        self._reporter.end_load = self._end_load

    def run(self) -> Outcome:
        """To the verdict. Raises BadInput when nothing was started (the bundle folder is taken back then)."""
        with signals_to(self._stop):
            try:
                return self._reporter.conclude([run_node(self.node)])
            except BadInput:
                self._reporter.drop_bundle()
                raise
            finally:
                self._reporter.close()

    def _end_load(self) -> None:
        if not self.node.orders.stop.asked:
            self.node.stop()

    def stop(self) -> None:
        """Ends the load with its grace; a second time: at once."""
        self._stop(None)

    def _stop(self, signal_name: str | None) -> None:
        self.node.stop(signal_name)
        self._reporter.abort_wait(signal_name)

    def command(self, name: str) -> None:
        """ "pause" or "resume"."""
        self.node.command(name)

    @property
    def elapsed_s(self) -> float | None:
        """Seconds since t = 0, None before it."""
        return self.node.elapsed_s

    def processes(self) -> list[Process]:
        """Return the run's processes that are not known to have ended; from any thread."""
        return [*self.node.processes(), *self._reporter.processes()]


def run_node(node: Node) -> NodeResult:
    """A node's result, also when it never came to its load. Raises BadInput when nothing was started."""
    began = wall_s()
    try:
        return node.run()
    except (NodeFailed, Interrupted) as exc:
        errors = [str(exc)] if isinstance(exc, NodeFailed) else []
        if not errors and node.stop_signal is None:
            errors = [STOPPED_EARLY]
        totals = NodeTotals(node=node.options.node + 1, host=platform.node())
        return NodeResult(node.plan, totals, 0.0, began, node.stop_signal, True, errors=errors)
