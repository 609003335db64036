"""The peers themselves: taken from Debian, built through the Go module proxy, installed from PyPI; cached by version.

Owns the list of versions. It never starts a load.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the end-to-end tests build Go programs as well

from e2e.harness.places import beside, cache_folder, locked  # noqa: E402
from e2e.harness.processes import free_port  # noqa: E402
from e2e.harness.progress import run_logged, step  # noqa: E402
from e2e.harness.tools import GoProgram, built, debian_packages  # noqa: E402

__all__ = ["ROOT", "Tools", "debian_packages", "free_port", "prepare", "versions"]

DEBIAN = ("nginx-light", "openssl", "wrk")
K6 = GoProgram("k6", "go.k6.io/k6", "v1.8.1", "go.k6.io/k6")
VEGETA = GoProgram("vegeta", "github.com/tsenart/vegeta/v12", "v12.13.0", "github.com/tsenart/vegeta/v12")
LOCUST, MOLOTOV = "2.47.0", "2.6"
INSTALL_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Tools:
    """Paths of what the benchmark runs."""

    wrk: Path
    nginx: Path
    k6: Path
    vegeta: Path
    locust: Path
    molotov: Path
    python: Path  # this project's own, with aiohttp and the wasp command beside it

    @property
    def wasp(self) -> Path:
        """The command under test."""
        return self.python.with_name("wasp")


def prepare() -> Tools:
    """Gets all that is missing: seconds when the cache is warm, some minutes when it is empty."""
    debian_packages(DEBIAN)
    return Tools(
        _found("wrk"),
        _found("nginx"),
        built(K6),
        built(VEGETA),
        _installed("locust", LOCUST, "locust"),
        # Its aiohttp is today's: molotov asks for no version. setuptools: it imports pkg_resources.
        _installed("molotov", MOLOTOV, "molotov", "setuptools<81", "uvloop"),
        Path(sys.executable),
    )


def _found(name: str) -> Path:
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert path is not None, f"{name}: installed, but not on PATH"
    return Path(path)


def _installed(name: str, wanted: str, command: str, *more: str) -> Path:
    """A command in an environment of its own, which is made under another name until it is whole."""
    folder = cache_folder() / "bin" / f"{name}-{wanted}-py{sys.version_info[0]}.{sys.version_info[1]}"
    with locked(beside(folder), INSTALL_TIMEOUT_S, doing=f"install {name}"):
        if not (folder / "whole").exists():
            with step(f"install {name} {wanted}"):
                shutil.rmtree(folder, ignore_errors=True)
                venv.create(folder, with_pip=True)
                log = cache_folder() / "logs" / f"install-{name}.log"
                pip = [str(folder / "bin/python"), "-m", "pip", "install", "--disable-pip-version-check"]
                run_logged([*pip, f"{name}=={wanted}", *more], log, INSTALL_TIMEOUT_S)
                (folder / "whole").touch()
    return folder / "bin" / command


def versions(tools: Tools) -> dict[str, str]:
    """Of everything that takes part, and of the machine."""
    nginx = subprocess.run([tools.nginx, "-v"], capture_output=True, text=True).stderr.strip().rpartition("/")[2]
    wrk = subprocess.run([tools.wrk, "-v"], capture_output=True, text=True).stdout.split()[1:2]
    found = {"wrk": wrk[0] if wrk else "?", "nginx": nginx, "k6": K6.version, "vegeta": VEGETA.version}
    found |= {"Locust": LOCUST, "molotov": MOLOTOV, "molotov's aiohttp": _package(tools.molotov, "aiohttp")}
    for name in ("wasp-ray", "httptools", "uvloop", "aiohttp"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return {**found, "Python": platform.python_version(), "kernel": platform.release(), "cpu": _cpu()}


def _package(command: Path, name: str) -> str:
    code = f"from importlib.metadata import version; print(version({name!r}))"
    return subprocess.run([command.with_name("python"), "-c", code], capture_output=True, text=True).stdout.strip()


def _cpu() -> str:
    told = subprocess.run(["lscpu", "--json"], capture_output=True, text=True)
    try:
        fields: list[dict[str, Any]] = json.loads(told.stdout)["lscpu"]
        return next(str(field["data"]) for field in fields if field["field"] == "Model name:")
    except (ValueError, KeyError, StopIteration):
        return platform.machine()
