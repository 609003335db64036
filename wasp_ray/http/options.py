"""What a client is made with: read once, checked as a whole. It must not connect or read files but for TLS."""

from __future__ import annotations

import re
import ssl
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from wasp_ray.errors import BadInput
from wasp_ray.schedule.duration import parse_duration

Auth = tuple[str, str] | str | None
Expect = int | Collection[int] | Callable[[Any], Any] | None
PORTS = {"http": 80, "https": 443}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_FORBIDDEN = re.compile(r"[\r\n\0]")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMG]?)i?B?\Z")
FRAMING = frozenset({"content-length", "transfer-encoding"})
_POWER = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3}


class Origin(NamedTuple):
    """Where connections go; those of one origin are interchangeable."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """As the Host header has it: brackets around IPv6, no default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


class Proxy(NamedTuple):
    """An HTTP proxy and the value of its Proxy-Authorization header."""

    host: str
    port: int
    authorization: str


@dataclass(frozen=True, slots=True)
class Options:
    """See docs/http.md. Durations in ns, sizes in bytes; None is no limit."""

    origin: Origin
    prefix: str = ""  # path of the base URL, without its last slash
    headers: Mapping[str, str] = field(default_factory=dict)
    authorization: str = ""
    cookies: Mapping[str, str] = field(default_factory=dict)
    timeout_ns: int = 30_000_000_000
    connect_timeout_ns: int = 5_000_000_000
    first_byte_timeout_ns: int | None = None
    expect: Expect = None
    redirects: int = 0
    connections: int = 1000
    idle_ns: int = 60_000_000_000
    decompress: bool = True
    max_body: int = 64_000_000
    tls: tuple[Any, ...] = (True, None)  # what tells one TLS context from another
    server_name: str | None = None
    proxy: Proxy | None = None
    unix: str | None = None
    dns_ttl_ns: int = 60_000_000_000
    phases: bool = False

    def ssl_context(self) -> ssl.SSLContext:
        """By `verify` and `cert`."""
        return _ssl_context(*self.tls)


@lru_cache(maxsize=64)
def _ssl_context(verify: bool | str, cert: tuple[str, ...] | None) -> ssl.SSLContext:
    """One for all clients of a process: to read the system's authorities takes 25 ms."""
    context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    if verify is False:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if cert is not None:
        context.load_cert_chain(*cert)
    context.set_alpn_protocols(["http/1.1"])
    return context


def read_options(base_url: str, options: Mapping[str, Any]) -> Options:
    """Raises BadInput with all problems."""
    problems: list[str] = []
    known: dict[str, Any] = {}
    origin = prefix = None
    try:
        origin, prefix = split_url(base_url)
        prefix = prefix.split("?", 1)[0].rstrip("/")
    except BadInput as exc:
        problems += exc.problems
    for name, value in options.items():
        read = _READERS.get(name)
        if read is None:
            problems.append(f"http({name}=...): there is no such option; there are {', '.join(sorted(_READERS))}")
            continue
        try:
            known |= read(value)
        except (BadInput, ValueError, TypeError) as exc:
            problems.append(f"http({name}={_shown(name, value)}): {exc}")
    if problems or origin is None:
        raise BadInput(problems)
    tls = (known.pop("verify", True), known.pop("cert", None))
    made = Options(origin=origin, prefix=prefix or "", tls=tls, **known)
    if origin.scheme == "https":
        try:
            made.ssl_context()
        except (OSError, ValueError) as exc:
            raise BadInput(f"http(verify=, cert=): {type(exc).__name__}: {exc}") from exc
    return made


def split_url(url: str) -> tuple[Origin, str]:
    """Origin and target (path and query) of a whole URL. Raises BadInput."""
    clean(url, "URL")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise BadInput(f"URL {url!r}: {exc}") from exc
    if parts.scheme not in PORTS or not parts.hostname:
        raise BadInput(f"URL {url!r}: expected http://host[:port]/path or https://...")
    if parts.username is not None:
        raise BadInput("URL with a user in it: give auth=(user, password) instead, so that it is in no log")
    origin = Origin(parts.scheme, parts.hostname, port or PORTS[parts.scheme])
    return origin, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def clean(text: str, what: str) -> str:
    """Raises BadInput for what would end a line of the request: CR, LF and NUL."""
    if _FORBIDDEN.search(text):
        raise BadInput(f"{what} with CR, LF or NUL in it is refused: it could smuggle in a second header or request")
    return text


