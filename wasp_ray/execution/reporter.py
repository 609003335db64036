"""Turns the reports of nodes into what a person sees and keeps: view, bundle, verdict. It runs and controls nothing."""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wasp_ray._version import __version__
from wasp_ray.alerts.telling import Told
from wasp_ray.clock import stamp, wall_iso
from wasp_ray.execution.alerts import AlertPart
from wasp_ray.execution.outputs import Finished
from wasp_ray.execution.settings import Outcome, Settings
from wasp_ray.node.options import NodeResult, Process
from wasp_ray.plan import Plan
from wasp_ray.report.bundle_writer import BundleWriter, UserLog
from wasp_ray.report.listener import Listener, Snapshot
from wasp_ray.report.numbers import moment
from wasp_ray.report.window_store import WindowStore
from wasp_ray.stats.seconds import Seconds
from wasp_ray.stats.summary import summarise
from wasp_ray.stats.threshold_watch import Breach, ThresholdWatch
from wasp_ray.stats.thresholds import evaluate
from wasp_ray.stats.totals import NodeTotals, merge_nodes
from wasp_ray.stats.verdict import JudgeInput, judge

NOT_AWAITED = "the run was interrupted while it waited for the last evaluations of alert rules: their result is unknown"
STOPPED_EARLY = "stopped before the load began"
NO_PLAN = (
    "the plan of this run was not found, so its thresholds and alert checks could not be judged: expected it in the output of"
    " the nodes, or where a run in a cluster keeps it, in its ConfigMap"
)


@dataclass(frozen=True, slots=True)
class Findings:
    """What the controller of several nodes found, beside their own reports."""

    errors: Sequence[str] = ()
    invalid: Sequence[str] = ()
    interrupted: str | None = None
    stopped: bool = False
    clocks: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    """of each node: its clock minus the controller's and how well that is known, in seconds"""
    failed: Sequence[str] = ()
    is_partial: bool = False
    """Whether some seconds or results were not heard: of a node that was lost, or before this controller took over."""


