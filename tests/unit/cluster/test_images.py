"""The image of a test: what goes into its context, which program builds it, and that no secret is an argument."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest

from wasp_ray import BadInput, NodeFailed, __version__
from wasp_ray.cluster import image_packages, images
from wasp_ray.cluster.image_builders import find_builder, stream
from wasp_ray.cluster.image_context import make_context
from wasp_ray.cluster.image_packages import Target, gather_wheels, host_settings, target_of
from wasp_ray.cluster.image_wheel import copy_dockerfile, repacked, wasp_wheel
from wasp_ray.cluster.images import build_image

SECRET = "s3cr3t-t0ken"
FAKE = """#!{python}
import json, os, shutil, sys
answers = json.loads({answers!r})
with open({log!r}, "a") as file:
    file.write(json.dumps([{name!r}, *sys.argv[1:]]) + chr(10))
command = " ".join(sys.argv[1:])
if "--file" in sys.argv:
    shutil.copytree(sys.argv[-1], {context!r}, symlinks=True, dirs_exist_ok=True)
for start, (code, out, err) in answers.items():
    if command.startswith(start):
        print(out)
        print(err, file=sys.stderr)
        sys.exit(code)
sys.exit(0)
"""
DOCKER_ANSWERS = {"version": [0, "linux/amd64", ""]}
NO_DAEMON = [1, "", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"]
NO_RIGHT = [1, "", "permission denied while trying to connect to the Docker daemon socket"]
NO_PLUGIN = [1, "", "docker: unknown command: docker buildx"]


class Programs:
    """A PATH with programs that answer as told and write down what they were asked."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log, self.context = folder / "bin", folder / "calls", folder / "context"
        self.folder.mkdir()

    def add(self, name: str, answers: dict[str, Any]) -> None:
        """`answers`: what a command line begins with, and [exit code, stdout, stderr]; others succeed."""
        text = FAKE.format(
            python=sys.executable, answers=json.dumps(answers), log=str(self.log), name=name, context=str(self.context)
        )
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o755)

    def calls(self) -> list[list[str]]:
        """In their order."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def build(self) -> list[str]:
        """The one call that built."""
        (call,) = [call for call in self.calls() if "--file" in call]
        return call


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """An empty PATH to begin with."""
    out = Programs(tmp_path)
    monkeypatch.setenv("PATH", str(out.folder))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return out


@pytest.fixture
def load(tmp_path: Path) -> Path:
    """The folder of a small test."""
    folder = tmp_path / "load"
    (folder / "data").mkdir(parents=True)
    (folder / "load.py").write_text("profile = None\n")
    (folder / "data" / "people.csv").write_text("name\nada\n")
    return folder


def names(folder: Path) -> set[str]:
    """All files and links below it."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()}


def nothing(_line: str) -> None:
    """A progress nobody reads."""


# -- context


def test_junk_and_secrets_stay_out_of_the_context_and_secrets_are_told(load: Path, tmp_path: Path) -> None:
    """Whatever their depth; a virtual environment of any name is junk."""
    for name in (
        ".git/HEAD", ".venv/x", ".venv-3.12/x", "env/pyvenv.cfg", "wasp-runs/1/summary.json", "data/__pycache__/a.pyc", "b.pyc",
        ".env", "data/.env.local", ".aws/credentials", "node_modules/a.js", ".wasp-image/old",
    ):  # fmt: skip
        (load / name).parent.mkdir(parents=True, exist_ok=True)
        (load / name).write_text("x")
    (tmp_path / "out").mkdir()
    made = make_context(load, tmp_path / "out")
    assert names(made.folder) == {"load.py", "data/people.csv"}
    assert (made.files, made.size_bytes) == (2, 24)
    assert [text.split()[0] for text in made.left_out] == [".aws", ".env", "data/.env.local"]


def test_links_are_kept_inside_the_folder_and_never_followed_out_of_it(load: Path, tmp_path: Path) -> None:
    """Also when they lead out by way of another link, or are absolute."""
    (tmp_path / "outside.txt").write_text("not yours")
    (tmp_path / "beside").mkdir()
    (load / "inside").symlink_to("data/people.csv")
    (load / "absolute").symlink_to(load / "data")
    (load / "out").symlink_to(tmp_path / "outside.txt")
    (load / "data" / "up").symlink_to("../../beside")
    (load / "chain").symlink_to("out")
    (load / "dangling").symlink_to("nowhere")
    (tmp_path / "copy").mkdir()
    made = make_context(load, tmp_path / "copy")
    assert names(made.folder) == {"load.py", "data/people.csv", "inside", "absolute"}
    assert (
        (made.folder / "inside").read_text() == (made.folder / "absolute" / "people.csv").read_text() == "name\nada\n"
    )
    assert os.readlink(made.folder / "absolute") == "data"
    assert made.left_out == [
        "chain is a link out of the folder: copy what it points to",
        "dangling is a link to nothing",
        "out is a link out of the folder: copy what it points to",
        "data/up is a link out of the folder: copy what it points to",
    ]


