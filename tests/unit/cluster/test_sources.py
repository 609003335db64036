"""A wasp.toml comes with a folder, perhaps a cloned one: how far it is looked for, and what it must not say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wasp_ray.cluster.config import ClusterConfig
from wasp_ray.cluster.place import place_of
from wasp_ray.cluster.sources import from_toml, refused
from wasp_ray.errors import BadInput


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine."""
    for name in list(os.environ):
        if name.startswith("WASP_CLUSTER_"):
            monkeypatch.delenv(name)


def written(folder: Path, text: str) -> Path:
    """A wasp.toml in a folder that is made."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "wasp.toml").write_text(f"[cluster]\n{text}\n")
    return folder / "wasp.toml"


@pytest.mark.parametrize(
    ("git", "files", "found"),
    [
        ("repo/.git/", ["repo/wasp.toml"], "repo/wasp.toml"),
        ("repo/.git", ["repo/wasp.toml"], "repo/wasp.toml"),
        ("repo/.git/", ["repo/wasp.toml", "repo/a/wasp.toml"], "repo/a/wasp.toml"),
        ("repo/.git/", ["wasp.toml"], None),
        ("repo/a/b/.git/", ["repo/wasp.toml"], None),
        (None, ["repo/wasp.toml", "repo/a/wasp.toml"], None),
        (None, ["repo/wasp.toml", "repo/a/b/wasp.toml"], "repo/a/b/wasp.toml"),
    ],
    ids=[
        "the root of the repository", "the root of a worktree or submodule, whose .git is a file", "the nearest one",
        "none outside of the repository", "none outside of a repository within another one",
        "none of a parent without a repository", "that of the folder itself without a repository",
    ],
)  # fmt: skip
def test_a_file_is_looked_for_up_to_the_root_of_the_repository(
    git: str | None, files: list[str], found: str | None, tmp_path: Path
) -> None:
    """From a folder two below; never in a parent outside."""
    here = tmp_path / "repo/a/b"
    here.mkdir(parents=True)
    if git is not None and git.endswith("/"):
        (tmp_path / git).mkdir()
    elif git is not None:
        (tmp_path / git).write_text("gitdir: elsewhere")
    for name in files:
        written((tmp_path / name).parent, "jobs = 3")
    toml = from_toml(here)
    assert (toml.path, toml.options) == ((tmp_path / found, {"jobs": 3}) if found else (None, {}))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_in_a_parent_is_refused(tmp_path: Path) -> None:
    """As in a shared folder that somebody made a repository; where all files have that owner, as in a CI job, it is taken."""
    (tmp_path / ".git").mkdir()
    file = written(tmp_path, 'context = "prod"')
    here = tmp_path / "mine"
    here.mkdir()
    os.chown(file, 65534, 65534)
    toml = from_toml(here)
    assert toml.options == {} and "belongs to another user" in toml.problems[0] and str(file) in toml.problems[0]
    os.chown(here, 65534, 65534)
    assert from_toml(here).options == {"context": "prod"}


EXEC = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: COMMAND, interactiveMode: Never}}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""


@pytest.mark.parametrize("command", [["list"], ["run", "load.py", "--image", "i"], ["stop", "r"], ["setup"]])
def test_no_program_of_a_kubeconfig_that_a_wasp_toml_names_is_run(command: list[str], tmp_path: Path) -> None:
    """Exit 2 with the file and the cure, whatever the command."""
    program = tmp_path / "plugin"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/was-run\n")
    program.chmod(0o755)
    (tmp_path / "config").write_text(EXEC.replace("COMMAND", str(program)))
    file = written(tmp_path, 'kubeconfig = "config"')
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "wasp_ray", "cluster", *command], cwd=tmp_path, capture_output=True, text=True,
        timeout=90, env={**environment, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert not (tmp_path / "was-run").exists()
    assert done.returncode == 2 and f"kubeconfig ({file})" in done.stderr and "--kubeconfig FILE" in done.stderr, (
        done.stderr
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('secrets = {API_KEY = "tok-8f3a"}', "secrets (wasp.toml): expected names"),
        ('secrets = \'{"API_KEY": "tok-8f3a"}\'', "secrets (wasp.toml): expected names"),
        ('values.env.loki.token = "tok-8f3a"', "values.env.loki.token (wasp.toml): expected no secret value"),
        ('values = {"env.loki.basicAuth" = "me:tok-8f3a"}', "values.env.loki.basicAuth (wasp.toml)"),
        ("values = 'secretEnv.API_KEY=tok-8f3a'", "values.secretEnv (wasp.toml)"),
        ('out = "../results"', "out (wasp.toml): expected a path within"),
        ('json_path = "~/.bashrc"', "json_path (wasp.toml): expected a path within"),
        ('build_root = "/etc"', "build_root (wasp.toml): expected a path within"),
        ('chart = "../charts/theirs"', "chart (wasp.toml): expected a path within"),
        ('out = "link/results"', "out (wasp.toml): expected a path within"),
    ],
)
def test_secret_values_and_paths_outside_are_refused_with_the_cure(text: str, problem: str, tmp_path: Path) -> None:
    """By the option's name; no message shows a value that may be secret."""
    repository = tmp_path / "repo"
    written(repository, text)
    (repository / "link").symlink_to(tmp_path)
    (found,) = refused(from_toml(repository))
    assert found.startswith(problem) and "tok-8f3a" not in found
    assert any(cure in found for cure in ("WASP_CLUSTER_", "set API_KEY")), found


def test_what_a_wasp_toml_may_say_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of variables, paths within, registries, a context of one's own; commands for runs take the context, too."""
    written(
        tmp_path,
        """
        namespace = "load"
        context = "ci"
        secrets = ["API_KEY"]
        chart = "oci://registry.example/charts/wasp"
        out = "results"
        image = "i"
        values.env.loki.url = "https://loki.example"
    """,
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("API_KEY", "tok-8f3a")
    config = ClusterConfig(test="load.py")
    assert config.out == tmp_path / "results" and config.context == "ci" and list(config.secrets) == ["API_KEY"]
    place = place_of()
    assert (place.namespace, place.context, place.toml) == ("load", "ci", tmp_path / "wasp.toml")
    assert place_of("other", "mine").toml is None


def test_a_run_can_be_stopped_though_its_wasp_toml_says_what_it_must_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secret values and paths keep a run from being made; only a kubeconfig leads elsewhere and is refused by every command."""
    written(tmp_path, 'namespace = "load"\nout = "/etc"\nsecrets = {A = "b"}')
    monkeypatch.chdir(tmp_path)
    assert place_of().namespace == "load"
    with pytest.raises(BadInput) as caught:
        ClusterConfig(test="load.py", image="i")
    assert [text.partition(" ")[0] for text in caught.value.problems] == ["secrets", "out"]
