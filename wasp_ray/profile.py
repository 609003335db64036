"""The Profile and what a run of it gives back. It starts runs and leaves them to execution/ and the node."""

from __future__ import annotations

import base64
import inspect
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from wasp_ray.errors import BadInput, WaspError
from wasp_ray.load.generator import Generator
from wasp_ray.load.locate import dumps_profile
from wasp_ray.load.validate import problems_of
from wasp_ray.plan import Plan
from wasp_ray.stats.outcomes import OutcomeCounts, outcomes_of

if TYPE_CHECKING:
    from wasp_ray.execution import Running
    from wasp_ray.node.options import Process

MAIN_GUARD = (
    "Profile.run() was called while the load file was being imported by wasp_ray's own process: expected it to run only"
    ' in the script itself; put it below `if __name__ == "__main__":`'
)


class RunFailed(WaspError):
    """Raised by RunResult.raise_for_verdict; `result` is the RunResult."""

    def __init__(self, result: RunResult) -> None:
        self.result = result
        super().__init__(f"{result.verdict}: {'; '.join(result.reasons) or 'no reason given'}")


class RunResult:
    """How a run ended. `summary` has the shape of summary.json, `path` is the bundle's folder or None."""

    def __init__(
        self, summary: dict[str, Any], exit_code: int, path: Path | None, totals: Any = None, plan: Plan | None = None
    ) -> None:
        self.summary, self.exit_code, self.path = summary, exit_code, path
        self.verdict: str = summary["verdict"]
        self.reasons: list[str] = summary["reasons"]
        self.warnings: list[str] = summary["warnings"]
        self.totals, self.plan = totals, plan
        self.generators: dict[str, GeneratorResult] = {
            name: GeneratorResult(name, data) for name, data in summary["generators"].items()
        }

    @classmethod
    def of(cls, outcome: Any) -> RunResult:
        """Return the result of an execution."""
        return cls(outcome.summary, outcome.judged.exit_code, outcome.path, outcome.totals, outcome.plan)

    @property
    def ledger(self) -> SimpleNamespace:
        """scheduled, dropped, started, ok, failed, timeout, killed, interrupted, lost."""
        return SimpleNamespace(**self.summary["ledger"])

    def raise_for_verdict(self) -> RunResult:
        """Returns itself when passed. Raises RunFailed otherwise."""
        if self.verdict != "passed":
            raise RunFailed(self)
        return self

    def __repr__(self) -> str:
        return f"RunResult({self.verdict!r}, exit_code={self.exit_code}, ledger={self.summary['ledger']})"


class GeneratorResult:
    """One Generator's part of a summary: `ledger`, `groups`, `data` (the raw dict)."""

    def __init__(self, name: str, data: dict[str, Any]) -> None:
        self.name, self.data = name, data
        self.ledger = SimpleNamespace(**data["ledger"])
        self.groups = {group: GroupResult(group, part) for group, part in data["groups"].items()}
        self.service = Durations(data["call"]["service_s"])
        self.response = Durations(data["call"]["response_s"])


class GroupResult(OutcomeCounts):
    """One group: `count` and the outcomes it is the sum of, `status`, `service` and `response` in seconds."""

    def __init__(self, name: str, data: dict[str, Any]) -> None:
        super().__init__(**outcomes_of(data))
        self.name, self.data = name, data
        self.status: dict[str, int] = data["status"]
        self.service = Durations(data["service_s"])
        self.response = Durations(data["response_s"])


class Durations(SimpleNamespace):
    """min, mean, p50, p90, p95, p99, p999, max in seconds; None without a sample."""

    def __init__(self, data: Mapping[str, float | None] | None) -> None:
        super().__init__(**(data or {}))


class Run:
    """A run in a thread of its own."""

    def __init__(self, execution: Running, convert: Callable[[Any], RunResult]) -> None:
        self._execution, self._convert = execution, convert
        self._outcome: RunResult | BaseException | None = None
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._live, name="wasp-run", daemon=True)
        self._thread.start()

    def _live(self) -> None:
        try:
            self._outcome = self._convert(self._execution.run())
        except BaseException as exc:
            self._outcome = exc
        finally:
            self._finished.set()

    def pause(self) -> None:
        """Stop the schedule's clock; calls in flight continue. Before t = 0 it holds the load, until `resume` lets it begin."""
        self._execution.command("pause")

    def resume(self) -> None:
        """Goes on; what would have been due meanwhile is not made up for."""
        self._execution.command("resume")

    def stop(self) -> None:
        """Ends the load with its grace; a second time: at once."""
        self._execution.stop()

    @property
    def elapsed_s(self) -> float | None:
        """Seconds since t = 0, pauses included; None before it."""
        return self._execution.elapsed_s

    def processes(self) -> list[Process]:
        """Return the run's processes, for tests of how a load behaves when one of them is killed or stopped.

        A process that has ended is left out as soon as the run has noticed. With several nodes, those of the nodes are not
        listed.
        """
        return self._execution.processes()

    def wait(self, timeout_s: float | None = None) -> RunResult:
        """Return the result, in any thread and any number of times.

        Raises TimeoutError when the run has not finished within `timeout_s`, BadInput when nothing was started.
        """
        if not self._finished.wait(timeout_s):
            raise TimeoutError(f"the run has not finished within {timeout_s} s")
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        assert self._outcome is not None
        return self._outcome


