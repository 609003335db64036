"""A registry for charts, as teams have one: it asks for a login and speaks TLS with a certificate of an authority of its own.

The registry is go-containerregistry's, in memory, on loopback; the fault proxy stands before it for TLS and the login. Both
end with whoever started them.
"""

from __future__ import annotations

import base64
import re
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from . import tools
from .access import Access
from .certs import Authority
from .errors import HarnessError
from .faults import Fault
from .processes import free_port
from .progress import tail
from .proxy import Proxy

USER, PASSWORD = "team", "let-me-in"  # of a registry that lives as long as a test
START_TIMEOUT_S = 15.0
_DIGEST = re.compile(r"Digest: (sha256:[0-9a-f]{64})")


class Registry:
    """`with Registry(folder) as registry:`; charts are at `oci://{registry.host}/...` for helm in `registry.environment()`."""

    def __init__(self, folder: Path) -> None:
        """Nothing runs yet. The folder takes keys, the log, and what helm keeps."""
        self._folder = folder
        self._authority = Authority(folder / "certs")
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._door = _Door(Access(f"http://{self.plain_host}", self._authority.certificate, ""), self._authority)

    def __enter__(self) -> Self:
        """Starts it.

        Raises:
            HarnessError: it did not come up.
        """
        self._authority.create()
        program = str(tools.built(tools.CRANE))
        with (self._folder / "registry.log").open("wb") as log:
            # Killed with its parent: nothing else would find it again.
            command = ["setpriv", "--pdeathsig", "KILL", program, "registry", "serve"]
            self._process = subprocess.Popen(
                [*command, "--address", self.plain_host], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._wait()
            self._door.__enter__()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends it; what was pushed is gone."""
        try:
            self._door.__exit__(kind, error, trace)
        finally:
            self._end()

    @property
    def host(self) -> str:
        """With the port."""
        return f"127.0.0.1:{self._door.port}"

    @property
    def plain_host(self) -> str:
        """Behind the door: without TLS and login."""
        return f"127.0.0.1:{self._port}"

    def environment(self, *, logged_in: bool = True, trusted: bool = True) -> dict[str, str]:
        """Of helm and of what starts it: folders of its own; after `helm registry login` or not, with or without the authority."""
        home = self._folder / ("helm" if logged_in else "stranger")
        kept = {f"HELM_{name}_HOME": str(home / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        kept["DOCKER_CONFIG"] = str(home / "docker")  # helm looks for logins there too
        return {**kept, "SSL_CERT_FILE": str(self._authority.certificate) if trusted else "/dev/null"}

    def push(self, helm: Path, chart: Path, path: str, version: str) -> str:
        """Packages a chart's folder and pushes it to a path of the registry, logged in; its digest."""
        address = f"oci://{self.host}/{path}"
        self._helm(helm, "registry", "login", self.host, "-u", USER, "--password-stdin", stdin=PASSWORD)
        self._helm(helm, "package", str(chart), "--version", version, "--destination", str(self._folder))
        said = self._helm(helm, "push", str(self._folder / f"{chart.name}-{version}.tgz"), address)
        found = _DIGEST.search(said)
        if found is None:
            raise HarnessError(f"expected the digest of what was pushed, found: {said}")
        return found[1]

    def pulled(self, path: str, reference: str) -> int:
        """How often a chart's manifest was given out, by tag or digest."""
        found = self._door.counts().get(("GET", f"/v2/{path}/manifests/{reference}"))
        return 0 if found is None else found.statuses.get(200, 0)

    def _helm(self, helm: Path, *arguments: str, stdin: str = "") -> str:
        environment = {"PATH": "/usr/bin:/bin", **self.environment()}
        done = subprocess.run(
            [helm, *arguments], input=stdin, env=environment, capture_output=True, text=True, timeout=60
        )
        if done.returncode:
            raise HarnessError(f"helm {' '.join(arguments)} exited {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def _wait(self) -> None:
        give_up = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                urllib.request.urlopen(f"http://{self.plain_host}/v2/", timeout=5).close()
                return
            except urllib.error.HTTPError:
                return  # it answers
            except OSError:
                if time.monotonic() > give_up:
                    log = self._folder / "registry.log"
                    raise HarnessError(f"the registry did not start; {log} ends with:\n{tail(log)}") from None
            time.sleep(0.05)

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class _Door(Proxy):
    """Lets those in who name user and password."""

    async def _before(self, request: web.Request, faults: list[Fault]) -> web.StreamResponse | None:
        wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if request.headers.get("Authorization") == wanted:
            return await super()._before(request, faults)
        trouble: dict[str, Any] = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
        return web.json_response(trouble, status=401, headers={"WWW-Authenticate": 'Basic realm="charts"'})
