"""A node in a pod: reads its order from the run's ConfigMap, waits there for the common start, obeys what it says.

`wasp run FILE` and `Profile.run()` come here when WASP_SYNC is set. stdout is the protocol's; the exit code is 0 whenever
a result was told, 2 when the input was refused, 4 when there is no result.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from wasp_ray.clock import wall_s
from wasp_ray.cluster.agent import Agent, take_stdout
from wasp_ray.cluster.last_word import MAX_WORD_CHARS, word_text
from wasp_ray.cluster.pod_api import PodApi
from wasp_ray.cluster.reaper import reap_as_init
from wasp_ray.errors import BadInput, NodeFailed
from wasp_ray.execution import Listener, Outcome, Reporter, Settings, signals_to
from wasp_ray.node.options import NodeOptions
from wasp_ray.node.orders import STOP_GENERATOR

READY_FILE = Path("/tmp/wasp/ready")  # noqa: S108 - the startup probe of the pod looks for this very file
TERMINATION_LOG = Path("/dev/termination-log")
CLOCK_OFF_S = 1.5
"""Of the pod's clock from the API server's, whose Date is cut to the second."""
ORDER_TIMEOUT_S = 60.0
WINDOWS_BYTES_PER_S, ALL_WINDOWS_BYTES_PER_S = 16_000, 2_000_000
"""Of the seconds in the log of a pod, and of all pods together: kubelets and the API server carry them."""
_passed = threading.Lock()


def pod_execution(settings: Settings, view: Listener) -> PodExecution:
    """The node that this pod is. Raises BadInput for a second Profile of the same process."""
    if not _passed.acquire(blocking=False):
        raise BadInput(
            "a second Profile of this process was started in a pod of a run: the run's start is passed once;"
            " put all Generators into one Profile, or run the Profiles as runs of their own"
        )
    return PodExecution(settings)


class PodExecution:
    """See wasp_ray.execution.places.Running."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._agent: Agent | None = None
        self._order: dict[str, Any] | None = None
        self._heard = threading.Condition()
        self._trouble: Exception | None = None
        self._over = False
        self._told_start = False
        self._obeyed: set[str] = set()
        self._said: Mapping[str, str] = {}
        self._stops = 0

    def run(self) -> Outcome:
        """This node's own outcome; the run's is the controller's to tell. Raises BadInput, which is told as well."""
        write_line = take_stdout()
        namespace = _need("WASP_NAMESPACE")
        self._api = PodApi(namespace)
        threading.Thread(target=self._listen, name="wasp-orders", daemon=True).start()
        with signals_to(self._signalled):
            options = self._options(self._wait_for_order())
            uid = os.environ.get("WASP_POD_UID") or str(os.getpid())
            budget = min(WINDOWS_BYTES_PER_S, ALL_WINDOWS_BYTES_PER_S // options.nodes)
            agent = self._agent = Agent(options, uid, write_line, _touch_ready, budget)
            self._obey(self._said)  # what was said while there was nobody to hear it
            if self._stops:
                agent.stop()
            ended = threading.Event()
            reap_as_init(lambda: _engines(agent), ended)
            try:
                result = agent.run()
            finally:
                self._over = True
                ended.set()
        if result is None:
            raise BadInput("this node refused its input, as told above")
        _leave(word_text(result.totals, result.errors))
        return Reporter(self._settings, Listener()).conclude([result])

    def stop(self) -> None:
        """Ends this node's load."""
        self._signalled("stop")

    def command(self, name: str) -> None:
        """A node of a cluster does what its controller says."""

    def _signalled(self, name: str) -> None:
        self._stops += 1
        if self._agent is not None:
            self._agent.node.stop(name if name.startswith("SIG") else None)
        else:
            with self._heard:
                self._heard.notify_all()

    # -- orders

    def _listen(self) -> None:
        """The thread that reads the ConfigMap."""
        try:
            for data in self._api.follow(f"wasp-{_need('WASP_RUN')}", lambda: self._over):
                self._obey(data)
        except (NodeFailed, BadInput) as exc:
            self._trouble = exc
        with self._heard:
            self._heard.notify_all()

    def _obey(self, data: Mapping[str, str]) -> None:
        self._said = data
        if self._order is None:
            with self._heard:
                self._order = json.loads(data.get("order") or "{}")
                self._heard.notify_all()
        agent = self._agent
        if agent is None:
            return
        for name in json.loads(data.get("stopped") or "[]"):
            self._once(f"{STOP_GENERATOR}{name}", agent.command)
        if data.get("abort"):
            self._once(data["abort"], lambda order: agent.stop(at_once=order == "stop at once"))
        if data.get("start_at") and not self._told_start:
            self._told_start = True
            self._start(agent, float(data["start_at"]), float(data.get("lead_s") or 0))

    def _once(self, order: str, obey: Callable[[str], None]) -> None:
        """The present state is told again at each connection: a second stop would mean at once."""
        if order not in self._obeyed:
            self._obeyed.add(order)
            obey(order)

    def _start(self, agent: Agent, start_at_s: float, lead_s: float) -> None:
        """By the common clock; by the time of receipt where this machine's clock is off."""
        offset_s = self._api.clock_offset_s or 0.0
        if abs(offset_s) > CLOCK_OFF_S:
            start_at_s = wall_s() + lead_s
            agent.note(
                f"this node's clock is {offset_s:+.1f} s off the API server's: it starts {lead_s:g} s after it was told"
            )
        agent.open_at(start_at_s)

    def _wait_for_order(self) -> dict[str, Any]:
        with self._heard:
            self._heard.wait_for(lambda: self._order or self._trouble or self._stops, ORDER_TIMEOUT_S)
        if self._trouble is not None:
            raise self._trouble
        if self._order is None and self._stops:
            raise NodeFailed("this node was ended before it had heard what to do")
        if self._order is None:
            raise NodeFailed(f"the run's ConfigMap wasp-{_need('WASP_RUN')} did not come within {ORDER_TIMEOUT_S:g} s")
        return self._order

    def _options(self, order: Mapping[str, Any]) -> NodeOptions:
        settings = self._settings
        source = dict(settings.source)
        if order.get("params"):
            source["params"] = dict(order["params"])
        run = _need("WASP_RUN")
        # a chart that is installed alone draws no seed; all nodes must have the same
        seed = order.get("seed", int.from_bytes(hashlib.sha256(run.encode()).digest()[:4], "big"))
        settings.run_id, settings.seed = run, seed
        return NodeOptions(
            source=source, run_id=settings.run_id, seed=seed, node=int(_need("WASP_NODE_ID")) - 1,
            nodes=int(_need("WASP_JOBS")), load=order.get("load") or "total", thresholds=list(order.get("thresholds") or []),
            only=order.get("only"), user_dir=settings.user_dir,
        )  # fmt: skip


def _engines(agent: Agent) -> set[int]:
    """Pids that the node itself waits for."""
    engines = agent.node.engines
    return {engine.pid for engine in (engines.zygote, engines.aggregator) if engine is not None}


def set_node_id() -> None:
    """WASP_NODE_ID (1 .. jobs) from the completion index, where the pod was not given it."""
    index = os.environ.get("WASP_NODE_INDEX", "")
    if "WASP_NODE_ID" not in os.environ and index.isdigit():
        os.environ["WASP_NODE_ID"] = str(int(index) + 1)


def _need(name: str) -> str:
    set_node_id()
    value = os.environ.get(name)
    if not value:
        raise BadInput(
            f"WASP_SYNC is set but {name} is not: a pod of a run has both; unset WASP_SYNC to run here alone"
        )
    return value


def _touch_ready() -> None:
    """What the startup probe looks for."""
    try:
        READY_FILE.parent.mkdir(parents=True, exist_ok=True)
        READY_FILE.touch()
    except OSError as exc:
        raise NodeFailed(
            f"{READY_FILE} cannot be written ({exc.strerror or exc}): the pod needs a writable /tmp (an emptyDir)"
        ) from exc


def _leave(text: str) -> None:
    """Where it is found even when the log is not: the container's termination message."""
    with suppress(OSError):
        TERMINATION_LOG.write_text(text)


def fail(text: str) -> int:
    """No result: says why where a controller and a person look."""
    sys.stderr.write(f"wasp: {text}\n")
    _leave(text[:MAX_WORD_CHARS])
    return 4
