"""Published Go modules: their files, through the module proxy, cached by version.

Owns how `go` is called. Never builds anything.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import HarnessError
from .places import beside, cache_folder, locked
from .progress import step

TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class ModuleFile:
    """A file of a published module; `path` is its path in there."""

    module: str
    version: str
    path: str

    @property
    def copy(self) -> Path:
        """Where it lies once it is fetched."""
        return cache_folder() / "files" / f"{self.module.replace('/', '_')}-{self.version}" / Path(self.path).name


def fetched(file: ModuleFile) -> Path:
    """The path of the file; downloads its module when the cache lacks it (seconds).

    Raises:
        HarnessError: no Go, no such module, or no such file in it.
    """
    if file.copy.exists():
        return file.copy
    what = f"fetch {file.copy.name} {file.version}"
    with locked(beside(file.copy.parent), TIMEOUT_S, doing=what), step(what):
        file.copy.parent.mkdir(parents=True, exist_ok=True)
        source = download(file.module, file.version, file.copy.parent) / file.path
        if not source.is_file():
            raise HarnessError(f"{file.module}@{file.version}: expected {file.path} in it, found no such file")
        unfinished = file.copy.with_name(f".{file.copy.name}-{os.getpid()}")
        shutil.copyfile(source, unfinished)
        unfinished.replace(file.copy)
    return file.copy


def go() -> str:
    """The toolchain's command.

    Raises:
        HarnessError: there is none.
    """
    found = shutil.which("go")
    if found is None:
        raise HarnessError("expected the Go toolchain on PATH to build this, found none: install Go 1.26 or later")
    return found


def environment() -> dict[str, str]:
    """For the toolchain: neither a workspace nor a git of the user's matters."""
    return {**os.environ, "GOWORK": "off", "GOFLAGS": "-mod=mod -buildvcs=false", "CGO_ENABLED": "0"}


def download(module: str, version: str, folder: Path) -> Path:
    """The module's own files, in Go's cache. `folder`: where no module but one of ours is around.

    Raises:
        HarnessError: the proxy does not have it; the message has its words.
    """
    wanted = f"{module}@{version}"
    done = subprocess.run(
        [go(), "mod", "download", "-json", wanted],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    if done.returncode:
        raise HarnessError(f"go mod download {wanted} failed: {done.stdout}{done.stderr}")
    return Path(json.loads(done.stdout)["Dir"])