class Reporter(Listener):
    """Keeps what a node, or the controller of several, reports, and passes it on to a view.

    Raises BadInput when the bundle or one of the outputs beside it cannot be written.
    """

    def __init__(self, settings: Settings, view: Listener) -> None:
        self.settings, self._view = settings, view
        self.bundle: BundleWriter | None = None
        self._log: UserLog | None = None
        self._watch = ThresholdWatch(Plan.unknown())
        self.end_load: Callable[[], None] | None = None
        """Ends the load with its grace, unless that was requested already: set by the execution, None once it was called or the
        load is over.
        """
        self._plan = Plan.unknown(settings.name)
        self._alerts = AlertPart(self.note, is_foreign=settings.foreign_plan)
        settings.outputs.check(settings.out)
        if settings.wants_bundle or settings.out is not None:
            self.bundle = BundleWriter.create(settings.out, settings.name, stamp())
        folder = self.bundle.path if self.bundle is not None else None
        self._windows = WindowStore(folder, settings.nodes, self._note_problem)

    # -- while it runs

    def begin(self, plan: Plan, warnings: Sequence[str]) -> None:
        """The load is known and about to start. Raises BadInput for alerts that cannot be checked from here."""
        self._alerts.begin(plan, self.settings.run_id)
        self._plan = plan
        self._watch = ThresholdWatch(plan, breaker=self.settings.breaker)
        if self.bundle is not None:
            self.bundle.write_json("plan.json", plan.to_data())
            self._log = self.bundle.user_log()
        self._view.begin(plan, warnings)

    def update(self, snapshot: Snapshot) -> None:
        """A new state."""
        self._alerts.turn()
        self._view.update(snapshot)

    def windows(self, closed: Seconds) -> None:
        """Keep the seconds of the one node."""
        self.windows_of(1, closed, ())

    def windows_of(self, node: int, closed: Seconds, awaited: Collection[int]) -> None:
        """Keep the seconds of one of several nodes; the view gets those that are complete. `awaited`: nodes that still report."""
        self._show(self._windows.add(node, closed, awaited))

    def _show(self, merged: Seconds) -> None:
        if not merged:
            return
        self._view.windows(merged)
        for breach in self._watch.add(merged):
            self._report_breach(breach)

    def _report_breach(self, breach: Breach) -> None:
        self.note(f"{moment(breach.at_s)} {breach.sentence}")
        if breach.ends_load and self.end_load is not None:
            end_load, self.end_load = self.end_load, None
            end_load()

    def note(self, text: str) -> None:
        """A message of the engine."""
        self._view.note(text)

    def output(self, line: str) -> None:
        """A line that user code printed: whole in the log."""
        prefix, found, rest = line.partition(": ")
        if self._log is not None:
            self._log.write(prefix if found else "", rest if found else line)
        self._view.output(line)

    def abort_wait(self, signal_name: str | None = None) -> None:
        """Stop waiting for alert evaluations after the load, since a stop was requested. Async-signal-safe."""
        self._alerts.abort_wait(signal_name)

    def processes(self) -> list[Process]:
        """Return the process that asks for alerts, where there is one; from any thread."""
        pid = self._alerts.pid
        return [] if pid is None else [Process("alerts", pid)]

    # -- the end

    def conclude(self, results: Sequence[NodeResult], found: Findings | None = None) -> Outcome:
        """The summary and verdict of all nodes' results; written where it was asked for, and before a wait for alerts too: what
        the load did is on disk whatever ends that wait.
        """
        found = found or Findings()
        self.end_load = None
        self._show(self._windows.end())
        is_over = bool(found.interrupted or found.errors or any(r.interrupted or r.errors for r in results))
        begun = _begun(results, found.clocks)
        if begun is None:
            return self._concluded(results, found, [], Told([], [], []))
        if self._alerts.is_asked and not is_over:
            self._concluded(results, found, [], Told([], [NOT_AWAITED], []), is_last=False)
        alerts, told = self._alerts.finish(*begun, wait=not is_over)
        return self._concluded(results, found, alerts, told)

    def _concluded(
        self, results: Sequence[NodeResult], found: Findings, alerts: list[dict[str, Any]], of_alerts: Told, *,
        is_last: bool = True,
    ) -> Outcome:  # fmt: skip
        settings = self.settings
        plan = next((plan for plan in (self._plan, *(r.plan for r in results)) if plan.is_known), self._plan)
        unjudged = _unjudged(results, found, is_planned=plan.is_known)
        nodes = [result.totals for result in results]
        for totals in nodes:
            for generator in plan.generators:
                totals.generator(generator.name, generator.kind)
        merged = merge_nodes(nodes)
        duration_s = max((result.duration_s for result in results), default=0.0)
        load_s = min(duration_s, plan.duration_ns / 1e9)
        watch = self._watch if plan is self._plan else ThresholdWatch(plan)
        checked = _checked(plan, merged, load_s, watch) if duration_s else []
        judged = judge(JudgeInput(
            merged, plan, checked, found.interrupted or next((r.interrupted for r in results if r.interrupted), None),
            found.stopped or any(r.stopped for r in results), frozenset(name for r in results for name in r.stopped_generators),
            [*found.errors, *_all(results, "errors"), *unjudged],
            [*found.invalid, *_all(results, "invalid"), *of_alerts.unknown, *self._differences(results, found, merged)],
            [
                *found.failed, *_all(results, "failed"), *of_alerts.failed,
                *(breach.sentence for breach in watch.opened.values()),
            ],
            [
                *settings.warnings, *_all(results, "warnings"), *of_alerts.warnings,
                *(self.bundle.problems if self.bundle else []),
            ],
            self._alerts.cut_by,
        ))  # fmt: skip
        run = {
            "run_id": settings.run_id, "started_at": wall_iso(min((r.started_wall_s for r in results), default=None)),
            "ended_at": wall_iso(), "duration_s": duration_s, "load_s": load_s,
            "versions": {"wasp_ray": __version__, "python": platform.python_version(), "image": settings.image},
        }  # fmt: skip
        summary = summarise(plan, nodes, run, judged, checked, found.clocks, alerts, watch.capacity())
        path = self.bundle.path if self.bundle else None
        if self.bundle is not None:
            self.bundle.write_json("summary.json", summary)
        finished = Finished(summary, judged.exit_code, path, settings.out, settings.known_secrets())
        settings.outputs.write(finished, self._view.note, is_last=is_last)
        return Outcome(summary, plan, judged, merged, path)

    def _differences(self, results: Sequence[NodeResult], found: Findings, merged: NodeTotals) -> list[str]:
        """Where the seconds do not add up to the totals, though every node reported both to its end."""
        is_whole = len(results) == self.settings.nodes and not found.errors and not any(r.errors for r in results)
        if not is_whole or not any(result.duration_s for result in results) or found.is_partial:
            return []
        differences = "; ".join(self._windows.differences(merged))
        return [f"the run's seconds and totals differ, a fault of wasp_ray: {differences}"] if differences else []

    def _note_problem(self, name: str, problem: Exception) -> None:
        if self.bundle is not None:
            self.bundle.note_problem(name, problem)

    def close(self) -> None:
        """Nothing more comes."""
        self._alerts.close()
        self._windows.end()
        self._view.close()
        if self._log is not None:
            self._log.close()
        if self.bundle is not None:
            self.bundle.close()

    def drop_bundle(self) -> None:
        """Nothing was started: there is no bundle."""
        self._windows.end()
        if self.bundle is not None:
            self.bundle.take_back()


