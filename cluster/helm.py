"""Renders charts with helm: values go in by stdin, objects come out in memory, nothing is installed and nothing kept.

The one place that starts helm (3 or 4). Never `helm install`: a release stores and prints its values, tokens included. No
secret value is on a command line or in an error.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wasp_ray.cluster.masking import Masker
from wasp_ray.cluster.values import Values
from wasp_ray.cluster.yaml_text import from_yaml, to_yaml
from wasp_ray.errors import BadInput

OLDEST_KUBERNETES: Final = "v1.29.0"
"""backoffLimitPerIndex is on by default from here."""
TIMEOUT_S: Final = 120.0
_OLDEST = (3, 8)
"""oci:// is no experiment from here."""
_VERSION = re.compile(r"v?(\d+)\.(\d+)")
_NOISE = re.compile(r"^(WARNING: |level=(WARN|INFO|DEBUG)|Pulled: |Digest: |walk\.go|coalesce\.go|Use --debug flag)")

_CURES: Final = (
    (r"don't meet the specifications of the schema", "correct the values that are named"),
    (r"incompatible with Kubernetes|kubeVersion", "use a chart for this version of Kubernetes"),
    (
        r"\b401\b|\b403\b|unauthorized|denied|credential not found",
        "log in to the registry with `helm registry login`, or give a chart you may read",
    ),
    ("x509", "name the authority of the registry's certificate in SSL_CERT_FILE, from where helm takes it"),
    ("HTTP response to HTTPS", "fetch the chart with `helm pull --plain-http` and give the archive"),
    (
        r"\b404\b|not found|no such file|failed to fetch|failed to download|could not locate a version|digest mismatch",
        "check the chart's address and version",
    ),
    (r"dial tcp|no such host|timeout|connection refused|TLS", "see that the registry can be reached from here"),
    (r"execution error|template:|parse error|YAML", "correct the chart's templates or the values they are given"),
)


@dataclass(frozen=True, slots=True)
class Helm:
    """A helm that was found."""

    program: str
    version: tuple[int, int]


def find_helm(program: str = "helm") -> Helm:
    """The helm on PATH, or at a path, and its version. Raises BadInput when there is none of use."""
    path = shutil.which(program)
    if path is None:
        raise BadInput(
            f"chart: expected the program {program} (3.8 or later) to render it, found none on PATH: install helm, or leave "
            "chart out, since the built-in manifests need none"
        )
    done = _run([path, "version", "--template", "{{.Version}}"], "", 30.0)
    found = _VERSION.search(done.stdout)
    if done.returncode or found is None:
        raise BadInput(
            f"chart: expected helm 3.8 or later, found {path}, which does not tell its version: install helm"
        )
    version = (int(found[1]), int(found[2]))
    if version < _OLDEST:
        raise BadInput(f"chart: expected helm 3.8 or later, found {found[0]} at {path}: install a later one")
    return Helm(path, version)


def render(
    chart: str,
    values: Values,
    namespace: str,
    *,
    helm: Helm | None = None,
    kube_version: str = OLDEST_KUBERNETES,
    timeout_s: float = TIMEOUT_S,
) -> list[dict[str, Any]]:
    """The objects of a chart for one run, as `helm template` gives them, hooks left out.

    chart: a folder, an archive, or oci://HOST/PATH[:VERSION][@DIGEST]. kube_version: of the API server, as it says it.
    Raises BadInput when helm, the chart or the values are no good; the message names the cure and no secret.
    """
    helm = helm or find_helm()
    _check_there(chart)
    secrets = values.secret_texts()
    command = [helm.program, "template", values.run_label, *_chart_arguments(chart), "-n", namespace, "-f", "-"]
    command += ["--kube-version", kube_version, "--no-hooks"]
    done = _run(command, to_yaml([values.to_chart()]), timeout_s)
    if done.returncode:
        raise BadInput(_trouble(chart, done.stderr, secrets))
    try:
        objects = from_yaml(done.stdout)
    except ValueError as exc:
        raise BadInput(f"chart {chart}: expected YAML from its templates, found {exc}: correct the templates") from None
    problems = problems_of(objects, values)
    if problems:
        raise BadInput([f"chart {chart}: {text}" for text in problems])
    return objects


def problems_of(objects: Iterable[Any], values: Values) -> list[str]:
    """Why these objects cannot be a run: its nodes are the pods with its sync label, as many as there are jobs."""
    pods, problems = 0, []
    for item in objects:
        if not isinstance(item, Mapping) or not item.get("kind") or not (item.get("metadata") or {}).get("name"):
            problems.append(
                f"expected objects with kind and metadata.name, found {type(item).__name__}: correct the template"
            )
        elif item["kind"] == "Job":
            spec = item.get("spec") or {}
            template = spec.get("template") or {}
            labels = (template.get("metadata") or {}).get("labels") or {}
            if labels.get("sync") == values.sync_label:
                pods += spec.get("completions") or spec.get("parallelism") or 1
                problems += _without_container(item["metadata"]["name"], template)
    if pods != values.jobs:
        problems.append(
            f"expected Jobs whose pods have the label sync={values.sync_label}, {values.jobs} pods in all, found {pods}: use "
            "the values sync and jobs in the templates"
        )
    return problems


def _without_container(job: str, template: Mapping[str, Any]) -> list[str]:
    containers = (template.get("spec") or {}).get("containers") or []
    names = [container.get("name") for container in containers]
    if "wasp" in names:
        return []
    return [
        f"expected a container called wasp in Job {job}, by which a node is judged, found {', '.join(map(str, names))}"
    ]


def _chart_arguments(chart: str) -> list[str]:
    """oci:// addresses may end with a tag, which helm wants as --version, and with a digest, which it wants left there."""
    place, at, digest = chart.partition("@")
    address, found, tag = place.rpartition(":")
    if chart.startswith("oci://") and found and "/" not in tag:
        return [address + at + digest, "--version", tag]
    return [chart]


def _check_there(chart: str) -> None:
    """A clear word before helm's, which takes a mistyped path for the name of a repository."""
    if chart.startswith("-"):
        raise BadInput(
            f"chart: expected a path or oci://HOST/PATH, found {chart!r}: write ./{chart} for a folder of that name"
        )
    if "://" in chart:
        return
    path = Path(chart)
    if not path.exists():
        raise BadInput(
            f"chart: expected a chart's folder or archive, or oci://HOST/PATH, found nothing at {chart}: check the path"
        )
    if path.is_dir() and not (path / "Chart.yaml").is_file():
        raise BadInput(
            f"chart: expected a folder with a Chart.yaml, found {chart} without: name the chart's own folder"
        )


def _run(command: list[str], stdin: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if name != "HELM_DEBUG"
    }  # it prints what it renders
    try:
        return subprocess.run(  # noqa: S603  # a list of our own making, no shell
            command,
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        pass
    except OSError as exc:
        raise BadInput(
            f"chart: expected helm to run, found {command[0]} failing: {exc.strerror or exc}: install helm"
        ) from None
    raise BadInput(
        f"chart: expected helm {command[1]} to end within {timeout_s:g} s, found it still at work: see that the chart's "
        "registry can be reached from here"
    )


def _trouble(chart: str, stderr: str, secrets: Iterable[str]) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not _NOISE.match(line)]
    said = Masker(secrets).text(" ".join(lines).removeprefix("Error: ")) or "no reason"
    cure = next((cure for pattern, cure in _CURES if re.search(pattern, said, re.IGNORECASE)), "see what helm says")
    return f"chart {chart}: expected helm to render it, found: {said[:2000]}: {cure}"
