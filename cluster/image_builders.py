"""The program that builds images on this machine: which one there is, whether it answers, and running it.

Owns nothing else of images. Commands are lists, never a shell; nothing secret is an argument. Logins for a push are the
program's own (`docker login`).
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wasp_ray.errors import BadInput

ANSWER_TIMEOUT_S = 30.0
END_TIMEOUT_S = 10.0
KEPT_LINES = 25
"""Of a command's output, for an error message."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Builder:
    """`build` is the command up to its options; `push` the one up to a tag, None where a build pushes by itself.

    `platform` is what it builds for unless told otherwise: "linux/amd64".
    """

    name: str
    build: tuple[str, ...]
    push: tuple[str, ...] | None
    platform: str


def find_builder(platform: str | None = None) -> Builder:
    """docker, else docker buildx, else podman; for several platforms at once only buildx.

    Docker and buildx are asked where DOCKER_HOST or docker's context says. Raises BadInput when none is there or answers:
    what was tried, what it said, the cure.
    """
    tried: list[str] = []
    several = platform is not None and "," in platform
    finders: Sequence[Callable[[list[str]], Builder | None]] = (_buildx,) if several else (_docker, _buildx, _podman)
    for find in finders:
        found = find(tried)
        if found is not None:
            return found
    wanted = "docker buildx (for several platforms at once)" if several else "docker, docker buildx or podman"
    raise BadInput(f"expected {wanted} to build an image, found none that works: {'; '.join(tried)}. {_cure(tried)}")


def _docker(tried: list[str]) -> Builder | None:
    program = shutil.which("docker")
    if program is None:
        tried.append("docker is not on PATH")
        return None
    answer, said = _ask([program, "version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"])
    if not answer:
        where = f" (DOCKER_HOST is {os.environ['DOCKER_HOST']})" if os.environ.get("DOCKER_HOST") else ""
        tried.append(f"docker{where} said: {said}")
        return None
    return Builder("docker", (program, "build"), (program, "push"), said)


def _buildx(tried: list[str]) -> Builder | None:
    """The plugin, else the program on its own: it may have a builder elsewhere while no daemon answers here."""
    commands: list[tuple[str, ...]] = []
    if docker := shutil.which("docker"):
        commands.append((docker, "buildx"))
    commands += [(path,) for name in ("docker-buildx", "buildx") if (path := shutil.which(name))]
    for command in commands:
        if not _ask([*command, "version"])[0]:
            continue
        answer, said = _ask([*command, "inspect", "--bootstrap"])
        if answer:
            return Builder("docker buildx", (*command, "build"), None, _native_platform())
        tried.append(f"docker buildx said: {said}")
        return None
    tried.append("docker buildx is not installed")
    return None


def _podman(tried: list[str]) -> Builder | None:
    program = shutil.which("podman")
    if program is None:
        tried.append("podman is not on PATH")
        return None
    answer, said = _ask([program, "info", "--format", "{{.Host.OS}}/{{.Host.Arch}}"])
    if not answer:
        tried.append(f"podman said: {said}")
        return None
    return Builder("podman", (program, "build"), (program, "push"), said)


def _native_platform() -> str:
    machine = platform.machine().lower()
    return f"linux/{_ARCHITECTURES.get(machine, machine)}"


def _ask(command: Sequence[str]) -> tuple[bool, str]:
    """Whether it answered, and the last line of what it said."""
    try:
        done = subprocess.run(  # noqa: S603 - a list, never a shell
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return False, f"nothing within {ANSWER_TIMEOUT_S:.0f} s"
    except OSError as exc:
        return False, str(exc)
    lines = [
        line.strip() for line in (done.stdout if done.returncode == 0 else done.stderr or done.stdout).splitlines()
    ]
    said = next((line for line in reversed(lines) if line), f"nothing, and ended with exit code {done.returncode}")
    return done.returncode == 0 and bool(done.stdout.strip()), said


def _cure(tried: Sequence[str]) -> str:
    text = " ".join(tried).lower()
    if "permission denied" in text:
        return (
            "Your user may not use docker's socket: ask to be added to the group `docker`, or install podman or rootless "
            "docker, which need no rights (an image never needs root)"
        )
    if " said: " in text:
        return (
            "Start it (docker: its service, or Docker Desktop; podman: `podman machine start`), or set DOCKER_HOST to one "
            "that runs"
        )
    return (
        "Install one of them (podman needs neither a daemon nor root), or build on a machine that has one, by `docker build "
        "-f Dockerfile.test`"
    )


def stream(
    command: Sequence[str],
    progress: Callable[[str], None],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> tuple[int, list[str]]:
    """Runs a command, hands on each line it prints, gives its exit code and last lines.

    Whatever ends this early, Ctrl-C above all, ends the command too: SIGINT, after 10 s SIGKILL, to all it started.
    """
    last: deque[str] = deque(maxlen=KEPT_LINES)
    with subprocess.Popen(  # noqa: S603 - a list, never a shell
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        cwd=cwd, env=env, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if text := _COLOURS.sub("", line).rstrip():
                    last.append(text)
                    progress(text)
            return process.wait(), list(last)
        except BaseException:
            _end(process)
            raise


def _end(process: subprocess.Popen[str]) -> None:
    for number in (signal.SIGINT, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        try:
            process.wait(END_TIMEOUT_S)
            return
        except subprocess.TimeoutExpired:
            continue