def header(name: str, value: object) -> tuple[str, str]:
    """One header as it is sent. Raises BadInput."""
    if not _TOKEN.match(name):
        raise BadInput(f"header name {name!r}: expected letters, digits and hyphens")
    if name.lower() in FRAMING:
        raise BadInput(f"header {name}: the client sets it by the body that it sends")
    text = clean(str(value), f"header {name}").strip(" \t")
    try:
        text.encode("latin-1")
    except UnicodeEncodeError as exc:
        raise BadInput(
            f"header {name}: expected Latin-1 characters; encode others by the rules of that header"
        ) from exc
    return name, text


def authorization(auth: Auth) -> str:
    """Value of the Authorization header, empty for None. Raises BadInput."""
    if auth is None:
        return ""
    if isinstance(auth, str):
        return "Bearer " + clean(auth, "auth token")
    user, password = auth
    if ":" in user:
        raise BadInput("auth: a user name with a colon in it cannot be sent by basic authentication")
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def duration_ns(value: Any) -> int:
    """ "5s" or seconds, above zero."""
    found = parse_duration(value)
    if found <= 0:
        raise BadInput("expected a duration above zero")
    return found


def _optional_ns(value: Any) -> int | None:
    return None if value is None else duration_ns(value)


def _size(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    found = _SIZE.match(str(value))
    if found is None:
        raise BadInput("expected bytes or a text like '64MB'")
    return int(float(found[1]) * 1000 ** _POWER[found[2]])


def _count(least: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise BadInput(f"expected a whole number of {least} or more")
        return value

    return read


def checked_expect(value: Any) -> Expect:
    """Raises BadInput."""
    if value is None or callable(value) or (isinstance(value, int) and not isinstance(value, bool)):
        return value  # type: ignore[no-any-return]
    if isinstance(value, Collection) and not isinstance(value, str) and all(isinstance(v, int) for v in value):
        return frozenset(value)
    raise BadInput("expected a status, a set of them, or a predicate of the Response")


def _headers(value: Any) -> dict[str, str]:
    return dict(header(name, text) for name, text in dict(value).items())


def _cookies(value: Any) -> dict[str, str]:
    for name, text in dict(value).items():
        if not _TOKEN.match(name) or re.search(r"[;,\s]", clean(str(text), f"cookie {name}")):
            raise BadInput(f"cookie {name!r}: expected a name of letters and digits and a value without ; , and spaces")
    return {name: str(text) for name, text in dict(value).items()}


def _proxy(value: Any) -> Proxy | None:
    if value is None:
        return None
    parts = urlsplit(clean(str(value), "proxy"))
    if parts.scheme != "http" or not parts.hostname:
        raise BadInput("expected http://[user:password@]host:port")
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username is not None else None
    return Proxy(parts.hostname, parts.port or 80, authorization(auth))


def _verify(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value
    raise BadInput("expected True, False or the path of a CA file")


def _cert(value: Any) -> tuple[str, ...] | None:
    if value is None or isinstance(value, str):
        return None if value is None else (value,)
    certificate, key = value
    return (str(certificate), str(key))


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadInput("expected True or False")
    return value


def _shown(name: str, value: Any) -> str:
    return "..." if name in ("auth", "proxy", "headers", "cookies", "cert") else repr(value)


def _as(name: str, read: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {name: read(value)}


_READERS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "headers": _as("headers", _headers),
    "auth": _as("authorization", authorization),
    "cookies": _as("cookies", _cookies),
    "timeout": _as("timeout_ns", duration_ns),
    "connect_timeout": _as("connect_timeout_ns", duration_ns),
    "first_byte_timeout": _as("first_byte_timeout_ns", _optional_ns),
    "expect": _as("expect", checked_expect),
    "redirects": _as("redirects", _count(0)),
    "connections": _as("connections", _count(1)),
    "idle": _as("idle_ns", duration_ns),
    "decompress": _as("decompress", _truth),
    "max_body": _as("max_body", _size),
    "verify": _as("verify", _verify),
    "cert": _as("cert", _cert),
    "server_name": _as("server_name", lambda value: None if value is None else clean(str(value), "server_name")),
    "proxy": _as("proxy", _proxy),
    "unix": _as("unix", lambda value: None if value is None else str(value)),
    "dns_ttl": _as("dns_ttl_ns", duration_ns),
    "phases": _as("phases", _truth),
}
