"""The harness itself: a real node runs real pods, the proxy does what its faults say, nothing outlives a cluster."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from e2e.harness.access import ApiError
from e2e.harness.archives import BASE_IMAGE
from e2e.harness.cluster import Kubernetes
from e2e.harness.kwok import TAINT, Kwok, running_kwok
from e2e.harness.pods import on_the_host, pod, run_pod, wait_for
from e2e.harness.proxy import Proxy

pytestmark = pytest.mark.nightly

IN_POD = """
import json, mmap, os, ssl, urllib.request

folder = "/var/run/secrets/kubernetes.io/serviceaccount/"
token, namespace = open(folder + "token").read(), open(folder + "namespace").read()
address = os.environ["KUBERNETES_SERVICE_HOST"] + ":" + os.environ["KUBERNETES_SERVICE_PORT"]
url = f"https://{address}/api/v1/namespaces/{namespace}/configmaps/plan"
request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}", "User-Agent": "a-pod"})
context = ssl.create_default_context(cafile=folder + "ca.crt")
plan = json.load(urllib.request.urlopen(request, context=context, timeout=10))["data"]["plan"]
fd = os.memfd_create("slab")
os.posix_fallocate(fd, 0, 100 << 20)  # more than the 64 MiB of /dev/shm
mmap.mmap(fd, 100 << 20)[-1] = 1
try:
    open("/file", "w")
    written = True
except OSError:
    written = False
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({"plan": plan, "uid": os.getuid(), "written": written, "capabilities": int(status["CapEff"], 16)}))
print("x" * 1_000_000)
"""


def role(namespace: str, account: str) -> list[dict[str, Any]]:
    """A service account that may get and watch config maps."""
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "watch"]}]
    group = "rbac.authorization.k8s.io"
    subjects = [{"kind": "ServiceAccount", "name": account, "namespace": namespace}]
    meta = {"name": account, "namespace": namespace}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": meta, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": account},
            "subjects": subjects,
        },
    ]


def test_a_locked_down_pod_reads_the_api_and_its_long_lines_come_back_whole(
    kubernetes: Kubernetes, namespace: str
) -> None:
    """Non-root, read-only root, no capabilities, host network, its own token; its requests are in the audit log."""
    since = time.time()
    kubernetes.apply(*role(namespace, "node"))
    plan = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plan", "namespace": namespace}}
    kubernetes.apply({**plan, "data": {"plan": "a plan"}})
    body = pod("reader", ["python", "-c", IN_POD], serviceAccountName="node", **on_the_host(kubernetes.port))
    assert run_pod(kubernetes.access, namespace, body) == "Succeeded"
    first, second = kubernetes.kubectl("logs", "-n", namespace, "reader").splitlines()
    assert json.loads(first) == {"plan": "a plan", "uid": 1000, "written": False, "capabilities": 0}
    assert second == "x" * 1_000_000
    if kubernetes.is_own:
        user = f"system:serviceaccount:{namespace}:node"
        wait_for(lambda: kubernetes.requests_of(user, since), "the request is in the audit log")
        (asked,) = kubernetes.requests_of(user, since)
        assert asked[:8] == ("get", "", "configmaps", "", namespace, "plan", "a-pod", 200)
        assert kubernetes.requests_of(user, time.time()) == []


def test_a_pod_on_the_bridge_takes_probes_exec_and_a_quick_end(kubernetes: Kubernetes, namespace: str) -> None:
    """What most pods of a cluster look like: own network, requests and limits, a startup probe."""
    body = pod("plain", ["python", "-c", "import time; open('/tmp/ready', 'w'); time.sleep(600)"])
    container = body["spec"]["containers"][0]
    container["startupProbe"] = {"exec": {"command": ["test", "-f", "/tmp/ready"]}, "periodSeconds": 1}
    container["resources"] = {"limits": {"cpu": "200m", "memory": "64Mi"}}
    container["volumeMounts"] = [{"name": "tmp", "mountPath": "/tmp"}]
    body["spec"]["volumes"] = [{"name": "tmp", "emptyDir": {}}]
    kubernetes.access.request("POST", f"/api/v1/namespaces/{namespace}/pods", body)
    kubernetes.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/plain", "--timeout=60s", timeout_s=70)
    assert kubernetes.kubectl("exec", "-n", namespace, "plain", "--", "id", "-u").strip() == "1000"
    kubernetes.kubectl("delete", "-n", namespace, "pod/plain", "--timeout=30s")


def test_pod_security_refuses_a_pod_that_may_do_too_much(kubernetes: Kubernetes, namespace: str) -> None:
    """A label on the namespace is enough."""
    kubernetes.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
    kubernetes.access.request("POST", path, pod("good", ["true"]))
    with pytest.raises(ApiError, match="violates PodSecurity") as caught:
        kubernetes.access.request("POST", path, pod("bad", ["true"], security={}))
    assert caught.value.status == 403


def test_a_pod_reaches_the_api_through_the_proxy(kubernetes: Kubernetes, namespace: str) -> None:
    """Its service account's token and the cluster's authority hold there too; its watch is in the audit log while it is open."""
    if not kubernetes.is_own:
        pytest.skip("the proxy's certificate is signed by our own cluster's authority")
    kubernetes.apply(*role(namespace, "node"))
    plan = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plan", "namespace": namespace}}
    kubernetes.apply({**plan, "data": {"plan": "a plan"}})
    with Proxy(kubernetes.access, kubernetes.authority) as proxy:
        body = pod("reader", ["python", "-c", IN_POD], serviceAccountName="node", **on_the_host(proxy.port))
        assert run_pod(kubernetes.access, namespace, body) == "Succeeded"
        assert proxy.counts()["GET", "/api/v1/namespaces/*/configmaps/*"].statuses == {200: 1}
        since = time.time()
        account = kubernetes.service_account(namespace, "node").at(proxy.access.server)
        path = f"/api/v1/namespaces/{namespace}/configmaps?watch=1&fieldSelector=metadata.name%3Dplan"
        with pytest.raises(TimeoutError):
            account.request("GET", path, timeout_s=1)
        wait_for(lambda: kubernetes.requests_of(account.user, since), "the watch is in the audit log")
        (asked,) = kubernetes.requests_of(account.user, since)
        assert (asked.verb, asked.resource, asked.name, asked.code) == ("watch", "configmaps", "plan", 200)


def test_users_have_only_the_rights_they_are_given(kubernetes: Kubernetes, namespace: str) -> None:
    """Token users and service accounts start with nothing; kubeconfigs made for them work."""
    if not kubernetes.is_own:
        pytest.skip("users are made at the start of our own cluster")
    path = f"/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt"
    with pytest.raises(ApiError) as caught:
        kubernetes.user("alice").request("GET", path)
    assert caught.value.status == 403
    kubernetes.kubectl("create", "rolebinding", "-n", namespace, "qa", "--clusterrole=view", "--group=qa")
    wait_for(lambda: "yes" in can_i(kubernetes, "alice", namespace), "alice may read")
    assert "no" in can_i(kubernetes, "bob", namespace)
    kubernetes.apply(*role(namespace, "node"))
    account = kubernetes.service_account(namespace, "node")
    config = kubernetes.kubeconfig_for(account, namespace=namespace)
    assert "kube-root-ca.crt" in kubernetes.kubectl("get", "configmap", "kube-root-ca.crt", kubeconfig=config)
    assert "Forbidden" in kubernetes.kubectl("get", "secrets", kubeconfig=config, check=False)


def can_i(kubernetes: Kubernetes, user: str, namespace: str) -> str:
    """kubectl's answer."""
    config = kubernetes.kubeconfig_for(kubernetes.user(user), namespace=namespace)
    return kubernetes.kubectl("auth", "can-i", "list", "pods", kubeconfig=config, check=False)


