"""Runs a scenario: starts the run, applies its events at their instants, watches the workers' processes from outside.

It uses the public interface alone (Profile, Run, RunResult, runtime=, nodes=), the witness files, and /proc.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.processes import descendants, is_alive

from model import scenario as s
from model.actors import ACTORS, RELEASED
from model.knobs import knobs
from model.witness import Line, Note, line_of
from wasp_ray import Generator, Profile, Run, open_bundle, pause, ramp, rows
from wasp_ray.report.bundle import Bundle
from wasp_ray.schedule import Schedule

POLL_S = 0.01
OVERTIME_S = 25.0
"""A run that lasts so much longer than its scenario needs has not ended."""
AFTER_S = 5.0
"""What processes and threads have to end after the run."""
SEED = 20_240
NEVER = 2**63
SERIES = ("ok", "failed", "timeout", "killed", "interrupted")


DAY_S = 86_400


@dataclass
class Evidence:
    """All that is known of a run from outside, and what the run itself reported."""

    lines: list[Line] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    summary: dict[str, Any] | None = None
    written: dict[str, Any] | None = None
    """summary.json"""
    series: dict[str, Counter[str]] = field(default_factory=dict)
    """the columns of series.jsonl, added up by Generator"""
    windows: dict[str, dict[str | None, dict[str, int]]] = field(default_factory=dict)
    """the counts of windows.bin by Generator and group, None for its calls"""
    raised: str = ""
    """what wait() raised"""


def profile_of(scenario: s.Scenario, folder: Path) -> Profile:
    """Return the Profile that plays a scenario."""
    return Profile(*(_generator(index, load, folder) for index, load in enumerate(scenario.loads)))


def _generator(index: int, load: s.Load, folder: Path) -> Generator:
    options: dict[str, Any] = {"gun" if load.is_rate else "user": ACTORS[load.kind]}
    if load.rows is not None:
        options["feeders"] = {"rows": rows([{"n": number} for number in range(load.rows)])}
    if load.is_rate:
        options |= {"min_delivered": 0.0}
        options |= {} if load.max_in_flight is None else {"max_in_flight": load.max_in_flight}
        options |= {"max_workers": 4 if load.max_workers is None else load.max_workers}
        if load.is_async:
            del options["max_workers"]
    else:
        options |= {"users_per_process": load.pack if load.kind == "packed" else 1}
        options |= {} if load.pacing_ms is None else {"pacing": f"{load.pacing_ms}ms"}
        options |= {"think_time": f"{load.think_ms}ms"} if load.think_ms else {}
    return Generator(
        s.name_of(index),
        schedule=_schedule(load),
        params={"folder": str(folder), "index": index, "load": load},
        call_timeout=None if load.call_timeout_ms is None else f"{load.call_timeout_ms}ms",
        graceful_stop=f"{load.graceful_ms}ms",
        setup_timeout=f"{load.setup_timeout_ms}ms",
        teardown_timeout="5s",
        fail_on_error=load.fail_on_error,
        max_calls=load.max_calls,
        on_late="drop" if load.drops else "fire",
        **options,
    )


def _schedule(load: s.Load) -> Schedule:
    parts = [
        pause(f"{part.ms}ms") if isinstance(part, s.Idle) else ramp(part.start, part.end, f"{part.ms}ms")
        for part in load.schedule
    ]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole + part
    return whole


def longest_s(scenario: s.Scenario) -> float:
    """Return how long a run may take by its scenario, without the machine's own time."""
    events_ms = sum(max(0, event.after_ms) + event.hold_ms for event in scenario.events)
    loads_ms = max(
        load.duration_ms + load.graceful_ms + (load.call_timeout_ms or 0) + 4 * min(load.setup_timeout_ms, 3000)
        for load in scenario.loads
    )
    return (events_ms + loads_ms) / 1000


def drive(scenario: s.Scenario, folder: Path) -> Evidence:
    """Run a scenario to its end, or to the instant at which it should long have been over; leaves no process behind."""
    return Driver(scenario, folder).drive()


