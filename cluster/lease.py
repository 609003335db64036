"""One controller at a time: a Lease that lapses 15 s after its holder's last word."""

from __future__ import annotations

import os
import platform
import secrets
from collections.abc import Callable
from typing import Any

from wasp_ray.clock import now_ns, wall_iso
from wasp_ray.cluster.kube import Kube, KubeError

DURATION_S = 15
RENEW_NS = 5_000_000_000
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
        self._seen = ("", 0)  # the other holder's renewTime, and since when it is that
        self.held = False

    def acquire(self, owner: Obj | None = None) -> bool:
        """Takes the lease if it is free or lapsed; False while somebody else holds it. `owner`: removed with it."""
        found = self._kube.get("Lease", self._name)
        if found is None:
            return self._create(owner)
        holder, renewed = found["spec"].get("holderIdentity") or "", str(found["spec"].get("renewTime") or "")
        if holder and holder != self.identity:
            if self._seen[0] != renewed:
                self._seen = (renewed, self._now())
            if self._now() - self._seen[1] < DURATION_S * 1_000_000_000:
                return False
        return self._write(found["metadata"]["resourceVersion"])

    def keep(self) -> None:
        """Renews in time. Raises LeaseLost when somebody else holds it."""
        if not self.held or self._now() - self._renewed_at < RENEW_NS:
            return
        if not self._write(self._version):
            found = self._kube.get("Lease", self._name)
            if found is None or found["spec"].get("holderIdentity") != self.identity:
                self.held = False
                raise LeaseLost
            self._version = found["metadata"]["resourceVersion"]

    def release(self) -> None:
        """Lets the next one have it at once."""
        if self.held:
            self.held = False
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

    def _write(self, version: str) -> bool:
        change = {"metadata": {"resourceVersion": version}, "spec": self._spec()}
        try:
            return self._take(self._kube.patch("Lease", self._name, change))
        except KubeError as exc:
            if exc.status in (404, 409):
                return False
            raise

    def _take(self, lease: Obj) -> bool:
        self._version, self._renewed_at, self.held = lease["metadata"]["resourceVersion"], self._now(), True
        return True
