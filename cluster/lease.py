"""One controller at a time: a Lease that lapses 15 s after its holder's last word."""

from __future__ import annotations

import os
import platform
import secrets
import threading
from collections.abc import Callable
from typing import Any

from wasp_ray.clock import now_ns, wall_iso
from wasp_ray.cluster.kube import Kube, KubeError

DURATION_S = 15
RENEW_NS = 5_000_000_000
LOOK_S, RELEASE_S = 0.5, 2.0
Obj = dict[str, Any]


class LeaseLost(Exception):
    """Another controller has taken over: this one must not act any more."""


class RunLease:
    """The lease `wasp-<run>`. A holder that is seen unchanged for 15 s by one's own clock has lapsed."""

    def __init__(self, kube: Kube, name: str, *, now: Callable[[], int] = now_ns) -> None:
        self._kube, self._name, self._now = kube, name, now
        self.identity = f"{platform.node()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._version = ""
        self._renewed_at = 0
        self._seen = ("", 0)  # the lease's version under another holder, and since when it is that
        self.held = self.lost = False
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self, owner: Obj | None = None) -> bool:
        """Takes the lease if it is free or lapsed; False while somebody else holds it. `owner`: removed with it."""
        self._over.clear()
        found = self._kube.get("Lease", self._name)
        if found is None:
            return self._create(owner)
        holder, version = found["spec"].get("holderIdentity") or "", str(found["metadata"]["resourceVersion"])
        if holder and holder != self.identity:
            if self._seen[0] != version:
                self._seen = (version, self._now())
            if self._now() - self._seen[1] < DURATION_S * 1_000_000_000:
                return False
        return self._write(version)

    def keep(self, kube: Kube | None = None) -> None:
        """Renews in time. Raises LeaseLost when somebody else holds it. `kube`: the calling thread's own."""
        if not self.held or self._now() - self._renewed_at < RENEW_NS:
            return
        kube = kube or self._kube
        if not self._write(self._version, kube):
            found = kube.get("Lease", self._name)
            if found is None or found["spec"].get("holderIdentity") != self.identity:
                lost, self.held = self.held, False
                if lost:  # else it was let go meanwhile
                    raise LeaseLost
                return
            self._version = found["metadata"]["resourceVersion"]

    def keep_on(self, kube: Kube) -> None:
        """Renews from a thread of its own until `let_go`: no trouble on the way to the API server holds up the caller.
        `lost` is set when somebody else holds it.
        """
        self._thread = threading.Thread(target=self._renew, args=(kube,), name="wasp-lease", daemon=True)
        self._thread.start()

    def _renew(self, kube: Kube) -> None:
        while not self._over.wait(LOOK_S):
            try:
                self.keep(kube)
            except LeaseLost:
                self.lost = True
                return
            except KubeError:  # tried again at the next turn
                pass

    def let_go(self) -> None:
        """Renews no more; the lease lapses by itself."""
        self.held = False
        self._over.set()

    def release(self) -> None:
        """Lets the next one have it at once."""
        if self.held:
            self.let_go()
            if self._thread is not None:
                self._thread.join(RELEASE_S)
            try:
                change = {"metadata": {"resourceVersion": self._version}, "spec": {"holderIdentity": None}}
                self._kube.patch("Lease", self._name, change)
            except KubeError:  # it lapses by itself
                pass

    def _spec(self) -> Obj:
        micro = wall_iso().replace("Z", "000Z")
        return {"holderIdentity": self.identity, "leaseDurationSeconds": DURATION_S, "renewTime": micro}

    def _create(self, owner: Obj | None) -> bool:
        meta: Obj = {"name": self._name, **({"ownerReferences": [owner]} if owner else {})}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": self._spec()}
        made = self._kube.create(lease)
        return self._take(made) if made["spec"].get("holderIdentity") == self.identity else False

    def _write(self, version: str, kube: Kube | None = None) -> bool:
        change = {"metadata": {"resourceVersion": version}, "spec": self._spec()}
        try:
            return self._take((kube or self._kube).patch("Lease", self._name, change))
        except KubeError as exc:
            if exc.status in (404, 409):
                return False
            raise

    def _take(self, lease: Obj) -> bool:
        self._version, self._renewed_at = lease["metadata"]["resourceVersion"], self._now()
        self.held = not self._over.is_set()
        return True
