"""The requests that are made of a Loki, and what its answers mean. It must not decide what becomes of a batch."""

from __future__ import annotations

import json
import os
import re
import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp

from wasp_ray.credentials import authorization_of
from wasp_ray.errors import WaspError
from wasp_ray.sinks.loki_batch import Part, span_ns
from wasp_ray.sinks.posting import post

PUSH, QUERY = "/loki/api/v1/push", "/loki/api/v1/query"
TIMEOUT_S = 10.0
TARGET_NAMES = frozenset({"url", "tenant_id", "headers", "ca_file", "cert_file", "key_file", "in_flight", "batches"})
"""What a LokiServer is made of; `batches`: what the ids of the run's batches begin with."""
IGNORED, ALIKE = re.compile(r"total ignored: (\d+) out of"), re.compile(r"(\d+) errors like: ")
ONE_ENTRY = re.compile(r"max entry size|has timestamp too (old|new)")


class LokiServer:
    """`target` has TARGET_NAMES. Raises WaspError when the credentials are ambiguous or a file of TLS cannot be used."""

    def __init__(self, target: Mapping[str, Any]) -> None:
        self._url: str = target["url"]
        self._batches: str = target["batches"]
        self._in_flight: int = target["in_flight"]
        self._headers = {**target["headers"], **authorization_of("LOKI", os.environ)}
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
        """Status and text of the answer; see posting.Posted for those that are none."""
        assert self._session is not None
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        posted = await post(self._session, self._url + PUSH, data=body, headers=headers)
        return posted.status, posted.said(self._url)

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
