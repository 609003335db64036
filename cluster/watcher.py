"""Keeps an eye on the pods of a run in a thread of its own: the list is the truth, the watch a hint.

A list never goes back in time; a watch that was cut goes on where it ended, one that is too old (410) begins with a list.
Trouble that passes is waited out, and told when it takes long: nodes go on meanwhile, so it is no reason to end a run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from wasp_ray.clock import now_ns
from wasp_ray.cluster.kube import Gone, Kube, KubeError
from wasp_ray.cluster.pods import kept

RELIST_NS = 60_000_000_000
RETRY_MIN_S, RETRY_MAX_S = 0.2, 5.0
LOCKED_OUT_NS = 10_000_000_000
"""So long credentials may be refused: somebody may be renewing them."""
BLIND_NS = 30_000_000_000
"""Beyond that a person wants to know."""
Obj = dict[str, Any]


class PodWatcher:
    """Says `changed(pod, gone)` for every pod that is new or other than before. All are called from its thread.

    `trouble(error)`: it has given up, once and last. `note(text)`: it has been blind for 30 s, and that it sees again.
    """

    def __init__(
        self, kube: Kube, selector: str, changed: Callable[[Obj, bool], None], trouble: Callable[[KubeError], None],
        note: Callable[[str], None] = lambda text: None, *, now: Callable[[], int] = now_ns,
    ) -> None:  # fmt: skip
        self._kube, self._selector = kube, selector
        self._changed, self._trouble, self._note, self._now = changed, trouble, note, now
        self._known: dict[str, Obj] = {}  # uid -> pod
        self._version = ""
        self._newest = 0  # of all versions that were ever seen
        self._listed_at = 0
        self._blind_since: int | None = None
        self._told_blind = False
        self._stop = threading.Event()
        self.thread = threading.Thread(target=self._live, name="wasp-pods", daemon=True)

    def close(self) -> None:
        """Ends soon; the thread is a daemon, since a watch may wait for its next event."""
        self._stop.set()

    def _live(self) -> None:
        pause_s = RETRY_MIN_S
        while not self._stop.is_set():
            try:
                if not self._version or self._now() - self._listed_at > RELIST_NS:
                    self._list()
                self._watch()
                self._sees()
                pause_s = RETRY_MIN_S
                continue
            except Gone:
                self._version = ""
            except KubeError as exc:
                if self._gives_up(exc):
                    self._trouble(exc)
                    return
            self._stop.wait(pause_s)
            pause_s = min(2 * pause_s, RETRY_MAX_S)

    def _gives_up(self, exc: KubeError) -> bool:
        """Whether such trouble will not pass; what takes long is told."""
        if self._blind_since is None:
            self._blind_since = self._now()
        blind_ns = self._now() - self._blind_since
        if exc.is_locked_out:
            return blind_ns > LOCKED_OUT_NS
        if blind_ns > BLIND_NS and not self._told_blind:
            self._told_blind = True
            self._note(f"pods have not been seen for {blind_ns / 1e9:.0f} s: {exc}; the nodes go on meanwhile")
        return not exc.passes

    def _sees(self) -> None:
        """An answer of the API server has come."""
        if self._told_blind:
            self._note("pods are seen again")
        self._blind_since, self._told_blind = None, False

    def _list(self) -> None:
        try:
            pods, version = self._kube.list("Pod", self._selector, self._version)
        except Gone:
            pods, version = self._kube.list("Pod", self._selector)
        if _number(version) < self._newest:
            raise KubeError(f"the list of pods is older than what is known ({version} < {self._newest})", 503)
        self._sees()
        self._version, self._listed_at = version, self._now()
        self._newest = _number(version)
        there = {pod["metadata"]["uid"] for pod in pods}
        for pod in pods:
            self._see(pod)
        for uid in [uid for uid in self._known if uid not in there]:
            self._changed(self._known.pop(uid), True)

    def _watch(self) -> None:
        for kind, pod in self._kube.watch("Pod", self._selector, self._version):
            self._sees()
            self._version = pod["metadata"]["resourceVersion"]
            self._newest = max(self._newest, _number(self._version))
            if kind == "DELETED":
                if self._known.pop(pod["metadata"]["uid"], None) is not None:
                    self._changed(pod, True)
            elif kind != "BOOKMARK":
                self._see(pod)
            if self._stop.is_set():
                return

    def _see(self, pod: Obj) -> None:
        """Repeats and states that are older than the known one say nothing."""
        uid = pod["metadata"]["uid"]
        known = self._known.get(uid)
        version = pod["metadata"]["resourceVersion"]
        if known is not None and version.isdigit() and int(version) <= _number(known["metadata"]["resourceVersion"]):
            return
        self._known[uid] = kept(pod)
        self._changed(pod, False)


def _number(version: str) -> int:
    """resourceVersions of one kind grow; one that is not a number cannot be compared and holds nothing up."""
    return int(version) if version.isdigit() else 0
