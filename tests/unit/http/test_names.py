"""Routes, addresses and the names of failures: what keeps groups and errors few."""

from __future__ import annotations

import errno
import re
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.http_requests import maker

from wasp_ray.http import dns, failures
from wasp_ray.http.dns import MAX_HOSTS, Addresses
from wasp_ray.http.failures import ALL, RequestFailed, name_of
from wasp_ray.http.routes import route_of

UUID = "123e4567-e89b-12d3-a456-426614174000"


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "/"),
        ("", "/"),
        ("/items", "/items"),
        ("/items/7", "/items/{}"),
        ("/items/7/reviews/12345678901234567890", "/items/{}/reviews/{}"),
        (f"/items/{UUID}", "/items/{}"),
        (f"/items/{UUID.upper()}", "/items/{}"),
        ("/items/deadbeef", "/items/{}"),
        ("/items/DEADBEEF0123456789", "/items/{}"),
        ("/items/deadbee", "/items/deadbee"),
        ("/items/v7", "/items/v7"),
        ("/items/7a", "/items/7a"),
        ("/items/-7", "/items/-7"),
        ("/items/٧", "/items/٧"),
        ("/items/7\n", "/items/7\n"),
        ("/7/", "/{}/"),
        ("/items?id=7", "/items"),
        ("/items/7?token=hush", "/items/{}"),
        ("/items#7", "/items"),
        ("//7", "//{}"),
        ("/cafebabe", "/{}"),
        ("/fffffffg", "/fffffffg"),
    ],
)
def test_what_is_particular_leaves_the_route(path: str, route: str) -> None:
    """Digits, UUIDs, and hexadecimal ids of eight digits or more; never the query."""
    assert route_of(path) == route


@given(number=st.integers(0, 10**30))
def test_any_number_has_one_route(number: int) -> None:
    """However many items there are."""
    assert route_of(f"/a/{number}/b") == "/a/{}/b"


@pytest.mark.parametrize(
    ("base", "path", "asked", "group"),
    [
        ("http://shop.test", "/items/{id}", {"path": {"id": 7}}, "GET /items/{id}"),
        ("http://shop.test", "/items/{id}?a={b}", {"path": {"id": 7, "b": "hush"}}, "GET /items/{id}"),
        ("http://shop.test", "/items/7", {}, "GET /items/{}"),
        ("http://shop.test", "/items/7", {"query": {"token": "hush"}}, "GET /items/{}"),
        ("http://shop.test/api/2", "/items/7", {}, "GET /api/{}/items/{}"),
        ("http://shop.test", "items", {"group": "mine"}, "mine"),
        ("http://shop.test", "http://other.test/items/7?q=hush", {}, "GET /items/{}"),
        ("http://shop.test", "http://other.test/{a}", {"path": {"a": "hush"}}, "GET /{a}"),
        ("http://shop.test", "", {}, "GET /"),
    ],
)
def test_a_group_is_method_and_route(base: str, path: str, asked: dict[str, Any], group: str) -> None:
    """Never a value, never the query."""
    made = maker(base).make("GET", path, asked)
    assert made.group == group
    assert "hush" not in made.group + made.route


@pytest.mark.parametrize(
    ("exc", "name"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), failures.REFUSED),
        (FileNotFoundError(errno.ENOENT, "x"), failures.REFUSED),
        (ConnectionResetError(errno.ECONNRESET, "x"), failures.RESET),
        (BrokenPipeError(errno.EPIPE, "x"), failures.RESET),
        (TimeoutError(), failures.CONNECT_TIMEOUT),
        (OSError(errno.EHOSTUNREACH, "x"), failures.UNREACHABLE),
        (OSError(errno.ENETUNREACH, "x"), failures.UNREACHABLE),
        (OSError(errno.EADDRNOTAVAIL, "x"), failures.NO_PORT),
        (OSError(errno.EMFILE, "x"), failures.NO_DESCRIPTOR),
        (OSError(errno.ENFILE, "x"), failures.NO_DESCRIPTOR),
        (OSError(errno.EACCES, "x"), failures.CONNECT),
        (OSError(), failures.CONNECT),
        (socket.gaierror(-2, "x"), failures.DNS),
        (ssl.SSLError(1, "x"), failures.TLS),
        (ssl.SSLCertVerificationError(1, "x"), failures.UNTRUSTED),
        (RequestFailed(failures.CUT), failures.CUT),
        (ValueError("x"), failures.CONNECT),
    ],
)
def test_an_exception_has_a_short_name(exc: Exception, name: str) -> None:
    """One of a few."""
    assert name_of(exc) == name and name in ALL


