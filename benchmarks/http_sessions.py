"""What the sessions of other libraries make of one core, beside the same library with nothing around it.

Same target (nginx on the other core), same connections, in turn and repeated; measured as benchmarks.peers does. Only the
ratios mean something on another machine.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.peers_measure import measure_undisturbed
from benchmarks.peers_targets import HOST, Nginx, running, wait_for
from benchmarks.peers_tools import ROOT, debian_packages, free_port

SCRIPTS = ROOT / "benchmarks/peer_scripts"
ROUNDS, WARM_S, WINDOW_S = 5, 1.0, 4.0
USERS = {"aiohttp": 32, "requests": 8, "http2": 32}
TARGETS = {"aiohttp": 0.85, "requests": 0.85, "http2": 0.75}
CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  default_type text/plain;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen {host}:{port};
    listen {host}:{http2_port} http2;
    location = /plain {{ return 200 "Hello, World!"; }}
    location = /count {{ stub_status; }}
  }}
}}
"""


@contextmanager
def target(folder: Path, core: int) -> Iterator[tuple[Nginx, str]]:
    """nginx and its base URL for HTTP/2."""
    debian_packages(("nginx-light",))
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert program is not None, "nginx: installed, but not on PATH"
    port, http2_port = free_port(), free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    text = CONFIGURATION.format(folder=folder, host=HOST, port=port, http2_port=http2_port, user=user)
    (folder / "nginx.conf").write_text(text)
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    with running(command, core) as process:
        made = Nginx(port, 0, folder, process.pid)
        wait_for(made.count)
        yield made, f"http://{HOST}:{http2_port}"


def sessions() -> list[Figure]:
    """Rates of the three, and their ratios."""
    cores = sorted(os.sched_getaffinity(0))
    assert len(cores) > 1, "one core for the target and one for the load are needed"
    with tempfile.TemporaryDirectory() as made, target(Path(made), cores[1]) as (nginx, http2):
        found: list[Figure] = []
        for kind in USERS:
            url = (http2 if kind == "http2" else nginx.url()) + "/plain"
            ours, bare = _rates(kind, url, nginx, Path(made), cores[0])
            rate, least = statistics.median(ours), TARGETS[kind]
            ratio = rate / statistics.median(bare)
            name = f"{kind} session, GETs on one core"
            target_ = f">= {least:g} x bare"
            found.append(Figure(name, rate, "/s", target_, ratio >= least, f"a bare {kind} loop", ratio, ROUNDS))
        return found


def _rates(kind: str, url: str, nginx: Nginx, folder: Path, core: int) -> tuple[list[float], list[float]]:
    """Ours and bare, of each round."""
    users, seconds = USERS[kind], WARM_S + WINDOW_S + 1
    env = {"USERS": str(users), "URL": url, "SECONDS": f"{seconds:g}", "KIND": kind}
    wasp = str(Path(sys.executable).with_name("wasp"))
    params = {"kind": kind, "url": url, "users": users, "seconds": seconds}
    given = [part for name, value in params.items() for part in ("-p", f"{name}={value}")]
    bare = "bare_aiohttp.py" if kind == "aiohttp" else "bare_sessions.py"
    rates: tuple[list[float], list[float]] = [], []
    for number in range(ROUNDS):
        place = folder / f"{kind}-{number}"
        place.mkdir()
        commands = (
            [wasp, "run", f"{SCRIPTS / 'sessions.py'}:profile", *given, "--quiet", "--out", str(place / "run")],
            [sys.executable, str(SCRIPTS / bare)],
        )
        for found, command in zip(rates, commands, strict=True):
            got = measure_undisturbed(command, env, nginx, core, place / "said", warm_s=WARM_S, window_s=WINDOW_S)
            found.append(got.rate)
        print(f"  {kind:<9} ours {rates[0][-1]:>8,.0f}/s  bare {rates[1][-1]:>8,.0f}/s", flush=True)
    return rates
