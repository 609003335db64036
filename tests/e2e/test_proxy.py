"""The fault proxy: each fault does to a client what its name says, and everything else passes unchanged."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest
from e2e.harness.access import Access, ApiError
from e2e.harness.cluster import Kubernetes
from e2e.harness.faults import Fault, shape_of
from e2e.harness.proxy import Proxy

pytestmark = pytest.mark.nightly
WATCHED = 3  # config maps of a namespace beside the authority's certificate


@pytest.fixture
def proxy(kubernetes: Kubernetes) -> Iterator[Proxy]:
    """A proxy without faults."""
    if not kubernetes.is_own:
        pytest.skip("the proxy's certificate is signed by our own cluster's authority")
    with Proxy(kubernetes.access, kubernetes.authority) as running:
        yield running


def maps(namespace: str) -> str:
    """The path of a namespace's config maps."""
    return f"/api/v1/namespaces/{namespace}/configmaps"


def create(access: Access, namespace: str, name: str) -> None:
    """Makes a config map."""
    access.request("POST", maps(namespace), {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})


class Watch:
    """An open watch, read line by line."""

    def __init__(self, access: Access, path: str, timeout_s: float = 10.0) -> None:
        """Opens it; `status` is the answer's."""
        context = ssl.create_default_context(cafile=str(access.ca))
        self.connection = http.client.HTTPSConnection(
            urlsplit(access.server).netloc, timeout=timeout_s, context=context
        )
        self.connection.request("GET", path, headers={"Authorization": f"Bearer {access.token}"})
        self.answer = self.connection.getresponse()
        self.status = self.answer.status

    def names(self, count: int) -> list[str]:
        """Names of the objects of the next events."""
        return [self.event()["object"]["metadata"]["name"] for _ in range(count)]

    def event(self) -> dict[str, Any]:
        """The next event."""
        line = self.answer.readline()
        assert line, "the watch ended"
        event: dict[str, Any] = json.loads(line)
        return event

    def close(self) -> None:
        """Closes it."""
        self.connection.close()


def filled(kubernetes: Kubernetes, namespace: str) -> tuple[list[str], str]:
    """Makes the config maps; gives their names in the order of a watch and the path that watches them."""
    before = kubernetes.access.request("GET", maps(namespace))["metadata"]["resourceVersion"]
    names = [f"m{number}" for number in range(WATCHED)]
    for name in names:
        create(kubernetes.access, namespace, name)
    return names, f"{maps(namespace)}?watch=1&resourceVersion={before}"


def test_without_faults_requests_watches_and_users_pass(kubernetes: Kubernetes, proxy: Proxy, namespace: str) -> None:
    """Events come at once, the caller stays who he is, kubectl works through it, everything is counted."""
    with closing(Watch(proxy.access, f"{maps(namespace)}?watch=1")) as watch:
        assert watch.names(1) == ["kube-root-ca.crt"]
        create(proxy.access, namespace, "new")
        assert watch.names(1) == ["new"]  # while the watch is open: its read would fail after 10 s
        with pytest.raises(ApiError) as caught:
            proxy.access.as_user("bob", kubernetes.user("bob").token).request("GET", maps(namespace))
        assert caught.value.status == 403 and json.loads(caught.value.text)["message"].count('User "bob"') == 1
        config = kubernetes.kubeconfig_for(proxy.access, namespace=namespace)
        assert "configmap/new" in kubernetes.kubectl("get", "configmaps", "-o", "name", kubeconfig=config)
        counts = proxy.counts()
        one = counts["WATCH", "/api/v1/namespaces/*/configmaps"]
        assert (one.requests, one.bytes_in) == (1, 0) and one.bytes_out > 200
        assert counts["POST", "/api/v1/namespaces/*/configmaps"].statuses == {201: 1}
        assert counts["GET", "/api/v1/namespaces/*/configmaps"].statuses[403] == 1


@pytest.mark.parametrize(
    ("status", "reason"), [(401, "Unauthorized"), (429, "TooManyRequests"), (500, "InternalError")]
)
def test_error_answers_wear_off(proxy: Proxy, namespace: str, status: int, reason: str) -> None:
    """Two requests that match get a Status, the third is answered; other paths never notice."""
    proxy.set(Fault("answer", "GET", "configmaps", times=2, status=status, retry_after_s=1 if status == 429 else None))
    for _ in range(2):
        with pytest.raises(ApiError) as caught:
            proxy.access.request("GET", maps(namespace))
        assert caught.value.status == status and json.loads(caught.value.text)["reason"] == reason
        proxy.access.request("GET", f"/api/v1/namespaces/{namespace}/pods")
    assert proxy.access.request("GET", maps(namespace))["items"]
    if status == 429:
        proxy.set(Fault("answer", times=1, status=status, retry_after_s=7))
        with closing(Watch(proxy.access, maps(namespace))) as answer:
            assert answer.answer.headers["Retry-After"] == "7"


def test_a_probability_meets_a_share_of_the_requests(proxy: Proxy, namespace: str) -> None:
    """Of 200 requests about a half."""
    fault = Fault("answer", path="configmaps", probability=0.5)
    proxy.set(fault)
    for _ in range(200):
        try:
            proxy.access.request("GET", maps(namespace) + "/kube-root-ca.crt")
        except ApiError as error:
            assert error.status == 500
    assert 60 < fault.met < 140


