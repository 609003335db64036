"""The programs the harness runs: built through the Go module proxy, or taken from Debian; cached by version.

Owns the list of versions. A build goes to a temporary name and is renamed when it is whole; a lock per program keeps two
runs from building it twice; Go's own caches make an interrupted build go on where it was. Never starts a program.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import modules
from .modules import ModuleFile
from .places import beside, cache_folder, locked
from .progress import run_logged, step

KUBERNETES = "v1.34.4"
BUILD_TIMEOUT_S = modules.TIMEOUT_S
DEBIAN_PACKAGES = (
    "ca-certificates",
    "containerd",
    "containernetworking-plugins",
    "debootstrap",
    "docker.io",
    "iproute2",
    "iptables",
    "openssl",
    "runc",
)


@dataclass(frozen=True)
class GoProgram:
    """A Go program of a published module, the variables its linker sets, and its build tags."""

    name: str
    module: str
    version: str
    package: str
    variables: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def binary(self) -> Path:
        """Where it lies once it is built; its file has the plain name, so its folder can go on PATH."""
        return cache_folder() / "bin" / f"{self.name}-{self.version}" / self.name


def _kubernetes(name: str) -> GoProgram:
    versions = (f"gitVersion={KUBERNETES}", "gitMajor=1", "gitMinor=34", "gitTreeState=clean")
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    variables = tuple(f"{package}.{value}" for package in packages for value in versions)
    return GoProgram(name, "k8s.io/kubernetes", KUBERNETES, f"k8s.io/kubernetes/cmd/{name}", variables)


CONTROL_PLANE = tuple(
    map(_kubernetes, ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"))
)
HELM3 = GoProgram(
    "helm",
    "helm.sh/helm/v3",
    "v3.21.4",
    "helm.sh/helm/v3/cmd/helm",
    (
        "helm.sh/helm/v3/internal/version.version=v3.21.4",
        # Without these helm believes in Kubernetes 1.20.
        "helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1",
        "helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=34",
    ),
)
HELM4 = GoProgram(
    "helm",
    "helm.sh/helm/v4",
    "v4.3.1",
    "helm.sh/helm/v4/cmd/helm",
    ("helm.sh/helm/v4/internal/version.version=v4.3.1",),
)
# Not the one on PyPI (3.5.1): it cannot tell watch caches how far they are, so a watch without a resourceVersion fails after
# 3 s with "Too large resource version" whenever something else was written before it.
ETCD = GoProgram("etcd", "go.etcd.io/etcd/server/v3", "v3.6.16", "go.etcd.io/etcd/server/v3")
KWOK = GoProgram("kwok", "sigs.k8s.io/kwok", "v0.8.0", "sigs.k8s.io/kwok/cmd/kwok")
# For its `registry serve`: a registry in memory that listens on loopback only and builds in seconds.
CRANE = GoProgram(
    "crane",
    "github.com/google/go-containerregistry",
    "v0.22.1",
    "github.com/google/go-containerregistry/cmd/crane",
)
KUBERAY = GoProgram(
    "kuberay",
    "github.com/ray-project/kuberay/ray-operator",
    "v1.6.2",
    "github.com/ray-project/kuberay/ray-operator",
)
KUBERAY_VERSIONS = ("v1.5.1", KUBERAY.version)
"""The oldest that takes the manifest of our guide, and the one that runs here."""
CLUSTER = (ETCD, *CONTROL_PLANE)
ALL = (*CLUSTER, HELM3, HELM4, KWOK, CRANE, KUBERAY)


def prepare() -> None:
    """Gets all that a cluster needs: seconds when the cache is warm, 10 minutes on two cores when it is empty."""
    debian_packages()
    for program in CLUSTER:
        built(program)


def kubernetes_program(name: str) -> Path:
    """The path of one of Kubernetes' own programs, built if need be."""
    return built(next(program for program in CONTROL_PLANE if program.name == name))


def kuberay_definition(version: str, kind: str) -> ModuleFile:
    """What an object of that kind ("rayjobs") is to that version of KubeRay."""
    return ModuleFile(KUBERAY.module, version, f"config/crd/bases/ray.io_{kind}.yaml")


