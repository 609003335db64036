"""Keeps an eye on the pods of a run in a thread of its own: the list is the truth, the watch a hint.

A list never goes back in time; a watch that was cut goes on where it ended, one that is too old (410) begins with a list.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from wasp_ray.clock import now_ns
from wasp_ray.cluster.kube import Gone, Kube, KubeError

RELIST_NS = 60_000_000_000
RETRY_MIN_S, RETRY_MAX_S = 0.2, 5.0
Obj = dict[str, Any]


class PodWatcher:
    """Says `changed(pod, gone)` for every pod that is new or other than before, and `trouble(text)` when it is blind."""

    def __init__(
        self, kube: Kube, selector: str, changed: Callable[[Obj, bool], None], trouble: Callable[[str], None]
    ) -> None:
        self._kube, self._selector, self._changed, self._trouble = kube, selector, changed, trouble
        self._known: dict[str, Obj] = {}  # uid -> pod
        self._version = ""
        self._listed_at = 0
        self._stop = threading.Event()
        self.thread = threading.Thread(target=self._live, name="wasp-pods", daemon=True)

    def close(self) -> None:
        """Ends soon; the thread is a daemon, since a watch may wait for its next event."""
        self._stop.set()

    def _live(self) -> None:
        pause_s = RETRY_MIN_S
        while not self._stop.is_set():
            try:
                if not self._version or now_ns() - self._listed_at > RELIST_NS:
                    self._list()
                self._watch()
                pause_s = RETRY_MIN_S
            except Gone:
                self._version = ""
            except KubeError as exc:
                if not exc.passes:
                    self._trouble(f"pods cannot be watched: {exc}")
                    return
                self._stop.wait(pause_s)
                pause_s = min(2 * pause_s, RETRY_MAX_S)

    def _list(self) -> None:
        try:
            pods, version = self._kube.list("Pod", self._selector, self._version)
        except Gone:
            pods, version = self._kube.list("Pod", self._selector)
        self._version, self._listed_at = version, now_ns()
        there = {pod["metadata"]["uid"] for pod in pods}
        for pod in pods:
            self._see(pod)
        for uid in [uid for uid in self._known if uid not in there]:
            self._changed(self._known.pop(uid), True)

    def _watch(self) -> None:
        for kind, pod in self._kube.watch("Pod", self._selector, self._version):
            self._version = pod["metadata"]["resourceVersion"]
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
        if known is not None and _version_of(pod) <= _version_of(known):
            return
        self._known[uid] = pod
        self._changed(pod, False)


def _version_of(pod: Obj) -> int:
    """resourceVersions of one kind grow; what is no number is newer than anything."""
    text = pod["metadata"]["resourceVersion"]
    return int(text) if text.isdigit() else 2**63
