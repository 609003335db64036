"""Where the harness keeps things: the cache of built programs and images, and the state of one cluster.

Owns the names and the locks, nothing else. `WASP_CACHE` moves the cache (default `~/.cache/wasp-ray`), `WASP_E2E_STATE`
the state of the cluster (default `state` in the cache; a short path, since UNIX sockets lie in it: two harnesses side by
side need two). All that is below the state folder, mounts included, belongs to the harness and is removed at any start.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import HarnessError

LONGEST_STATE_PATH = (
    60  # a UNIX socket's path has at most 107 bytes, and containerd adds up to 40 below the state folder
)


def cache_folder() -> Path:
    """The cache, made when it is missing."""
    folder = Path(os.environ.get("WASP_CACHE") or Path.home() / ".cache" / "wasp-ray").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass(frozen=True)
class State:
    """The folder of one cluster and the names on this machine that derive from it."""

    folder: Path

    @classmethod
    def default(cls) -> State:
        """That of `WASP_E2E_STATE`, else `state` in the cache."""
        given = os.environ.get("WASP_E2E_STATE")
        folder = Path(given).absolute() if given else cache_folder() / "state"
        if len(str(folder)) > LONGEST_STATE_PATH:
            raise HarnessError(
                f"expected a state folder of at most {LONGEST_STATE_PATH} characters (sockets lie in it), found {folder}: "
                "set WASP_E2E_STATE to a short one"
            )
        return cls(folder.resolve())

    @property
    def digest(self) -> int:
        """A number that stands for this folder."""
        return int.from_bytes(hashlib.sha256(str(self.folder).encode()).digest()[:4], "big")

    @property
    def cgroup(self) -> str:
        """The control group that holds every process of this cluster, in each hierarchy."""
        return f"/wasp-e2e-{self.digest:08x}"

    @property
    def bridge(self) -> str:
        """The network bridge of pods that do not use the host's network."""
        return f"wasp{self.digest:08x}"

    @property
    def pod_subnet(self) -> str:
        """The addresses of those pods."""
        return f"10.{128 + self.digest % 100}.{self.digest // 100 % 256}.0/24"

    @property
    def lock(self) -> Path:
        """Held by whoever starts, stops or owns the cluster; beside the folder, which gets removed."""
        return beside(self.folder)

    def path(self, *parts: str) -> Path:
        """A path below the folder."""
        return self.folder.joinpath(*parts)

    @property
    def logs(self) -> Path:
        """The logs of the last cluster; beside the folder, so that they are still there when something went wrong."""
        return self.folder.with_name(self.folder.name + "-logs")

    @property
    def docker_data(self) -> Path:
        """Layers and build cache of the docker daemon; beside the folder, kept for the next one."""
        return self.folder.with_name(self.folder.name + "-docker")

    def log(self, name: str) -> Path:
        """The log file of a process."""
        return self.logs / f"{name}.log"


def beside(folder: Path) -> Path:
    """The lock file of a folder."""
    return folder.with_name(folder.name + ".lock")


@contextmanager
def locked(path: Path, timeout_s: float, *, doing: str) -> Iterator[int]:
    """Holds the lock file and gives its descriptor; free again when the last process that has this open has ended.

    Raises:
        HarnessError: somebody else held it for `timeout_s`; the message names that process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    give_up = time.monotonic() + timeout_s
    with path.open("a+") as file:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip()
                if time.monotonic() > give_up:
                    raise HarnessError(
                        f"{doing}: {path} was held for {timeout_s:.0f} s by {holder or 'somebody'}"
                    ) from None
                if not told:
                    print(f"{doing}: waiting for {holder or 'somebody'}", flush=True)
                    told = True
                time.sleep(0.1)
        file.truncate(0)
        file.write(f"pid {os.getpid()} ({doing})")
        file.flush()
        yield file.fileno()
