"""User processes: how fast they start, what they weigh, a thousand at once."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from benchmarks.actors import AskingUser, HashingUser, IdleUser
from benchmarks.figure import Figure
from wasp_ray import Generator, Profile, plain

START_ROUNDS, START_USERS = 3, 500
PYTHON_STARTS = 20
WEIGHED = 100
THOUSAND_S = 60


def start_rate() -> list[Figure]:
    """From the first fork to the last user that is set up; against starting a bare Python."""
    began = time.monotonic()
    for _ in range(PYTHON_STARTS):
        subprocess.run([sys.executable, "-I", "-c", "pass"], check=True)
    python = PYTHON_STARTS / (time.monotonic() - began)
    rates = []
    for _ in range(START_ROUNDS):
        generator = Generator("u", user=IdleUser, schedule=plain(START_USERS, "1s"), think_time="10s")
        going: Any = Profile(generator).start()
        node = going._execution.node
        first = None
        while not node.has_begun:
            if first is None and node.generators and node.generators[0].fleet.live:
                first = time.monotonic()
            time.sleep(0.002)
        rates.append(START_USERS / (time.monotonic() - (first or 0)))
        going.wait(60)
    rate = statistics.median(rates)
    return [
        Figure(
            "user processes started and set up",
            rate,
            "/s",
            ">= 500/s",
            rate >= 500,
            "python -c pass",
            rate / python,
            START_ROUNDS,
        )
    ]


def weight() -> list[Figure]:
    """PSS of idle users, of working ones and of such that ask a server, median, beside a bare Python's."""
    with answering() as url:
        return _weigh(url)


def _weigh(url: str) -> list[Figure]:
    bare = subprocess.Popen([sys.executable, "-I", "-c", "input()"], stdin=subprocess.PIPE)
    time.sleep(0.3)
    python = pss(bare.pid)
    bare.communicate(b"\n")
    out = []
    for name, user, think, limit in (
        ("idle", IdleUser, "30s", 1.5), ("CPU-bound", HashingUser, 0, 2.0), ("with context.http()", AskingUser, "1s", 2.5),
    ):  # fmt: skip
        going = Profile(
            Generator("u", user=user, schedule=plain(WEIGHED, "8s"), think_time=think, params={"url": url})
        ).start()
        while going.elapsed_s is None:
            time.sleep(0.05)
        time.sleep(4)
        pids = [process.pid for process in going.processes() if process.kind == "worker"]
        mib = statistics.median(pss(pid) for pid in pids) / 2**20
        going.stop()
        going.wait(60)
        out.append(
            Figure(
                f"PSS of a user process, {name}",
                mib,
                "MiB",
                f"<= {limit} MiB",
                mib <= limit,
                "bare Python",
                mib * 2**20 / python,
                len(pids),
            )
        )
    return out


class Answer(BaseHTTPRequestHandler):
    """`ok`, on a connection that is kept."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def answering() -> Iterator[str]:
    """A server on this machine; its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def pss(pid: int) -> int:
    """Proportional set size, bytes."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def thousand() -> list[Figure]:
    """1,000 user processes at once for a minute; the share of calls that the ledger accounts for."""
    result = Profile(Generator("u", user=HashingUser, schedule=plain(1000, f"{THOUSAND_S}s"), think_time="500ms")).run()
    ledger = result.ledger
    ends = ledger.ok + ledger.failed + ledger.timeout + ledger.killed + ledger.interrupted + ledger.lost
    exact = ledger.started == ends == ledger.scheduled and ledger.ok > 0
    cpu = result.summary["nodes"][0]["cpu_cores"] / len(os.sched_getaffinity(0))
    return [
        Figure(
            "1,000 user processes for 60 s: calls",
            ledger.started,
            "",
            "ledger exact",
            exact and result.verdict == "passed",
        ),
        Figure("  CPU taken, share of all cores", cpu, "", "", True),
    ]