def test_a_dockerignore_holds_but_for_what_the_build_needs(load: Path, tmp_path: Path) -> None:
    """The user's own file stays as it is."""
    (load / ".dockerignore").write_text("*\n!load.py")
    (tmp_path / "out").mkdir()
    made = make_context(load, tmp_path / "out")
    assert (made.folder / ".dockerignore").read_text() == "*\n!load.py\n!.wasp-image\n!.wasp-image/**\n"
    assert (load / ".dockerignore").read_text() == "*\n!load.py"


def test_a_socket_is_left_out_and_an_unreadable_file_is_refused(load: Path, tmp_path: Path) -> None:
    """The second by name, if there can be one: root reads all."""
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(load)  # a socket's path is short
        try:
            listener.bind("a.sock")
        finally:
            os.chdir(here)
        (tmp_path / "out").mkdir()
        made = make_context(load, tmp_path / "out")
    assert made.left_out == ["a.sock is neither a file nor a folder"]
    if os.geteuid() != 0:
        (load / "data" / "people.csv").chmod(0)
        (tmp_path / "again").mkdir()
        with pytest.raises(BadInput, match=r"found 1 that cannot: data/people\.csv"):
            make_context(load, tmp_path / "again")


# -- builder


@pytest.mark.parametrize(
    ("there", "platform", "name"),
    [
        ({"docker": DOCKER_ANSWERS, "podman": {"info": [0, "linux/arm64", ""]}}, None, "docker"),
        ({"docker": {"version": NO_DAEMON, "buildx": [0, "ok", ""]}}, None, "docker buildx"),
        ({"buildx": {"": [0, "ok", ""]}}, None, "docker buildx"),
        (
            {"docker": {"version": NO_DAEMON, "buildx": NO_PLUGIN}, "podman": {"info": [0, "linux/arm64", ""]}},
            None,
            "podman",
        ),
        ({"podman": {"info": [0, "linux/arm64", ""]}}, None, "podman"),
        ({"docker": {**DOCKER_ANSWERS, "buildx": [0, "ok", ""]}}, "linux/amd64,linux/arm64", "docker buildx"),
    ],
)
def test_docker_comes_before_buildx_before_podman(
    programs: Programs, there: dict[str, Any], platform: str | None, name: str
) -> None:
    """The first that answers; several platforms at once take buildx."""
    for program, answers in there.items():
        programs.add(program, answers)
    found = find_builder(platform)
    assert found.name == name
    assert (found.push is None) == (name == "docker buildx")
    assert found.platform == {"docker": "linux/amd64", "podman": "linux/arm64"}.get(name, found.platform)


@pytest.mark.parametrize(
    ("there", "said", "cure"),
    [
        ({}, "docker is not on PATH; docker buildx is not installed; podman is not on PATH", "Install one of them"),
        (
            {"docker": {"version": NO_DAEMON, "buildx": NO_PLUGIN}},
            "docker said: Cannot connect to the Docker daemon",
            "Start it",
        ),
        ({"docker": {"version": NO_RIGHT, "buildx": NO_PLUGIN}}, "docker said: permission denied", "group `docker`"),
        (
            {"podman": {"info": [125, "", "cannot connect to Podman"]}},
            "podman said: cannot connect",
            "podman machine start",
        ),
    ],
)
def test_when_none_works_all_that_was_tried_is_told_with_the_cure(
    programs: Programs, there: dict[str, Any], said: str, cure: str
) -> None:
    """One message."""
    for program, answers in there.items():
        programs.add(program, answers)
    with pytest.raises(BadInput) as caught:
        find_builder()
    assert said in str(caught.value) and cure in str(caught.value)


