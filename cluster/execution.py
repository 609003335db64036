"""A run of several nodes from source to verdict: the same settings, view, bundle and judgement as with one node."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wasp_ray.clock import now_ns, wall_s
from wasp_ray.cluster.backend import Backend, Keeper
from wasp_ray.cluster.clocks import clock_warnings
from wasp_ray.cluster.controller import Controller
from wasp_ray.cluster.lifecycle import Lifecycle, Phase, Terms
from wasp_ray.cluster.local import LocalNodes
from wasp_ray.cluster.merge import merged, result_of_lost
from wasp_ray.cluster.record import Adopted
from wasp_ray.errors import BadInput, WaspError
from wasp_ray.execution import STOPPED_EARLY, Findings, Listener, Outcome, Reporter, Settings, signals_to
from wasp_ray.node.options import Process
from wasp_ray.plan import Plan
from wasp_ray.process import raise_descriptor_limit
from wasp_ray.report.listener import Snapshot
from wasp_ray.stats.seconds import Second

DEPLOY_TIMEOUT_S = 600.0
SAY_EVERY_NS = 5_000_000_000
SHOW_SHARE = 20
"""To add up what nodes tell takes at most a twentieth of the time: 10 ms with 1,000 nodes, which is no work for each turn."""


class ClusterExecution:
    """One run of `settings.nodes` nodes. `make_backend` is given the settings and the reporter, whose bundle is made.

    `prepare` comes first and may be interrupted; it returns warnings, and raises as the run does.
    """

    def __init__(
        self, settings: Settings, view: Listener, make_backend: Callable[[Settings, Reporter], Backend], terms: Terms | None = None,
        *, keep_logs: bool = False, adopted: Adopted | None = None, keeper: Keeper | None = None,
        prepare: Callable[[], Sequence[str]] | None = None,
    ) -> None:  # fmt: skip
        """`adopted`: a run that another controller began. `keeper`: the backend, where nodes outlive their controller."""
        self.settings, self._keep_logs, self._prepare = settings, keep_logs, prepare
        self._adopted, self._keeper = adopted, keeper
        raise_descriptor_limit()  # a connection and a file a node
        if settings.seed is None:  # every node must draw the same
            settings.seed = random.SystemRandom().getrandbits(32)
        self.failure: WaspError | None = None  # why the run was left before its end
        self._reporter = Reporter(settings, view)
        self._reporter.end_load = self._end_load
        self.states: dict[int, Snapshot] = {}  # of each node, as last reported
        self._plan = Plan.unknown()
        self._say_at_ns, self._show_at_ns = now_ns() + SAY_EVERY_NS, 0
        terms = terms or Terms(nodes=settings.nodes, deploy_timeout_s=DEPLOY_TIMEOUT_S)
        self.controller = Controller(
            make_backend(settings, self._reporter), terms, settings.run_id, self, adopted, keeper=keeper,
            image=settings.image or "",
        )  # fmt: skip

    def run(self) -> Outcome:
        """To the verdict, which is "error" when the cluster could not be asked or the controller could not go on. Raises
        BadInput when nothing was started (the bundle folder is taken back then).
        """
        began = wall_s()
        try:
            with signals_to(self._stop):  # around those of the preparation too: SIGHUP comes more than once
                is_prepared = self._is_prepared()
                if self._adopted is not None and self._adopted.plan.is_known:
                    self.planned(self._adopted.plan, [])  # first: its alerts may not be asked for from here
                if is_prepared:
                    with self._failure_kept():
                        self.controller.run()
                outcome = self._conclude(began)
                if self._keeper is not None and self.failure is None:  # else it may be another controller's run
                    self._keeper.conclude(outcome.judged.verdict, outcome.judged.reasons)
                return outcome
        except BadInput:
            self._reporter.drop_bundle()
            raise
        finally:
            self._reporter.close()

    def _is_prepared(self) -> bool:
        """A signal ends what the controller cannot: a build, a wait for an API server."""
        if self._prepare is None:
            return True
        try:
            with signals_to(_interrupt), self._failure_kept():
                self.settings.warnings += self._prepare()
        except KeyboardInterrupt as exc:
            self.controller.state.interrupted = str(exc)
            return False
        return self.failure is None

    @contextmanager
    def _failure_kept(self) -> Iterator[None]:
        """What cannot or may not go on leaves what is known, as a run that is an error."""
        try:
            yield
        except BadInput:
            raise
        except WaspError as exc:
            self.failure = exc
            self.controller.state.errors.append("; ".join([str(exc), *getattr(exc, "__notes__", [])]))

    def _end_load(self) -> None:
        if not self.controller.state.stopped:
            self.controller.stop()

    def stop(self) -> None:
        """Ends the load with its grace; a second time: at once."""
        self._stop(None)

    def _stop(self, signal_name: str | None) -> None:
        self.controller.stop(signal_name)
        self._reporter.abort_wait(signal_name)

    def command(self, name: str) -> None:
        """ "pause" or "resume"."""
        self.controller.command(name)

    @property
    def elapsed_s(self) -> float | None:
        """Seconds since t = 0, None before it."""
        start_s, now_s = self.controller.start_wall_s, wall_s()
        return None if start_s is None or now_s < start_s else now_s - start_s

    def processes(self) -> list[Process]:
        """Return those of this process alone: nodes have their own."""
        return self._reporter.processes()

    def _conclude(self, began: float) -> Outcome:
        state, results = self.controller.state, dict(self.controller.results)
        if state.problems:
            raise BadInput(state.problems)
        unheard = state.lost if self.failure is None else range(1, self.settings.nodes + 1)
        for node in unheard:
            if state.released and node not in results:
                last = self.states.get(node)
                results[node] = result_of_lost(node, last, self._plan, began, self.controller.last_words.get(node))
        for result in results.values():  # it was stopped for a cause that is told: no error of its own
            result.errors = [text for text in result.errors if text != STOPPED_EARLY]
        clocks = self.controller.clocks.known()
        self.settings.warnings += [*state.warnings, *clock_warnings(clocks)]
        before = self._judged_before()
        found = Findings(
            [*state.errors, *before.get("error", [])], [*state.invalid, *before.get("invalid", [])], state.interrupted,
            state.stopped, clocks, before.get("failed", []), bool(state.lost or self._adopted or self.controller.has_gaps),
        )  # fmt: skip
        return self._reporter.conclude([results[node] for node in sorted(results)], found)

    def _judged_before(self) -> Mapping[str, Sequence[str]]:
        """The reasons of a verdict that is recorded already, which alert rules that are quiet by now cannot take back."""
        verdict = {} if self._adopted is None else self._adopted.verdict
        return {verdict["verdict"]: verdict["reasons"]} if verdict else {}

    # -- told by the controller

    def line(self, node: int, text: str) -> None:
        """What the cluster says of the run, and a node's log as it came where that is kept beside what is made of it."""
        if (self._keep_logs or not node) and self._reporter.bundle is not None:
            self._reporter.bundle.append_line(f"nodes/{node}/pod.log" if node else "events.log", text)

    def planned(self, plan: Plan, warnings: Sequence[str]) -> None:
        """The first node's plan is everybody's. Raises BadInput for alerts that cannot be checked from here."""
        if not self._plan.is_known:
            self._reporter.begin(plan, warnings)
            self._plan = plan

    def state(self, node: int, data: Mapping[str, Any]) -> None:
        """Kept until the next turn."""
        self.states[node] = Snapshot.from_data(data)

    def windows(self, node: int, data: Mapping[str, list[dict[str, Any]]]) -> None:
        """A line a Generator and second, once all nodes that run have reported it."""
        closed = {name: [Second.from_data(second) for second in seconds] for name, seconds in data.items()}
        ended = {*self.controller.results, *self.controller.state.lost}
        awaited = [other for other in range(1, self.settings.nodes + 1) if other not in ended]
        self._reporter.windows_of(node, closed, awaited)

    def note(self, node: int, text: str) -> None:
        """With its node in front."""
        self._reporter.note(f"node {node}: {text}" if node else text)

    def output(self, node: int, line: str) -> None:
        """With its node in front."""
        self._reporter.output(f"{node}/{line}")

    def phase(self, state: Lifecycle) -> None:
        """The nodes' counts as one, and what is waited for."""
        now = now_ns()
        if state.phase is Phase.DEPLOYING and now >= self._say_at_ns:
            self._say_at_ns = now + SAY_EVERY_NS
            self._say_missing(state.barrier.missing())
        if self._plan.is_known and self.states and now >= self._show_at_ns:
            self._reporter.update(merged(self._plan, state.phase, self.states.values()))
            self._show_at_ns = now + SHOW_SHARE * (now_ns() - now)

    def _say_missing(self, missing: Sequence[str]) -> None:
        """When it takes long, and then not ever again."""
        rest = f"; and {len(missing) - 5} more" if len(missing) > 5 else ""
        self._reporter.note(
            f"waiting for {len(missing)} of {self.settings.nodes} nodes: {'; '.join(missing[:5])}{rest}"
        )


def _interrupt(signal_name: str) -> None:
    raise KeyboardInterrupt(signal_name)


def local_execution(settings: Settings, view: Listener) -> ClusterExecution:
    """Nodes as processes of this machine."""
    return ClusterExecution(settings, view, _local_nodes)


def _local_nodes(settings: Settings, reporter: Reporter) -> Backend:
    return LocalNodes(node_orders(settings, None if reporter.bundle is None else reporter.bundle.path / "nodes"))


def node_orders(settings: Settings, folder: Path | None) -> list[dict[str, Any]]:
    """What each node is told first. `folder`: where each writes what it keeps of its own."""
    return [
        {
            "source": dict(settings.source), "run_id": settings.run_id, "seed": settings.seed, "node": node,
            "nodes": settings.nodes, "load": settings.load, "thresholds": settings.thresholds, "only": settings.only,
            "bundle_dir": None if folder is None else str(folder / str(node + 1)), "user_dir": settings.user_dir,
        }
        for node in range(settings.nodes)
    ]  # fmt: skip