def built(program: GoProgram) -> Path:
    """The path of the program; builds it when the cache lacks it (minutes on two cores).

    Raises:
        HarnessError: no Go, or the build failed; the message ends with the log's last lines.
    """
    if program.binary.exists():
        return program.binary
    what = f"build {program.name} {program.version}"
    with locked(beside(program.binary.parent), BUILD_TIMEOUT_S, doing=what):
        if not program.binary.exists():
            with step(what):
                _build(program)
    return program.binary


def _build(program: GoProgram) -> None:
    go, environment = modules.go(), modules.environment()
    folder = cache_folder() / "go" / f"{program.module.replace('/', '_')}-{program.version}"
    # Programs of one module share its folder.
    with locked(beside(folder), BUILD_TIMEOUT_S, doing=f"build in {folder.name}") as lock:
        log = cache_folder() / "logs" / f"build-{program.name}-{program.version}.log"
        _write_module(go, program, folder, environment)
        program.binary.parent.mkdir(parents=True, exist_ok=True)
        unfinished = program.binary.with_name(f".{program.name}-{os.getpid()}")
        flags = " ".join(["-s -w", *(f"-X {variable}" for variable in program.variables)])
        command = [go, "build", "-trimpath", "-tags", ",".join(program.tags), "-ldflags", flags]
        command += ["-o", str(unfinished), program.package]
        # Built politely: whoever measures on this machine is not to notice. The compiler holds the lock as well: should
        # this process be killed, the next one waits for it and then finds everything in Go's cache.
        run_logged(["nice", "-n", "19", *command], log, BUILD_TIMEOUT_S, cwd=folder, env=environment, keep_open=lock)
        unfinished.replace(program.binary)


def _write_module(go: str, program: GoProgram, folder: Path, environment: dict[str, str]) -> None:
    """A module that requires the program's module, with that module's own requirements and replacements.

    `go install MODULE@VERSION` refuses modules with replacements. Where one is replaced by a folder of the same repository,
    its published version is taken: the required one, or v0.X.Y for Kubernetes v1.X.Y, which requires v0.0.0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plain = folder / "go.mod"
    plain.write_text("module wasp.invalid/build\n")
    source = modules.download(program.module, program.version, folder)
    theirs = json.loads(subprocess.check_output([go, "mod", "edit", "-json", source / "go.mod"], env=environment))
    lines = ["module wasp.invalid/build", f"go {theirs['Go']}", f"require {program.module} {program.version}"]
    required = {needed["Path"]: needed["Version"] for needed in theirs["Require"]}
    lines += [f"require {path} {version}" for path, version in required.items()]
    for replaced in theirs["Replace"] or ():
        old, new = replaced["Old"]["Path"], replaced["New"]
        if "Version" in new:
            lines.append(f"replace {old} => {new['Path']} {new['Version']}")
        elif required.get(old) == "v0.0.0":
            lines.append(f"replace {old} => {old} v0{program.version.removeprefix('v1')}")
    plain.write_text("\n".join(lines) + "\n")
    shutil.copyfile(source / "go.sum", folder / "go.sum")


def debian_packages(wanted: Sequence[str] = DEBIAN_PACKAGES) -> None:
    """Installs with apt-get those of the wanted packages that are missing."""
    status = subprocess.run(
        ["dpkg-query", "-W", "-f", "${binary:Package} ${db:Status-Abbrev}\n", *wanted],
        capture_output=True,
        text=True,
    ).stdout
    there = {line.split()[0].split(":")[0] for line in status.splitlines() if line.endswith("ii ")}
    missing = [name for name in wanted if name not in there]
    if not missing:
        return
    log = cache_folder() / "logs" / "apt.log"
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with (
        locked(cache_folder() / "apt.lock", 900, doing="install Debian packages"),
        step(f"install {' '.join(missing)}"),
    ):
        wait = ["-o", "DPkg::Lock::Timeout=300"]
        run_logged(["apt-get", *wait, "update"], log, 300, env=quiet)
        run_logged(["apt-get", *wait, "install", "-y", "--no-install-recommends", *missing], log, 600, env=quiet)