def test_docker_host_is_named_when_nobody_answers_there(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is often the cause."""
    programs.add("docker", {"version": NO_DAEMON, "buildx": NO_PLUGIN})
    monkeypatch.setenv("DOCKER_HOST", "tcp://builder.example:2376")
    with pytest.raises(BadInput, match=r"DOCKER_HOST is tcp://builder\.example:2376"):
        find_builder()


def test_whatever_ends_a_build_early_ends_its_program(tmp_path: Path) -> None:
    """As Ctrl-C does: SIGINT reaches it, and it is gone when the exception arrives."""
    program = (
        "import os, signal, sys, time\n"
        "def end(*_): open(sys.argv[1], 'w').write('interrupted'); os._exit(1)\n"
        "signal.signal(signal.SIGINT, end)\n"
        "print(os.getpid(), flush=True)\n"
        "for _ in range(600): time.sleep(0.05)\n"  # a signal just before one long sleep would wait for its end
    )
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream([sys.executable, "-c", program, str(tmp_path / "told")], interrupt)
    assert (tmp_path / "told").read_text() == "interrupted"
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


# -- build


def test_a_build_names_folder_and_version_and_hands_on_each_line(
    programs: Programs, load: Path, tmp_path: Path
) -> None:
    """The context has the folder, the Dockerfile and the wheel; a push follows."""
    programs.add(
        "docker",
        {**DOCKER_ANSWERS, "build": [0, "Step 1/9\n\n\x1b[91mStep 2/9\x1b[0m", ""], "push": [0, "latest: digest", ""]},
    )
    lines: list[str] = []
    build_image(load / "data", "registry.example:5000/team/t:1", push=True, context=load, progress=lines.append)
    call = programs.build()
    assert call[1] == "build" and call[call.index("--tag") + 1] == "registry.example:5000/team/t:1"
    assert {"BUILD_ROOT=data", f"WASP_VERSION={__version__}"} <= set(call)
    assert "--network" not in call and "--push" not in call
    assert programs.calls()[-1] == ["docker", "push", "registry.example:5000/team/t:1"]
    assert lines[-4:] == ["context: 2 files, 24 B", "Step 1/9", "Step 2/9", "latest: digest"]
    assert {"load.py", "data/people.csv", ".wasp-image/Dockerfile"} <= names(programs.context)
    assert [
        name for name in names(programs.context) if re.fullmatch(r"\.wasp-image/wasp_ray-.*-py3-none-any\.whl", name)
    ]
    assert not Path(call[-1]).exists()


def test_indexes_and_passwords_travel_in_a_file_and_never_as_an_argument(
    programs: Programs, load: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip's settings, its certificates, and the proxy, whose value the builder takes from the environment."""
    programs.add("docker", DOCKER_ANSWERS)
    (tmp_path / "ca.pem").write_text("a certificate")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"https://me:{SECRET}@one.example/simple https://two.example/simple")
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{SECRET}@proxy.example:3128")
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "ca.pem"))
    lines: list[str] = []
    build_image(load, "t", progress=lines.append)
    call = programs.build()
    assert SECRET not in programs.log.read_text() and SECRET not in "".join(lines)
    assert {"PIP_CONF=.wasp-image/pip.conf", "CA_BUNDLE=.wasp-image/ca.crt", "HTTPS_PROXY"} <= set(call)
    conf = (programs.context / ".wasp-image" / "pip.conf").read_text()
    assert f"extra-index-url = https://me:{SECRET}@one.example/simple\n    https://two.example/simple\n" in conf
    assert (programs.context / ".wasp-image" / "ca.crt").read_text() == "a certificate"