@given(number=st.integers(-200, 200))
def test_any_error_of_the_system_has_one_of_the_names(number: int) -> None:
    """There is no text of the system in it."""
    assert name_of(OSError(number, "text")) in ALL


def test_the_documentation_has_all_names_and_no_others() -> None:
    """Users write thresholds and searches by them."""
    text = (Path(__file__).parents[3] / "docs" / "http.md").read_text()
    table = text.partition("## Names of errors")[2].partition("A head may have")[0]
    told = {name for line in table.splitlines() if line.startswith("|") for name in re.findall(r"`([^`]+)`", line)}
    assert told == ALL


class Resolver:
    """Stands in for the system's, which cannot be told what to answer: counts what it is asked, and waits when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.answers: dict[str, list[str]] = {"two.test": ["127.0.0.1", "127.0.0.2"]}
        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)

    def _getaddrinfo(self, host: str, port: int, type: int = 0) -> list[Any]:
        self.asked.append(host)
        assert self.may_answer.wait(10)
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        found = [(socket.AF_INET, type, 6, "", (address, port)) for address in self.answers[host]]
        return found + found  # as some resolvers do, one per source


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """Of this process."""
    return Resolver(monkeypatch)


def test_addresses_are_kept_until_they_expire(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    """By each host and port; twice the same is one."""
    now = [0]
    monkeypatch.setattr(dns, "now_ns", lambda: now[0])
    addresses = Addresses()
    assert addresses.known("two.test", 80) is None
    found = addresses.look_up("two.test", 80, 1000).result(10)
    assert found == [(socket.AF_INET, ("127.0.0.1", 80)), (socket.AF_INET, ("127.0.0.2", 80))]
    now[0] = 999
    assert addresses.known("two.test", 80) == found
    assert addresses.known("two.test", 81) is None
    now[0] = 1000
    assert addresses.known("two.test", 80) is None


def test_addresses_that_could_not_be_reached_are_forgotten(resolver: Resolver) -> None:
    """They are asked for again: the name may lead elsewhere now."""
    addresses = Addresses()
    addresses.look_up("two.test", 80, 10**12).result(10)
    addresses.forget("two.test", 80)
    addresses.forget("never.test", 80)
    assert addresses.known("two.test", 80) is None


def test_a_name_that_there_is_not_fails_and_is_not_kept(resolver: Resolver) -> None:
    """It may be there a moment later."""
    addresses = Addresses()
    for _ in range(2):
        with pytest.raises(RequestFailed, match="dns failed"):
            addresses.look_up("no.test", 80, 10**12).result(10)
    assert resolver.asked == ["no.test", "no.test"]


def test_many_ask_the_system_once(resolver: Resolver) -> None:
    """A thousand users that start at the same instant have one question."""
    resolver.may_answer.clear()
    addresses = Addresses()
    asked = [addresses.look_up("two.test", 80, 10**12) for _ in range(100)]
    assert not asked[0].cancel()  # one that gives up must not give up for all
    resolver.may_answer.set()
    assert all(each.result(10) == asked[0].result(10) for each in asked)
    assert resolver.asked == ["two.test"]


def test_addresses_are_kept_for_so_many_hosts_only(resolver: Resolver) -> None:
    """A load that asks for ever new names does not fill the memory."""
    addresses = Addresses()
    for number in range(MAX_HOSTS + 10):
        resolver.answers[f"{number}.test"] = ["127.0.0.1"]
        addresses.look_up(f"{number}.test", 80, 10**12).result(10)
    assert len(addresses._kept) <= MAX_HOSTS


@pytest.mark.parametrize(
    ("host", "family"),
    [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6), ("fe80::1%lo", socket.AF_INET6)],
)
def test_what_is_an_address_already_is_not_looked_up(host: str, family: int) -> None:
    """There is nothing to resolve."""
    assert Addresses().known(host, 80) == [(family, (host, 80))]
