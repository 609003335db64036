"""The end-to-end harness as benchmarks use it: the kept cluster (or one of their own), a namespace with a team, an image."""

from __future__ import annotations

import json
import os
import resource
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

__all__ = [
    "KWOK_LABEL", "ROOT", "Asked", "Audit", "HarnessError", "Kubernetes", "Kwok", "Team", "Watched", "cluster", "free_port",
    "run_watched", "running_kwok", "team",
]  # fmt: skip

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the harness and its `team` are parts of the end-to-end tests

from e2e.harness.cluster import Kubernetes  # noqa: E402
from e2e.harness.errors import HarnessError  # noqa: E402
from e2e.harness.kwok import LABEL as KWOK_LABEL  # noqa: E402
from e2e.harness.kwok import Kwok, running_kwok  # noqa: E402
from e2e.harness.processes import free_port  # noqa: E402
from e2e.team import IMAGE, WASP, Team, make_team  # noqa: E402

USUAL_NOFILE = 1024
"""Soft limit of most shells; what a controller needs beyond that it has to see to itself."""
SAMPLE_S = 0.2


@contextmanager
def cluster() -> Iterator[Kubernetes]:
    """With the image of the end-to-end tests."""
    with Kubernetes() as kubernetes:
        context = ROOT / "tests/e2e/image"
        command = [*WASP, "cluster", "image", "build", "--build-root", str(context), "--tag", IMAGE, "--offline"]
        env = {**os.environ, **kubernetes.docker_host()}
        subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, timeout=900)
        kubernetes.import_into_cluster(IMAGE)
        yield kubernetes


@contextmanager
def team(kubernetes: Kubernetes) -> Iterator[Team]:
    """A namespace with the rights of `wasp cluster setup`; removed with its folder."""
    name = f"bench-{secrets.token_hex(3)}"
    kubernetes.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    kubernetes.wait_for_service_account(name)
    folder = Path(tempfile.mkdtemp(prefix=f"wasp-{name}-"))
    try:
        yield make_team(kubernetes, name, folder)
    finally:
        kubernetes.access.request("DELETE", f"/api/v1/namespaces/{name}")
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True)
class Asked:
    """One request of the audit log; seconds since the epoch."""

    user: str
    verb: str
    resource: str  # with its subresource, "" for a path that is no resource
    arrived_s: float
    answered_s: float


class Audit:
    """What was asked of the API server since this object was made."""

    def __init__(self, kubernetes: Kubernetes) -> None:
        self._path = kubernetes.state.path("audit.log")
        self._offset = self._path.stat().st_size

    def requests(self, *users: str) -> list[Asked]:
        """Of these users, in order of arrival; a request appears when its answer ended, a watch when it began."""
        found: dict[str, Asked] = {}
        quoted = [json.dumps(user).encode() for user in users]
        with self._path.open("rb") as lines:
            lines.seek(self._offset)
            for line in lines:
                if line.endswith(b"\n") and any(user in line for user in quoted):
                    event = json.loads(line)
                    found[event["auditID"]] = _asked(event)
        return sorted((a for a in found.values() if a.user in users), key=lambda a: a.arrived_s)


def _asked(event: dict[str, Any]) -> Asked:
    about = event.get("objectRef") or {}
    resource_ = "/".join(text for text in (about.get("resource"), about.get("subresource")) if text)
    received, staged = event["requestReceivedTimestamp"], event["stageTimestamp"]
    return Asked(event["user"]["username"], event["verb"], resource_, _epoch_s(received), _epoch_s(staged))


def _epoch_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@dataclass(slots=True)
class Watched:
    """A controller from its start to its end."""

    code: int = -1
    said: str = ""
    began_s: float = 0.0
    wall_s: float = 0.0
    peak_rss_bytes: int = 0
    cpu_s: float = 0.0
    samples: list[tuple[float, float]] = field(default_factory=list)  # (epoch seconds, CPU seconds so far)

    def busiest(self, window_s: float) -> float:
        """Cores in the busiest stretch of so many seconds."""
        most, first = 0.0, 0
        for at_s, cpu_s in self.samples:
            while at_s - self.samples[first][0] > window_s:
                first += 1
            if at_s - self.samples[first][0] > window_s * 0.9:
                most = max(most, (cpu_s - self.samples[first][1]) / (at_s - self.samples[first][0]))
        return most


def run_watched(who: Team, arguments: Sequence[str], timeout_s: float, profile: Path | None = None) -> Watched:
    """`wasp cluster run ARGUMENTS` in the team's folder with the usual limit of files, its CPU and memory read from /proc.

    `profile`: by cProfile into that file (main thread).
    """
    program = [sys.executable, "-P", "-m", "cProfile", "-o", str(profile), *WASP[2:]] if profile else WASP
    out = Watched(began_s=time.time())
    with (who.folder / "said.txt").open("w+") as said:
        process = subprocess.Popen(
            [*program, "cluster", "run", *arguments], cwd=who.folder, env=who.environment(), stdout=said,
            stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=_usual_limits,
        )  # fmt: skip
        sampler = threading.Thread(target=_sample, args=(process, out), daemon=True)
        sampler.start()
        try:
            out.code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            out.said = f"not over within {timeout_s:g} s"
        finally:
            process.kill()  # does nothing to one that has ended
            process.wait()
        out.wall_s = time.time() - out.began_s
        sampler.join()
        said.seek(0)
        out.said = said.read() + out.said
    return out


def _usual_limits() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(USUAL_NOFILE, hard), hard))


def _sample(process: subprocess.Popen[bytes], out: Watched) -> None:
    tick = os.sysconf("SC_CLK_TCK")
    while process.poll() is None:
        try:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            return
        peak = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        if peak:
            out.peak_rss_bytes = max(out.peak_rss_bytes, int(peak[0].split()[1]) * 1024)
            out.cpu_s = (int(fields[11]) + int(fields[12])) / tick
            out.samples.append((time.time(), out.cpu_s))
        time.sleep(SAMPLE_S)
