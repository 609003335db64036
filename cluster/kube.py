"""The Kubernetes API as a run uses it: few verbs on few kinds, each with a deadline, each safe to repeat.

The only importer of `pykube` (and of `requests`, which it is made of); none of their exceptions leaves this module. One
object for one thread. Objects are plain dicts, as the API writes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import pykube
import requests
import requests.adapters
from pykube.objects import NamespacedAPIObject
from pykube.query import Query

from wasp_ray.clock import now_ns, sleep_s
from wasp_ray.cluster.credentials import Credentials
from wasp_ray.cluster.kube_errors import Gone, KubeError, error_of
from wasp_ray.cluster.pods import kept
from wasp_ray.errors import BadInput, causes

__all__ = ["LOGIN_RETRY_S", "Gone", "Kube", "KubeError"]

TIMEOUT_S = (5.0, 15.0)
RETRY_S = 20.0
LOGIN_RETRY_S = 3.0
"""Credentials that were just renewed and are refused all the same seldom get any better."""
WATCH_S = 10
"""A watch is asked for so long; then it is opened anew where it ended. One that says nothing beyond that is dead."""
WATCH_QUIET_S = 5.0
PAGE = "100"
Obj = dict[str, Any]


class Lease(NamespacedAPIObject):  # type: ignore[misc]  # pykube has no types
    """pykube does not know this kind."""

    version, endpoint, kind = "coordination.k8s.io/v1", "leases", "Lease"


KINDS: Mapping[str, Any] = {
    "Job": pykube.Job,
    "Pod": pykube.Pod,
    "ConfigMap": pykube.ConfigMap,
    "Secret": pykube.Secret,
    "Event": pykube.Event,
    "ServiceAccount": pykube.ServiceAccount,
    "Role": pykube.Role,
    "RoleBinding": pykube.RoleBinding,
    "LimitRange": pykube.objects.LimitRange,
    "ResourceQuota": pykube.objects.ResourceQuota,
    "Lease": Lease,
}


class _Adapter(requests.adapters.HTTPAdapter):
    """Puts credentials on requests, renews them once on 401, remembers the server's clock."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self.server_s: float | None = None
        self.server_at_ns = 0
        super().__init__(pool_connections=2, pool_maxsize=4)

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """One retry with fresh credentials."""
        answer = self._once(request, args, kwargs)
        if answer.status_code == 401:
            answer.close()
            self._credentials.reload()
            answer = self._once(request, args, kwargs)
        date = answer.headers.get("Date")
        if date:
            self.server_s, self.server_at_ns = parsedate_to_datetime(date).timestamp(), now_ns()
        return answer

    def _once(self, request: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        own = self._credentials
        request.headers.update(own.headers())
        kwargs["verify"], kwargs["cert"] = own.verify, own.client_certificate
        if own.proxy:
            kwargs["proxies"] = {"https": own.proxy, "http": own.proxy}
        if own.server_name:
            pool = self.poolmanager.connection_pool_kw
            pool["assert_hostname"] = pool["server_hostname"] = own.server_name
        return super().send(request, *args, **kwargs)


class Kube:
    """One namespace of one cluster. `user_agent` tells an administrator who asks.

    A request whose trouble may pass is repeated for `retry_s`, so a call may block for that and one answer's time.
    """

    def __init__(
        self, credentials: Credentials, namespace: str, user_agent: str = "wasp-ray", *, retry_s: float = RETRY_S
    ) -> None:
        self.namespace, self.credentials = namespace, credentials
        self._retry_s = retry_s
        self._adapter = _Adapter(credentials)
        cluster = {"server": credentials.server}
        config = pykube.KubeConfig({
            "clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}], "current-context": "x",
        })  # fmt: skip
        self._api = pykube.HTTPClient(config, timeout=TIMEOUT_S, http_adapter=self._adapter)
        self._api.session.headers["User-Agent"] = user_agent

    def server_wall_s(self) -> float:
        """The API server's clock now, known to the second."""
        if self._adapter.server_s is None or now_ns() - self._adapter.server_at_ns > 5_000_000_000:
            self.version()
        assert self._adapter.server_s is not None
        return self._adapter.server_s + (now_ns() - self._adapter.server_at_ns) / 1e9

    def version(self) -> tuple[int, int]:
        """Major and minor version of the API server."""
        found = self._ask("get", url="", base="/version", version="").json()
        return int(found["major"]), int("".join(c for c in found["minor"] if c.isdigit()))

    def create(self, obj: Obj, *, dry_run: bool = False) -> Obj:
        """The object as created; as it is already there when it is (creating twice is no error)."""
        try:
            answer = self._on(obj["kind"], "post", data=json.dumps(obj), params={"dryRun": "All"} if dry_run else {})
        except KubeError as exc:
            if exc.status == 409 and not dry_run:
                known = self.get(obj["kind"], obj["metadata"]["name"])
                if known is not None:
                    return known
            raise
        return dict(answer.json())

    def get(self, kind: str, name: str) -> Obj | None:
        """An object, None when there is none."""
        try:
            return dict(self._on(kind, "get", name).json())
        except KubeError as exc:
            if exc.status == 404:
                return None
            raise

    def cluster_nodes(self) -> list[Obj]:
        """The machines of the cluster, which are in no namespace."""
        found = self._ask("get", url="nodes", version="v1").json()
        return [dict(item) for item in found.get("items") or []]

    def list(
        self, kind: str, selector: str = "", since: str = "", fields: str = "", *, once: bool = False
    ) -> tuple[list[Obj], str]:
        """Objects and the resourceVersion of the list; `since`: never older than that. Raises Gone."""
        params = {"labelSelector": selector, "fieldSelector": fields}
        if since:
            params |= {"resourceVersion": since, "resourceVersionMatch": "NotOlderThan"}
        items: list[Obj] = []
        while True:  # in pages, without what nobody reads: a thousand pods at once are 50 MB
            asked = {"limit": PAGE, **{k: v for k, v in params.items() if v}}
            found = self._on(kind, "get", params=asked, once=once).json()
            for item in found.get("items") or []:
                item["metadata"].pop("managedFields", None)
                items.append(kept(item) if kind == "Pod" else item)
            more = found["metadata"].get("continue")
            if not more:
                return items, str(found["metadata"]["resourceVersion"])
            params = {"labelSelector": selector, "fieldSelector": fields, "continue": more}

    def has_any(self, kind: str, selector: str) -> bool:
        """Whether there is at least one; asked once."""
        asked = {"labelSelector": selector, "limit": "1"}
        return bool(self._on(kind, "get", params=asked, once=True).json().get("items"))

    def patch(self, kind: str, name: str, change: Obj, *, once: bool = False) -> Obj:
        """A merge patch; with metadata.resourceVersion in it only if nobody wrote since (KubeError 409).

        `once`: not repeated here, whatever the trouble.
        """
        headers = {"Content-Type": "application/merge-patch+json"}
        return dict(self._on(kind, "patch", name, data=json.dumps(change), headers=headers, once=once).json())

    def delete(self, kind: str, name: str, uid: str = "") -> bool:
        """Deletes with what it owns; False when it was not there (or another one of that name is)."""
        options: Obj = {"propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            self._on(kind, "delete", name, data=json.dumps(options))
        except KubeError as exc:
            if exc.status in (404, 409):
                return False
            raise
        return True

    def log(self, pod: str, container: str, limit_bytes: int | None = None) -> bytes:
        """What a container has printed and the node still keeps."""
        params = {"container": container, **({"limitBytes": str(limit_bytes)} if limit_bytes else {})}
        return bytes(self._on("Pod", "get", f"{pod}/log", params=params).content)

    def may(self, verb: str, group: str, resource: str, subresource: str = "") -> bool:
        """Whether one is allowed to, by the API server's own word."""
        attributes = {"namespace": self.namespace, "verb": verb, "group": group, "resource": resource}
        if subresource:
            attributes["subresource"] = subresource
        review = {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }  # fmt: skip
        answer = self._ask(
            "post", url="selfsubjectaccessreviews", version="authorization.k8s.io/v1", data=json.dumps(review)
        )
        return bool(answer.json()["status"].get("allowed"))

    def watch(self, kind: str, selector: str, since: str) -> Iterator[tuple[str, Obj]]:
        """(ADDED | MODIFIED | DELETED | BOOKMARK, object) from `since` on, for about WATCH_S seconds.

        Ends when the server ends it. Raises Gone when `since` is too old, also in mid-stream, KubeError for the rest.
        """
        query = Query(self._api, KINDS[kind], namespace=self.namespace).filter(selector=selector)
        self._api.timeout = (TIMEOUT_S[0], WATCH_S + WATCH_QUIET_S)
        try:
            params = {"allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_S)}
            for event in query.watch(since=since, params=params):
                obj = dict(event.object.obj)
                if event.type == "ERROR":
                    raise _status_error(obj)
                yield event.type, obj
        except BadInput as exc:  # credentials that cannot be read any more
            raise KubeError(f"watch: {exc}", 401) from exc
        except (pykube.exceptions.HTTPError, requests.RequestException, ValueError, KeyError) as exc:
            raise _translated(exc, "watch") from exc
        finally:
            self._api.timeout = TIMEOUT_S

    # -- requests

    def _on(self, kind: str, verb: str, name: str = "", **kwargs: Any) -> Any:
        cls = KINDS[kind]
        url = f"{cls.endpoint}/{name}" if name else cls.endpoint
        base = {"base": cls.base} if cls.base else {}
        return self._ask(verb, url=url, version=cls.version, namespace=self.namespace, **base, **kwargs)

    def _ask(self, verb: str, *, once: bool = False, **kwargs: Any) -> Any:
        """One request, repeated for a while when what was answered passes."""
        began, pause_s = now_ns(), 0.1
        if "data" in kwargs:
            kwargs.setdefault("headers", {}).setdefault("Content-Type", "application/json")
        while True:
            error, wait_s = self._try(verb, kwargs)
            if not isinstance(error, KubeError):
                return error
            wait_s = max(pause_s, wait_s)
            patience_s = LOGIN_RETRY_S if error.is_locked_out else self._retry_s if error.passes else 0.0
            if once or now_ns() + wait_s * 1e9 > began + patience_s * 1e9:
                raise error
            sleep_s(wait_s)
            pause_s = min(2 * pause_s, 2.0)

    def _try(self, verb: str, kwargs: dict[str, Any]) -> tuple[Any, float]:
        """(answer or KubeError, seconds the server asked to wait)."""
        try:
            answer = getattr(self._api, verb)(**kwargs)
        except requests.RequestException as exc:
            return _translated(exc, verb), 0.0
        except BadInput as exc:  # credentials that cannot be read any more
            return KubeError(f"{verb.upper()} {kwargs.get('url', '')}: {exc}", 401), 0.0
        if answer.ok:
            return answer, 0.0
        try:
            told = answer.json().get("message") or answer.reason
        except ValueError:
            told = answer.text[:300] or answer.reason
        try:
            wait_s = float(answer.headers.get("Retry-After", 0))
        except ValueError:
            wait_s = 0.0
        return error_of(f"{verb.upper()} {kwargs.get('url', '')}: {told}", answer.status_code), wait_s


def _status_error(status: Obj) -> KubeError:
    return error_of(f"watch: {status.get('message', 'ended by the server')}", int(status.get("code") or 500))


def _translated(exc: Exception, what: str) -> KubeError:
    if isinstance(exc, pykube.exceptions.HTTPError):
        return error_of(f"{what}: {exc}", exc.code)
    answer = getattr(exc, "response", None)
    if answer is not None:
        return error_of(f"{what}: {answer.reason}", answer.status_code)
    return KubeError(f"{what}: no answer from the API server ({_cause(exc)})")


def _cause(exc: BaseException) -> str:
    """What the system said, without the names of all the layers that passed it on."""
    said = next((one.strerror for one in causes(exc) if isinstance(one, OSError) and one.strerror), None)
    return said or f"{type(exc).__name__}: {str(exc)[:200]}"
