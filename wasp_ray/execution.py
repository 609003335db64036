"""One run on this machine from source to verdict: node, view, bundle, judgement.

Used by Profile.run and by the command line alike.
"""

from __future__ import annotations

import json
import platform
import secrets
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from wasp_ray._version import __version__
from wasp_ray.clock import stamp, wall_iso, wall_s
from wasp_ray.errors import BadInput, NodeFailed
from wasp_ray.node.options import GeneratorState, NodeOptions, NodeResult
from wasp_ray.node.run import Interrupted, Node
from wasp_ray.report.bundle import Bundle, write_json_file
from wasp_ray.report.snapshot import GeneratorView, Snapshot
from wasp_ray.stats.summary import summarise
from wasp_ray.stats.thresholds import evaluate
from wasp_ray.stats.totals import NodeTotals, merge_nodes
from wasp_ray.stats.verdict import JudgeInput, Judgement, judge


class View(Protocol):
    """What shows a run to a person; all calls come from the run's own thread."""

    def begin(self, plan: dict[str, Any], warnings: list[str]) -> None:
        """The load is known and about to start."""

    def update(self, snapshot: Snapshot) -> None:
        """A new state."""

    def note(self, text: str, *, limit: bool) -> None:
        """A line of user code (limit) or of the engine."""

    def close(self) -> None:
        """Nothing more comes."""


class NoView:
    """A library call prints nothing."""

    def begin(self, plan: dict[str, Any], warnings: list[str]) -> None:
        """Nothing."""

    def update(self, snapshot: Snapshot) -> None:
        """Nothing."""

    def note(self, text: str, *, limit: bool) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


@dataclass(slots=True)
class Settings:
    """What a run is asked for beyond its load."""

    source: Mapping[str, Any]
    profile: Any = None
    seed: int | None = None
    thresholds: list[str] = field(default_factory=list)
    only: str | None = None
    once: bool = False
    runtime: str = "process"
    load: str = "total"
    user_dir: str = ""
    out: Path | None = None
    wants_bundle: bool = False
    json_path: Path | None = None
    run_id: str = field(default_factory=lambda: f"{stamp()}-{secrets.token_hex(3)}")
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Outcome:
    """What a run came to."""

    summary: dict[str, Any]
    plan: dict[str, Any]
    judged: Judgement
    totals: NodeTotals | None
    path: Path | None


