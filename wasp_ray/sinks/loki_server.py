"""The requests that are made of a Loki, and what its answers mean. It must not decide what becomes of a batch."""

from __future__ import annotations

import json
import os
import re
import ssl
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import aiohttp

from wasp_ray.errors import WaspError
from wasp_ray.sinks.loki_batch import Part, span_ns

PUSH, QUERY = "/loki/api/v1/push", "/loki/api/v1/query"
TIMEOUT_S = 10.0
NOT_SENT, NO_ANSWER = -1, 0
"""Instead of a status: it never reached the server; whether it did is not known."""
MAX_TEXT_CHARS = 1 << 20
IGNORED, ALIKE = re.compile(r"total ignored: (\d+) out of"), re.compile(r"(\d+) errors like: ")
ONE_ENTRY = re.compile(r"max entry size|has timestamp too (old|new)")
_DOUBTFUL = (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, aiohttp.ClientOSError, TimeoutError)
"""The batch may have been written before the connection ended."""


class LokiServer:
    """`target`: url, tenant_id, headers, ca_file, cert_file, key_file, in_flight, batches (what the ids of its batches begin
    with). Raises WaspError when the credentials are ambiguous or a file of TLS cannot be used.
    """

    def __init__(self, target: Mapping[str, Any]) -> None:
        self._url: str = target["url"]
        self._batches: str = target["batches"]
        self._in_flight: int = target["in_flight"]
        self._headers = {**target["headers"], **credentials()}
        if target["tenant_id"]:
            self._headers["X-Scope-OrgID"] = target["tenant_id"]
        self._tls = _tls(target["ca_file"], target["cert_file"], target["key_file"])
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """In the loop that it is used in; the server need not be there."""
        connector = aiohttp.TCPConnector(limit=self._in_flight, ssl=self._tls)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), headers=self._headers
        )

    async def push(self, body: bytes) -> tuple[int, str]:
        """Status and text of the answer, or NOT_SENT or NO_ANSWER and why."""
        assert self._session is not None
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        try:
            async with self._session.post(
                self._url + PUSH, data=body, headers=headers, allow_redirects=False
            ) as answer:
                return answer.status, (await answer.text(errors="replace"))[:MAX_TEXT_CHARS]
        except aiohttp.ClientConnectorError as exc:
            return NOT_SENT, f"{self._url}: {exc.strerror or exc}"
        except _DOUBTFUL as exc:
            return NO_ANSWER, f"{self._url}: the connection ended before the answer ({type(exc).__name__})"
        except aiohttp.ClientError as exc:
            return NOT_SENT, f"{self._url}: {type(exc).__name__}"

    async def count(self, part: Part, body: bytes) -> int | None:
        """How many lines of a part are there; None when it does not say. Raises OSError when it does not answer."""
        assert self._session is not None
        first, last = span_ns(body)
        batch = json.dumps(f'"batch":"{self._batches}-{part.number}"')
        seconds = (last - first) // 1_000_000_000 + 2
        lines = f'{{service_name="wasp_ray"}} |= {batch} | json n="n" | n >= {part.first} | n <= {part.last}'
        asked = {"query": f"sum(count_over_time({lines} [{seconds}s]))", "time": str(last + 1)}
        try:
            async with self._session.get(self._url + QUERY, params=asked, allow_redirects=False) as answer:
                if answer.status != 200:
                    return None
                found = (await answer.json(content_type=None))["data"]["result"]
                return int(float(found[0]["value"][1])) if found else 0
        except aiohttp.ClientError as exc:
            raise OSError(f"{self._url}: {type(exc).__name__}") from exc
        except (ValueError, LookupError, TypeError):
            return None

    async def close(self) -> None:
        """Ends its connections."""
        if self._session is not None:
            await self._session.close()


def _tls(ca_file: str, cert_file: str, key_file: str) -> ssl.SSLContext | bool:
    if not ca_file and not cert_file:
        return True
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
        if cert_file:
            context.load_cert_chain(cert_file, key_file or None, password="")
    except (OSError, ssl.SSLError) as exc:
        files = ", ".join(file for file in (ca_file, cert_file, key_file) if file)
        raise WaspError(f"{files}: expected certificates and a key without a password ({exc})") from exc
    return context


def ignored_lines(text: str) -> int:
    """How many lines a 400 left out while it stored the others; 0 when its text does not tell, as of a batch it cannot read."""
    if found := IGNORED.search(text):
        return int(found[1])
    if alike := ALIKE.findall(text):
        return sum(map(int, alike))
    return 1 if ONE_ENTRY.search(text) else 0


def root_of(url: str) -> str:
    """Of `url=` or LOKI_URL, with or without the path of pushes. Raises WaspError when there is none."""
    found = (url or os.environ.get("LOKI_URL", "")).rstrip("/").removesuffix(PUSH)
    if not found:
        raise WaspError("expected Loki(url=...) or LOKI_URL in the environment of this node, found neither")
    return found


def credentials() -> dict[str, str]:
    """The Authorization header from LOKI_TOKEN or LOKI_BASIC_AUTH. Raises WaspError for both."""
    token, basic = os.environ.get("LOKI_TOKEN", ""), os.environ.get("LOKI_BASIC_AUTH", "")
    if token and basic:
        raise WaspError("expected LOKI_TOKEN or LOKI_BASIC_AUTH, found both: leave one out")
    if any(not char.isprintable() for char in token + basic):
        raise WaspError("LOKI_TOKEN or LOKI_BASIC_AUTH holds a line end or another control character: remove it")
    if token:
        return {"Authorization": f"Bearer {token}"}
    return {"Authorization": f"Basic {b64encode(basic.encode()).decode()}"} if basic else {}
