"""What goes into a request from outside: URLs, headers, credentials, cookies. Checked here, so that nothing in them can end a
line or be taken for something else; what is a secret is in no message. Pure.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from wasp_ray.errors import BadInput

Auth = tuple[str, str] | str | None
PORTS = {"http": 80, "https": 443}
FRAMING = frozenset({"content-length", "transfer-encoding"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORBIDDEN = re.compile(r"[\r\n\0]")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NAME, _IPV6 = re.compile(r"[0-9A-Za-z._~-]+"), re.compile(r"[0-9A-Fa-f:.]+(%[0-9A-Za-z._-]+)?")
_NO_COOKIE = re.compile(r"[;,\s]")


class Origin(NamedTuple):
    """Where connections go; those of one origin are interchangeable."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """As the Host header has it: brackets around IPv6, whose zone is nobody else's business, no default port."""
        host = f"[{self.host.partition('%')[0]}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def clean(text: str, what: str) -> str:
    """Raises BadInput for what would end a line of the request: CR, LF and NUL."""
    if _FORBIDDEN.search(text):
        raise BadInput(f"{what} with CR, LF or NUL in it is refused: it could smuggle in a second header or request")
    return text


def split_url(url: str) -> tuple[Origin, str]:
    """Origin and target (path and query) of a whole URL. Raises BadInput."""
    shown = _shown(clean(url, "URL"))
    parts = _split(url, shown)
    if parts.scheme not in PORTS or not parts.hostname:
        raise BadInput(f"URL {shown!r}: expected http://host[:port]/path or https://...")
    if parts.username is not None:
        raise BadInput("URL with a user in it: give auth=(user, password) instead, so that it is in no log")
    host = host_of(parts, shown)
    return Origin(parts.scheme, host, port_of(parts, shown)), (parts.path or "/") + (
        f"?{parts.query}" if parts.query else ""
    )


def _split(url: str, shown: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise BadInput(f"URL {shown!r}: expected http://host[:port]/path, with brackets around IPv6 alone") from None


def _shown(url: str) -> str:
    """Without user, password and query, which may be secrets."""
    return re.sub(r"//.*@", "//...@", url.partition("?")[0].partition("#")[0])


def host_of(parts: SplitResult, shown: str) -> str:
    """As the resolver takes it: in ASCII. Raises BadInput."""
    host = parts.hostname or ""
    if ":" in host:
        host = host.replace("%25", "%", 1)
    try:
        host = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        host = ""
    if not (_IPV6 if ":" in host else _NAME).fullmatch(host):
        raise BadInput(f"URL {shown!r}: its host is none")
    return host


def port_of(parts: SplitResult, shown: str) -> int:
    """The default one where none is given. Raises BadInput."""
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise BadInput(f"URL {shown!r}: expected a port of 1 to 65535")
    return port or PORTS[parts.scheme]


def header(name: str, value: object) -> tuple[str, str]:
    """One header as it is sent. Raises BadInput."""
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        begins = _TOKEN.match(name) if isinstance(name, str) else None
        known = f" that begins with {begins[0]!r}" if begins else ""  # the rest may be its value
        raise BadInput(f"header name{known}: expected letters, digits and hyphens")
    if name.lower() in FRAMING:
        raise BadInput(f"header {name}: the client sets it by the body that it sends")
    if value is None:
        raise BadInput(f"header {name}: must be a string, found None")
    text = clean(value.decode("latin-1") if isinstance(value, bytes) else str(value), f"header {name}")
    return name, _latin(text.strip(" \t"), f"header {name}")


def _latin(text: str, what: str) -> str:
    if _CONTROL.search(text):
        raise BadInput(f"{what} with a control character in it: no server has to take it")
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:  # not chained: it shows the text
        raise BadInput(f"{what}: expected Latin-1 characters; encode others by the rules of that header") from None
    return text


def authorization(auth: Auth) -> str:
    """Value of the Authorization header, empty for None. Raises BadInput."""
    if auth is None:
        return ""
    if isinstance(auth, str) and auth:
        return "Bearer " + _latin(clean(auth, "auth token"), "auth token")
    if not isinstance(auth, (tuple, list)) or len(auth) != 2 or not all(isinstance(part, str) for part in auth):
        raise BadInput("auth: expected (user, password) or a token that is not empty")
    user, password = auth
    if ":" in user:
        raise BadInput("auth: a user name with a colon in it cannot be sent by basic authentication")
    try:
        return "Basic " + b64encode(f"{user}:{password}".encode()).decode()
    except UnicodeEncodeError:
        raise BadInput("auth: expected characters that UTF-8 has") from None


def cookie_pairs(cookies: Mapping[str, object]) -> dict[str, str]:
    """Names and values as they are sent. Raises BadInput."""
    pairs = {}
    for name, value in dict(cookies).items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise BadInput("a cookie's name: expected letters, digits and hyphens")
        text = clean(str(value), f"cookie {name}")
        if _NO_COOKIE.search(text):
            raise BadInput(f"cookie {name}: expected a value without ; , and spaces")
        pairs[name] = _latin(text, f"cookie {name}")
    return pairs
