"""Runs of a load file on a Ray of tests: the command, Python, what they left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.books import closed_books, wait_until

WASP = [sys.executable, "-P", "-m", "wasp_ray"]
LOAD = """
import os, time
from wasp_ray import *

class Looper(VirtualUser):
    def setup(self):
        print("raylet", os.environ["RAY_RAYLET_PID"], "data", open("data.txt").read(), "target", os.environ.get("TARGET"),
              flush=True)
        time.sleep(float(os.environ.get("SETUP_S", 0)))
        self.calls = 0
    def call(self):
        time.sleep(float(os.environ.get("CALL_S", 0.01)) if self.calls >= 50 else 0.01)
        self.calls += 1
        if self.calls == 50:
            print("going", flush=True)

class Quick(Gun):
    async def call(self):
        pass

def profile(seconds: int = 2) -> Profile:
    return Profile(
        Generator("quick", gun=Quick, schedule=plain(150, seconds)), Generator("looper", user=Looper, schedule=plain(6, seconds)),
    )
"""
PYTHON = """
import json, sys
from wasp_ray.cluster import RayConfig, RayProfile
result = RayProfile(RayConfig(**json.loads(sys.argv[1]))).run()
print(json.dumps(result.summary))
"""


def make_folder(path: Path) -> Path:
    """A load file and its neighbour."""
    (path / "load.py").write_text(LOAD)
    (path / "data.txt").write_text("beside")
    return path


def wasp(address: str, folder: Path, *arguments: str, nodes: int = 3) -> subprocess.Popen[str]:
    """The command in a session of its own, as a terminal's foreground job."""
    return subprocess.Popen(
        [*WASP, "run", "load.py", "--on", "ray", "--ray-address", address, "--nodes", str(nodes), "--out", "out",
         *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def in_python(address: str, folder: Path, environment: Mapping[str, str] = {}, **options: Any) -> dict[str, Any]:
    """The summary of a RayProfile's run."""
    given = {"address": address, "test": "load.py", **options}
    done = subprocess.run(
        [sys.executable, "-c", PYTHON, json.dumps(given)], cwd=folder, capture_output=True, text=True, timeout=120,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return summary


def summary_of(folder: Path) -> dict[str, Any]:
    """Of the bundle; its books close."""
    return closed_books(json.loads((folder / "out/summary.json").read_text()))


def wait_for_load(process: subprocess.Popen[str], folder: Path, nodes: int = 3) -> None:
    """Until users of all nodes have made calls."""
    log = folder / "out/logs/users.log"

    def are_going() -> bool:
        assert process.poll() is None, process.communicate()[0]
        lines = log.read_text().splitlines() if log.exists() else []
        return len({line.partition("/")[0] for line in lines if line.endswith("going")}) == nodes

    wait_until(are_going)
