"""`wasp cluster ...` as processes of this machine against the KubeServer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.kube_server import NAMESPACE, KubeServer

WITHIN_S = 300.0


class Commands:
    """`wasp cluster ...` in a folder of its own, with the way to the server in its environment."""

    def __init__(self, kube: KubeServer, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[str]] = []
        self._environment = {
            **os.environ, "KUBECONFIG": str(kube.kubeconfig(folder)), "WASP_CLUSTER_NAMESPACE": NAMESPACE, "COLUMNS": "400",
        }  # fmt: skip

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """In the background."""
        self._started.append(subprocess.Popen(
            [sys.executable, "-P", "-m", "wasp_ray", "cluster", *arguments], cwd=self.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**self._environment, **env},
        ))  # fmt: skip
        return self._started[-1]

    def end(self) -> None:
        """What a failed test has left; pytest shows what it said."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                print(process.communicate(timeout=WITHIN_S)[0])

    def start_run(self, run: str, *more: str, **env: str) -> subprocess.Popen[str]:
        """A run of load.py on two pods."""
        fixed = ("--image", "registry.example/load:1", "--jobs", "2", "--run-id", run, "--out", "out")
        return self.start("run", "load.py", *fixed, *more, **env)

    def run(self, *arguments: str, **env: str) -> tuple[int, str]:
        """Exit code and what was said."""
        return ended(self.start(*arguments, **env))

    def outputs(self, *arguments: str, **env: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "wasp_ray", "cluster", *arguments], cwd=self.folder, text=True, timeout=WITHIN_S,
            capture_output=True, env={**self._environment, **env},
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def attach(self, run: str, *more: str, **env: str) -> tuple[int, str]:
        """The same of `attach` with a bundle."""
        return self.run("attach", run, "--out", "attached", *more, **env)

    def summary(self, out: str = "attached") -> dict[str, Any]:
        """What a run came to."""
        return dict(json.loads((self.folder / out / "summary.json").read_text()))


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and what was said."""
    said = process.communicate(timeout=WITHIN_S)[0]
    return process.returncode, said


def killed(process: subprocess.Popen[str]) -> None:
    """As by the kernel, or a terminal's machine that is gone."""
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=WITHIN_S)
