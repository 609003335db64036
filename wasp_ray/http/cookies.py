"""The cookies of one client, by the rules of http.cookiejar. It must not send anything."""

from __future__ import annotations

from collections.abc import Mapping
from email.message import Message
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.request import Request

MAX_COOKIES = 200  # about what browsers keep for a site; the oldest go


def cookie_domain(host: str) -> str:
    """As http.cookiejar names a host: IPv6 in brackets, what has no dot below `.local`."""
    domain = f"[{host}]" if ":" in host else host
    return domain if "." in domain else f"{domain}.local"


class Jar:
    """`version` grows whenever what would be sent may have changed."""

    def __init__(self, first: Mapping[str, str], host: str) -> None:
        self.version = 0
        self._jar = CookieJar(DefaultCookiePolicy(rfc2965=False))
        for name, value in first.items():
            domain = cookie_domain(host)
            self._jar.set_cookie(Cookie(
                0, name, value, None, False, domain, False, False, "/", True, False, None, True, None, None, {},
            ))  # fmt: skip

    def header(self, url: str) -> str:
        """Value of the Cookie header for this URL, empty for none."""
        if not len(self._jar):
            return ""
        request = Request(url)  # noqa: S310 - nothing is opened
        self._jar.add_cookie_header(request)
        return request.get_header("Cookie") or ""

    def take(self, url: str, values: list[str]) -> None:
        """Set-Cookie headers of an answer from this URL."""
        self.version += 1
        self._jar.extract_cookies(_Answer(values), Request(url))  # type: ignore[arg-type]  # noqa: S310
        if len(self._jar) > MAX_COOKIES:
            for cookie in list(self._jar)[:-MAX_COOKIES]:
                self._jar.clear(cookie.domain, cookie.path, cookie.name)

    @property
    def is_lasting(self) -> bool:
        """Whether none of them ends by itself: what is sent changes with `version` only."""
        return all(cookie.expires is None for cookie in self._jar)

    @property
    def is_for_all_paths(self) -> bool:
        """Whether each of them is sent with every path, or with none."""
        return all(cookie.path == "/" for cookie in self._jar)


class _Answer:
    """What the library reads headers from."""

    def __init__(self, values: list[str]) -> None:
        self._message = Message()
        for value in values:
            self._message["Set-Cookie"] = value

    def info(self) -> Any:
        """The headers."""
        return self._message
