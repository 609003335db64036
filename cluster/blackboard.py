"""The objects of one run in the cluster: made root first, written by its controller, deleted root first.

Nodes watch the ConfigMap, so writing there is one request, however many nodes there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wasp_ray.clock import now_ns, sleep_s
from wasp_ray.cluster.cluster_events import event_line, is_about, refusal
from wasp_ray.cluster.kube import LOGIN_RETRY_S, Kube, KubeError
from wasp_ray.cluster.lease import RunLease
from wasp_ray.cluster.naming import object_name
from wasp_ray.errors import NodeFailed

LEAD_S = 5.0
START_RETRY_S = 40.0
PAUSE_S = 0.1
Obj = dict[str, Any]


class Blackboard:
    """`objects` gives the Job first, then what belongs to it. Every method may be called again; those that make and write
    raise KubeError.

    `adopted`: they are there already. `roots`: kind, name and uid of the Jobs that are there.
    """

    def __init__(self, kube: Kube, objects: Callable[[], Sequence[Obj]], run: str, *, adopted: bool) -> None:
        self._kube, self._objects, self.run, self._adopted = kube, objects, run, adopted
        self.name = object_name(run)
        self.roots: list[tuple[str, str, str]] = []

    def make(self, lease: RunLease) -> None:
        """Root first, suspended; then what it owns; then it may go. Raises NodeFailed when another one controls it."""
        jobs = [obj for obj in self._objects() if obj["kind"] == "Job"]
        for job in jobs:
            made = job if self._adopted else self._kube.create(job)
            self.roots.append(("Job", made["metadata"]["name"], made["metadata"]["uid"]))
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": self.roots[0][1], "uid": self.roots[0][2]}
        for obj in [] if self._adopted else self._objects():
            if obj["kind"] != "Job":
                self._kube.create({**obj, "metadata": {**obj["metadata"], "ownerReferences": [owner]}})
        if not lease.acquire(owner):
            raise NodeFailed(f"run {self.name} has another controller: `wasp cluster attach` waits for its turn")
        for kind, name, _ in self.roots:
            self._kube.patch(kind, name, {"spec": {"suspend": False}})

    def write(self, data: Mapping[str, str], *, once: bool = False) -> None:
        """What nodes and other controllers are to know. `once`: not repeated, whatever the trouble."""
        self._kube.patch("ConfigMap", self.name, {"data": dict(data)}, once=once)

    def fix_start(self, record: Mapping[str, str] = {}) -> float:
        """The common start as it is written, by the API server's clock; written, with the `record`, if nobody did.

        A write whose answer was lost may have been heard, and nodes obey the first word: so the present state is read
        before each try, and a write that comes late is of a later start.
        """
        began = now_ns()
        while True:
            known = self._kube.get("ConfigMap", self.name) or {}
            written = (known.get("data") or {}).get("start_at")
            if written:
                return float(written)
            start_s = self._kube.server_wall_s() + LEAD_S
            data = {**record, "start_at": f"{start_s:.3f}", "lead_s": f"{LEAD_S:g}", "phase": "running"}
            meta = {"resourceVersion": known["metadata"]["resourceVersion"]} if known else {}
            try:
                self._kube.patch("ConfigMap", self.name, {"metadata": meta, "data": data}, once=True)
                return start_s
            except KubeError as exc:
                retries = exc.passes or exc.status == 409
                patience_s = LOGIN_RETRY_S if exc.is_locked_out else START_RETRY_S if retries else 0.0
                if now_ns() > began + patience_s * 1e9:
                    raise
            sleep_s(PAUSE_S)

    def refusals(self) -> list[str]:
        """Why the Jobs could not make pods: quotas and admission tell it in events only. Never raises, asks once."""
        found = []
        for kind, name, uid in self.roots:
            fields = f"involvedObject.kind={kind},involvedObject.name={name},involvedObject.uid={uid}"
            try:
                events, _ = self._kube.list("Event", fields=fields, once=True)
            except KubeError:  # asked again at the next look
                continue
            found.append(refusal(events))
        return [why for why in found if why is not None]

    def events(self) -> list[str]:
        """What the cluster said of the run, as lines. Never raises."""
        try:
            events, _ = self._kube.list("Event")
        except KubeError as exc:
            return [f"events could not be listed: {exc}"]
        names = {self.name, *(name for _, name, _ in self.roots)}  # a chart of one's own has names of its own
        return [event_line(event) for event in events if any(is_about(event, name) for name in names)]

    def delete(self) -> str:
        """The root first, by which whoever waits for the lease sees that the run is over; what is left, with its cure.

        What cannot be deleted once is not tried again and again: the rest goes with its root.
        """
        rest = [(obj["kind"], obj["metadata"]["name"], "") for obj in self._objects() if obj["kind"] != "Job"]
        for kind, name, uid in [*self.roots, *(rest if self.roots else []), ("Lease", self.name, "")]:
            try:
                self._kube.delete(kind, name, uid)
            except KubeError as exc:
                return f"{kind} {name} could not be deleted: {exc}; `wasp cluster stop {self.run}` removes the run"
        return ""
