"""Real images: by plain docker from the checkout, by `build_image` with and without a network; what they run, what they hide."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from e2e.harness.cluster import Kubernetes

from wasp_ray import __version__
from wasp_ray.cluster.images import build_image

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "cluster"
TOKEN = "t0ken-of-a-private-index"
LOCKED = (
    "run", "--rm", "--network=host", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges",
)  # fmt: skip
pytestmark = pytest.mark.builds

INTERRUPTED = """
import signal, sys
from pathlib import Path
from wasp_ray.cluster.images import build_image
signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells take from what they run in the background
build_image(Path(sys.argv[1]), "image-test:never", network="host", progress=lambda line: None)
"""
NOT_COMPILED = """
import os, sys, node_rate, wasp_ray.cli
for module in list(sys.modules.values()):
    cached = getattr(module, "__cached__", None)
    if cached and module.__file__.startswith(("/load", "/opt/venv")) and not os.path.exists(cached):
        print(cached)
"""
Docker = Callable[..., str]


@pytest.fixture
def docker(kubernetes: Kubernetes, monkeypatch: pytest.MonkeyPatch) -> Docker:
    """Runs docker and gives what it printed; the environment of this process points at the same daemon."""
    if not kubernetes.is_own:
        pytest.skip("a docker daemon of our own comes with our own cluster")
    for name, value in kubernetes.docker_host().items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> str:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def target() -> Iterator[str]:
    """The URL of the examples' server."""
    server = subprocess.Popen(
        [sys.executable, ROOT / "examples" / "target.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None and server.stdin is not None
    yield server.stdout.readline().strip()
    server.stdin.close()
    server.wait(10)
    server.stdout.close()


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """host:port of a server on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def layers(docker: Docker, tag: str) -> list[str]:
    """Their digests, the lowest first."""
    found: list[str] = json.loads(docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", tag))
    return found


def test_plain_docker_builds_from_a_checkout_and_the_image_runs_locked_down(docker: Docker, target: str) -> None:
    """Non-root by number, read-only root, no capabilities, any uid; labels; every module is compiled already."""
    build = ["--build-arg", "BUILD_ROOT=examples/cluster", "--tag", "image-test:plain"]
    docker("build", "--network=host", "--file", str(ROOT / "Dockerfile.test"), *build, str(ROOT))
    assert __version__ in docker(*LOCKED, "image-test:plain", "python", "-m", "wasp_ray", "version")
    config = json.loads(docker("image", "inspect", "--format", "{{json .Config}}", "image-test:plain"))
    assert config["User"].split(":")[0].isdigit() and config["Labels"]["wasp.dev/version"] == __version__
    load = ["wasp", "run", "node_rate.py", "-p", "rate=50", "-p", "seconds=1", "--out", "/tmp/out"]
    assert "PASSED" in docker(*LOCKED, "--env", f"TARGET_URL={target}", "--user=54321:0", "image-test:plain", *load)
    missing = docker(*LOCKED, "--env", "TARGET_URL=x", "image-test:plain", "python", "-c", NOT_COMPILED)
    assert missing.split() == []


def test_an_offline_image_runs_as_a_restricted_pod(
    kubernetes: Kubernetes, namespace: str, docker: Docker, target: str, tmp_path: Path
) -> None:
    """Without a network at build; a change of the test changes the last layer alone; data travels in the image."""
    shutil.copytree(EXAMPLE, tmp_path / "load", ignore=shutil.ignore_patterns("__pycache__", "wasp-runs"))
    lines: list[str] = []
    build_image(tmp_path / "load", "image-test:offline", offline=True, progress=lines.append)
    before = layers(docker, "image-test:offline")
    with (tmp_path / "load" / "data" / "people.csv").open("a") as file:
        file.write("mary,sums\n")
    build_image(tmp_path / "load", "image-test:offline", offline=True, progress=lines.append)
    after = layers(docker, "image-test:offline")
    assert after[:-1] == before[:-1] and after[-1] != before[-1]
    kubernetes.import_into_cluster("image-test:offline")
    kubernetes.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/warn=restricted")
    command = ["wasp", "run", "node_users.py", "-p", "users=2", "-p", "seconds=1", "--out", "/tmp/out"]
    kubernetes.access.request(
        "POST", f"/api/v1/namespaces/{namespace}/pods", pod("image-test:offline", command, target)
    )
    log = log_of_ended(kubernetes, namespace)
    assert "PASSED" in log, log


def pod(image: str, command: list[str], target: str) -> dict[str, Any]:
    """As strict as pod security's `restricted`, but for the host's network, where the target is; no runAsUser."""
    container = {
        "name": "wasp",
        "image": image,
        "imagePullPolicy": "Never",
        "command": command,
        "env": [{"name": "TARGET_URL", "value": target}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    spec = {"restartPolicy": "Never", "hostNetwork": True, "containers": [container]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "load"},
        "spec": {**spec, "volumes": [{"name": "tmp", "emptyDir": {}}]},
    }


def log_of_ended(kubernetes: Kubernetes, namespace: str) -> str:
    """The pod's output once it has succeeded."""
    give_up = time.monotonic() + 60
    phase = ""
    while phase not in ("Succeeded", "Failed"):
        assert time.monotonic() < give_up, kubernetes.kubectl("describe", "-n", namespace, "pod/load")
        time.sleep(0.2)
        phase = kubernetes.access.request("GET", f"/api/v1/namespaces/{namespace}/pods/load")["status"]["phase"]
    text = kubernetes.kubectl("logs", "-n", namespace, "load")
    assert phase == "Succeeded", text
    return text


class PrivateIndex(BaseHTTPRequestHandler):
    """One package, for those who know the token."""

    wheel = Path()
    name = "wasp_e2e_private-1.0-py3-none-any.whl"

    def do_GET(self) -> None:
        """401, 404, the page of the package, or its wheel."""
        wanted = "Basic " + base64.b64encode(f"me:{TOKEN}".encode()).decode()
        body = b""
        if self.headers.get("Authorization") != wanted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic realm=private")
        elif self.path.startswith("/simple/wasp-e2e-private"):
            body = f'<!DOCTYPE html><html><body><a href="/{self.name}">{self.name}</a></body></html>'.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
        elif self.path == f"/{self.name}":
            body = self.wheel.read_bytes()
            self.send_response(200)
        else:
            self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def private_wheel(path: Path) -> None:
    """The smallest wheel there is."""
    info = "wasp_e2e_private-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("wasp_e2e_private.py", "WORD = 'private'\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: wasp-e2e-private\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", f"wasp_e2e_private.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


def test_the_hosts_private_index_serves_the_build_and_its_token_is_not_in_the_image(
    docker: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in its layers, its history, its configuration, nor in what the build printed; a project's package is installed."""
    PrivateIndex.wheel = tmp_path / PrivateIndex.name
    private_wheel(PrivateIndex.wheel)
    load = tmp_path / "load"
    load.mkdir()
    (load / "load.py").write_text("import mine, wasp_e2e_private\nprint(mine.WORD, wasp_e2e_private.WORD)\n")
    (load / "src" / "mine").mkdir(parents=True)
    (load / "src" / "mine" / "__init__.py").write_text("WORD = 'mine'\n")
    (load / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "mine"\nversion = "1"\ndependencies = ["wasp-e2e-private"]\n'
    )
    lines: list[str] = []
    with serving(PrivateIndex) as address:
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"http://me:{TOKEN}@{address}/simple")
        build_image(load, "image-test:private", network="host", progress=lines.append)
    assert docker(*LOCKED, "image-test:private", "python", "load.py").split() == ["mine", "private"]
    told = (
        "".join(lines) + docker("history", "--no-trunc", "image-test:private") + docker("inspect", "image-test:private")
    )
    docker("save", "--output", str(tmp_path / "image.tar"), "image-test:private")
    assert TOKEN not in told
    assert found_in(tmp_path / "image.tar", TOKEN.encode()) == 0
    assert found_in(tmp_path / "image.tar", b"WORD = 'private'") == 1  # layers of an archive are not packed


def found_in(path: Path, text: bytes) -> int:
    """How often a file has it."""
    return path.read_bytes().count(text)


class Silent(BaseHTTPRequestHandler):
    """An index that takes a request and never answers."""

    asked = threading.Event()
    over = threading.Event()

    def do_GET(self) -> None:
        """Until the test is over."""
        self.asked.set()
        self.over.wait(120)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def test_ctrl_c_ends_a_build_and_leaves_no_container(docker: Docker, tmp_path: Path) -> None:
    """pip waits for an index that does not answer."""
    (tmp_path / "requirements.txt").write_text(f"x-{hashlib.sha256(os.urandom(8)).hexdigest()[:8]}\n")
    before = set(docker("ps", "--quiet").split())
    Silent.asked.clear()
    Silent.over.clear()
    with serving(Silent) as address:
        environment = {**os.environ, "PIP_INDEX_URL": f"http://{address}/simple"}
        build = subprocess.Popen([sys.executable, "-P", "-c", INTERRUPTED, str(tmp_path)], env=environment)
        try:
            assert Silent.asked.wait(120)
            mine = set(docker("ps", "--quiet").split()) - before
            assert mine
            build.send_signal(signal.SIGINT)
            assert build.wait(15) != 0
            give_up = time.monotonic() + 15
            while mine & set(docker("ps", "--quiet").split()):
                assert time.monotonic() < give_up, "the build's container still runs"
                time.sleep(0.2)
        finally:
            Silent.over.set()
            build.kill()
            build.wait()
