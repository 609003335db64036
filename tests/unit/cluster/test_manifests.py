"""The objects of a run: what a cluster needs them to be, for any values; and YAML that is read as it was meant."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from wasp_ray.cluster.config import Values
from wasp_ray.cluster.manifests import controller_objects, redacted, run_objects, setup_objects, to_yaml
from wasp_ray.cluster.yaml_text import from_yaml
from wasp_ray.errors import BadInput

GIVEN = {"run": "shop-x7k2", "sync": "a1b2c3d4", "image": "registry.example/load:1", "test.name": "load.py:nightly"}
LABELS = {
    "app.kubernetes.io/name": "wasp", "app.kubernetes.io/managed-by": "wasp", "wasp.dev/run": "shop-x7k2", "sync": "a1b2c3d4",
}  # fmt: skip
TOKEN = "tok-8f3a"
NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{3,8}", fullmatch=True)


def made(**values: Any) -> Values:
    """Values of a run that could be."""
    return Values.of({**GIVEN, **{key.replace("__", "."): value for key, value in values.items()}})


def of_kind(kind: str, objects: list[dict[str, Any]]) -> dict[str, Any]:
    """The only one of its kind."""
    (found,) = [item for item in objects if item["kind"] == kind]
    return found


def job(**values: Any) -> dict[str, Any]:
    """The root."""
    return of_kind("Job", run_objects(made(**values)))


def pod(**values: Any) -> dict[str, Any]:
    """What a node's pod is made of."""
    spec: dict[str, Any] = job(**values)["spec"]["template"]["spec"]
    return spec


def container(**values: Any) -> dict[str, Any]:
    """The only one of a node."""
    (found,) = pod(**values)["containers"]
    assert found["name"] == "wasp"
    return dict(found)


def environment(found: dict[str, Any]) -> dict[str, Any]:
    """NAME -> value, or where it comes from."""
    out = {item["name"]: item.get("value", item.get("valueFrom")) for item in found["env"]}
    assert len(out) == len(found["env"]), "a variable is set twice"
    return out


# -- the Job


def test_one_suspended_indexed_job_is_the_root() -> None:
    """A failed pod ends alone: peers and their logs stay; the deadline is the pod's, for the same reason."""
    found = job(jobs="40")
    spec = found["spec"]
    assert found["metadata"] == {"name": "wasp-shop-x7k2", "labels": LABELS}
    assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"] == 40
    assert spec["suspend"] is True and spec["backoffLimitPerIndex"] == 0 and spec["ttlSecondsAfterFinished"] == 86_400
    assert not {"backoffLimit", "maxFailedIndexes", "activeDeadlineSeconds"} & set(spec)
    assert spec["template"]["metadata"]["labels"] == LABELS


DEADLINES = [
    ({}, 600 + 3600 + 60 + 60, 60),
    ({"test.timeout": "24h", "deployTimeout": "30m", "drain": "90s"}, 1800 + 86_400 + 90 + 60, 90),
    ({"test.timeout": "1500ms", "deployTimeout": 1, "drain": "1.2s"}, 2 + 1 + 2 + 60, 2),
]


@pytest.mark.parametrize(("values", "deadline_s", "grace_s"), DEADLINES)
def test_a_pod_outlives_all_deadlines_of_its_run(values: dict[str, Any], deadline_s: int, grace_s: int) -> None:
    """Durations of a fraction of a second are rounded up."""
    found = pod(**values)
    assert found["activeDeadlineSeconds"] == deadline_s and found["terminationGracePeriodSeconds"] == grace_s


