"""What a pod's object says of its node."""

from __future__ import annotations

from typing import Any

import pytest

from wasp_ray.cluster.pods import INDEX_LABEL, read_pod


def pod(state: dict[str, Any] | None = None, *, ready: bool = False, **status: Any) -> dict[str, Any]:
    """A pod of node 3 whose container `wasp` is in a state, with a sidecar that runs."""
    containers = [{"name": "istio-proxy", "ready": True, "state": {"running": {}}}]
    if state is not None:
        containers.append({"name": "wasp", "ready": ready, "state": state})
    return {
        "metadata": {"name": "p", "uid": "u", "labels": {INDEX_LABEL: "2"}, "resourceVersion": "7"},
        "spec": {"nodeName": "host-a", "containers": [{"name": "wasp"}]},
        "status": {"phase": "Running", "containerStatuses": containers, **status},
    }


def test_a_running_container_is_started_and_ready_when_it_says_so() -> None:
    """By the container named wasp."""
    state = read_pod(pod({"running": {}}, ready=True))
    assert (state.node, state.host, state.started, state.ready, state.ended) == (3, "host-a", True, True, "")
    assert not read_pod(pod({"running": {}})).ready


@pytest.mark.parametrize(
    ("waiting", "fatal", "patience"),
    [
        ({"reason": "ContainerCreating"}, False, False),
        ({"reason": "ErrImageNeverPull", "message": "not present with pull policy of Never"}, True, False),
        ({"reason": "InvalidImageName"}, True, False),
        ({"reason": "ErrImagePull", "message": "failed to pull: reg/x:1: not found"}, True, False),
        ({"reason": "ImagePullBackOff", "message": "unauthorized: authentication required"}, True, False),
        ({"reason": "ErrImagePull", "message": "dial tcp: i/o timeout"}, False, False),
        ({"reason": "CreateContainerConfigError", "message": 'secret "x" not found'}, False, True),
    ],
)
def test_what_keeps_a_container_waiting_may_pass_or_not(waiting: dict[str, str], fatal: bool, patience: bool) -> None:
    """An image that does not exist will not; a registry that is slow may."""
    state = read_pod(pod({"waiting": waiting}))
    assert (state.fatal, state.patience, state.started) == (fatal, patience, False)
    assert waiting["reason"] in state.waiting


def test_a_pod_without_a_host_tells_why() -> None:
    """The scheduler's own words."""
    conditions = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes fit"}]
    assert read_pod(pod(None, phase="Pending", conditions=conditions)).waiting == "Unschedulable: 0/3 nodes fit"


@pytest.mark.parametrize(
    ("terminated", "told"),
    [
        ({"exitCode": 0, "reason": "Completed"}, "its container ended with exit code 0"),
        ({"exitCode": 137, "reason": "OOMKilled"}, "its container ended with exit code 137 (OOMKilled)"),
        (
            {"exitCode": 4, "reason": "Error", "message": "trace\nno API\n"},
            "its container ended with exit code 4: no API",
        ),
    ],
)
def test_an_ended_container_tells_how(terminated: dict[str, Any], told: str) -> None:
    """Exit code, the kernel's reason, the last line of its last word."""
    state = read_pod(pod({"terminated": terminated}))
    assert state.ended == told and state.exit_code == terminated["exitCode"]


def test_evicted_and_deleted_pods_are_ended() -> None:
    """Also without a container to ask."""
    evicted = read_pod(pod(None, phase="Failed", reason="Evicted", message="low on memory"))
    assert evicted.ended == "its pod failed: Evicted: low on memory"
    assert "deleted" in read_pod(pod({"running": {}}), gone=True).ended


def test_a_custom_chart_numbers_its_nodes_by_environment() -> None:
    """N Jobs of one pod each have no completion index."""
    found = pod({"running": {}})
    del found["metadata"]["labels"]
    assert read_pod(found).node is None
    found["spec"]["containers"][0]["env"] = [{"name": "WASP_NODE_ID", "value": "4"}]
    assert read_pod(found).node == 4
