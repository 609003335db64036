"""Requests as bytes, and taken apart again by something else than what made them."""

from __future__ import annotations

from typing import Any, NamedTuple

from httptools import HttpRequestParser

from wasp_ray.http.cookies import Jar
from wasp_ray.http.options import read_options
from wasp_ray.http.request import Request, RequestMaker


class Sent(NamedTuple):
    """What a server reads."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def target(self) -> str:
        """Path and query, or a whole URL for a proxy."""
        return self.line.split(" ")[1]

    def all(self, name: str) -> list[str]:
        """Values of a header."""
        return [value for known, value in self.headers if known.lower() == name.lower()]

    def one(self, name: str) -> str:
        """The only value of a header."""
        (value,) = self.all(name)
        return value


def maker(base_url: str = "http://shop.test", **options: Any) -> RequestMaker:
    """Of a client with these options."""
    made = read_options(base_url, options)
    return RequestMaker(made, Jar(made.cookies, made.origin.host))


def sent(request: Request) -> Sent:
    """The request's bytes read by llhttp, which must find exactly one request in them and nothing behind it."""
    found: dict[str, Any] = {"headers": [], "body": b"", "begun": 0, "done": 0}

    class Seen:
        def on_message_begin(self) -> None:
            found["begun"] += 1

        def on_header(self, name: bytes, value: bytes) -> None:
            found["headers"].append((name.decode("latin-1"), value.decode("latin-1")))

        def on_body(self, body: bytes) -> None:
            found["body"] += body

        def on_message_complete(self) -> None:
            found["done"] += 1

    HttpRequestParser(Seen()).feed_data(request.data + (b"0\r\n\r\n" if request.is_chunked else b""))
    assert (found["begun"], found["done"]) == (1, 1)
    return Sent(request.data.split(b"\r\n", 1)[0].decode("ascii"), found["headers"], found["body"])


def make(method: str, path: str, base_url: str = "http://shop.test", **asked: Any) -> Sent:
    """A request of a client without options."""
    return sent(maker(base_url).make(method, path, asked))
