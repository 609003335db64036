"""The real helm, 3 and 4: charts/wasp renders what the built-in manifests are, charts of others run too, errors help."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from e2e.harness import tools
from support.cluster_commands import Commands
from support.kube_server import kube_server

from wasp_ray.cluster.config import ClusterConfig, Values
from wasp_ray.cluster.helm import Helm, find_helm, render
from wasp_ray.cluster.manifests import controller_objects, run_objects, to_yaml
from wasp_ray.cluster.wording import nested_values
from wasp_ray.cluster.yaml_text import from_yaml
from wasp_ray.errors import BadInput

CHART = str(Path(__file__).parents[2] / "charts" / "wasp")
TOKEN = "tok-8f3a\"'\\\n<&é😀\u2028-end"
GIVEN = {"run": "shop-x7k2", "sync": "a1b2c3d4", "image": "registry.example/load:1", "test.name": "load.py"}

SET = ("--set", "image=x,test.name=a.py")

VALUE_SETS: dict[str, dict[str, Any]] = {
    "the least": {},
    "the seed's": {
        "env.loki.url": "https://loki.example/loki", "env.loki.token": TOKEN, "test.name": "load.py:node_rps",
        "test.timeout": "24h", "jobs": "40", "resources.requests.cpu": "2000m", "resources.requests.memory": "512Mi",
        "resources.limits.cpu": "2000m", "resources.limits.memory": "512Mi", "env.wasp.log_level": "debug",
    },
    "without sync": {"sync": ""},
    "durations": {"test.timeout": "1h2m3.4s", "deployTimeout": 90, "drain": "1500ms"},
    "more durations": {"test.timeout": "250ms", "deployTimeout": "1.5", "drain": "1h"},
    "secrets": {"secretEnv": {"B": TOKEN, "A": 12345678, "C": "1e3", "GRAFANA_TOKEN": TOKEN}, "env.loki.basicAuth": "me:pass word"},
    "existing secrets": {"env.loki.existingSecret": "loki", "envFrom": [{"configMapRef": {"name": "c", "optional": True}}]},
    "a mapping of variables": {"extraEnv": {"Z": True, "A": 1e9, "M": 0.5, "Q": 'say "hi"\n\ttwice', "E": "", "N": "1e3"}},
    "a list of variables": {
        "extraEnv": [
            {"name": "Z", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "D", "value": "2024-01-01"}, {"name": "T", "value": "1:30"}, {"name": "Y", "value": "y"},
        ]
    },
    "numbers": {
        "jobs": 100_000, "resources.requests.cpu": 1.5, "resources.limits.memory": 536870912, "env.loki.tenantId": 7,
        "resources.limits.nvidia.com/gpu": 1, "ttlSecondsAfterFinished": "0", "annotations": {"n": 10_000_000, "b": False},
    },
    "a place": {
        "nodeSelector": {"kubernetes.io/arch": "arm64", "pool": "1"}, "priorityClass": "batch", "schedulerName": "volcano",
        "tolerations": [{"key": "load", "operator": "Exists", "tolerationSeconds": 3600}], "serviceAccount": "mine",
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "preference": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "no"]}]}}]}},
    },
    "labels": {
        "jobLabels": {"cost-center": "qa", "n": "1"}, "podLabels": {"team": "yes"},
        "annotations": {"sidecar.istio.io/inject": "true", "wasp.dev/labels": '{"branch": "main"}'},
    },
    "a network": {"hostNetwork": "true", "imagePullSecrets": ["a", {"name": "b"}], "imagePullPolicy": "Never"},
    "an order": {
        "order": {"params": {"users": "50"}, "thresholds": ["p99 of a/b < 300ms", "failed < 1%"], "labels": {"é": "<&>"}},
        "onLostNode": "continue",
    },
    "a controller": {"controller": {"resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}}}},
}  # fmt: skip


HELMS = [
    pytest.param(tools.HELM3, id="helm3", marks=pytest.mark.nightly),
    pytest.param(tools.HELM4, id="helm4"),
]


@pytest.fixture(scope="module", params=HELMS)
def helm(request: pytest.FixtureRequest) -> Helm:
    """Each helm, built when it is not there."""
    return find_helm(str(tools.built(request.param)))


@pytest.fixture(scope="module")
def helm3() -> Helm:
    """Helm 3, for the few of these tests that are made with it before each landing."""
    return find_helm(str(tools.built(tools.HELM3)))


def run(helm: Helm, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of helm, as a person would type it."""
    return subprocess.run([helm.program, *arguments], capture_output=True, encoding="utf-8", timeout=60)