class Driver:
    """One run and its log."""

    def __init__(self, scenario: s.Scenario, folder: Path) -> None:
        self.scenario, self.folder = scenario, folder
        self.evidence = Evidence()
        self._offsets = [0] * len(scenario.loads)
        self._rests = [b""] * len(scenario.loads)
        self._alive: dict[int, int] = {}
        """worker -> when it was last seen alive"""
        self._load_of: dict[int, int] = {}
        self._events = list(scenario.events)
        self._next_at: int | None = None
        self._frozen: dict[int, int] = {}
        """stopped process -> when it goes on"""

    def note(self, what: str, *detail: Any) -> None:
        """Write a line of the driver's own log."""
        self.evidence.notes.append(Note(time.monotonic_ns(), what, detail))

    def drive(self) -> Evidence:
        """See `drive`."""
        folder, before, threads = self.folder, descendants(), set(threading.enumerate())
        with self._thread_errors(), knobs(self.scenario.slots):
            self.note("start", time.time_ns() - time.monotonic_ns())
            profile = profile_of(self.scenario, folder)
            bundle = folder / "out"
            run = profile.start(runtime=self.scenario.runtime, nodes=self.scenario.nodes, seed=SEED, out=bundle)
            try:
                while self._events and self._events[0].after_ms == -1:
                    self._apply(run, self._events.pop(0))
                    self._set_next()
                self._follow(run)
            finally:
                self.note("over")
                self._thaw(NEVER)
                (folder / RELEASED).touch()
        if self.evidence.summary is not None:
            self._read(bundle)
        self._wait_for_the_rest(before, threads)
        self._look()
        return self.evidence

    def _read(self, bundle: Path) -> None:
        self.evidence.written = json.loads((bundle / "summary.json").read_text())
        if (bundle / "series.jsonl").exists():
            for raw in (bundle / "series.jsonl").read_text().splitlines():
                window = json.loads(raw)
                sums = self.evidence.series.setdefault(window["generator"], Counter())
                sums.update({column: window[column] for column in SERIES if column in window})
            self._read_windows(open_bundle(bundle))

    def _read_windows(self, bundle: Bundle) -> None:
        for name in bundle.generators:
            found: dict[str | None, dict[str, int]] = {None: bundle.window(0, DAY_S, name, warmup=True).counts}
            found |= {group: bundle.window(0, DAY_S, name, group).counts for group in bundle.groups(name)}
            self.evidence.windows[name] = found

    @contextmanager
    def _thread_errors(self) -> Iterator[None]:
        """Note what threads of the run raise: nobody else would see it."""
        before = threading.excepthook
        threading.excepthook = lambda found: self.note("thread raised", f"{found.exc_type.__name__}: {found.exc_value}")
        try:
            yield
        finally:
            threading.excepthook = before

    # -- while it runs

    def _follow(self, run: Run) -> None:
        give_up = time.monotonic() + longest_s(self.scenario) + OVERTIME_S
        while True:
            try:
                self.evidence.summary = run.wait(POLL_S).summary
                return
            except TimeoutError:
                pass
            except Exception as exc:
                self.evidence.raised = f"{type(exc).__name__}: {exc}"
                return
            self._look()
            self._apply_due(run)
            if time.monotonic() > give_up:
                self.note("overtime")
                self._end(run)
                return

    def _end(self, run: Run) -> None:
        """Make a run that did not end by itself end."""
        for _ in range(2):
            run.stop()
            try:
                run.wait(AFTER_S)
                return
            except Exception:  # whatever it is: it is reported as a run that did not end
                continue

    def _look(self) -> None:
        """Read new lines; note which workers are alive."""
        for index in range(len(self._offsets)):
            for line in self._new_lines(index):
                self.evidence.lines.append(line)
                if line.what == "setup" and line.pid == int(line.life.split(".")[0]):
                    self._alive.setdefault(line.pid, line.ns)
                    self._load_of.setdefault(line.pid, index)
        if self.scenario.runtime == "inline":
            return
        for pid in list(self._alive):
            now = time.monotonic_ns()
            if is_alive(pid):
                self._alive[pid] = now
            else:
                self.note("dead", pid, self._alive.pop(pid))

    def _new_lines(self, index: int) -> list[Line]:
        path = self.folder / f"witness-{index}.log"
        if not path.exists():
            return []
        with path.open("rb") as file:
            file.seek(self._offsets[index])
            data = file.read()
        self._offsets[index] += len(data)
        *whole, self._rests[index] = (self._rests[index] + data).split(b"\n")
        return [line_of(raw) for raw in whole]

    # -- events

    def _apply_due(self, run: Run) -> None:
        now = time.monotonic_ns()
        self._thaw(now)
        while self._events and self._events[0].after_ms == -2 and self.evidence.lines:
            self._apply(run, self._events.pop(0))
            self._set_next()
        if not self._events or self._events[0].after_ms < 0:
            return
        if self._next_at is None:
            first = min((line.ns for line in self.evidence.lines if line.what == "begin"), default=None)
            if first is None:
                return
            self._next_at = first + self._events[0].after_ms * 1_000_000
        while self._events and now >= self._next_at:
            self._apply(run, self._events.pop(0))
            self._set_next()

    def _set_next(self) -> None:
        """An event was applied: the next one comes so long after it."""
        if self._events and self._events[0].after_ms >= 0:
            self._next_at = time.monotonic_ns() + self._events[0].after_ms * 1_000_000

    def _apply(self, run: Run, event: s.Event) -> None:
        match event.do:
            case "pause":
                self._noted("pause", run.pause)
            case "resume":
                self._noted("resume", run.resume)
            case "stop":
                self._noted("stop", run.stop)
            case "kill":
                self._kill(event)
            case "stall":
                self._freeze([pid for pid in [self._chosen(event)] if pid is not None], event.hold_ms)
            case "freeze":
                self._freeze(_aggregators(), event.hold_ms)

    def _noted(self, what: str, act: Callable[[], None]) -> None:
        self.note(what)
        act()
        self.note(f"{what} done")

    def _chosen(self, event: s.Event) -> int | None:
        """The worker that an event means, if any is alive."""
        self._look()
        pids = [pid for pid in self._alive if self._load_of[pid] == event.load]
        return pids[event.nth % len(pids)] if pids else None

    def _kill(self, event: s.Event) -> None:
        pid = self._chosen(event)
        if pid is None:
            return
        self.note("kill", pid)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.note("kill done", pid)

    def _freeze(self, pids: Iterable[int], hold_ms: int) -> None:
        for pid in pids:
            self.note("freeze", pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
            self._frozen[pid] = time.monotonic_ns() + hold_ms * 1_000_000

    def _thaw(self, now: int) -> None:
        for pid in [pid for pid, until in self._frozen.items() if now >= until]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
            self.note("thaw", pid)
            del self._frozen[pid]

    # -- afterwards

    def _wait_for_the_rest(self, before: set[int], threads: set[threading.Thread]) -> None:
        """Processes and threads of the run; processes that are left after AFTER_S are noted and killed."""
        give_up = time.monotonic() + AFTER_S
        while (descendants() - before or _threads(threads)) and time.monotonic() < give_up:
            time.sleep(0.01)
        for pid in descendants() - before:
            self.note("left behind", pid)
            os.kill(pid, signal.SIGKILL)
        for name in _threads(threads):
            self.note("thread left behind", name)


def _threads(before: set[threading.Thread]) -> list[str]:
    """Names of the run's threads in this process that are still alive."""
    return [t.name for t in threading.enumerate() if t.name.startswith("wasp-") and t not in before]


def _aggregators() -> list[int]:
    """The aggregator processes below this one."""
    found = []
    for pid in descendants():
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if b"aggregator" in file.read():
                    found.append(pid)
        except OSError:
            continue
    return found


__all__ = ["Evidence", "drive", "longest_s", "profile_of"]