class Profile:
    """One load test: Generators that run together. Never raises on bad values: `validate()` lists all problems."""

    __wasp_profile__ = True

    def __init__(
        self, *generators: Generator, name: str | None = None, labels: Mapping[str, str] = {}, thresholds: Sequence[Any] = (),
        sinks: Sequence[Any] = (), setup: Callable[[], Any] | None = None, teardown: Callable[[], Any] | None = None,
        import_sockets: str = "refuse", breaker: bool = True,
    ) -> None:  # fmt: skip
        self.generators = generators
        self.name, self.labels, self.thresholds, self.sinks = name, labels, thresholds, sinks
        self.setup, self.teardown, self.import_sockets, self.breaker = setup, teardown, import_sockets, breaker

    def validate(self) -> list[str]:
        """Every problem, one sentence each; empty when the profile can run."""
        return problems_of(self)

    def run(
        self,
        *,
        nodes: int = 1,
        load: str = "total",
        out: str | Path | None = None,
        runtime: str = "process",
        seed: int | None = None,
    ) -> RunResult:
        """Runs to the verdict, in any thread. Prints nothing; writes a bundle only with `out`.

        `runtime="inline"` stays in this process, for pdb and tests. Raises BadInput when nothing was started.
        """
        execution = self._execution(nodes, load, out, runtime, seed, _caller_dir())
        return RunResult.of(execution.run())

    def start(
        self,
        *,
        nodes: int = 1,
        load: str = "total",
        out: str | Path | None = None,
        runtime: str = "process",
        seed: int | None = None,
    ) -> Run:
        """Run in the background; return a Run with pause, resume, stop and wait."""
        return Run(self._execution(nodes, load, out, runtime, seed, _caller_dir()), RunResult.of)

    def _execution(
        self, nodes: int, load: str, out: str | Path | None, runtime: str, seed: int | None, user_dir: str, *,
        wants_bundle: bool = False,
    ) -> Running:  # fmt: skip
        """`user_dir`: the folder of the user's file; `wants_bundle`: one in wasp-runs where `out` names none."""
        from wasp_ray.execution import Listener, Settings, execution_of
        from wasp_ray.wire.arena import has_memfd

        if os.environ.get("WASP_ZYGOTE") == "1":
            raise BadInput(MAIN_GUARD)
        if runtime not in ("process", "inline"):
            raise BadInput(f"runtime={runtime!r}: expected 'process' or 'inline'")
        if load not in ("total", "per-node"):
            raise BadInput(f"load={load!r}: expected 'total' or 'per-node'")
        if isinstance(nodes, bool) or not isinstance(nodes, int) or nodes < 1:
            raise BadInput(f"nodes={nodes!r}: expected a whole number from 1")
        if nodes > 1 and runtime == "inline":
            raise BadInput(f"nodes={nodes} with runtime='inline': several nodes are several processes; leave one out")
        problems = self.validate()
        if problems:
            raise BadInput(problems)
        warnings = []
        if runtime == "process" and not has_memfd():
            runtime = "inline"
            warnings.append("this system has no memfd: the run was made by the inline runtime, in one process")
        source = {} if runtime == "inline" else {"pickle": base64.b64encode(dumps_profile(self)).decode()}
        settings = Settings(
            source=source, profile=self, seed=seed, runtime=runtime, nodes=nodes, load=load,
            out=Path(out) if out is not None else None, wants_bundle=wants_bundle, user_dir=user_dir, warnings=warnings,
        )  # fmt: skip
        return execution_of(settings, Listener())


def _caller_dir() -> str:
    """The folder of the user's file that called run or start."""
    frame = inspect.currentframe()
    for _ in range(2):
        frame = frame.f_back if frame is not None else None
    name = frame.f_code.co_filename if frame is not None else ""
    return str(Path(name).resolve().parent) if os.path.exists(name) else os.getcwd()
