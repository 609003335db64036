"""How clients reach the API server: plain JSON requests, and kubeconfig files.

Owns nothing that runs. `Access` knows a server, its authority and a bearer token; the proxy in front of the API server
hands out one of its own.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .errors import HarnessError


@dataclass(frozen=True)
class Access:
    """A way to the API server as one user."""

    server: str
    ca: Path
    token: str
    user: str = "admin"

    def as_user(self, user: str, token: str) -> Access:
        """The same server for somebody else."""
        return replace(self, user=user, token=token)

    def at(self, server: str) -> Access:
        """The same user at another address, a proxy's for example."""
        return replace(self, server=server)

    def request(
        self, method: str, path: str, body: object = None, *, timeout_s: float = 30.0, content: str = "application/json"
    ) -> Any:
        """Asks, and gives the answer read as JSON (as text when it is none).

        Raises:
            ApiError: the server answered with an error.
            OSError: there was no answer.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content}
        request = urllib.request.Request(self.server + path, data, headers, method=method)
        context = ssl.create_default_context(cafile=str(self.ca))
        try:
            with urllib.request.urlopen(request, timeout=timeout_s, context=context) as answer:
                text = answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            raise ApiError(error.code, error.read().decode(errors="replace")) from None
        try:
            return json.loads(text)
        except ValueError:
            return text

    def write_kubeconfig(self, path: Path, *, namespace: str = "default") -> Path:
        """Writes a kubeconfig for this way in."""
        return write_kubeconfig(path, self.server, self.ca, {"token": self.token}, self.user, namespace)


class ApiError(HarnessError):
    """The API server refused; `status` is the HTTP status, `text` the answer."""

    def __init__(self, status: int, text: str) -> None:
        """Both are kept."""
        super().__init__(f"{status}: {text}")
        self.status, self.text = status, text


def write_kubeconfig(
    path: Path, server: str, ca: Path, credentials: dict[str, str], user: str, namespace: str = "default"
) -> Path:
    """Writes a kubeconfig (JSON is YAML) that only its owner reads; `credentials` is the user's part of it."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "e2e", "cluster": {"server": server, "certificate-authority": str(ca)}}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": user, "namespace": namespace}}],
        "current-context": "e2e",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=1))
    return path