def _begun(results: Sequence[NodeResult], clocks: Mapping[int, tuple[float, float]]) -> tuple[float, float] | None:
    """When the load began and was over, by this machine's clock; None when it never began.

    The start of a node that was lost is not known better than that of the run's making.
    """
    begun = [
        (r.started_wall_s - clocks.get(r.totals.node, (0.0, 0.0))[0], r.duration_s) for r in results if r.duration_s
    ]
    return (max(at_s for at_s, _ in begun), max(map(sum, begun))) if begun else None


def _checked(plan: Plan, totals: NodeTotals, load_s: float, watch: ThresholdWatch) -> list[dict[str, Any]]:
    """Return the result of each threshold: those that are judged by the second as they went, others over the whole run."""
    checked = []
    for index, (text, over_time) in enumerate(zip(plan.thresholds, watch.results(), strict=True)):
        entry = evaluate(text, totals, load_s, plan)
        judged = watch.judged(index)
        if judged is not None:
            entry["value"], entry["passed"] = judged
        checked.append({**entry, **over_time})
    return checked


def _all(results: Sequence[NodeResult], what: str) -> list[str]:
    """Return the sentences of all nodes, each once, with the nodes in front where not all of several have it."""
    nodes_by_text: dict[str, dict[int, None]] = {}  # a node may have reported it more than once
    for result in results:
        for text in getattr(result, what):
            nodes_by_text.setdefault(text, {})[result.totals.node] = None
    return [
        text if len(nodes) == len(results) else f"node {', '.join(map(str, nodes))}: {text}"
        for text, nodes in nodes_by_text.items()
    ]


def _unjudged(results: Sequence[NodeResult], found: Findings, *, is_planned: bool) -> list[str]:
    """Return why thresholds were not evaluated, where no other reason covers that: such a run must not pass."""
    if any(result.duration_s for result in results):
        return [] if is_planned else [NO_PLAN]
    has_reason = found.errors or found.invalid or found.interrupted or any(
        result.errors or result.invalid or result.interrupted for result in results
    )  # fmt: skip
    return [] if has_reason else [STOPPED_EARLY]