def test_delay_hang_and_refusal(proxy: Proxy, namespace: str) -> None:
    """A slow answer, none at all, a connection that is cut."""
    proxy.set(Fault("delay", seconds=0.5))
    began = time.monotonic()
    proxy.access.request("GET", maps(namespace))
    assert 0.5 <= time.monotonic() - began < 3
    proxy.set(Fault("hang"))
    with pytest.raises(TimeoutError):
        proxy.access.request("GET", maps(namespace), timeout_s=0.5)
    proxy.set(Fault("refuse"))
    with pytest.raises(OSError) as caught:
        proxy.access.request("GET", maps(namespace), timeout_s=5)
    assert not isinstance(caught.value, TimeoutError)


def test_a_watch_can_be_dropped_ended_stalled_or_called_too_old(
    kubernetes: Kubernetes, proxy: Proxy, namespace: str
) -> None:
    """Each after two events: an abrupt end, a proper end, silence, an ERROR event with 410."""
    names, path = filled(kubernetes, namespace)
    proxy.set(Fault("drop", "WATCH", after=2))
    with closing(Watch(proxy.access, path)) as watch:
        assert watch.names(2) == names[:2]
        with pytest.raises((http.client.IncompleteRead, ConnectionError, ssl.SSLError)):
            watch.answer.read()
    proxy.set(Fault("end", "WATCH", after=2))
    with closing(Watch(proxy.access, path)) as watch:
        assert watch.names(2) == names[:2]
        assert watch.answer.read() == b""
    proxy.set(Fault("stall", "WATCH", after=2))
    with closing(Watch(proxy.access, path, timeout_s=0.5)) as watch:
        assert watch.names(2) == names[:2]
        with pytest.raises(TimeoutError):
            watch.event()
    proxy.set(Fault("gone", "WATCH", after=2))
    with closing(Watch(proxy.access, path)) as watch:
        assert watch.names(2) == names[:2]
        error = watch.event()
        assert error["type"] == "ERROR" and error["object"]["code"] == 410 and error["object"]["reason"] == "Expired"
        assert watch.answer.read() == b""
    proxy.set(Fault("answer", "WATCH", status=410, times=1))
    with closing(Watch(proxy.access, path)) as watch:
        assert watch.status == 410


def test_watch_events_can_be_repeated_left_out_or_late(kubernetes: Kubernetes, proxy: Proxy, namespace: str) -> None:
    """The order stays."""
    names, path = filled(kubernetes, namespace)
    proxy.set(Fault("repeat", "WATCH", after=1, copies=2))
    with closing(Watch(proxy.access, path)) as watch:
        assert watch.names(5) == [names[0], names[1], names[1], names[2], names[2]]
    proxy.set(Fault("skip", "WATCH", after=1, lines=1))
    with closing(Watch(proxy.access, path)) as watch:
        assert watch.names(2) == [names[0], names[2]]
    proxy.set(Fault("lag", "WATCH", after=1, seconds=0.3))
    with closing(Watch(proxy.access, path)) as watch:
        watch.names(1)
        began = time.monotonic()
        assert watch.names(2) == names[1:]
        assert 0.6 <= time.monotonic() - began < 3


def test_open_watches_can_be_cut_at_any_time(proxy: Proxy, namespace: str) -> None:
    """All that match, now."""
    with closing(Watch(proxy.access, f"{maps(namespace)}?watch=1")) as watch:
        watch.names(1)
        assert proxy.cut("WATCH", "pods") == 0
        assert proxy.cut("WATCH", "configmaps") == 1
        with pytest.raises((http.client.IncompleteRead, ConnectionError, ssl.SSLError)):
            watch.answer.read()


def test_a_stale_list_is_the_first_one_again(kubernetes: Kubernetes, proxy: Proxy, namespace: str) -> None:
    """An API server that lags behind: the list of a minute ago, with its old resourceVersion."""
    proxy.forget()
    old = proxy.access.request("GET", maps(namespace))
    create(proxy.access, namespace, "later")
    assert len(proxy.access.request("GET", maps(namespace))["items"]) == 2
    proxy.set(Fault("stale", "GET", "configmaps", times=1))
    assert proxy.access.request("GET", maps(namespace) + "?resourceVersion=0") == old
    assert len(proxy.access.request("GET", maps(namespace))["items"]) == 2
    config = kubernetes.kubeconfig_for(proxy.access, namespace=namespace)
    assert "later" in kubernetes.kubectl("get", "configmaps", kubeconfig=config)


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/api/v1/namespaces/a/pods/b/log?follow=1", "/api/v1/namespaces/*/pods/*/log"),
        ("/apis/batch/v1/namespaces/a/jobs", "/apis/batch/v1/namespaces/*/jobs"),
        ("/api/v1/namespaces/a", "/api/v1/namespaces/*"),
        ("/api/v1/nodes/n", "/api/v1/nodes/*"),
        ("/apis/apps/v1", "/apis/apps/v1"),
        ("/readyz", "/readyz"),
    ],
)
def test_shapes_of_paths_have_no_names(path: str, shape: str) -> None:
    """What is counted together."""
    assert shape_of(path) == shape