def test_an_image_built_here_runs_on_the_node(kubernetes: Kubernetes, namespace: str, tmp_path: Path) -> None:
    """By the harness, and by a program that calls docker itself."""
    if not kubernetes.is_own:
        pytest.skip("another cluster's node cannot be given images")
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE_IMAGE}\nARG WORD\nRUN echo $WORD > /word\nUSER 1000\n")
    word = f"word-{time.time_ns()}"
    kubernetes.build_image(tmp_path, tmp_path / "Dockerfile", "e2e-test:1", {"WORD": word})
    kubernetes.import_into_cluster("e2e-test:1")
    assert run_pod(kubernetes.access, namespace, pod("built", ["cat", "/word"], image="e2e-test:1")) == "Succeeded"
    assert kubernetes.kubectl("logs", "-n", namespace, "built").strip() == word
    listed = subprocess.run(
        ["docker", "image", "ls", "--quiet", "e2e-test:1"],
        env={**kubernetes.docker_host(), "PATH": "/usr/bin:/usr/local/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert listed.stdout.strip(), listed.stderr


def test_kwok_pods_turn_ready_on_many_nodes_and_print_what_they_are_told(
    kubernetes: Kubernetes, namespace: str
) -> None:
    """An Indexed Job of 100 pods on 20 nodes that only pretend, two lines of log each."""
    if not kubernetes.is_own:
        pytest.skip("fake nodes are for our own cluster")
    template = pod(
        "unused", ["true"], nodeSelector={"wasp.e2e/kwok": "true"}, tolerations=[{"key": TAINT, "operator": "Exists"}]
    )
    spec = {"completions": 100, "parallelism": 100, "completionMode": "Indexed"}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "many", "namespace": namespace},
        "spec": {**spec, "template": {"metadata": {"labels": {"app": "many"}}, "spec": template["spec"]}},
    }
    with running_kwok(kubernetes, Kwok(nodes=20, logs="first\nsecond", tainted=True)) as names:
        assert len(names) == 20
        kubernetes.apply(job)
        status = f"/apis/batch/v1/namespaces/{namespace}/jobs/many"
        wait_for(
            lambda: kubernetes.access.request("GET", status)["status"].get("ready") == 100, "100 pods are Ready", 90
        )
        pods = kubernetes.access.request("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]
        assert {item["spec"]["nodeName"] for item in pods} <= set(names)
        text = kubernetes.kubectl("logs", "-n", namespace, pods[7]["metadata"]["name"])
        assert text == "first\nsecond\n"
        kubernetes.kubectl("delete", "-n", namespace, "job/many", "--cascade=foreground", "--timeout=60s", timeout_s=70)
    assert "kwok-1" not in kubernetes.kubectl("get", "nodes")
