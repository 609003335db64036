"""The server that all tools load: nginx with one worker on a core of its own, plain and TLS, which counts its requests.

It sends and receives on the loopback interface only, and ends with the block that started it.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peers_tools import Tools, free_port

HOST = "127.0.0.1"
BACKLOG = 4096
READY_TIMEOUT_S = 10.0
ITEMS = [{"id": n, "name": f"lamp {n}", "price": 9.5 + n, "tags": ["light", "indoor"]} for n in range(1, 9)]
JSON_TEXT = json.dumps({"items": ITEMS, "total": len(ITEMS)}, separators=(",", ":"))
PLAIN_TEXT = "Hello, World!"

CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile 65536;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  default_type text/plain;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  sendfile on;
  tcp_nodelay on;
  open_file_cache max=16 inactive=1h;
  open_file_cache_valid 1h;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  ssl_certificate {folder}/server.pem;
  ssl_certificate_key {folder}/server.key;
  ssl_protocols TLSv1.2 TLSv1.3;
  server {{
    listen {host}:{port} backlog={backlog};
    listen {host}:{tls_port} ssl backlog={backlog};
    root {folder}/files;
    location = /plain {{ return 200 "{plain}"; }}
    location = /json {{ default_type application/json; return 200 '{json}'; }}
    location = /post {{ default_type application/json; return 200 '{{"id":17}}'; }}
    location = /count {{ stub_status; }}
  }}
}}
"""


@dataclass
class Nginx:
    """One that runs; `ca` is the file of the authority that its TLS certificate comes from."""

    port: int
    tls_port: int
    ca: Path
    pid: int
    _counter: http.client.HTTPConnection = field(init=False)
    _asked: int = 0

    def __post_init__(self) -> None:
        self._counter = http.client.HTTPConnection(HOST, self.port, timeout=30)

    def url(self, *, tls: bool = False) -> str:
        """Without a path."""
        return f"https://{HOST}:{self.tls_port}" if tls else f"http://{HOST}:{self.port}"

    def count(self) -> int:
        """Requests that it answered, without those that ask for this."""
        try:
            self._counter.request("GET", "/count")
            lines = self._counter.getresponse().read().decode().splitlines()
        except OSError:
            self._counter.close()
            raise
        self._asked += 1
        return int(lines[2].split()[2]) - self._asked


@contextmanager
def nginx(tools: Tools, folder: Path, core: int) -> Iterator[Nginx]:
    """One worker pinned to `core`."""
    ca = _certificates(folder)
    files = folder / "files"
    files.mkdir()
    for name, size in (("1k", 1024), ("64k", 65536)):
        (files / name).write_bytes(b"x" * size)
    port, tls_port = free_port(), free_port()
    text = CONFIGURATION.format(
        folder=folder, host=HOST, port=port, tls_port=tls_port, backlog=BACKLOG, json=JSON_TEXT, plain=PLAIN_TEXT,
        user="user root;" if os.geteuid() == 0 else "",
    )  # fmt: skip
    (folder / "nginx.conf").write_text(text)
    command = [str(tools.nginx), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    with running(command, core) as process:
        target = Nginx(port, tls_port, ca, process.pid)
        wait_for(target.count)
        yield target


@contextmanager
def running(command: Sequence[str], core: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server pinned to `core`, ended with SIGTERM."""
    process = subprocess.Popen(command, preexec_fn=lambda: os.sched_setaffinity(0, {core}))
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(ask: object) -> None:
    """Until `ask()` does not fail any more. Raises what it raised in the end."""
    assert callable(ask)
    give_up = time.monotonic() + READY_TIMEOUT_S
    while True:
        try:
            ask()
            return
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.05)


def _certificates(folder: Path) -> Path:
    """A certificate of 127.0.0.1 from an authority of our own, whose file is returned."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    extensions = folder / "extensions"
    extensions.write_text(f"subjectAltName=IP:{HOST}\n")
    commands = (
        ["req", "-x509", *key, "-days", "30", "-subj", "/CN=benchmark CA", "-keyout", ca_key, "-out", ca],
        ["req", *key, "-subj", f"/CN={HOST}", "-keyout", folder / "server.key", "-out", folder / "server.csr"],
        [
            "x509", "-req", "-in", folder / "server.csr", "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "30",
            "-extfile", extensions, "-out", folder / "server.pem",
        ],
    )  # fmt: skip
    for command in commands:
        done = subprocess.run(["openssl", *map(str, command)], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"openssl {command[0]}: {done.stderr}")
    return ca
