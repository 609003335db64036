"""Where the contract suite of the life cycle plays its cases, and a run that goes on there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from support.books import closed_books
from support.lifecycle_gate import Gate

RUN = Path(__file__).with_name("lifecycle_run.py")
LOAD = Path(__file__).parents[1] / "e2e/image/lifecycle.py"
WAIT_S = 120.0
TERMS = {"timeout": "10m", "deploy_timeout": "2m", "drain": "60s", "on_lost_node": "stop"}


class Place(Protocol):
    """Where nodes run. `folder`: of one test, with the load file in it unless nodes have that elsewhere. `death`: how a killed
    node's end is told there, a regular expression.
    """

    folder: Path
    death: str

    def order(self) -> Mapping[str, Any]:
        """What lifecycle_run.py is told beyond the run: `place` and what that needs."""

    def environment(self) -> Mapping[str, str]:
        """Of the process that controls the run."""

    def kill(self, run: Going, node: int) -> None:
        """SIGKILL to what the place takes for the node, in the middle of its user's step."""

    def left(self) -> list[str]:
        """What there is still of any run: processes, and what else the place has."""


class Going:
    """Context: a run, from its start to its end and to the look at what it left. `held`: (step, node) that wait for `let`."""

    def __init__(
        self, place: Place, test: str = "load", *, nodes: int = 2, held: Collection[tuple[str, int]] = (),
        params: Mapping[str, object] = {}, **terms: str,
    ) -> None:  # fmt: skip
        self.place, self.nodes, self.gate = place, nodes, Gate(held)
        self._told = place.folder / "told.jsonl"
        order = {
            "test": f"lifecycle.py:{test}", "nodes": nodes, "out": str(place.folder / "out"), "told": str(self._told),
            "params": {name: str(value) for name, value in {"gate": self.gate.port, **params}.items()},
            **TERMS, **terms, **place.order(),
        }  # fmt: skip
        self._order = place.folder / "order.json"
        self._order.write_text(json.dumps(order))

    def __enter__(self) -> Going:
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(RUN), str(self._order)], cwd=self.place.folder, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True, env={**os.environ, **self.place.environment()},
        )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            print(self.process.communicate()[0])
        self.gate.close()
        if kind is None:
            left = self._wait(lambda: self.place.left() or "nothing", lambda found: found == "nothing", 15.0)
            assert left == "nothing", left

    @property
    def now(self) -> dict[str, Any]:
        """The phase of the run and the nodes that are missing, as its controller last told."""
        lines = self._told.read_text().splitlines() if self._told.exists() else []
        return dict(json.loads(lines[-1])) if lines else {"phase": "", "missing": []}

    def until_phase(self, phase: str) -> None:
        """Its controller is there."""
        self._until(lambda: self.now["phase"] == phase, lambda: f"{phase}: the run is {self.now}")

    def until_missing(self, *nodes: int) -> None:
        """These are not ready, and all others are."""

        def are_others_ready() -> bool:
            missing = {int(text.split()[1].rstrip(":")) for text in self.now["missing"]}
            return bool(self.now["phase"]) and missing == set(nodes)

        self._until(are_others_ready, lambda: f"missing are {nodes}: the run is {self.now}")

    def until(self, step: str) -> None:
        """A user of every node asked for it."""
        wanted = set(range(1, self.nodes + 1))
        self._until(
            lambda: {at.node for at in self.gate.asked(step)} == wanted, lambda: f"{step}: {self.gate.asked(step)}"
        )

    def kill(self, node: int) -> None:
        """As by the kernel, or a host that is gone."""
        self.place.kill(self, node)

    def interrupt(self) -> None:
        """Ctrl-C in the terminal of who controls the run."""
        os.killpg(self.process.pid, signal.SIGINT)

    def ends(self, code: int) -> str:
        """With that exit code; what was said."""
        said = self.process.communicate(timeout=WAIT_S)[0]
        assert self.process.returncode == code, f"exit {self.process.returncode}, not {code}:\n{said}"
        return said

    def summary(self) -> dict[str, Any]:
        """Of the bundle; books close on each node and in all."""
        return closed_books(json.loads((self.place.folder / "out/summary.json").read_text()))

    def _until(self, what: Callable[[], bool], told: Callable[[], str]) -> None:
        def look() -> str:
            if what():
                return "true"
            return "ended" if self.process.poll() is not None else "false"

        found = self._wait(look, lambda found: found != "false", WAIT_S)
        if found != "true" and not what():
            said = self.process.communicate()[0] if found == "ended" else ""
            raise AssertionError(f"it did not come to {told()}\n{said}")

    @staticmethod
    def _wait(look: Callable[[], Any], enough: Callable[[Any], bool], deadline_s: float) -> Any:
        give_up = time.monotonic() + deadline_s
        while not enough(found := look()) and time.monotonic() < give_up:
            time.sleep(0.05)
        return found
