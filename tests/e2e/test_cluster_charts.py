"""Charts on a real Kubernetes, by the real helm: charts/wasp under `wasp cluster run` and alone, and a chart of somebody's own."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e.harness import tools
from e2e.team import IMAGE, Team, run_id

CHART = Path(__file__).parents[2] / "charts" / "wasp"
TOKEN = f"tok-{os.urandom(9).hex()}"
VOLATILE = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "ownerReferences")

N_JOBS = """
{{- range $index := until (int .Values.jobs) }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: wasp-{{ $.Values.run }}-{{ add1 $index }}
spec:
  backoffLimit: 0
  suspend: true
  template:
    metadata:
      labels: {sync: {{ $.Values.sync | quote }}}
    spec:
      restartPolicy: Never
      hostNetwork: true
      terminationGracePeriodSeconds: 2
      containers:
        - name: wasp
          image: {{ $.Values.image }}
          imagePullPolicy: Never
          command: [python, -m, wasp_ray, run, {{ $.Values.test.name | quote }}]
          env:
            - {name: WASP_NODE_ID, value: {{ add1 $index | quote }}}
            - {name: REGION, value: {{ $.Values.cloud.region | quote }}}
        - {name: sidecar, image: {{ $.Values.image }}, imagePullPolicy: Never, command: [sleep, "600"]}
{{- end }}
"""


@pytest.fixture
def with_helm() -> dict[str, Any]:
    """The environment in which `helm` is the real one."""
    return {"PATH": f"{tools.built(tools.HELM3).parent}:{os.environ['PATH']}"}


@pytest.fixture
def own_chart(tmp_path: Path) -> str:
    """N Jobs of one pod each, with a sidecar that never ends; it knows nothing of ConfigMap, Secret and accounts."""
    folder = tmp_path / "mine"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("{apiVersion: v2, name: mine, version: 0.1.0}\n")
    (folder / "templates" / "jobs.yaml").write_text(N_JOBS)
    return str(folder)


def test_the_chart_ends_like_the_built_in_manifests(team: Team, with_helm: dict[str, Any]) -> None:
    """Both side by side: the same objects in the cluster, the same verdict and books, nothing left."""
    runs = {"built-in": run_id(), "chart": run_id()}
    more: dict[str, list[str]] = {"built-in": [], "chart": ["--chart", str(CHART)]}
    options = ("--jobs", "2", "--secret", "API_KEY", "--threshold", "failed > 1", "--seed", "7")
    going = {
        name: team.start(
            "run", "load.py:quick", "--run-id", run, "--out", run, *options, *more[name], API_KEY="k", **with_helm
        )
        for name, run in runs.items()
    }
    for name, run in runs.items():
        team.wait_for_phase(run, "running", going[name])
    made = {name: as_made(team, run) for name, run in runs.items()}
    said = {name: process.communicate(timeout=120)[0] for name, process in going.items()}
    assert [process.returncode for process in going.values()] == [1, 1], said
    assert made["chart"] == made["built-in"] and set(made["chart"]) == {"jobs", "configmaps", "secrets"}
    for run in runs.values():
        summary = team.summary(run)
        assert summary["verdict"] == "failed" and summary["generators"]["quick"]["ledger"]["ok"] == 300
    assert team.left_behind() == []


def as_made(team: Team, run: str) -> dict[str, Any]:
    """The objects of a run as the API server has them, without what differs from run to run."""
    found = {}
    for kind in ("jobs", "configmaps", "secrets"):
        obj = next(o for o in team.objects(kind) if o["metadata"]["name"] == f"wasp-{run}")
        obj.pop("status", None)
        for name in VOLATILE:
            obj["metadata"].pop(name, None)
        sync = obj["metadata"]["labels"]["sync"]
        for name in ("start_at", "lead_s"):
            obj.get("data", {}).pop(name, None)
        if kind == "jobs":
            labels = obj["spec"]["template"]["metadata"]["labels"]
            for name in ("batch.kubernetes.io/controller-uid", "controller-uid"):
                labels.pop(name, None)
            obj["spec"].pop("selector")
        text = json.dumps(obj, sort_keys=True)
        found[kind] = json.loads(text.replace(run, "RUN").replace(sync, "SYNC"))
    return found


def test_a_chart_of_n_jobs_runs_to_its_verdict(team: Team, with_helm: dict[str, Any], own_chart: str) -> None:
    """What it leaves out is added; options reach its nodes; another controller goes on where one was killed."""
    chart: dict[str, Any] = {"WASP_CLUSTER_CHART": own_chart, **with_helm}
    values = {"cloud": {"region": "eu"}, **json.loads(team.environment()["WASP_CLUSTER_VALUES"])}
    chart["WASP_CLUSTER_VALUES"] = json.dumps(values)
    digest = hashlib.sha256(b"k").hexdigest()
    run, options = run_id(), ("--jobs", "2", "--secret", "API_KEY", "-e", f"API_KEY_SHA256={digest}")
    done = team.wasp("run", "load.py:secretive", "--out", "out", *options, API_KEY="k", **chart)
    summary = team.passed(done)
    assert len(summary["nodes"]) == 2 and summary["ledger"]["ok"] > 50
    assert team.left_behind() == []
    process = team.start("run", "load.py:quick", "--run-id", run, "--jobs", "2", "-p", "seconds=12", **chart)
    team.wait_for_phase(run, "running", process)
    assert [job["metadata"]["name"] for job in team.objects("jobs")] == [f"wasp-{run}-1", f"wasp-{run}-2"]
    process.kill()
    process.communicate()
    assert team.wasp("status", run).stdout.count("ready") == 2
    attached = team.wasp("attach", run, "--out", "attached")
    assert team.passed(attached, "attached")["generators"]["quick"]["ledger"]["ok"] == 400
    team.wait_for(lambda: team.left_behind() == [], "nothing is left")


def test_the_chart_alone_runs_a_test_to_its_verdict(team: Team) -> None:
    """`helm install` for a team that has only helm: log, exit code, no token in the release, and uninstall leaves nothing."""
    names = {0: f"passes-{run_id()}", 1: f"fails-{run_id()}"}
    secret = {"LOKI_TOKEN": base64.b64encode(TOKEN.encode()).decode()}
    metadata = {"name": "loki-credentials", "namespace": team.namespace}
    team.kubernetes.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": secret})
    team.kubernetes.kubectl("apply", "-n", team.namespace, "-f", str(CHART / "setup.yaml"))
    helm = Helm(team)
    for code, name in names.items():
        order = json.dumps({"thresholds": ["failed > 1"]} if code else {"params": {"rate": "50"}})
        said = helm("install", name, str(CHART), "-f", str(values_file(team, name, order)))
        assert f"logs -f job/wasp-{name}-controller" in said
    for code, name in names.items():
        controller = ended_pod(team, f"wasp-{name}-controller")
        log = team.kubernetes.kubectl("logs", f"job/wasp-{name}-controller", "-n", team.namespace)
        state = controller["status"]["containerStatuses"][0]["state"]["terminated"]
        last = log.strip().splitlines()[-1]
        assert state["exitCode"] == code, log
        assert "LEDGER" in log and last.strip().startswith("FAILED" if code else "PASSED"), log
        nodes = team.kubernetes.kubectl("logs", "-l", f"wasp.dev/run={name}", "-n", team.namespace, "--tail=-1")
        for where, text in (
            ("logs", log + nodes),
            ("release", helm.release(name)),
            ("values", helm("get", "all", name)),
        ):
            assert TOKEN not in text and secret["LOKI_TOKEN"] not in text, where
        assert "loki-credentials" in helm("get", "values", name)
    for name in names.values():
        helm("uninstall", name, "--wait")
    team.wait_for(lambda: team.left_behind() == [], "uninstall leaves nothing", 60)
    assert [s["metadata"]["name"] for s in team.objects("secrets") if "helm" in s["metadata"]["name"]] == []


class Helm:
    """The real helm as the namespace's administrator (a team's rights are those of runs, not of releases)."""

    def __init__(self, team: Team) -> None:
        self._team = team
        self._command = [
            str(tools.built(tools.HELM3)),
            "--kubeconfig",
            str(team.kubernetes.kubeconfig),
            "-n",
            team.namespace,
        ]

    def __call__(self, *arguments: str) -> str:
        """What it printed."""
        done = subprocess.run([*self._command, *arguments], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def release(self, name: str) -> str:
        """All that helm stored of a release."""
        secrets = self._team.objects("secrets")
        stored = next(s for s in secrets if s["metadata"]["name"] == f"sh.helm.release.v1.{name}.v1")
        return gzip.decompress(base64.b64decode(base64.b64decode(stored["data"]["release"]))).decode()


def values_file(team: Team, name: str, order: str) -> Path:
    """Of an installation."""
    path = team.folder / f"{name}.yaml"
    values = {
        "image": IMAGE, "jobs": 2, "test": {"name": "load.py:quick"}, "order": order,
        "env": {"loki": {"url": "http://127.0.0.1:9", "existingSecret": "loki-credentials"}},
        **json.loads(team.environment()["WASP_CLUSTER_VALUES"]),
    }  # fmt: skip
    path.write_text(yaml.safe_dump(values))
    return path


def ended_pod(team: Team, job: str) -> dict[str, Any]:
    """The pod of a Job, once it is over."""

    def found() -> dict[str, Any] | None:
        for pod in team.objects("pods"):
            if pod["metadata"].get("labels", {}).get("job-name") == job:
                return pod if pod["status"]["phase"] in ("Succeeded", "Failed") else None
        return None

    pod: dict[str, Any] = team.wait_for(found, f"{job} ends", 120)
    return pod
