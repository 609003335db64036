"""Nodes as pods of one Indexed Job: deploys, hears, releases, tells and removes them. See Backend.

The run's ConfigMap is what all nodes watch: writing there is one request, however many nodes there are.
"""

from __future__ import annotations

import json
import queue
from collections.abc import Mapping, Sequence
from typing import Any

from wasp_ray.clock import now_ns
from wasp_ray.cluster.backend import Happening, Line
from wasp_ray.cluster.credentials import Credentials
from wasp_ray.cluster.kube import Kube, KubeError
from wasp_ray.cluster.lease import LeaseLost, RunLease
from wasp_ray.cluster.lifecycle import Broken, Cleaned, Collected, Ended, Seen, Trouble
from wasp_ray.cluster.logs import LogFollower
from wasp_ray.cluster.pods import PATIENCE_S, PodState, read_pod
from wasp_ray.cluster.watcher import PodWatcher
from wasp_ray.errors import BadInput, NodeFailed
from wasp_ray.node.run import STOP_GENERATOR

LEAD_S = 5.0
CLEAN_S = 50.0
LAST_LINES_S = 15.0
LOOK_EVERY_NS = 10_000_000_000
Obj = dict[str, Any]


class KubeNodes:
    """`objects`: Job first, then what belongs to it, as manifests or a chart gave them; `sync`: the label of its pods.

    `adopted`: they are there already, made by a controller that is no more. `keep`: nothing is removed at the end.
    """

    def __init__(
        self, credentials: Credentials, namespace: str, objects: Sequence[Obj], run: str, sync: str, *, keep: bool = False,
        adopted: bool = False,
    ) -> None:  # fmt: skip
        self._credentials, self._namespace, self._keep = credentials, namespace, keep
        self._objects, self._selector = objects, f"sync={sync}"
        self._name = f"wasp-{run}"
        self._agent = f"wasp-ray/{run}"
        self.kube = Kube(credentials, namespace, self._agent)
        self._queue: queue.SimpleQueue[Happening | tuple[Obj, bool]] = queue.SimpleQueue()
        self._pods: dict[str, PodState] = {}
        self._waiting_since: dict[str, int] = {}
        self._ended: set[str] = set()
        self._roots: list[tuple[str, str, str]] = []  # kind, name, uid
        self._watcher: PodWatcher | None = None
        self._logs: LogFollower | None = None
        self._look_at = 0
        self._said: set[str] = set()  # uids whose log was read to its end
        self._collect_until: int | None = None
        self._clean_until: int | None = None
        self._start_s: float | None = None
        self._adopted = adopted
        self._stopped: list[str] = []  # Generators
        self.lease = RunLease(self.kube, self._name)
        self._overtaken = False

    # -- up

    def deploy(self) -> None:
        """Root first, suspended; then what it owns; then it may go."""
        if self._watcher is not None:
            return
        try:
            self._create()
        except KubeError as exc:
            if not self._adopted:
                self._delete()
            raise (BadInput if exc.status in (400, 403, 404, 409, 422) else NodeFailed)(
                f"the run could not be deployed in namespace {self._namespace}: {exc}"
            ) from exc
        self._listen()

    def _create(self) -> None:
        jobs = [obj for obj in self._objects if obj["kind"] == "Job"]
        for job in jobs:
            made = job if self._adopted else self.kube.create(job)
            self._roots.append(("Job", made["metadata"]["name"], made["metadata"]["uid"]))
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": self._roots[0][1], "uid": self._roots[0][2]}
        for obj in [] if self._adopted else self._objects:
            if obj["kind"] != "Job":
                self.kube.create({**obj, "metadata": {**obj["metadata"], "ownerReferences": [owner]}})
        if not self.lease.acquire(owner):
            raise NodeFailed(f"run {self._name} has another controller: `wasp cluster attach` waits for its turn")
        for kind, name, _ in self._roots:
            self.kube.patch(kind, name, {"spec": {"suspend": False}})

    def _listen(self) -> None:
        self._logs = LogFollower(self._fresh(), self._namespace, self._queue.put, self._agent)
        self._watcher = PodWatcher(
            Kube(self._fresh(), self._namespace, self._agent), self._selector,
            lambda pod, gone: self._queue.put((pod, gone)), lambda text: self._queue.put(Broken(text)),
        )  # fmt: skip
        self._watcher.thread.start()

    def _fresh(self) -> Credentials:
        """Credentials of one more thread."""
        return self._credentials.copy()

    # -- events

    def events(self, timeout_s: float) -> Sequence[Happening]:
        """What pods became and what they said. Raises NodeFailed when another controller has taken over."""
        try:
            self.lease.keep()
        except LeaseLost:
            self._overtaken = True
            raise NodeFailed(
                f"another controller has taken over run {self._name}: this one was silent for too long and does no more"
            ) from None
        except KubeError:  # tried again at the next turn
            pass
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
        if state.ended and state.uid not in self._ended:
            self._ended.add(state.uid)
            ended = Ended(state.node, state.uid, state.ended)
            if state.started and self._logs is not None:  # all that it printed comes before the news of its end
                self._logs.finish(state.uid, lambda complete: self._queue.put(ended))
            else:
                out.append(ended)
        return out

    def _all_said(self) -> bool:
        """Every container has ended and its log was read to the end."""
        return all(s.uid in self._said for s in self._pods.values() if s.started)

    def _passing_time(self) -> list[Happening]:
        """Patience that runs out, pods that cannot be made, the end of cleaning."""
        now = now_ns()
        if self._collect_until is not None and (self._all_said() or now > self._collect_until):
            self._collect_until = None
            return self._collected()
        if self._clean_until is not None and (not self._pods or now > self._clean_until):
            self._clean_until = None
            self.close()
            return [Cleaned()]
        if now < self._look_at or self._roots == [] or self._start_s is not None:
            return []
        self._look_at = now + LOOK_EVERY_NS
        out: list[Happening] = [
            Trouble(s.node, s.waiting, True)
            for s in self._pods.values()
            if s.node is not None and s.patience and now - self._waiting_since.get(s.uid, now) > PATIENCE_S * 1e9
        ]
        return [*out, *self._refused_pods()]

    def _refused_pods(self) -> list[Happening]:
        """Why the Job makes no pods: quotas and admission tell it in events only."""
        seen = {s.node for s in self._pods.values()}
        out: list[Happening] = []
        for kind, name, _ in self._roots:
            try:
                events, _ = self.kube.list("Event", fields=f"involvedObject.kind={kind},involvedObject.name={name}")
            except KubeError:
                continue
            failed = [e for e in events if e.get("reason") == "FailedCreate"]
            if failed:
                node = next(n for n in range(1, len(seen) + 2) if n not in seen)
                out.append(Trouble(node, str(failed[-1].get("message", "FailedCreate"))[:500]))
        return out

    # -- orders

    def release(self) -> float:
        """By the API server's clock, once: a second controller finds what the first one wrote."""
        if self._start_s is None:
            start_s = self.kube.server_wall_s() + LEAD_S
            known = self.kube.get("ConfigMap", self._name) or {}
            written = (known.get("data") or {}).get("start_at")
            if written:
                start_s = float(written)
            else:
                self._write({"start_at": f"{start_s:.3f}", "lead_s": f"{LEAD_S:g}", "phase": "running"})
            self._start_s = start_s
        return self._start_s

    def tell(self, order: str) -> None:
        """A word in the ConfigMap; there is no pause in a cluster."""
        if order.startswith(STOP_GENERATOR):
            self._stopped.append(order.removeprefix(STOP_GENERATOR))
            change = {"stopped": json.dumps(self._stopped)}
        else:
            change = {"abort": order, "phase": "stopping"}
        if order.startswith("stop") and self._roots:
            try:
                self._write(change)
            except KubeError as exc:
                if exc.status != 404:
                    self._queue.put(Broken(f"the nodes could not be told to stop: {exc}"))

    def _write(self, data: Mapping[str, str]) -> None:
        self.kube.patch("ConfigMap", self._name, {"data": dict(data)})

    # -- down

    def collect(self) -> None:
        """What pods said comes by itself: it is waited for, so that no last line is deleted with its pod."""
        self._collect_until = now_ns() + int(LAST_LINES_S * 1e9)

    def _collected(self) -> list[Happening]:
        """What the cluster said of the run is asked for once."""
        out: list[Happening] = []
        try:
            events, _ = self.kube.list("Event")
        except KubeError as exc:
            out.append(Line(0, "", f"events could not be listed: {exc}"))
            events = []
        for event in events:
            if str(event["involvedObject"].get("name", "")).startswith(self._name):
                out.append(Line(0, "", event_line(event)))
        return [*out, Collected()]

    def clean(self) -> None:
        """Deletes the root and what it owns; Cleaned comes when its pods are gone."""
        if self._overtaken:
            self.close()
            return
        if self._keep:
            self.lease.release()
            self.close()
            self._queue.put(Cleaned())
        else:
            self._delete()
            self._clean_until = now_ns() + int(CLEAN_S * 1e9)

    def close(self) -> None:
        """Ends the threads."""
        if self._watcher is not None:
            self._watcher.close()
        if self._logs is not None:
            self._logs.close()

    def _delete(self) -> None:
        """The root first, by which whoever waits for the lease sees that the run is over."""
        self.lease.held = False
        for kind, name, uid in self._roots:
            self._try_delete(kind, name, uid)
        for obj in self._objects:
            if obj["kind"] != "Job" and self._roots:
                self._try_delete(obj["kind"], obj["metadata"]["name"], "")
        self._try_delete("Lease", self._name, "")

    def _try_delete(self, kind: str, name: str, uid: str) -> None:
        try:
            self.kube.delete(kind, name, uid)
        except KubeError as exc:
            self._queue.put(Broken(f"{kind} {name} could not be deleted: {exc}"))


def event_line(event: Mapping[str, Any]) -> str:
    """One event of the cluster as a line of a log."""
    about = event["involvedObject"]
    at = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp", "")
    times = f" (x{event['count']})" if (event.get("count") or 1) > 1 else ""
    what = f"{about.get('kind')} {about.get('name')} {event.get('reason')}: {event.get('message')}"
    return f"{at} {event.get('type', '')} {what}{times}"
