"""Makes the bytes of requests and what is known of them beforehand. Pure but for clocks that it does not read."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from json import JSONEncoder
from typing import Any
from urllib.parse import quote, urlencode, urljoin

from wasp_ray.errors import BadInput
from wasp_ray.http.cookies import Jar
from wasp_ray.http.decode import accepted
from wasp_ray.http.options import Expect, Options, checked_count, checked_expect, duration_ns
from wasp_ray.http.parts import Origin, authorization, clean, cookie_pairs, header, split_url
from wasp_ray.http.places import FIELD, TARGET_SAFE, place_of, quoted_value
from wasp_ray.http.routes import route_of

IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})
ARGUMENTS = frozenset(
    {"path", "query", "headers", "json", "form", "body", "auth", "cookies", "timeout", "expect", "redirects", "group"}
)
OF_BODY = frozenset({"content-type", "content-encoding", "content-language"})
SENT_TO_ANY_ORIGIN = OF_BODY | {"accept", "accept-charset", "accept-encoding", "accept-language", "range", "user-agent"}
"""Headers that a redirect to another origin takes along: they choose a representation (RFC 9110, 12.1 and 14.2) or describe the
body. Any other may be a key: a list of names that are secret, as curl and browsers have it, does not know X-Api-Key.
"""
SENT_AT_ONCE = 64 * 1024
"""A socket takes so many bytes without a word of the server; with more, its answer may come first."""
WRONG_TYPES = (TypeError, ValueError, AttributeError, RecursionError)
_encode_json = JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_METHOD = re.compile(r"[A-Z][A-Z-]*\Z")
Pairs = Mapping[str, Any] | Sequence[tuple[str, Any]]
Body = bytes | Iterable[bytes] | AsyncIterable[bytes] | None


@dataclass(slots=True, repr=False)
class Request:
    """One request, sent as often as it is asked for. `body` None: there is none."""

    method: str
    origin: Origin
    target: str
    group: str
    route: str
    headers: tuple[tuple[str, str], ...]  # those that were given, without Host, cookies and framing
    body: Body
    expect: Expect
    timeout_ns: int
    redirects: int
    is_chunked: bool = False
    head_only: bool = False  # its answer ends with its headers
    data: bytes = b""  # head, and body when it is bytes
    cookies: Mapping[str, str] = field(default_factory=dict)  # beside those of the client, or in their stead

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.route}>"  # all else may be a secret

    def may_repeat(self, was_sent: bool) -> bool:
        """Sending it twice does what sending it once does, and its body is still there."""
        return (self.method in IDEMPOTENT or not was_sent) and not self.is_chunked

    @property
    def url(self) -> str:
        """Whole."""
        return f"{self.origin.scheme}://{self.origin.authority}{self.target}"


class RequestMaker:
    """Of one client: its options, its cookies. Every problem is a BadInput."""

    def __init__(self, options: Options, jar: Jar) -> None:
        self._options, self._jar = options, jar
        self._accept = accepted() if options.decompress else "identity"

    def make(self, method: str, path: str, asked: Mapping[str, Any]) -> Request:
        """From what user code asked for."""
        if unknown := asked.keys() - ARGUMENTS:
            raise BadInput(
                f"{', '.join(sorted(unknown))}: no such argument of a request; there are {', '.join(sorted(ARGUMENTS))}"
            )
        try:
            return self._make(method, path, asked)
        except WRONG_TYPES as exc:  # not chained: it may show what is sent
            given = ", ".join(f"{name}={type(value).__name__}" for name, value in asked.items())
            raise BadInput(f"{method} with {given}: cannot be made into a request ({type(exc).__name__})") from None

    def _make(self, method: str, path: str, asked: Mapping[str, Any]) -> Request:
        options = self._options
        if not _METHOD.match(method):
            raise BadInput(f"method {method!r}: expected letters, as in GET")
        get = asked.get
        if isinstance(path, bytes) or (not path and path != ""):
            raise BadInput(f"path {type(path).__name__}: must be a string")
        origin, target, route = self._target(str(path), get("path"))
        if query := get("query"):
            target += ("&" if "?" in target else "?") + encoded(query)
        own = origin == options.origin
        given: dict[str, tuple[str, str]] = {}
        for name, value in {**(options.headers if own else {}), **(get("headers") or {})}.items():
            given[name.lower()] = header(name, value)
        authorized = authorization(get("auth")) or (options.authorization if own else "")
        if authorized:
            given["authorization"] = ("Authorization", authorized)
        cookies = cookie_pairs(get("cookies") or {})
        if cookies and "cookie" in given:
            raise BadInput("cookies= beside a header Cookie: give one of them")
        content, kind = _body(get("json"), get("form"), get("body"))
        if kind and "content-type" not in given:
            given["content-type"] = ("Content-Type", kind)
        expect, timeout, redirects = get("expect"), get("timeout"), get("redirects")
        request = Request(
            method, origin, target, get("group") or f"{method} {route}", route, tuple(given.values()), content,
            options.expect if expect is None else checked_expect(expect),
            options.timeout_ns if timeout is None else duration_ns(timeout),
            options.redirects if redirects is None else checked_count(0)(redirects), cookies=cookies,
        )  # fmt: skip
        return self.framed(request)

    def _target(self, path: str, values: Mapping[str, Any] | None) -> tuple[Origin, str, str]:
        """Origin, target and route of a path below the base URL, or of a whole URL."""
        clean(path, "path")
        if not path.startswith("/"):
            filled = path if values is None else FIELD.sub(lambda found: quoted_value(values, found[1]), path)
            if filled.startswith(("http://", "https://")):
                origin, target = split_url(filled)
                target = quote(target, safe=TARGET_SAFE)
                route = FIELD.sub(r"{\1}", split_url(path)[1]) if values is not None else route_of(target)
                return origin, target, route.split("?", 1)[0]
            path = f"/{path}" if path else ""
        place = place_of(self._options.prefix, path, values is not None)
        return self._options.origin, place.target(values), place.route

    def framed(self, request: Request) -> Request:
        """With the bytes to send; again when cookies have changed."""
        options, origin = self._options, request.origin
        target = request.target
        lines = []
        if options.proxy is not None and origin.scheme == "http" and options.unix is None:
            target = request.url
            if options.proxy.authorization:
                lines.append(f"Proxy-Authorization: {options.proxy.authorization}")
        names = {name.lower() for name, _ in request.headers}
        if "host" not in names:
            lines.insert(0, f"Host: {origin.authority}")
        for name, value in (("User-Agent", "wasp-ray"), ("Accept", "*/*"), ("Accept-Encoding", self._accept)):
            if name.lower() not in names:
                lines.append(f"{name}: {value}")
        lines += [f"{name}: {value}" for name, value in request.headers]
        if "cookie" not in names and (sent := _merged(self._jar.header(request.url), request.cookies)):
            lines.append(f"Cookie: {clean(sent, 'cookies')}")
        body = request.body
        request.head_only = request.method == "HEAD"
        request.is_chunked = body is not None and not isinstance(body, bytes)
        if request.is_chunked:
            lines.append("Transfer-Encoding: chunked")
        head = "\r\n".join([f"{request.method} {target} HTTP/1.1", *lines, ""]).encode("latin-1")
        if isinstance(body, bytes) or (request.method in ("POST", "PUT", "PATCH") and body is None):
            content = body or b""
            request.data = with_length(head + b"Content-Length: ", content)
        else:
            request.data = head + b"\r\n"
        return request

    def redirected(self, request: Request, status: int, location: str) -> Request | None:
        """Return the request that follows a redirect; None when its body cannot be sent again. Raises BadInput for a bad
        Location. Headers and cookies that another origin must not see are gone for the rest of the chain, also on the way back.
        """
        quoted = quote(clean(location, "Location").encode("latin-1"), safe=TARGET_SAFE + "#")
        try:
            url = urljoin(request.url, quoted)
        except ValueError as exc:
            raise BadInput("Location: no URL") from exc
        origin, target = split_url(url)
        method, body = request.method, request.body
        dropped: set[str] = set()
        if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
            method, body = "GET", None
            dropped |= OF_BODY
        elif request.is_chunked:
            return None
        if origin != request.origin:
            dropped |= {name.lower() for name, _ in request.headers} - SENT_TO_ANY_ORIGIN
        headers = tuple((name, value) for name, value in request.headers if name.lower() not in dropped)
        cookies = request.cookies if origin == request.origin else {}
        return self.framed(
            replace(request, method=method, origin=origin, target=target, headers=headers, body=body, cookies=cookies)
        )


def with_length(head: bytes, body: bytes) -> bytes:
    """A head that ends with `Content-Length: `, and the body."""
    return b"%b%d\r\n\r\n%b" % (head, len(body), body)


def json_bytes(value: Any) -> bytes:
    """Raises BadInput."""
    try:
        return _encode_json(value).encode()
    except WRONG_TYPES as exc:
        raise BadInput(f"json={type(value).__name__}: cannot be told in JSON ({type(exc).__name__})") from None


def connect_request(options: Options, origin: Origin) -> bytes:
    """What a proxy is asked for."""
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    lines = [f"CONNECT {host}:{origin.port} HTTP/1.1", f"Host: {host}:{origin.port}"]
    if options.proxy is not None and options.proxy.authorization:
        lines.append(f"Proxy-Authorization: {options.proxy.authorization}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _merged(kept: str, own: Mapping[str, str]) -> str:
    """The Cookie header of what the client keeps and of what this request was given, which outdoes the other."""
    others = [pair for pair in kept.split("; ") if pair and pair.partition("=")[0] not in own]
    return "; ".join([*others, *(f"{name}={value}" for name, value in own.items())])


def encoded(pairs: Pairs) -> str:
    """As a query or form; None is left out, several values of a name are a pair each."""
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    flat: list[tuple[str, str]] = []
    for name, value in items:
        for each in value if isinstance(value, (list, tuple, set, frozenset)) else [value]:
            if each is not None:
                flat.append((str(name), {True: "true", False: "false"}[each] if isinstance(each, bool) else str(each)))
    return urlencode(flat)


def _body(json: Any, form: Pairs | None, body: Any) -> tuple[Body, str]:
    """Body and its Content-Type."""
    if sum(part is not None for part in (json, form, body)) > 1:
        raise BadInput("json=, form= and body= together: a request has one body")
    if json is not None:
        return json_bytes(json), "application/json"
    if form is not None:
        return encoded(form).encode(), "application/x-www-form-urlencoded"
    if isinstance(body, str):
        return body.encode(), "text/plain; charset=utf-8"
    if isinstance(body, (bytearray, memoryview)):
        return bytes(body), ""
    is_pieces = isinstance(body, (Iterable, AsyncIterable)) and not isinstance(body, Mapping)
    if body is None or isinstance(body, bytes) or is_pieces:
        return body, ""
    raise BadInput(
        f"body={type(body).__name__}: expected bytes, text or an iterable of bytes; there are json= and form="
    )
