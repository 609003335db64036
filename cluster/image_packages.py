"""What the host's pip knows and can get: its index settings for a build, or all wheels for a build without a network.

Owns the translation of an image's platform into pip's words. Settings travel as files of the context that only stages read
which are not part of the image; no value of theirs is an argument, a build argument or a message.
"""

from __future__ import annotations

import ast
import json
import os
import platform as host
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from wasp_ray.cluster.image_builders import stream
from wasp_ray.errors import BadInput, NodeFailed

SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")
CA_VARIABLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "x86_64": "x86_64", "aarch64": "aarch64"}
GLIBC = {"bullseye": 31, "bookworm": 36, "trixie": 41}
OLDEST_GLIBC = {"x86_64": 5, "aarch64": 17}
# pip judges `; python_version < "3.12"` by the Python it runs on, whatever it downloads for (pip's issue 11664, open).
PIP_FOR_TARGET = """
import json, sys
from pip._vendor.packaging import markers
host, target = markers.default_environment, json.loads(sys.argv[1])
markers.default_environment = lambda: {**host(), **target}
from pip._internal.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


@dataclass(frozen=True)
class Target:
    """Whose wheels are wanted: `python` "3.11", `machine` "x86_64", `glibc` the newest 2.N they may need."""

    python: str
    machine: str
    glibc: int

    def is_host(self) -> bool:
        """What is built here runs there."""
        same = sys.platform == "linux" and MACHINES.get(host.machine()) == self.machine
        return same and "{}.{}".format(*sys.version_info) == self.python

    def options(self) -> list[str]:
        """For `pip download`."""
        number = self.python.replace(".", "")
        tags = [f"manylinux_2_{n}_{self.machine}" for n in range(self.glibc, OLDEST_GLIBC[self.machine] - 1, -1)]
        tags += [f"manylinux2014_{self.machine}", f"linux_{self.machine}"]
        tags += [f"manylinux{year}_{self.machine}" for year in ("2010", "1") if self.machine == "x86_64"]
        out = ["--only-binary=:all:", "--implementation", "cp", "--python-version", self.python, "--abi", f"cp{number}"]
        return [*out, *(word for tag in tags for word in ("--platform", tag))]

    def markers(self) -> dict[str, str]:
        """What `;` conditions of requirements see there."""
        return {
            "implementation_name": "cpython", "implementation_version": f"{self.python}.0", "os_name": "posix",
            "platform_machine": self.machine, "platform_python_implementation": "CPython", "platform_system": "Linux",
            "python_full_version": f"{self.python}.0", "python_version": self.python, "sys_platform": "linux",
        }  # fmt: skip


def target_of(python_image: str, platform: str) -> Target:
    """From the names. Raises BadInput when they do not say it."""
    found = re.search(r"python[^:/@]*:(\d+\.\d+)", python_image)
    if found is None:
        raise BadInput(
            f"--offline: expected a Python image whose name has its version, as python:3.11-slim-bookworm, found {python_image}"
        )
    if "alpine" in python_image:
        raise BadInput(
            f"--offline: expected an image with glibc (Debian), found {python_image}: use one, or build online"
        )
    system, _, rest = platform.partition("/")
    machine = MACHINES.get(rest.partition("/")[0])
    if system != "linux" or machine is None:
        raise BadInput(f"--offline: expected --platform linux/amd64 or linux/arm64, found {platform}")
    glibc = next((n for name, n in GLIBC.items() if name in python_image), min(GLIBC.values()))
    return Target(found[1], machine, glibc)


def gather_wheels(
    root: Path, wheelhouse: Path, wasp: Path, extras: str, target: Target, progress: Callable[[str], None]
) -> None:
    """Fills `wheelhouse` with all that wasp_ray (its wheel) and the test in `root` require on `target`.

    If the test is a project to be installed, its wheel goes to the folder `project` beside. Raises BadInput for what cannot
    be gathered, NodeFailed with pip's last lines.
    """
    _check_pip("--offline")
    wanted, has_hashes = _requirements(root, wheelhouse)
    project = _project_wheel(root, wheelhouse, progress)
    own = [f"{wasp}{extras}", *([str(project)] if project else [])]
    rounds = [wanted, own] if has_hashes else [[*wanted, *own]]
    for arguments in rounds:
        _gather(root, wheelhouse, ["--find-links", str(wasp.parent), *arguments], target, progress)
    (wheelhouse / "pyproject.txt").unlink(missing_ok=True)


def _requirements(root: Path, wheelhouse: Path) -> tuple[list[str], bool]:
    """Arguments for pip, and whether hashes are demanded: then pip takes nothing without one in the same call."""
    file = root / "requirements.txt"
    if file.is_file():
        text = file.read_text(encoding="utf-8")
        local = re.search(r"^\s*(-e\b|--editable\b|\.|file:).*", text, re.MULTILINE)
        if local:
            raise BadInput(
                f"--offline: expected names of packages in {file}, found {local[0].strip()!r}, which is built in the image and "
                "needs a network: list a wheel of it, or build online"
            )
        others = [path for path in root.glob("*.txt") if path.is_file()]  # `-r` may name them
        return ["-r", str(file)], any(
            "--hash=" in path.read_text(encoding="utf-8", errors="replace") for path in others
        )
    needed = _pyproject(root).get("project", {}).get("dependencies", [])
    if not needed:
        return [], False
    listed = wheelhouse / "pyproject.txt"
    listed.write_text("\n".join(needed) + "\n", encoding="utf-8")
    return ["-r", str(listed)], False


def _pyproject(root: Path) -> dict[str, Any]:
    file = root / "pyproject.toml"
    if not file.is_file():
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as exc:
        raise BadInput(f"{file} cannot be read: {exc}") from exc


def _project_wheel(root: Path, wheelhouse: Path, progress: Callable[[str], None]) -> Path | None:
    if (root / "requirements.txt").is_file() or "build-system" not in _pyproject(root):
        return None
    folder = wheelhouse.parent / "project"
    folder.mkdir()
    _pip(["wheel", "--no-deps", "--wheel-dir", str(folder), str(root)], root, progress)
    return next(folder.glob("*.whl"))


def _gather(
    root: Path, wheelhouse: Path, arguments: list[str], target: Target, progress: Callable[[str], None]
) -> None:
    """Ready wheels for the target; where that fails and this machine is like it, what has none is built here."""
    command = [sys.executable, "-c", PIP_FOR_TARGET, json.dumps(target.markers())]
    command += ["download", "--dest", str(wheelhouse), *target.options(), *arguments]
    code, last = stream(command, progress, cwd=root)
    if code == 0:
        return
    if not target.is_host():
        lines = "\n".join(last)
        raise NodeFailed(
            f"--offline: pip found no wheels of all that is required for Python {target.python} on {target.machine} (exit code "
            f"{code}); what has no wheel can only be built on such a machine:\n{lines}"
        )
    progress("not everything has a wheel: building what has none")
    _pip(["wheel", "--wheel-dir", str(wheelhouse), *arguments], root, progress)


def _pip(arguments: Sequence[str], cwd: Path, progress: Callable[[str], None]) -> None:
    code, last = stream([sys.executable, "-m", "pip", *arguments], progress, cwd=cwd)
    if code:
        lines = "\n".join(last)
        raise NodeFailed(f"pip {arguments[0]} ended with exit code {code}; its last lines:\n{lines}")


def _check_pip(why: str) -> None:
    if find_spec("pip") is None:
        raise BadInput(
            f"{why}: expected pip in {sys.executable}, found none: `{sys.executable} -m ensurepip`, or `uv pip install pip`"
        )


def host_settings() -> dict[str, str]:
    """pip's settings on this machine, from its files and PIP_* variables, as far as they hold elsewhere."""
    if find_spec("pip") is None:
        variables = {name: os.environ.get("PIP_" + name.upper().replace("-", "_"), "") for name in (*SETTINGS, "cert")}
        return {name: value for name, value in variables.items() if value}
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)  # noqa: S603 - a list
    sections = ("global", "install", ":env:")  # a later one wins
    found: dict[tuple[int, str], str] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if name in (*SETTINGS, "cert") and section in sections:
            found[sections.index(section), name] = str(ast.literal_eval(value))
    return {name: value for (_, name), value in sorted(found.items())}


def write_settings(folder: Path) -> dict[str, str]:
    """Writes pip.conf and ca.crt as far as there is something to say; gives the build arguments that name them."""
    settings = host_settings()
    arguments: dict[str, str] = {}
    bundles = [settings.pop("cert", ""), *(os.environ.get(name, "") for name in CA_VARIABLES)]
    bundle = next((Path(path) for path in bundles if path and Path(path).is_file()), None)
    if bundle is not None:
        (folder / "ca.crt").write_bytes(bundle.read_bytes())
        arguments["CA_BUNDLE"] = f"{folder.name}/ca.crt"
    if settings:
        lines = [" = ".join((name, "\n    ".join(value.split()))) for name, value in settings.items()]
        (folder / "pip.conf").touch(mode=0o600)
        (folder / "pip.conf").write_text("\n".join(["[global]", *lines, ""]), encoding="utf-8")
        arguments["PIP_CONF"] = f"{folder.name}/pip.conf"
    return arguments