def test_an_offline_build_has_a_wheelhouse_and_no_network(
    programs: Programs, load: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And none of pip's settings."""

    def gather(
        _root: Path, wheelhouse: Path, wasp: Path, extras: str, target: Target, progress: Callable[[str], None]
    ) -> None:
        (wheelhouse / "a-1-py3-none-any.whl").write_text(f"{wasp.name}{extras} {target.machine}")

    monkeypatch.setattr(images, "gather_wheels", gather)
    programs.add("docker", DOCKER_ANSWERS)
    build_image(load, "t", offline=True, platform="linux/arm64", progress=nothing)
    call = programs.build()
    assert call[call.index("--network") + 1] == "none" and call[call.index("--platform") + 1] == "linux/arm64"
    assert "WHEELHOUSE=.wasp-image/wheelhouse" in call
    assert not [word for word in call if word.startswith(("PIP_CONF", "CA_BUNDLE", "HTTP"))]
    assert "aarch64" in (programs.context / ".wasp-image" / "wheelhouse" / "a-1-py3-none-any.whl").read_text()


@pytest.mark.parametrize(("isolation", "wants_none"), [("oci", True), ("chroot", False)])
def test_podman_in_a_container_builds_offline_too(
    programs: Programs, load: Path, monkeypatch: pytest.MonkeyPatch, isolation: str, wants_none: bool
) -> None:
    """Isolated by chroot it refuses every network but the host's; pip asks no index either way."""
    monkeypatch.setattr(images, "gather_wheels", lambda *_: None)
    monkeypatch.setenv("BUILDAH_ISOLATION", isolation)
    programs.add("podman", {"info": [0, "linux/amd64", ""]})
    build_image(load, "t", offline=True, progress=nothing)
    assert ("none" in programs.build()) == wants_none


def test_long_lines_of_a_failed_build_keep_their_end(programs: Programs, load: Path) -> None:
    """Builders repeat the whole instruction before they say what was wrong."""
    programs.add("docker", {**DOCKER_ANSWERS, "build": [1, "", "RUN " + "x" * 5000 + ": the cause"]})
    with pytest.raises(NodeFailed, match="the cause") as caught:
        build_image(load, "t", progress=nothing)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] ...", "set PIP_CERT"),
        ("Temporary failure in name resolution", "the build reaches no package index"),
        ("pull access denied for python, repository does not exist", "the Python image cannot be pulled"),
        ("write /x: no space left on device", "free space"),
    ],
)
def test_a_failed_build_says_how_it_ended_and_what_helps(programs: Programs, load: Path, said: str, cure: str) -> None:
    """With the builder's last words."""
    programs.add("docker", {**DOCKER_ANSWERS, "build": [1, "Step 1/9", said]})
    with pytest.raises(NodeFailed, match="docker could not build t: it ended with exit code 1") as caught:
        build_image(load, "t", progress=nothing)
    assert said in str(caught.value) and f"Cure: {cure}" in str(caught.value)


def test_all_problems_of_the_input_are_told_before_anything_is_tried(load: Path, tmp_path: Path) -> None:
    """A folder that is not there, one outside of the context, and names that are none."""
    for tag in ("Team/x", "x:", "-x", "a b", "x@sha256:0", "x:1;rm"):
        with pytest.raises(BadInput) as caught:
            build_image(tmp_path / "none", tag, progress=nothing)
        assert len(caught.value.problems) == 2 and "found nothing there" in caught.value.problems[0]
    with pytest.raises(BadInput, match="found one outside of it"):
        build_image(tmp_path, "t", context=load, progress=nothing)


# -- packages


def test_wheels_are_asked_for_the_image_and_not_for_this_machine() -> None:
    """Python, machine and the newest glibc come from the image's name and the platform; conditions see the same."""
    target = target_of("mirror.example/library/python:3.12-slim-bookworm", "linux/arm64/v8")
    assert target == Target("3.12", "aarch64", 36)
    options = target.options()
    assert {"cp312", "3.12", "manylinux_2_36_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"} <= set(
        options
    )
    assert not [word for word in options if "x86_64" in word or "2_37" in word or "manylinux1" in word]
    assert target.markers()["python_version"] == "3.12" and target.markers()["platform_machine"] == "aarch64"
    assert not target.is_host()


@pytest.mark.parametrize(
    ("image", "platform", "problem"),
    [
        ("company/base:7", "linux/amd64", "whose name has its version"),
        ("python:3.11-alpine", "linux/amd64", "with glibc"),
        ("python:3.11-slim", "windows/amd64", "linux/amd64 or linux/arm64"),
        ("python:3.11-slim", "linux/s390x", "linux/amd64 or linux/arm64"),
    ],
)
def test_a_target_that_cannot_be_served_is_refused(image: str, platform: str, problem: str) -> None:
    """With what would do."""
    with pytest.raises(BadInput, match=problem):
        target_of(image, platform)


@pytest.mark.parametrize("line", ["-e .", "./lib", "--editable lib", "file:lib"])
def test_what_needs_a_build_in_the_image_is_refused_offline(load: Path, tmp_path: Path, line: str) -> None:
    """It would ask an index for a build backend."""
    (load / "requirements.txt").write_text(f"aiohttp\n{line}\n")
    with pytest.raises(BadInput, match="expected names of packages") as caught:
        gather_wheels(load, tmp_path, tmp_path / "w.whl", "", Target("3.11", "x86_64", 36), nothing)
    assert repr(line) in str(caught.value)


