"""Secrets of a run on a real Kubernetes: they are in its Secret and in the nodes' environment, and nowhere else.

Looked at: command lines of all processes, what commands print, objects, events, logs of pods, bundles, exceptions, releases.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from e2e.harness import tools
from e2e.harness.processes import free_port
from e2e.team import Team, run_id

CHART = str(Path(__file__).parents[2] / "charts" / "wasp")
LOOK_S = 0.03


class Hidden:
    """The secrets of one test, the forms in which they must not be seen, and a run that has them."""

    def __init__(self, team: Team) -> None:
        self.api_key, self.token, password = (f"{kind}-{secrets.token_hex(9)}" for kind in ("key", "tok", "pw"))
        self.basic_auth, self.pull_password = f"me:{password}", f"pull-{secrets.token_hex(9)}"
        whole = (self.api_key, self.token, self.basic_auth, f"robot:{self.pull_password}")
        self.forms = [*whole[:2], password, self.pull_password, *(base64.b64encode(t.encode()).decode() for t in whole)]
        self._team = team

    def assert_not_in(self, text: str | bytes, where: str) -> None:
        """No form of any secret."""
        found = text.decode(errors="replace") if isinstance(text, bytes) else text
        for form in self.forms:
            assert form not in found, f"a secret is in {where}: {found[max(0, found.index(form) - 200) :][:400]}"

    def make_pull_secret(self) -> None:
        """As an administrator gives it to the team; the image is there already, so that nobody asks a registry."""
        auth = base64.b64encode(f"robot:{self.pull_password}".encode()).decode()
        login = {"auths": {"registry.example": {"username": "robot", "password": self.pull_password, "auth": auth}}}
        metadata = {"name": "registry-credentials", "namespace": self._team.namespace}
        data = {".dockerconfigjson": base64.b64encode(json.dumps(login).encode()).decode()}
        self._team.kubernetes.apply({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson", "metadata": metadata, "data": data,
        })  # fmt: skip

    @property
    def environment(self) -> dict[str, Any]:
        """Of a command: the secrets and all values."""
        values = json.loads(self._team.environment()["WASP_CLUSTER_VALUES"])
        values |= {
            "env.loki.url": "http://127.0.0.1:9", "env.loki.token": self.token, "env.loki.basicAuth": self.basic_auth,
            "imagePullSecrets": ["registry-credentials"],
        }  # fmt: skip
        return {"WASP_CLUSTER_VALUES": json.dumps(values), "API_KEY": self.api_key}

    @property
    def arguments(self) -> list[str]:
        """Of `wasp cluster run`: the load checks that its node has every secret, by their hashes."""
        known = {"API_KEY": self.api_key, "LOKI_TOKEN": self.token, "LOKI_BASIC_AUTH": self.basic_auth}
        hashes = [f"{name}_SHA256={hashlib.sha256(value.encode()).hexdigest()}" for name, value in known.items()]
        options = [word for text in ("PLAIN=to-be-seen", *hashes) for word in ("-e", text)]
        return ["run", "load.py:secretive", "--jobs", "1", "--secret", "API_KEY", *options]

    def start(self, run: str, *more: str, **env: str) -> subprocess.Popen[str]:
        """A run with everything that is secret, in the background."""
        return self._team.start(*self.arguments, "--run-id", run, "--out", run, *more, **{**self.environment, **env})


@pytest.fixture
def hidden(team: Team) -> Hidden:
    """Fresh secrets."""
    made = Hidden(team)
    made.make_pull_secret()
    return made


class CommandLines:
    """Looks at the command line of every process of this machine, again and again."""

    def __init__(self, hidden: Hidden) -> None:
        self._forms = [form.encode() for form in hidden.forms]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.seen: set[bytes] = set()
        self.commands: set[bytes] = set()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_S):
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    line = Path("/proc", pid, "cmdline").read_bytes()
                except OSError:
                    continue
                if any(form in line for form in self._forms):
                    self.seen.add(line)
                self.commands.add(line[:300])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if error is None:
            assert self.seen == set()
            assert any(b"cluster" in line and b"secretive" in line for line in self.commands)  # it did look


def objects_and_logs(team: Team) -> Iterator[tuple[str, str]]:
    """All a namespace shows to those who may not read its Secrets; what comes and goes while we look is left out."""
    kinds = "jobs,pods,configmaps,events,leases"
    yield "objects", team.kubernetes.kubectl("get", kinds, "-n", team.namespace, "-o", "json", "--show-managed-fields")
    for pod in team.objects("pods"):
        name = pod["metadata"]["name"]
        yield f"log of {name}", team.kubernetes.kubectl("logs", name, "-n", team.namespace, check=False)


def assert_nothing_shown(team: Team, hidden: Hidden) -> None:
    """Now."""
    for where, text in objects_and_logs(team):
        hidden.assert_not_in(text, where)


def test_nobody_sees_the_secrets_of_a_run(team: Team, hidden: Hidden) -> None:
    """Of one that passes, fails, has the wrong secret, is detached, or whose command crashes in mid-run."""
    runs = {name: run_id() for name in ("passed", "failed", "wrong", "crashed")}
    detached = run_id()
    with CommandLines(hidden):
        assert hidden.start(detached, "--detach").wait(60) == 0
        going = {
            "passed": hidden.start(runs["passed"], "--keep"),
            "failed": hidden.start(runs["failed"], "--threshold", "failed > 1"),
            "wrong": hidden.start(runs["wrong"], "-e", "API_KEY_SHA256=0"),
            "crashed": hidden.start(runs["crashed"], "-p", "seconds=60"),
        }
        team.wait_for_phase(runs["crashed"], "running", going["crashed"])
        assert_nothing_shown(team, hidden)
        kept = {
            run: {s["metadata"]["name"]: s for s in team.objects("secrets")}.get(f"wasp-{run}") for run in runs.values()
        }
        taken = json.dumps({"spec": {"holderIdentity": "somebody else"}})  # by which the command ends with an error
        lease = f"wasp-{runs['crashed']}"
        team.kubernetes.kubectl("patch", "lease", lease, "-n", team.namespace, "--type=merge", "-p", taken)
        said = {name: process.communicate(timeout=120)[0] for name, process in going.items()}
        result = f"wasp-{detached}-result"
        team.wait_for(lambda: result in str(team.objects("configmaps")), "the detached run has its result")
        assert_nothing_shown(team, hidden)
        attached = team.wasp("attach", detached, "--out", detached)
        looked = [
            team.wasp(*words) for words in (["list"], ["status", runs["passed"]], ["logs", runs["passed"], "--all"])
        ]
    codes = {name: process.returncode for name, process in going.items()}
    assert codes == {"passed": 0, "failed": 1, "wrong": 1, "crashed": 4}, said
    assert attached.returncode == 0, attached.stdout + attached.stderr
    for name, text in said.items():
        hidden.assert_not_in(text, f"the output of {name}")
    for done in (attached, *looked):
        assert done.returncode == 0
        hidden.assert_not_in(done.stdout + done.stderr, "the output of a command")
    assert_only_in_the_secret(hidden, kept[runs["crashed"]])
    assert_bundles_silent(team, hidden, [*runs.values(), detached])
    assert "to-be-seen" in json.dumps(team.objects("jobs"))  # a variable of -e is no secret
    assert team.wasp("clean", "--all").returncode == 0
    team.wait_for(lambda: team.left_behind() == [], "nothing is left")


def assert_only_in_the_secret(hidden: Hidden, secret: dict[str, Any] | None) -> None:
    """Whole, and its name is all the Job knows."""
    assert secret is not None and secret["metadata"]["ownerReferences"][0]["kind"] == "Job"
    data = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
    assert data == {"API_KEY": hidden.api_key, "LOKI_TOKEN": hidden.token, "LOKI_BASIC_AUTH": hidden.basic_auth}
    hidden.assert_not_in(json.dumps(secret["metadata"]), "the Secret's metadata")


def assert_bundles_silent(team: Team, hidden: Hidden, runs: list[str]) -> None:
    """Every file of every bundle."""
    files = [path for run in runs for path in (team.folder / run).rglob("*") if path.is_file()]
    assert sum(path.name == "summary.json" for path in files) == len(runs)
    assert any(path.name == "pod.log" for path in files) and any(path.name == "events.log" for path in files)
    for path in files:
        hidden.assert_not_in(path.read_bytes(), str(path))


def test_what_is_printed_instead_of_made_holds_no_secret(team: Team, hidden: Hidden) -> None:
    """Dry runs of manifests and chart, refused options and objects, configurations, exceptions."""
    helm: dict[str, Any] = {"PATH": f"{tools.built(tools.HELM3).parent}:{os.environ['PATH']}"}
    lost = team.access.at(f"https://127.0.0.1:{free_port()}")  # nobody is there
    nowhere = {"KUBECONFIG": str(team.kubernetes.kubeconfig_for(lost, team.folder / "nowhere"))}
    large = {**json.loads(hidden.environment["WASP_CLUSTER_VALUES"]), "secretEnv": {"LARGE": hidden.token * 60_000}}
    with CommandLines(hidden):
        client = subprocess.Popen(
            [sys.executable, "-c", CLIENT], cwd=team.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**team.environment(), **hidden.environment, **nowhere},
        )  # fmt: skip
        dry = [
            team.wasp(*hidden.arguments, "--run-id", "dry", "--dry-run", *more, **{**hidden.environment, **helm})
            for more in ([], ["--chart", CHART])
        ]
        file = team.folder / "large.json"
        file.write_text(json.dumps(large))
        refused = [
            team.wasp(*hidden.arguments, "--values", str(file), **{**hidden.environment, "WASP_CLUSTER_VALUES": "{}"}),
            team.wasp(*hidden.arguments[:4], WASP_CLUSTER_SECRETS=f"API_KEY={hidden.api_key}"),
            team.wasp(*hidden.arguments, "--set", "env.loki.existingSecret=also", **hidden.environment),
        ]
        said = client.communicate(timeout=90)[0]
    for done in dry:
        assert done.returncode == 0 and "kind: Secret" in done.stdout and "to-be-seen" in done.stdout, done.stderr
        assert '"***"' in done.stdout
    assert [done.returncode for done in refused] == [2, 2, 2], [done.stderr for done in refused]
    assert "LARGE" in refused[0].stderr or "Too long" in refused[0].stderr, refused[0].stderr
    for done in (*dry, *refused):
        hidden.assert_not_in(done.stdout + done.stderr, "the output of a command")
    assert "does not answer as it should" in said and "SecretStr('**********')" in said, said
    hidden.assert_not_in(said, "an exception")
    assert team.left_behind() == []


CLIENT = """
import os, traceback
from wasp_ray.cluster import ClusterConfig, ClusterProfile
config = ClusterConfig(test="load.py:secretive", secrets={"API_KEY": os.environ["API_KEY"]})
print(config, repr(config), config.model_dump(), config.values)
try:
    ClusterProfile(config).run().raise_for_verdict()
except Exception as exc:
    traceback.print_exc()
    print(repr(exc), exc.args)
"""