class Execution:
    """One run. `run` once, in any thread; stop, pause and resume from any other."""

    def __init__(self, settings: Settings, view: View) -> None:
        self.settings, self._view = settings, view
        self.bundle: Bundle | None = None
        self._log: Any = None
        self._plan: dict[str, Any] = {}
        self._last: dict[str, dict[str, Any]] = {}
        self._rates: dict[str, tuple[float, int, float]] = {}
        if settings.json_path is not None:
            _check_writable(settings.json_path, settings.out)
        if settings.wants_bundle or settings.out is not None:
            self.bundle = Bundle.create(settings.out, _source_name(settings), stamp())
        options = NodeOptions(
            source=settings.source, run_id=settings.run_id, seed=settings.seed, load=settings.load, runtime=settings.runtime,
            thresholds=settings.thresholds, only=settings.only, once=settings.once, profile=settings.profile,
            bundle_dir=self.bundle.path if self.bundle is not None else None, user_dir=settings.user_dir,
        )  # fmt: skip
        self.node = Node(options, self)

    def run(self) -> Outcome:
        """To the verdict. Raises BadInput when nothing was started (the bundle folder is taken back then)."""
        restore = self._take_signals()
        try:
            return self._conclude(self._run_node())
        except BadInput:
            self._drop_bundle()
            raise
        finally:
            self._view.close()
            if self.bundle is not None:
                self.bundle.close()
            restore()

    def _run_node(self) -> NodeResult:
        began = wall_s()
        try:
            return self.node.run()
        except (NodeFailed, Interrupted) as exc:
            node = self.node
            errors = [str(exc)] if isinstance(exc, NodeFailed) else []
            interrupted = node.stop_signal
            if not errors and interrupted is None:
                errors = ["stopped before the load began"]
            return NodeResult(
                node.plan, NodeTotals(node=1, host=platform.node()), 0.0, began, interrupted, True, errors=errors
            )

    def _take_signals(self) -> Callable[[], None]:
        """SIGINT and SIGTERM stop the run, a second one at once; in the main thread only, restored afterwards."""
        if threading.current_thread() is not threading.main_thread():
            return lambda: None

        def handle(number: int, frame: FrameType | None) -> None:
            self.node.stop(signal.Signals(number).name)

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        return restore

    # -- told by the node

    def plan_ready(self, plan: dict[str, Any], warnings: list[str]) -> None:
        """The load is known and about to start."""
        self._plan = plan
        if self.bundle is not None:
            self.bundle.write_json("plan.json", plan)
            self._log = self.bundle.user_log()
        self._view.begin(plan, warnings)

    def progress(self, phase: str, elapsed_s: float, states: list[GeneratorState], totals: Mapping[str, Any]) -> None:
        """Turns counters into a snapshot for the view."""
        views = [self._generator_view(state, totals.get(state.name), elapsed_s) for state in states]
        total_s = self._plan["duration_ns"] / 1e9
        self._view.update(Snapshot(elapsed_s, total_s, phase, views))  # type: ignore[arg-type]

    def _generator_view(
        self, state: GeneratorState, totals: Mapping[str, Any] | None, elapsed_s: float
    ) -> GeneratorView:
        ledger = totals["ledger"] if totals else {}
        at_s, count, rate = self._rates.get(state.name, (0.0, 0, 0.0))
        if elapsed_s - at_s >= 1.0:
            rate = (state.started - count) / (elapsed_s - at_s)
            self._rates[state.name] = (elapsed_s, state.started, rate)
        service = self._last.get(state.name, {}).get("service_s", {})
        return GeneratorView(
            state.name, state.kind, state.planned, rate, state.users_active, state.in_flight, state.started,  # type: ignore[arg-type]
            ledger.get("ok", 0), ledger.get("failed", 0), ledger.get("timeout", 0), state.dropped,
            service.get("p50"), service.get("p99"),
        )  # fmt: skip

    def windows(self, closed: Mapping[str, list[dict[str, Any]]]) -> None:
        """Appends to series.jsonl."""
        for name, windows in closed.items():
            for window in windows:
                self._last[name] = window
                if self.bundle is not None:
                    self.bundle.append_line("series.jsonl", json.dumps({"generator": name, **window}))

    def note(self, text: str) -> None:
        """A message of the engine."""
        self._view.note(text, limit=False)

    def output(self, line: str) -> None:
        """A line that user code printed: whole in the log, limited in the view."""
        prefix, found, rest = line.partition(": ")
        if self._log is not None:
            self._log.write(prefix if found else "", rest if found else line)
        self._view.note(line, limit=True)

    # -- judgement

    def _conclude(self, result: NodeResult) -> Outcome:
        plan = self._plan or result.plan or {"generators": [], "thresholds": [], "profile": _source_name(self.settings)}
        totals = result.totals
        for spec in plan["generators"]:
            totals.generator(spec["name"], spec["kind"])
        merged = merge_nodes([totals])
        load_s = min(result.duration_s, plan.get("duration_ns", 0) / 1e9)
        checked = [evaluate(text, merged, load_s, plan) for text in plan["thresholds"]] if result.duration_s else []
        warnings = [*self.settings.warnings, *result.warnings, *(self.bundle.problems if self.bundle else [])]
        judged = judge(JudgeInput(
            merged, plan, checked, result.interrupted, result.stopped, frozenset(result.stopped_generators),
            result.errors, result.invalid, result.failed, warnings,
        ))  # fmt: skip
        run = {
            "run_id": self.settings.run_id, "started_at": wall_iso(result.started_wall_s), "ended_at": wall_iso(),
            "duration_s": result.duration_s, "load_s": load_s,
            "versions": {"wasp_ray": __version__, "python": platform.python_version(), "image": None},
        }  # fmt: skip
        summary = summarise(plan, [totals], run, judged, checked)
        self._write(summary, totals)
        return Outcome(summary, plan, judged, merged, self.bundle.path if self.bundle else None)

    def _write(self, summary: dict[str, Any], totals: NodeTotals) -> None:
        if self.bundle is not None:
            self.bundle.write_json("summary.json", summary)
            self.bundle.write_json("histograms.json", totals.to_data())
        if self.settings.json_path is not None:
            try:
                write_json_file(self.settings.json_path, summary)
            except OSError as exc:
                self._view.note(f"--json {self.settings.json_path}: {exc.strerror or exc}", limit=False)

    def _drop_bundle(self) -> None:
        """Nothing was started: an empty folder is not left behind."""
        if self.bundle is None or self.settings.out is not None:
            return
        self.bundle.close()
        with suppress(OSError):
            for file in self.bundle.path.iterdir():
                file.unlink()
            self.bundle.path.rmdir()


def _source_name(settings: Settings) -> str:
    if settings.profile is not None:
        return str(settings.profile.name or "run")
    return Path(str(settings.source.get("file", "run")).split(":")[0]).stem


def _check_writable(path: Path, out: Path | None) -> None:
    folder = path.parent
    if out is not None and folder.resolve().is_relative_to(out.resolve()):
        return  # inside the bundle, which is made below
    if not folder.is_dir():
        raise BadInput(f"--json {path}: the folder {folder} does not exist; make it first")


__all__ = ["Execution", "NoView", "Outcome", "Settings", "View"]
