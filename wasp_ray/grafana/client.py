"""The one place that speaks HTTP to Grafana: address and token from the environment, errors that say what to do."""

from __future__ import annotations

import json
import os
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

from wasp_ray.errors import BadInput, WaspError

TIMEOUT_S = 20.0
MAX_TOLD_CHARS = 200


class GrafanaError(WaspError):
    """A request that Grafana refused or that never reached it. `status` is 0 when there was no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        self.status = status
        super().__init__(message)


class Connection:
    """GRAFANA_URL and GRAFANA_TOKEN as this process has them. Raises BadInput when one is missing or cannot be used."""

    def __init__(self) -> None:
        self.url, token = os.environ.get("GRAFANA_URL", "").rstrip("/"), os.environ.get("GRAFANA_TOKEN", "")
        problems = []
        parts = urlsplit(self.url)
        if not self.url:
            problems.append("GRAFANA_URL is not set: expected the root of Grafana, as https://grafana.example")
        elif parts.username or parts.password:
            problems.append("GRAFANA_URL holds a password: put a service account token into GRAFANA_TOKEN instead")
        elif parts.scheme not in ("http", "https") or not parts.netloc:
            problems.append(f"GRAFANA_URL={self.url}: expected the root of Grafana, as https://grafana.example")
        if not token:
            problems.append(
                "GRAFANA_TOKEN is not set: expected the token of a service account with the role Editor"
                " (Administration > Users and access > Service accounts)"
            )
        elif not token.isprintable() or " " in token:
            problems.append("GRAFANA_TOKEN holds a line end or another character that no token has: remove it")
        if problems:
            raise BadInput(problems)
        self.headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}

    def session(self) -> aiohttp.ClientSession:
        """To be closed by the caller. Certificates are checked as Python does, SSL_CERT_FILE included."""
        return aiohttp.ClientSession(headers=self.headers, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))


class GrafanaClient:
    """`async with GrafanaClient() as grafana: await grafana.get("/api/folders/x")`."""

    def __init__(self) -> None:
        self._connection = Connection()
        self._session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        """The root, without a slash at its end."""
        return self._connection.url

    async def __aenter__(self) -> Self:
        self._session = self._connection.session()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def get(self, path: str) -> Any:
        """The answer. Raises GrafanaError."""
        return await self.ask("GET", path)

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer as data, None for an empty one. Raises GrafanaError with what was expected, found and the cure."""
        assert self._session is not None
        url = self.url + path
        try:
            async with self._session.request(method, url, json=body, allow_redirects=False) as answer:
                status, text = answer.status, await answer.text(errors="replace")
                moved_to = answer.headers.get("Location", "")
        except (aiohttp.ClientError, OSError) as exc:
            raise GrafanaError(unreachable(self.url, exc)) from exc
        if 300 <= status < 400:
            raise GrafanaError(_moved(self.url, moved_to), status)
        data = _parsed(text)
        if data is _NO_JSON:
            raise GrafanaError(_no_grafana(self.url, f"{status} and a page that is no JSON"), status)
        if not 200 <= status < 300:
            raise GrafanaError(refused(f"{method} {path}", status, data), status)
        return data


_NO_JSON = object()


def _parsed(text: str) -> Any:
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except ValueError:
        return _NO_JSON


def unreachable(url: str, exc: BaseException) -> str:
    """Why there is no answer, with the cure."""
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        told = getattr(exc.certificate_error, "verify_message", None) or exc.certificate_error
        return f"{url}: its certificate is not trusted ({told}): name the file of its CA in SSL_CERT_FILE"
    if isinstance(exc, aiohttp.ClientSSLError):
        return f"{url}: expected TLS, found something else ({_short(exc)}): is it http:// instead of https://?"
    if isinstance(exc, TimeoutError):
        return f"{url}: no answer within {TIMEOUT_S:g} s: is GRAFANA_URL right, and reachable from here?"
    why = getattr(exc, "strerror", None) or _short(exc) or type(exc).__name__
    return f"{url}: expected Grafana, nothing answers ({why}): is GRAFANA_URL right, and does Grafana run?"


def _short(exc: BaseException) -> str:
    return str(exc)[:MAX_TOLD_CHARS]


def _moved(url: str, to: str) -> str:
    """As from http to https, or to a page for logging in."""
    parts = urlsplit(to)
    if "/login" in parts.path:
        return _no_grafana(url, "a page for logging in")
    root = f"{parts.scheme}://{parts.netloc}" if parts.netloc else "another path"
    return f"{url}: expected Grafana, found a redirect to {root}: set GRAFANA_URL to where Grafana is in the end"


def _no_grafana(url: str, found: str) -> str:
    return (
        f"{url}: expected Grafana's API, found {found}: GRAFANA_URL must be Grafana's root with the path it is served under,"
        " as https://example/grafana"
    )


_CURES = {
    401: "expected GRAFANA_TOKEN to be a service account token of this Grafana that has not expired: make a new one",
    403: "the service account may not do this: give it the role Editor, or the permission that is named",
    404: "expected an API of Grafana 10 to 13: GRAFANA_URL must be Grafana's root with the path it is served under",
    412: "someone else's dashboard or folder stands in the way: rename the Profile, or remove what is there",
    429: "Grafana has too many requests: try again later",
}


def refused(what: str, status: int, data: Any) -> str:
    """What Grafana said, with the cure."""
    told = ""
    if isinstance(data, dict):
        told = str(data.get("message") or data.get("error") or "")[:MAX_TOLD_CHARS]
        if data.get("status"):
            told = f"{told} ({data['status']})"
    cure = _CURES.get(status, "Grafana's own log says more" if status >= 500 else "")
    return f"{what}: Grafana answered {status}{f' {told}' if told else ''}{f'; {cure}' if cure else ''}"
