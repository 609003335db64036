"""Nodes as pods of one Indexed Job: deploys, hears, releases, tells and removes them. See Backend.

It turns what two threads see and hear into events; which objects there are is the Blackboard's.
"""

from __future__ import annotations

import json
import queue
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wasp_ray.clock import now_ns, wall_s
from wasp_ray.cluster.backend import Happening, LastWord, Line, Note
from wasp_ray.cluster.blackboard import LEAD_S, Blackboard
from wasp_ray.cluster.credentials import Credentials
from wasp_ray.cluster.kube import Kube, KubeError
from wasp_ray.cluster.last_word import read_word
from wasp_ray.cluster.lease import RunLease
from wasp_ray.cluster.lifecycle import Broken, Cleaned, Collected, Ended, Phase, Seen, Trouble
from wasp_ray.cluster.logs import LogFollower
from wasp_ray.cluster.pods import PATIENCE_S, PodState, read_pod
from wasp_ray.cluster.record import VERDICT, texts_of
from wasp_ray.cluster.watcher import PodWatcher
from wasp_ray.errors import BadInput, NodeFailed
from wasp_ray.node.orders import STOP_GENERATOR

CLEAN_S = 50.0
SIDECARS_S = 8.0
"""So long pods are waited for whose nodes have ended."""
LAST_LINES_S = 15.0
LOOK_EVERY_NS = 5_000_000_000
RETRY_S = 40.0
"""A run outlives an API server that is away for a moment: its nodes do not need it."""
Obj = dict[str, Any]