def by_name(objects: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Helm sorts by kind."""
    return {(item["kind"], item["metadata"]["name"]): item for item in objects}


@pytest.mark.parametrize("name", VALUE_SETS)
def test_the_chart_renders_the_built_in_objects(name: str, helm: Helm) -> None:
    """All of them, and every field; with and without the controller."""
    for controller in (False, True):
        values = Values.of({**GIVEN, **VALUE_SETS[name], "controller.enabled": controller})
        wanted = run_objects(values) + (controller_objects(values) if controller else [])
        assert by_name(render(CHART, values, "load", helm=helm)) == by_name(wanted)


@pytest.mark.parametrize("name", VALUE_SETS)
def test_values_as_people_write_them_mean_the_same_to_helm(name: str, helm: Helm, tmp_path: Path) -> None:
    """Without our normalising in between: numbers, texts and short forms go straight into the chart."""
    raw = {**GIVEN, **VALUE_SETS[name]}
    file = tmp_path / "values.yaml"
    file.write_text(to_yaml([as_written(raw)]))
    done = run(helm, "template", "any", CHART, "-f", str(file))
    assert done.returncode == 0, done.stderr
    values = Values.of(raw)
    assert by_name(from_yaml(done.stdout)) == by_name(run_objects(values) + controller_objects(values))


def as_written(raw: dict[str, Any]) -> dict[str, Any]:
    """Nested, as a file for helm has to be; nothing else is changed but `order`, which is a text there."""
    tree, _, _ = nested_values(Values, raw)
    return {key: Values.of({key: value}).order if key == "order" else value for key, value in tree.items()}


def test_a_release_names_its_run(helm: Helm) -> None:
    """Without run and sync; the sync id is that of the built-in manifests."""
    found = from_yaml(run(helm, "template", "nightly-7", CHART, *SET).stdout)
    assert ("Job", "wasp-nightly-7") in by_name(found)
    assert found[0]["metadata"]["labels"]["sync"] == Values.of({"run": "nightly-7"}).sync_label


@pytest.mark.parametrize("values", [(), ("--strict", *SET), ("--strict", *SET, "--set", "jobs=3,env.loki.token=t")])
def test_the_chart_is_lint_clean(values: tuple[str, ...], helm: Helm) -> None:
    """Strictly, when it has the values it cannot do without."""
    done = run(helm, "lint", CHART, *values)
    assert done.returncode == 0 and "0 chart(s) failed" in done.stdout, done.stdout
    assert "[WARNING]" not in done.stdout and "[ERROR]" not in done.stdout


def test_the_notes_tell_how_to_follow() -> None:
    """And warn of secrets that a release keeps. (The dry run of Helm 3 asks a cluster.)"""
    helm = find_helm(str(tools.built(tools.HELM4)))
    for token in ("", "hush"):
        done = run(
            helm, "install", "n-1", CHART, "--dry-run=client", "-n", "load", *SET, "--set", f"env.loki.token={token}"
        )
        notes = done.stdout.partition("NOTES:")[2]
        assert "logs -f job/wasp-n-1-controller" in notes and "wasp cluster stop n-1" in notes
        assert ("helm get values" in notes) == bool(token)


REFUSED = [
    ("jobs=0", "jobs"), ("jobz=1", "jobz"), ("env.loki.tokn=x", "tokn"), ("podLabels.sync=x", "sync"),
    ("extraEnv.HOME=x", "HOME"), ("run=Not_A_Label", "run"), ("test.timeout=soon", "timeout"),
    ("imagePullPolicy=Sometimes", "imagePullPolicy"), ("resources.requests.memry=1Gi", "memry"),
    ("env.loki.token=x,env.loki.existingSecret=y", "leave one out"), ("image=", "Dockerfile.test"), ("test.name=", "FILE"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "named"), REFUSED)
def test_the_chart_refuses_bad_values_by_itself(values: str, named: str, helm: Helm) -> None:
    """As the options of wasp do; the value is named."""
    done = run(helm, "template", "n-1", CHART, *SET, "--set", values)
    assert done.returncode != 0 and named in done.stderr


def test_a_release_with_a_name_that_is_too_long_is_refused(helm: Helm) -> None:
    """Before Kubernetes cuts or refuses the names of pods."""
    done = run(helm, "template", "n" * 41, CHART, *SET)
    assert done.returncode != 0 and "install under another name" in done.stderr


# -- charts of others

N_JOBS = """
{{- range $index := until (int .Values.jobs) }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: mine-{{ $.Values.run }}-{{ $index }}
  annotations: {at: 2024-01-01, ratio: "1:30"}
spec:
  backoffLimit: 0
  suspend: true
  template:
    metadata:
      labels: {sync: {{ $.Values.sync | quote }}}
    spec:
      restartPolicy: Never
      containers:
        - name: {{ $.Values.container | default "wasp" }}
          image: {{ $.Values.image }}
          env:
            - {name: WASP_NODE_ID, value: {{ add1 $index | quote }}}
            - {name: REGION, value: {{ $.Values.cloud.region | quote }}}
            {{- if $.Values.fail }}{{ fail (printf "cannot use %s" $.Values.env.loki.token) }}{{ end }}
{{- end }}
---
apiVersion: v1
kind: Pod
metadata:
  name: hook
  annotations: {helm.sh/hook: pre-install}
"""


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A chart of somebody's own that makes a Job a node, with a hook."""
    folder = tmp_path / "mine"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("{apiVersion: v2, name: mine, version: 0.1.0, kubeVersion: '>=1.29.0-0'}\n")
    (folder / "templates" / "jobs.yaml").write_text(N_JOBS)
    return folder


def custom(chart: Path, **values: Any) -> Values:
    """Values of a run with that chart."""
    config = ClusterConfig(image="x", test="a.py", jobs=3, chart=str(chart), values={"cloud.region": "eu", **values})
    return config.run_values(config.names())


def test_a_custom_chart_may_render_n_jobs(chart: Path, helm: Helm) -> None:
    """It gets its own values beside ours; hooks are left out."""
    values = custom(chart)
    objects = render(str(chart), values, "load", helm=helm, kube_version="v1.34.4")
    assert [item["metadata"]["name"] for item in objects] == [f"mine-{values.run}-{index}" for index in range(3)]
    pods = [item["spec"]["template"] for item in objects]
    assert {pod["metadata"]["labels"]["sync"] for pod in pods} == {values.sync}
    assert [pod["spec"]["containers"][0]["env"][1]["value"] for pod in pods] == ["eu"] * 3
    assert objects[0]["metadata"]["annotations"] == {"at": "2024-01-01", "ratio": "1:30"}


def problem(chart: str, values: Values, helm: Helm, **options: Any) -> str:
    """What rendering says."""
    with pytest.raises(BadInput) as caught:
        render(chart, values, "load", helm=helm, **options)
    assert "tok-" not in str(caught.value) and caught.value.__cause__ is None
    return str(caught.value)


def test_no_secret_is_in_an_error(chart: Path, helm: Helm) -> None:
    """Though a template prints it."""
    said = problem(str(chart), custom(chart, fail=True, **{"env.loki.token": TOKEN}), helm)
    assert "cannot use ***" in said and "correct the chart's templates" in said


GO_JOBS = """
{{- range $i, $e := until (int .Values.jobs) }}
---
apiVersion: batch/v1
kind: Job
metadata: {name: wasp-{{ $.Release.Name }}-{{ $i }}, labels: {sync: {{ $.Values.sync }}}}
spec:
  template:
    metadata: {labels: {sync: {{ $.Values.sync }}}}
    spec:
      containers:
        - name: wasp
          image: {{ $.Values.image }}
          env:
            - {name: LOKI_URL, value: {{ $.Values.env.loki.url | quote }}}
            - {name: LOKI_TOKEN, value: {{ $.Values.env.loki.token | quote }}}
            - {name: WASP_NODE_ID, value: {{ $i | quote }}}
{{- end }}
"""
"""As Go WASP's chart has it: the token in the clear."""
EVERYWHERE = """
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: client
  annotations:
    token: {{ printf "Bearer %s" .Values.env.loki.token | quote }}
    login: {{ .Values.env.loki.basicAuth | b64enc }}
    {{ .Values.secretEnv.NUMBER | quote }}: key
data:
  url: {{ printf "https://%s@loki.example/" (.Values.secretEnv.PASSWORD | urlquery) | quote }}
  client.json: {{ dict "token" .Values.env.loki.token "phrase" .Values.secretEnv.PHRASE | toJson | quote }}
  client.yaml: |
    {{- dict "token" .Values.env.loki.token "phrase" .Values.secretEnv.PHRASE | toYaml | nindent 4 }}
  folded: >-
    {{- .Values.secretEnv.PHRASE | splitList " " | join "\\n" | nindent 4 }}
  tls.key: |
    {{- .Values.secretEnv.KEY | nindent 4 }}
  port: {{ .Values.secretEnv.NUMBER }}
  login.json: {{ printf "{\\"auth\\":%q}" (printf "me:%s" .Values.secretEnv.PASSWORD | b64enc) | b64enc }}
  foreign: {{ .Values.database.password | squote }}
"""
"""A chart that writes secrets in every form a template may."""
SECRETS = {
    "NUMBER": "48151623", "PASSWORD": "p4ss/w:rd&<é>", "PHRASE": "correct horse battery staple",
    "KEY": "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nq7Yb3mXe9sQz41aa\n-----END KEY-----",
}  # fmt: skip
FORMS = (
    "glc_8f3a", "48151623", "p4ss", "correct", "horse", "MIIEvQIBADANBgkq", "q7Yb3mXe9sQz41aa", "pass-word-9", "hush-7",
    base64.b64encode(b"me:pass-word-9").decode(), base64.b64encode(b"me:p4ss/w:rd&<\xc3\xa9>").decode(),
)  # fmt: skip


@pytest.mark.parametrize("templates", [None, GO_JOBS, GO_JOBS + EVERYWHERE], ids=["ours", "of Go WASP", "of somebody"])
def test_a_dry_run_shows_no_secret_whatever_the_chart(templates: str | None, chart: Path, helm: Helm) -> None:
    """The whole command: every value is masked in every form; what is no secret can be read, and a leak is warned of."""
    if templates is not None:
        (chart / "templates" / "jobs.yaml").write_text(templates)
    values = {
        "env.loki.url": "https://loki.example", "env.loki.token": "glc_8f3a\"'<&>é-end", "env.loki.basicAuth": "me:pass-word-9",
        "secretEnv": SECRETS, "cloud.region": "eu",
    }  # fmt: skip
    if templates is not None:
        values["database"] = {"password": "hush-7"}
    else:
        del values["cloud.region"]
    with kube_server() as kube:
        commands = Commands(kube, chart.parent)
        code, said, errors = commands.outputs(
            "run", "load.py", "--image", "registry.example/load:1", "--jobs", "2", "--dry-run", "--chart",
            CHART if templates is None else str(chart), WASP_CLUSTER_VALUES=json.dumps(values),
            PATH=f"{Path(helm.program).parent}:{os.environ['PATH']}",
        )  # fmt: skip
    assert code == 0, errors
    for form in FORMS:
        assert form not in said and form not in errors, form
    assert "registry.example/load:1" in said and "https://loki.example" in said and '"***"' in said
    assert ("the chart writes secret values into" in errors) == (templates is not None), errors


def test_a_chart_that_cannot_be_a_run_is_refused(chart: Path, helm: Helm) -> None:
    """Without the sync label, with another number of pods or another container nobody could steer it."""
    assert "expected a container called wasp" in problem(str(chart), custom(chart, container="main"), helm)
    file = chart / "templates" / "jobs.yaml"
    file.write_text(N_JOBS.replace("(int .Values.jobs)", "2"))
    assert "3 pods in all, found 2" in problem(str(chart), custom(chart), helm)
    file.write_text(N_JOBS.replace("sync:", "sink:"))
    assert "3 pods in all, found 0" in problem(str(chart), custom(chart), helm)


def test_errors_name_the_cure(chart: Path, helm: Helm, tmp_path: Path) -> None:
    """For what goes wrong with charts."""
    values = custom(chart)
    assert "check the path" in problem(str(tmp_path / "nowhere"), values, helm)
    assert "name the chart's own folder" in problem(str(tmp_path), values, helm)
    assert "expected a path" in problem("--post-renderer", values, helm)
    assert "for this version of Kubernetes" in problem(str(chart), values, helm, kube_version="v1.27.0")
    assert "oci://127.0.0.1:9/none" in problem("oci://127.0.0.1:9/none:1.0", values, helm)
    assert "reached from here" in problem("oci://127.0.0.1:9/none", values, helm)
    assert "within 0.001 s" in problem(str(chart), values, helm, timeout_s=0.001)
    said = problem(CHART, Values.of({**GIVEN, "wrong": 1, "env.loki.token": TOKEN}, foreign=True), helm)
    assert "wrong" in said and "correct the values that are named" in said
    (chart / "templates" / "jobs.yaml").write_text("a: b: c")
    assert "chart" in problem(str(chart), values, helm)


# -- Helm 3 in short: by night all of the above is run with it


@pytest.mark.parametrize("name", ["the seed's", "numbers"])
def test_helm_3_takes_values_as_people_write_them(name: str, helm3: Helm, tmp_path: Path) -> None:
    """The set of a whole run, and the one whose numbers each version of Helm might write in its own way."""
    test_values_as_people_write_them_mean_the_same_to_helm(name, helm3, tmp_path)


def test_helm_3_refuses_bad_values(helm3: Helm) -> None:
    """By the chart's schema."""
    test_the_chart_refuses_bad_values_by_itself("jobz=1", "jobz", helm3)


def test_helm_3_renders_a_custom_chart(chart: Path, helm3: Helm) -> None:
    """With its hooks left out."""
    test_a_custom_chart_may_render_n_jobs(chart, helm3)