def test_a_pod_passes_pod_security_restricted() -> None:
    """And leaves the user to the image, or to OpenShift."""
    found, main = pod(), container()
    assert found["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert main["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert found["volumes"] == [{"name": "tmp", "emptyDir": {}}] and "hostNetwork" not in found
    assert main["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
    assert main["terminationMessagePolicy"] == "FallbackToLogsOnError" and found["restartPolicy"] == "Never"


def test_the_node_is_told_who_it_is() -> None:
    """By the environment of the seed; the index comes from Kubernetes and counts from 0."""
    main = container(jobs=3, env__loki__url="https://loki.example", env__loki__tenantId=7, env__wasp__log_level="debug")
    assert main["command"] == ["python", "-m", "wasp_ray", "run", "load.py:nightly"]
    assert environment(main) == {
        "HOME": "/tmp", "PYTHONUNBUFFERED": "1", "WASP_RUN": "shop-x7k2", "WASP_SYNC": "a1b2c3d4", "WASP_JOBS": "3",
        "WASP_LOG_LEVEL": "debug", "LOKI_URL": "https://loki.example", "LOKI_TENANT_ID": "7",
        "WASP_NAMESPACE": {"fieldRef": {"fieldPath": "metadata.namespace"}},
        "WASP_POD_NAME": {"fieldRef": {"fieldPath": "metadata.name"}},
        "WASP_POD_UID": {"fieldRef": {"fieldPath": "metadata.uid"}},
        "WASP_NODE_INDEX": {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/job-completion-index']"}},
    }  # fmt: skip
    assert main["startupProbe"] == {
        "exec": {"command": ["test", "-f", "/tmp/wasp/ready"]}, "periodSeconds": 1, "timeoutSeconds": 5,
        "failureThreshold": 86_400,
    }  # fmt: skip


PASSED_ON = [
    ("nodeSelector", {"pool": "load"}, "nodeSelector", {"pool": "load"}),
    ("tolerations", [{"key": "load"}], "tolerations", [{"key": "load"}]),
    ("affinity", {"nodeAffinity": {}}, "affinity", {"nodeAffinity": {}}),
    ("imagePullSecrets", ["a", {"name": "b"}], "imagePullSecrets", [{"name": "a"}, {"name": "b"}]),
    ("priorityClass", "batch", "priorityClassName", "batch"),
    ("schedulerName", "volcano", "schedulerName", "volcano"),
    ("serviceAccount", "mine", "serviceAccountName", "mine"),
    ("hostNetwork", True, "hostNetwork", True),
]


@pytest.mark.parametrize(("value", "given_", "key", "found"), PASSED_ON)
def test_values_of_the_pod_are_passed_on(value: str, given_: Any, key: str, found: Any) -> None:
    """And are not there when not given."""
    assert pod(**{value: given_})[key] == found
    assert key not in pod() or key == "serviceAccountName"


def test_labels_and_annotations_go_where_they_are_asked_to() -> None:
    """Annotations win over those that keep sidecars and evictions away; labels of ours cannot be taken."""
    found = job(
        jobLabels={"a": "1"}, podLabels={"b": "2"}, annotations={"team": "x", "sidecar.istio.io/inject": "true"}
    )
    template = found["spec"]["template"]["metadata"]
    assert found["metadata"]["labels"] == {**LABELS, "a": "1"} and template["labels"] == {**LABELS, "b": "2"}
    assert found["metadata"]["annotations"] == {"team": "x", "sidecar.istio.io/inject": "true"}
    assert template["annotations"] == {
        "team": "x", "sidecar.istio.io/inject": "true", "linkerd.io/inject": "disabled",
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true",
    }  # fmt: skip


def test_variables_come_from_values_secrets_and_existing_objects() -> None:
    """Mappings are sorted, lists of EnvVars stay as they are."""
    main = container(
        extraEnv={"B": 2, "A": "x"}, env__loki__existingSecret="loki", envFrom=[{"configMapRef": {"name": "c"}}]
    )
    assert [item["name"] for item in main["env"]][-2:] == ["A", "B"] and environment(main)["B"] == "2"
    assert main["envFrom"] == [{"secretRef": {"name": "loki"}}, {"configMapRef": {"name": "c"}}]
    listed = [{"name": "Z", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}, {"name": "A", "value": "1"}]
    assert container(extraEnv=listed)["env"][-2:] == listed


# -- ConfigMap and Secret


def test_the_config_map_is_an_empty_blackboard_with_the_order() -> None:
    """Terms stand on it so that whoever takes over keeps them."""
    found = of_kind("ConfigMap", run_objects(made(jobs=4, order={"seed": 7}, onLostNode="continue")))
    assert found["metadata"] == {"name": "wasp-shop-x7k2", "labels": LABELS}
    assert found["data"] == {
        "order": '{"seed":7}', "nodes": "4", "deploy_timeout_s": "600", "run_timeout_s": "3600", "drain_s": "60",
        "on_lost_node": "continue", "phase": "deploying", "start_at": "", "lead_s": "", "abort": "",
    }  # fmt: skip


SECRETS = [
    ({"env.loki.token": TOKEN}, {"LOKI_TOKEN": TOKEN}),
    ({"env.loki.basicAuth": f"me:{TOKEN}"}, {"LOKI_BASIC_AUTH": f"me:{TOKEN}"}),
    ({"secretEnv": {"B": TOKEN, "A": "é\n"}, "env.loki.token": TOKEN}, {"A": "é\n", "B": TOKEN, "LOKI_TOKEN": TOKEN}),
]


@pytest.mark.parametrize(("values", "data"), SECRETS)
def test_secrets_stand_in_the_secret_and_nowhere_else(values: dict[str, Any], data: dict[str, str]) -> None:
    """The pod refers to them; what is printed has none."""
    objects = run_objects(made(**values))
    secret = of_kind("Secret", objects)
    assert {name: base64.b64decode(text).decode() for name, text in secret["data"].items()} == data
    (main,) = of_kind("Job", objects)["spec"]["template"]["spec"]["containers"]
    for name in data:
        assert environment(main)[name] == {"secretKeyRef": {"name": "wasp-shop-x7k2", "key": name}}
    printed = to_yaml(redacted(objects)) + to_yaml(redacted(controller_objects(made(**values))))
    assert TOKEN not in printed and base64.b64encode(TOKEN.encode()).decode() not in printed
    assert secret["data"] == {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}, (
        "was changed"
    )


def test_a_run_without_secrets_has_no_secret() -> None:
    """One right less is used."""
    assert [item["kind"] for item in run_objects(made())] == ["Job", "ConfigMap"]


def test_what_kubectl_copied_into_an_annotation_is_hidden_too() -> None:
    """And nothing of other objects is."""
    note = {"kubectl.kubernetes.io/last-applied-configuration": TOKEN, "a": "b"}
    secret = {
        "kind": "Secret",
        "metadata": {"name": "s", "annotations": note},
        "stringData": {"A": TOKEN},
        "data": None,
    }
    config = {"kind": "ConfigMap", "data": {"A": "b"}}
    assert redacted([secret, config]) == [
        {
            "kind": "Secret",
            "metadata": {"name": "s", "annotations": {"a": "b"}},
            "stringData": {"A": "***"},
            "data": {},
        },
        config,
    ]


@pytest.mark.parametrize("missing", ["run", "image", "test.name"])
def test_a_run_needs_its_values(missing: str) -> None:
    """The message says what to give."""
    values = Values.of({key: value for key, value in GIVEN.items() if key != missing})
    with pytest.raises(BadInput, match=f"^{missing}: expected"):
        run_objects(values)


def test_the_sync_id_of_a_chart_installed_alone_comes_from_its_run_id() -> None:
    """The same for the same run, another for another."""
    first, again, other = (Values.of({"run": run}).sync_label for run in ("a", "a", "b"))
    assert first == again != other and len(first) == 8 and first[0] == "a"


# -- controller and rights


def test_the_controller_is_a_job_that_is_no_node() -> None:
    """It has its own account and no sync label; an eviction is followed by another pod, a verdict is not."""
    (found,) = controller_objects(made(extraEnv={"A": "1"}, affinity={"nodeAffinity": {}}))
    template = found["spec"]["template"]
    (main,) = template["spec"]["containers"]
    assert found["metadata"]["name"] == "wasp-shop-x7k2-controller"
    assert "sync" not in template["metadata"]["labels"] and "sync" not in found["metadata"]["labels"]
    assert template["metadata"]["labels"]["wasp.dev/run"] == "shop-x7k2"
    assert template["spec"]["serviceAccountName"] == "wasp-controller" and "affinity" not in template["spec"]
    assert main["command"] == ["python", "-m", "wasp_ray", "cluster", "control", "--run", "shop-x7k2"]
    assert environment(main)["A"] == "1"
    assert found["spec"]["backoffLimit"] == 0 and "startupProbe" not in main
    assert template["spec"]["activeDeadlineSeconds"] > pod()["activeDeadlineSeconds"]
    assert main["securityContext"] == container()["securityContext"]


def test_the_controller_is_given_what_it_asks_for_alerts_with() -> None:
    """By reference, as nodes are; secrets of the load are not its business."""
    secrets = {"GRAFANA_TOKEN": TOKEN, "API_KEY": "k", "GRAFANA_TOKEN_OLD": "o"}
    loki = {"env__loki__token": TOKEN, "env__loki__url": "https://loki.example", "env__loki__tenantId": "team"}
    (found,) = controller_objects(made(secretEnv=secrets, **loki))
    (main,) = found["spec"]["template"]["spec"]["containers"]
    given = environment(main)
    assert {"GRAFANA_TOKEN", "LOKI_TOKEN", "LOKI_URL", "LOKI_TENANT_ID"} <= given.keys()
    assert not {"API_KEY", "GRAFANA_TOKEN_OLD"} & given.keys() and TOKEN not in str(found)


def test_setup_gives_each_persona_its_role() -> None:
    """In whatever namespace it is applied; nothing beyond a namespace, no star."""
    objects = setup_objects()
    assert [(item["kind"], item["metadata"]["name"]) for item in objects] == [
        ("ServiceAccount", "wasp-node"), ("ServiceAccount", "wasp-controller"), ("Role", "wasp-node"),
        ("Role", "wasp-controller"), ("RoleBinding", "wasp-node"), ("RoleBinding", "wasp-controller"),
    ]  # fmt: skip
    assert not [item for item in objects if "namespace" in item["metadata"]]
    node, controller = (item["rules"] for item in objects if item["kind"] == "Role")
    assert node == [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["watch"]}]
    rights = {(resource, verb) for rule in controller for resource in rule["resources"] for verb in rule["verbs"]}
    assert {
        ("jobs", "patch"),
        ("pods", "watch"),
        ("pods/log", "get"),
        ("events", "list"),
        ("secrets", "create"),
    } <= rights
    assert not {("secrets", "get"), ("secrets", "list"), ("pods", "delete"), ("pods", "create")} & rights
    assert "*" not in json.dumps(objects)


SUBJECTS = [
    ("user:alice", {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}),
    ("user:system:admin", {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:admin"}),
    ("group:qa", {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "qa"}),
    ("serviceaccount:ci", {"kind": "ServiceAccount", "name": "ci"}),
    ("serviceaccount:gitlab:ci", {"kind": "ServiceAccount", "name": "ci", "namespace": "gitlab"}),
]


@pytest.mark.parametrize(("text", "subject"), SUBJECTS)
def test_people_and_pipelines_are_bound_to_the_controllers_role(text: str, subject: dict[str, str]) -> None:
    """Beside the controller itself."""
    binding = setup_objects([text])[-1]
    assert binding["roleRef"]["name"] == "wasp-controller"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "wasp-controller"}, subject]


def test_all_subjects_that_cannot_be_read_are_named() -> None:
    """At once."""
    with pytest.raises(BadInput) as caught:
        setup_objects(["alice", "user:", "robot:x", "serviceaccount:A_B"])
    assert len(caught.value.problems) == 4


# -- properties

VALUES = st.fixed_dictionaries(
    {},
    optional={
        "jobs": st.integers(1, 1000),
        "test.timeout": st.integers(1, 10**6),
        "drain": st.integers(1, 10**4),
        "secretEnv": st.dictionaries(NAMES.map("S_{}".format), st.text(min_size=1), max_size=3),
        "extraEnv": st.dictionaries(NAMES.map("E_{}".format), st.text(), max_size=3),
        "annotations": st.dictionaries(st.sampled_from(["a", "b/c"]), st.text()),
        "hostNetwork": st.booleans(),
        "env.loki.token": st.text(),
        "resources.requests.cpu": st.sampled_from([1, "2", "100m", 0.5]),
    },
)


@settings(deadline=None)
@given(VALUES)
def test_objects_are_a_function_of_the_values(raw: dict[str, Any]) -> None:
    """Made twice they are equal, changing one set leaves the other, and they survive YAML whoever reads it."""
    values = Values.of({**GIVEN, **raw})
    objects = run_objects(values) + controller_objects(values)
    again = run_objects(Values.of({**GIVEN, **raw})) + controller_objects(values)
    text = to_yaml(objects)
    assert objects == again == from_yaml(text) == list(yaml.safe_load_all(text))
    for item in again:
        item["metadata"]["labels"]["changed"] = "x"
    assert objects == run_objects(values) + controller_objects(values)


@settings(deadline=None)
@given(VALUES)
def test_every_object_carries_the_labels_of_its_run(raw: dict[str, Any]) -> None:
    """By which it is found and removed; no object is put into a namespace, none has an owner yet."""
    for item in run_objects(Values.of({**GIVEN, **raw})):
        assert item["metadata"]["labels"].items() >= LABELS.items()
        assert item["metadata"]["name"] == "wasp-shop-x7k2"
        assert not {"namespace", "ownerReferences"} & set(item["metadata"])