@pytest.mark.parametrize("has_hashes", [False, True])
def test_one_call_of_pip_resolves_all_unless_hashes_are_demanded(
    load: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_hashes: bool
) -> None:
    """With hashes pip takes nothing without one, and the wheel of wasp_ray has none."""
    calls: list[list[str]] = []

    def record(command: list[str], _progress: object, *, cwd: Path) -> tuple[int, list[str]]:
        calls.append(command[command.index("download") :])
        return 0, []

    monkeypatch.setattr(image_packages, "stream", record)
    (load / "requirements.txt").write_text("-r base.txt\n")
    (load / "base.txt").write_text("a==1 --hash=sha256:00\n" if has_hashes else "a==1\n")
    wasp = tmp_path / "w.whl"
    gather_wheels(load, tmp_path, wasp, "[cluster]", Target("3.11", "x86_64", 36), nothing)
    assert [f"{wasp}[cluster]" in call for call in calls] == ([False, True] if has_hashes else [True])
    assert ["-r" in call for call in calls] == ([True, False] if has_hashes else [True])


def test_pips_settings_come_from_its_files_and_its_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable wins; what only holds on this machine stays here."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://a.example\ntrusted-host = a.example\nfind-links = /here\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_INDEX_URL", "https://b.example")
    found = host_settings()
    assert (found["index-url"], found["trusted-host"]) == ("https://b.example", "a.example")
    assert "find-links" not in found


# -- wasp_ray itself


def test_the_wheel_of_an_installed_wasp_ray_is_the_one_it_was_installed_from(tmp_path: Path) -> None:
    """File by file; it installs and runs."""
    first = wasp_wheel(made(tmp_path / "first"), nothing)
    install(first, tmp_path / "a")
    (info,) = (tmp_path / "a").glob("wasp_ray-*.dist-info")
    second = repacked(Distribution.at(info), made(tmp_path / "second"))
    assert second.name == first.name
    install(second, tmp_path / "b")
    written = (f"{info.name}/RECORD", f"{info.name}/direct_url.json")
    trees = [
        {n: (folder / n).read_bytes() for n in names(folder) - set(written)}
        for folder in (tmp_path / "a", tmp_path / "b")
    ]
    assert trees[0] == trees[1] and "wasp_ray/cluster/images.py" in trees[1]
    again = repacked(Distribution.at(info), made(tmp_path / "again"))
    assert again.read_bytes() == second.read_bytes()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "wasp_ray", "version"], env={**os.environ, "PYTHONPATH": str(tmp_path / "b")},
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert __version__ in done.stdout, done.stderr


def test_an_installation_with_a_file_missing_is_refused_by_name(tmp_path: Path) -> None:
    """A wheel with less in it would fail in the pod."""
    install(wasp_wheel(made(tmp_path / "first"), nothing), tmp_path / "a")
    (info,) = (tmp_path / "a").glob("wasp_ray-*.dist-info")
    (tmp_path / "a" / "wasp_ray" / "clock.py").unlink()
    with pytest.raises(BadInput, match=r"found no wasp_ray/clock\.py .* install it again"):
        repacked(Distribution.at(info), tmp_path)
    (info / "RECORD").unlink()
    with pytest.raises(BadInput, match="found no WHEEL and RECORD"):
        repacked(Distribution.at(info), tmp_path)


def test_the_dockerfile_says_what_the_code_says(tmp_path: Path) -> None:
    """Whoever uses it alone gets the same image."""
    copy_dockerfile(tmp_path / "Dockerfile")
    text = (tmp_path / "Dockerfile").read_text()
    assert set(re.findall(r"^ARG WASP_VERSION=(.*)$", text, re.MULTILINE)) == {__version__}
    assert re.findall(r"^ARG PYTHON_IMAGE=(.*)$", text, re.MULTILINE) == [images.PYTHON_IMAGE]
    assert re.findall(r"^ARG WASP_EXTRAS=(.*)$", text, re.MULTILINE) == [images.EXTRAS]
    assert re.search(r"^USER \d+", text, re.MULTILINE)


def made(folder: Path) -> Path:
    """A new folder."""
    folder.mkdir()
    return folder


def install(wheel: Path, folder: Path) -> None:
    """By pip, without what it requires."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--no-index"]
    subprocess.run([*command, "--target", str(folder), str(wheel)], check=True, timeout=120)
