"""What a client is made with: read once, checked as a whole. It must not connect or read files but for TLS."""

from __future__ import annotations

import inspect
import os
import re
import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from wasp_ray.errors import BadInput
from wasp_ray.http.parts import Origin, authorization, clean, cookie_pairs, header, host_of, port_of, split_url
from wasp_ray.schedule.duration import parse_duration

Expect = int | Collection[int] | Callable[[Any], Any] | None
SECRET = frozenset({"auth", "cert", "cookies", "headers", "proxy"})
MAX_UNIX_PATH = 107
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMG]?)i?B?\Z")
_POWER = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3}


class Proxy(NamedTuple):
    """An HTTP proxy and the value of its Proxy-Authorization header."""

    host: str
    port: int
    authorization: str

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port})"


@dataclass(frozen=True, slots=True)
class Options:
    """See docs/http.md. Durations in ns, sizes in bytes; None is no limit."""

    origin: Origin
    prefix: str = ""  # path of the base URL, without its last slash
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    authorization: str = field(default="", repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_ns: int = 30_000_000_000
    connect_timeout_ns: int = 5_000_000_000
    first_byte_timeout_ns: int | None = None
    expect: Expect = None
    redirects: int = 0
    retries: int = 1
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

    def ssl_context(self, *protocols: str) -> ssl.SSLContext:
        """By `verify` and `cert`; `protocols` in the order in which they are offered."""
        return _ssl_context(*self.tls, protocols or ("http/1.1",))


@lru_cache(maxsize=64)
def _ssl_context(verify: bool | str, cert: tuple[str, ...] | None, protocols: tuple[str, ...]) -> ssl.SSLContext:
    """One for all clients of a process: to read the system's authorities takes 25 ms."""
    context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    if verify is False:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if cert is not None:
        context.load_cert_chain(cert[0], cert[1] if len(cert) > 1 else None, password=_no_password)
    context.set_alpn_protocols(list(protocols))
    return context


def _no_password() -> str:
    raise ValueError(
        "the key of the certificate has a passphrase: give one without"
    )  # else it is asked for, at the terminal


def read_options(
    base_url: str, options: Mapping[str, Any], *, client: str = "http", only: Collection[str] | None = None
) -> Options:
    """Raises BadInput with all problems. `client`: what user code calls; `only`: the options that it has, all by default."""
    problems: list[str] = []
    known: dict[str, Any] = {}
    origin = prefix = None
    try:
        origin, prefix = split_url(str(base_url))
        if "?" in prefix or "#" in str(base_url):
            raise BadInput("the base URL has a query or a fragment: give query= with each request")
        prefix = prefix.rstrip("/")
    except BadInput as exc:
        problems += exc.problems
    for name, value in options.items():
        read = _READERS.get(name) if only is None or name in only else None
        if read is None:
            there = ", ".join(sorted(_READERS if only is None else only))
            problems.append(f"{client}({name}=...): there is no such option; there are {there}")
            continue
        try:
            known |= read(value)
        except (BadInput, ValueError, TypeError) as exc:
            problems.append(f"{client}({name}={'...' if name in SECRET else repr(value)}): {_why(name, exc)}")
    tls = (known.pop("verify", True), known.pop("cert", None))
    if tls != (True, None) or (origin is not None and origin.scheme == "https"):
        try:
            _ssl_context(*tls, ("http/1.1",))
        except (OSError, ValueError) as exc:
            files = ", ".join(str(name) for name in (tls[0], *(tls[1] or ())) if isinstance(name, str))
            problems.append(f"{client}(verify=, cert=): {type(exc).__name__}: {exc} ({files or 'of the system'})")
    if problems or origin is None:
        raise BadInput(problems)
    return Options(origin=origin, prefix=prefix or "", tls=tls, **known)


def _why(name: str, exc: Exception) -> str:
    """What Python itself says of a secret may show it."""
    return str(exc) if isinstance(exc, BadInput) or name not in SECRET else f"{type(exc).__name__}: see docs/http.md"


def duration_ns(value: Any) -> int:
    """ "5s" or seconds, above zero."""
    try:
        found = parse_duration(value)
    except ValueError as exc:
        raise BadInput(str(exc)) from exc
    if found <= 0:
        raise BadInput("expected a duration above zero")
    return found


def _optional_ns(value: Any) -> int | None:
    return None if value is None else duration_ns(value)


def _size(value: Any) -> int:
    found = None if isinstance(value, bool) else _SIZE.match(str(value))
    size = int(float(found[1]) * 1000 ** _POWER[found[2]]) if found is not None else 0
    if size <= 0:
        raise BadInput("expected bytes, or a text like '64MB', above zero")
    return size


def checked_count(least: int) -> Callable[[Any], int]:
    """A reader of whole numbers; it raises BadInput."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise BadInput(f"expected a whole number of {least} or more")
        return value

    return read


def checked_expect(value: Any) -> Expect:
    """Raises BadInput."""
    if inspect.iscoroutinefunction(value):
        raise BadInput("expected a predicate that returns its opinion: an async one cannot be asked")
    if value is None or callable(value) or (isinstance(value, int) and not isinstance(value, bool)):
        return value  # type: ignore[no-any-return]
    if isinstance(value, (set, frozenset, list, tuple, range)) and all(type(status) is int for status in value):
        return frozenset(value)
    raise BadInput("expected a status, a set of them, or a predicate of the Response")


def _headers(value: Any) -> dict[str, str]:
    return dict(header(name, text) for name, text in dict(value).items())


def _proxy(value: Any) -> Proxy | None:
    if value is None:
        return None
    try:
        parts = urlsplit(clean(str(value), "proxy"))
    except ValueError:
        parts = urlsplit("")
    if parts.scheme != "http" or not parts.hostname:
        raise BadInput("expected http://[user:password@]host:port")
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username is not None else None
    return Proxy(host_of(parts, "of the proxy"), port_of(parts, "of the proxy"), authorization(auth))


def _verify(value: Any) -> Any:
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise BadInput("expected True, False or the path of a CA file")


def _cert(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, (str, os.PathLike)):
        return (str(value),)
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise BadInput("expected the path of a certificate with its key, or (certificate, key)")
    certificate, key = value
    return (str(certificate), str(key))


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadInput("expected True or False")
    return value


def _unix(value: Any) -> str | None:
    if value is None:
        return None
    path = os.fspath(value)
    if not isinstance(path, str) or "\0" in path or not 0 < len(path.encode()) <= MAX_UNIX_PATH:
        raise BadInput(f"expected the path of a socket, of 1 to {MAX_UNIX_PATH} bytes")
    return path


def _at_most_one(value: Any) -> int:
    if isinstance(value, bool) or value not in (0, 1):
        raise ValueError("expected 0 or 1")
    return int(value)


def _as(name: str, read: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {name: read(value)}


_READERS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "headers": _as("headers", _headers),
    "auth": _as("authorization", authorization),
    "cookies": _as("cookies", cookie_pairs),
    "timeout": _as("timeout_ns", duration_ns),
    "connect_timeout": _as("connect_timeout_ns", duration_ns),
    "first_byte_timeout": _as("first_byte_timeout_ns", _optional_ns),
    "expect": _as("expect", checked_expect),
    "redirects": _as("redirects", checked_count(0)),
    "retries": _as("retries", _at_most_one),
    "connections": _as("connections", checked_count(1)),
    "idle": _as("idle_ns", duration_ns),
    "decompress": _as("decompress", _truth),
    "max_body": _as("max_body", _size),
    "verify": _as("verify", _verify),
    "cert": _as("cert", _cert),
    "server_name": _as("server_name", lambda value: None if value is None else clean(str(value), "server_name")),
    "proxy": _as("proxy", _proxy),
    "unix": _as("unix", _unix),
    "dns_ttl": _as("dns_ttl_ns", duration_ns),
    "phases": _as("phases", _truth),
}
