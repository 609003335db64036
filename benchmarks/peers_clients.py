"""How each tool is asked for a load and what it says it did. Settings are those that favour the tool; docs/peers.md tells them.

A tool is a function from a Job to a Start; it starts nothing itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers_tools import ROOT, Tools

SCRIPTS = ROOT / "benchmarks/peer_scripts"
CONNECTIONS = 32
POST_BODY = '{"item":17,"quantity":2,"note":"by the door"}'
PATHS = {"get": "/plain", "json": "/json", "post": "/post", "1k": "/1k", "64k": "/64k", "tls": "/plain"}
PERCENTILES = ("p50", "p90", "p99", "max")


@dataclass(frozen=True)
class Job:
    """What is asked of a tool. `rate` 0: as fast as `users` users (connections) can."""

    case: str
    base: str
    seconds: float
    folder: Path  # the tool's own, for what it writes
    ca: Path
    users: int = CONNECTIONS
    rate: int = 0
    think_s: float = 0.0

    @property
    def path(self) -> str:
        """Of the URL."""
        return PATHS[self.case]

    @property
    def url(self) -> str:
        """Whole."""
        return self.base + self.path

    def env(self) -> dict[str, str]:
        """For the scripts; Go programs find the authority by SSL_CERT_FILE."""
        return {
            "CASE": self.case, "URL": self.url, "URL_BASE": self.base, "URL_PATH": self.path, "CA": str(self.ca),
            "SSL_CERT_FILE": str(self.ca), "REQUESTS_CA_BUNDLE": str(self.ca), "USERS": str(self.users), "RATE": str(self.rate),
            "SECONDS": f"{self.seconds:g}", "THINK_S": f"{self.think_s:g}",
        }  # fmt: skip


@dataclass(frozen=True)
class Told:
    """What the tool itself says: calls that were ok, and latencies in ms (of PERCENTILES) where it tells any."""

    calls: int
    latency_ms: dict[str, float] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """A command, and how to read what it left: given the log of its output."""

    command: list[str]
    env: dict[str, str]
    read: Callable[[Path], Told]


def wrk(tools: Tools, job: Job) -> Start:
    """One thread. Does not check the certificate (it cannot), nor any body."""
    more: list[str] = []
    if job.case == "post":
        script = job.folder / "post.lua"
        lines = ('wrk.method = "POST"', f"wrk.body = '{POST_BODY}'", 'wrk.headers["Content-Type"] = "application/json"')
        script.write_text("\n".join(lines))
        more = ["-s", str(script)]
    seconds = str(round(job.seconds + 0.49))  # it takes whole seconds
    command = [str(tools.wrk), "-t1", f"-c{job.users}", f"-d{seconds}s", "--latency", *more, job.url]

    def read(log: Path) -> Told:
        text = log.read_text()
        found = re.search(r"(\d+) requests in", text)
        wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        shares = {f"p{share}": _wrk_ms(value) for share, value in re.findall(r"(\d+)%\s+([\d.]+\w+)", text)}
        slowest = re.search(r"Latency\s+\S+\s+\S+\s+(\S+)", text)
        if slowest:
            shares["max"] = _wrk_ms(slowest[1])
        calls = int(found[1]) if found else 0
        return Told(
            calls - (int(wrong[1]) if wrong else 0), {name: shares[name] for name in PERCENTILES if name in shares}
        )

    return Start(command, {}, read)


def _wrk_ms(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(\w+)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[unit]


def vegeta(tools: Tools, job: Job) -> Start:
    """`users` workers, each with a connection; 0 (with a rate): as many workers as it likes, 1,000 connections kept.

    It keeps no bodies, and its results go to a file that is evaluated after the load.
    """
    results = job.folder / "results.bin"
    method = "GET"
    more: list[str] = []
    if job.case == "post":
        body = job.folder / "body.json"
        body.write_text(POST_BODY)
        method, more = "POST", ["-body", str(body), "-header", "Content-Type: application/json"]
    if job.case == "tls":
        more += ["-root-certs", str(job.ca)]
    targets = job.folder / "targets"
    targets.write_text(f"{method} {job.url}\n")
    pace = ["-rate", f"{job.rate}/1s" if job.rate else "0", "-connections", str(job.users or 1000)]
    if job.users:
        pace += ["-workers", str(job.users), "-max-workers", str(job.users)]
    command = [
        str(tools.vegeta), "attack", "-targets", str(targets), *pace, "-duration", f"{job.seconds:g}s", "-max-body", "0",
        "-output", str(results), *more,
    ]  # fmt: skip

    def read(log: Path) -> Told:
        from benchmarks.peers_vegeta import evaluate

        return evaluate(tools.vegeta, results, job.rate)

    return Start(command, {}, read)


def k6(tools: Tools, job: Job) -> Start:
    """Bodies are thrown away unless they are checked; few tags, no threshold, nothing sent anywhere but a summary to a file."""
    summary = job.folder / "summary.json"
    command = [
        str(tools.k6), "run", "--quiet", "--no-usage-report", "--no-color", "--no-thresholds", "--log-output", "stderr",
        "--address", "", "--summary-export", str(summary), str(SCRIPTS / "k6.js"),
    ]  # fmt: skip

    def read(log: Path) -> Told:
        metrics = json.loads(summary.read_text())["metrics"]
        took = metrics["http_req_duration"]
        failed = metrics.get("checks", {}).get("fails", 0) or metrics["http_req_failed"].get("passes", 0)
        latency = {"p50": took["med"], "p90": took["p(90)"], "p99": took["p(99)"], "max": took["max"]}
        dropped = metrics.get("dropped_iterations", {}).get("count", 0)
        return Told(metrics["http_reqs"]["count"] - failed, latency, {"dropped": dropped})

    return Start(command, job.env(), read)


def locust(kind: str) -> Callable[[Tools, Job], Start]:
    """`fast`: FastHttpUser, `http`: HttpUser (requests). One process, headless; users start at once."""

    def start(tools: Tools, job: Job) -> Start:
        command = [
            str(tools.locust), "-f", str(SCRIPTS / "locust_file.py"), "--headless", "--users", str(job.users), "--spawn-rate",
            str(job.users), "--run-time", f"{max(1, round(job.seconds))}s", "--loglevel", "ERROR", "--json", "--stop-timeout", "2",
        ]  # fmt: skip
        pace = {"USER_RATE": f"{job.rate / job.users:g}"} if job.rate else {}
        return Start(command, {**job.env(), "KIND": kind, **pace}, _read_locust)

    return start


def _read_locust(log: Path) -> Told:
    text = log.read_text()
    stats = json.JSONDecoder().raw_decode(text[text.index("[") :])[0][0]
    times = sorted((float(ms), int(count)) for ms, count in stats["response_times"].items())
    calls = sum(count for _, count in times)
    latency = {name: _share(times, calls, share) for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))}
    return Told(stats["num_requests"] - stats["num_failures"], {**latency, "max": stats["max_response_time"]})


def _share(times: list[tuple[float, int]], calls: int, share: float) -> float:
    seen = 0
    for ms, count in times:
        seen += count
        if seen >= share * calls:
            return ms
    return 0.0


def molotov(tools: Tools, job: Job) -> Start:
    """One process on uvloop, a worker (a session) a user."""
    command = [
        str(tools.molotov), "-p", "1", "-w", str(job.users), "-d", str(round(job.seconds + 0.49)), "--uvloop",
        str(SCRIPTS / "molotov_file.py"),
    ]  # fmt: skip

    def read(log: Path) -> Told:
        found = re.search(r"SUCCESSES: (\d+)", log.read_text())
        return Told(int(found[1]) if found else 0)

    return Start(command, job.env(), read)


def bare_aiohttp(tools: Tools, job: Job) -> Start:
    """No tool: what aiohttp itself can do."""

    def read(log: Path) -> Told:
        return Told(json.loads(log.read_text().splitlines()[-1])["calls"])

    return Start([str(tools.python), str(SCRIPTS / "bare_aiohttp.py")], job.env(), read)
