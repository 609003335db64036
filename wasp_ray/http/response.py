"""What a request came to, as user code sees it. It is recorded already."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from wasp_ray.errors import CallFailed
from wasp_ray.http.answer import Raw, headers_of
from wasp_ray.http.request import Request
from wasp_ray.load.actors import Response as Reported

_CHARSET = re.compile(r"charset=\"?([\w.:-]+)", re.IGNORECASE)


class Headers(Mapping[str, str]):
    """Of an answer, by any spelling of their names; those that came several times joined by a comma."""

    def __init__(self, raw: Raw) -> None:
        self._found: dict[str, list[str]] = {}
        for name, value in raw:
            self._found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))

    def __getitem__(self, name: str) -> str:
        return ", ".join(self._found[name.lower()])

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def get_all(self, name: str) -> list[str]:
        """Each value by itself, as Set-Cookie needs it."""
        return list(self._found.get(name.lower(), []))

    def __repr__(self) -> str:
        return f"Headers({', '.join(self._found)})"  # no values: they may be secrets


class Response(Reported):
    """An answer, or what there was instead of one (`error`, and `status` 0 when nothing came)."""

    __slots__ = ("_head", "_headers", "_phases", "_request", "body", "service_s")

    status: int
    path, timeout, bytes_in, bytes_out, data, recorded = (
        "",
        False,
        0,
        0,
        None,
        True,
    )  # the same for all, so not set in each

    def __init__(
        self, status: int, head: bytes, body: bytes, request: Request, error: str, service_s: float,
        phases: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        self.status = status
        self._head = head
        self.body = body
        self._request = request
        self.error = error
        self.service_s = service_s
        self._phases = phases
        self._headers: Headers | None = None

    @property
    def group(self) -> str:  # type: ignore[override]  # here it is read only
        """Where it is counted."""
        return self._request.group

    @property
    def failed(self) -> bool:  # type: ignore[override]
        """Whether it was not as expected."""
        return bool(self.error)

    @property
    def ok(self) -> bool:
        """Whether the answer was as expected."""
        return not self.error

    @property
    def url(self) -> str:
        """That was answered, after redirects."""
        return self._request.url

    @property
    def phases(self) -> dict[str, float]:
        """Seconds of dns, connect, tls (of a new connection) and first byte."""
        return {name: ns / 1e9 for name, ns in (self._phases or {}).items()}

    @property
    def headers(self) -> Headers:
        """Names in lower case."""
        if self._headers is None:
            self._headers = Headers(headers_of(self._head))
        return self._headers

    @property
    def text(self) -> str:
        """By the charset of its Content-Type, else UTF-8; what cannot be decoded is replaced."""
        named = _CHARSET.search(self.headers.get("content-type", ""))
        try:
            return self.body.decode(named[1] if named else "utf-8", "replace")
        except (LookupError, ValueError):  # there is no such charset, or it is none of texts
            return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Raises CallFailed for a failed request and for what is no JSON."""
        if self.error:
            raise CallFailed(f"{self.group}: {self.error}")
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as exc:
            raise CallFailed(f"{self.group}: the body is no JSON: {exc}") from exc

    def __repr__(self) -> str:
        return f"<Response {self.group}: {self.error or self.status}, {len(self.body):,} bytes>"