class KubeNodes:
    """`objects` gives the Job first, then what belongs to it, from manifests or a chart; `sync`: the label of its pods.

    `adopted`: they are there already, made by a controller that is no more. `keep`: nothing is removed at the end.
    """

    lead_s = LEAD_S

    def __init__(
        self, credentials: Credentials, namespace: str, objects: Callable[[], Sequence[Obj]], run: str, sync: str, *,
        keep: bool = False, adopted: bool = False,
    ) -> None:  # fmt: skip
        self._credentials, self._namespace, self._keep = credentials, namespace, keep
        self._selector = f"sync={sync}"
        self._agent = f"wasp-ray/{run}"
        self.kube = Kube(credentials, namespace, self._agent, retry_s=RETRY_S)
        self._board = Blackboard(self.kube, objects, run, adopted=adopted)
        self._queue: queue.SimpleQueue[Happening | tuple[Obj, bool]] = queue.SimpleQueue()
        self._pods: dict[str, PodState] = {}
        self._waiting_since: dict[str, int] = {}
        self._ended: set[str] = set()
        self._watcher: PodWatcher | None = None
        self._logs: LogFollower | None = None
        self._look_at = 0
        self._said: set[str] = set()  # uids whose log was read to its end
        self._collect_until: int | None = None
        self._cleaning_since: int | None = None
        self._start_s: float | None = None
        self._adopted = adopted
        self._stopped: list[str] = []  # Generators
        self._unwritten: dict[str, str] = {}  # of the record
        self._write_at = 0
        self._locked_out: KubeError | None = None
        self._mute: set[int] = set()  # nodes whose log's trouble was told
        self.lease = RunLease(self.kube, self._board.name)
        self._given_up = False

    # -- up

    def deploy(self) -> None:
        """Makes the run's objects, then looks and listens."""
        if self._watcher is not None:
            return
        try:
            self._board.make(self.lease)
        except KubeError as exc:
            left = "" if self._adopted else self._delete()
            raise (BadInput if exc.status in (400, 403, 404, 409, 422) else NodeFailed)(
                f"the run could not be deployed in namespace {self._namespace}: {exc}{left and f'; {left}'}"
            ) from exc
        self._listen()

    def _listen(self) -> None:
        self._logs = LogFollower(
            self._credentials.copy(), self._namespace, self._queue.put, self._agent, self._log_trouble
        )
        self._watcher = PodWatcher(
            self._one_more(), self._selector, lambda pod, gone: self._queue.put((pod, gone)), self._blinded,
            lambda text: self._queue.put(Note(text)),
        )  # fmt: skip
        self._watcher.thread.start()
        self.lease.keep_on(self._one_more())

    def _one_more(self) -> Kube:
        """For one more thread."""
        return Kube(self._credentials.copy(), self._namespace, self._agent)

    def _blinded(self, error: KubeError) -> None:
        """The pods cannot be watched any more; told by the watcher's thread."""
        if error.is_locked_out:
            self._locked_out = error
        else:
            self._queue.put(Broken(f"pods cannot be watched: {error}"))

    def _log_trouble(self, node: int, why: str) -> None:
        """Before the start it is why a node is not heard to be ready; later it is told once."""
        if self._start_s is None:
            self._queue.put(Trouble(node, why))
        elif node not in self._mute:
            self._mute.add(node)
            self._queue.put(Note(f"node {node}: {why}; its result is asked for at its end"))

    # -- events

    def events(self, timeout_s: float) -> Sequence[Happening]:
        """What pods became and what they said. Raises NodeFailed when this controller cannot or may not go on."""
        self._may_go_on()
        self._write_record()
        out: list[Happening] = []
        try:
            found = self._queue.get(timeout=timeout_s)
            while True:
                if isinstance(found, tuple):
                    out += self._pod_changed(read_pod(found[0], gone=found[1]))
                    if found[1]:
                        self._pods.pop(found[0]["metadata"]["uid"], None)
                else:
                    if isinstance(found, Ended):
                        self._said.add(found.uid)
                    out.append(found)
                found = self._queue.get_nowait()
        except queue.Empty:
            pass
        return [*out, *self._passing_time()]

    def _may_go_on(self) -> None:
        """Another one may have taken over; and without credentials nothing can be done, not even an end be made."""
        run = self._board.run
        if self.lease.lost:
            self._given_up = True
            raise NodeFailed(
                f"another controller has taken over run {run}: this one was silent for too long and does no more"
            )
        if self._locked_out is not None and self._cleaning_since is None:
            self._given_up = True
            raise NodeFailed(
                f"the run goes on without a controller, since the cluster does not let this one in any more:"
                f" {self._locked_out}, then `wasp cluster attach {run}` brings the run to its verdict"
            )

    def _pod_changed(self, state: PodState) -> list[Happening]:
        if state.node is None:
            return []
        self._pods[state.uid] = state
        out: list[Happening] = [Seen(state.node, state.uid, f"{state.name}{f' on {state.host}' if state.host else ''}")]
        if state.started and self._logs is not None:
            self._logs.follow(state.node, state.uid, state.name)
        if state.waiting:
            since = self._waiting_since.setdefault(state.uid, now_ns())
            impatient = state.patience and now_ns() - since > PATIENCE_S * 1e9
            out.append(Trouble(state.node, state.waiting, state.fatal or impatient))
        elif not state.patience:
            self._waiting_since.pop(state.uid, None)
        if state.deleted and not state.ended and self._start_s is None:
            out.append(Trouble(state.node, f"its pod {state.name} is being deleted, before the start", True))
        if state.ended and state.uid not in self._ended:
            self._ended.add(state.uid)
            word = read_word(state.message)
            if word is not None:
                out.append(LastWord(state.node, state.uid, word))
            is_bad = state.exit_code not in (None, 0)
            ended = Ended(state.node, state.uid, state.ended, counted=word is not None, bad=is_bad)
            if state.started and self._logs is not None:  # all that it printed comes before the news of its end
                self._logs.finish(state.uid, lambda complete: self._queue.put(ended))
            else:
                out.append(ended)
        return out

    def _all_said(self) -> bool:
        """Every container has ended and its log was read to the end. A run that was taken over may not have been listed yet."""
        is_listed = bool(self._pods) or not self._adopted
        return is_listed and all(s.uid in self._said for s in self._pods.values() if s.started)

    def _passing_time(self) -> list[Happening]:
        """Patience that runs out, pods that cannot be made, the end of cleaning."""
        now = now_ns()
        if self._collect_until is not None and (self._all_said() or now > self._collect_until):
            self._collect_until = None
            return self._collected()
        if self._cleaning_since is not None:
            return self._cleaned(now)
        if now < self._look_at or self._board.roots == [] or self._start_s is not None:
            return []
        self._look_at = now + LOOK_EVERY_NS
        out: list[Happening] = [
            Trouble(s.node, s.waiting, True)
            for s in self._pods.values()
            if s.node is not None and s.patience and now - self._waiting_since.get(s.uid, now) > PATIENCE_S * 1e9
        ]
        return [*out, *self._refused_pods()]

    def _refused_pods(self) -> list[Happening]:
        """Why the Job makes no pods; of the first node that has none."""
        seen = {s.node for s in self._pods.values()}
        without = next(n for n in range(1, len(seen) + 2) if n not in seen)
        return [Trouble(without, why) for why in self._board.refusals()]

    # -- the record

    def record(self, record: Mapping[str, Any]) -> None:
        """See Keeper."""
        self._unwritten |= texts_of(record)

    def _write_record(self) -> None:
        """What no order took along. Asked once and again later: it must not hold up who waits for events."""
        may_write = bool(self._board.roots) and self._cleaning_since is None and now_ns() >= self._write_at
        if not self._unwritten or not may_write:
            return
        try:
            self._board.write(self._unwritten, once=True)
            self._unwritten = {}
        except KubeError:
            self._write_at = now_ns() + LOOK_EVERY_NS

    def conclude(self, verdict: str, reasons: Sequence[str]) -> None:
        """See Keeper."""
        if self._keep and self._board.roots:
            self.record({VERDICT: {"verdict": verdict, "reasons": list(reasons)}})
            try:
                self._board.write({**self._unwritten, "phase": Phase.DONE.value})
            except KubeError:  # the logs are there: `attach` judges the run again
                pass

    def leave(self) -> str:
        """See Keeper."""
        self._write_at = 0
        self._write_record()
        self.lease.release()
        self.close()
        run = self._board.run
        return (
            f"run {run} and its logs stay in the cluster: get its verdict with `wasp cluster attach {run}`, read its logs with"
            f" `wasp cluster logs {run} --all`, or remove it with `wasp cluster stop {run}`"
        )

    # -- orders

    def release(self) -> float:
        """By the API server's clock, once: a second controller finds what the first one wrote."""
        if self._start_s is None:
            try:
                self._start_s = self._board.fix_start(self._unwritten)
                self._unwritten = {}
            except KubeError as exc:
                self._start_s = wall_s()
                self._queue.put(Broken(f"the common start could not be told to the nodes: {exc}"))
        return self._start_s

    def tell(self, order: str) -> None:
        """A word in the ConfigMap; there is no pause in a cluster."""
        if order.startswith(STOP_GENERATOR):
            self._stopped.append(order.removeprefix(STOP_GENERATOR))
            change = {"stopped": json.dumps(self._stopped)}
        else:
            change = {"abort": order, "phase": "stopping"}
        if order.startswith("stop") and self._board.roots:
            try:
                self._board.write({**self._unwritten, **change})
                self._unwritten = {}
            except KubeError as exc:
                if exc.is_locked_out:
                    self._locked_out = exc
                elif exc.status != 404:
                    self._queue.put(Broken(f"the nodes could not be told to stop: {exc}"))

    # -- down

    def collect(self) -> None:
        """What pods said comes by itself: it is waited for, so that no last line is deleted with its pod."""
        self._collect_until = now_ns() + int(LAST_LINES_S * 1e9)

    def _collected(self) -> list[Happening]:
        """What the cluster said of the run is asked for once."""
        return [*(Line(0, "", text) for text in self._board.events()), Collected()]

    def clean(self) -> None:
        """Deletes the root and what it owns; Cleaned comes when its pods are gone."""
        if self._given_up:
            self.close()
            return
        if self._keep:
            self.lease.release()
            self.close()
            self._queue.put(Cleaned())
        else:
            left = self._delete()
            if left:
                self._queue.put(Broken(left))
                self._pods.clear()  # they stay: nothing to wait for
            self._cleaning_since = now_ns()

    def _cleaned(self, now: int) -> list[Happening]:
        """Cleaned when the pods are gone, by the watch or by a list: a lost event must not cost the whole patience. What a
        pod has beside its node, as a sidecar that takes its time, is not waited for.
        """
        assert self._cleaning_since is not None
        if self._pods and now > self._look_at:
            self._look_at = now + LOOK_EVERY_NS
            try:
                if not self.kube.has_any("Pod", self._selector):
                    self._pods.clear()
            except KubeError:  # asked again at the next look
                pass
        nodes_ended = all(s.ended and s.deleted for s in self._pods.values())
        if self._pods and now < self._cleaning_since + (SIDECARS_S if nodes_ended else CLEAN_S) * 1e9:
            return []
        self._cleaning_since = None
        self.close()
        left = ", ".join(s.name for s in self._pods.values())
        return [*([Note(f"the cluster is still removing these pods: {left[:300]}")] if left else []), Cleaned()]

    def close(self) -> None:
        """Ends the threads."""
        self.lease.let_go()
        if self._watcher is not None:
            self._watcher.close()
        if self._logs is not None:
            self._logs.close()
            self._logs = None  # pods may still change after it

    def _delete(self) -> str:
        """What is left, with its cure."""
        self.lease.let_go()
        return self._board.delete()
