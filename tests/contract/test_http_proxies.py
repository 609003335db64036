"""Proxies: they carry requests, refuse, hang, or talk nonsense; and the request's errors are told from the proxy's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.http_cases import Case, check
from support.http_drivers import Driver
from support.http_keys import authority, server_context
from support.wrong_server import WrongServer
from support.wrong_steps import Drip, Endless, Hang, Keep, Reset, Script, Taken, Tunnel, good

SHORT = {"timeout": "300ms"}
SHORT_CONNECT = {"connect_timeout": "300ms"}
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n"


@pytest.fixture
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WrongServer]:
    """Behind the proxy, with TLS."""
    with WrongServer(tls=server_context(authority(tmp_path_factory))) as made:
        yield made


def test_https_goes_through_a_tunnel(
    driver: Driver, server: WrongServer, target: WrongServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """By CONNECT with the proxy's credentials, which the target does not see; the connection is kept."""
    place = f"127.0.0.1:{target.port}"
    server.on(place, [Tunnel()])
    verify = str(authority(tmp_path_factory).certificate)
    client = driver.client(target.url, proxy=f"http://ada:secret@127.0.0.1:{server.port}", verify=verify)
    for number in (1, 2, 3):
        assert client.get(f"/good/{number}").json() == {"number": number}
    (asked,) = server.seen
    assert asked.line == f"CONNECT {place} HTTP/1.1" and asked.all("host") == [place]
    assert asked.all("proxy-authorization") == ["Basic YWRhOnNlY3JldA=="]
    assert len(target.seen) == 3 and not any(seen.all("proxy-authorization") for seen in target.seen)
    driver.close()


def test_http_is_asked_of_the_proxy_by_whole_urls(driver: Driver, server: WrongServer) -> None:
    """With its credentials; the proxy answers for the target, whose name is not looked up."""
    server.on("http://shop.test/a", [good("a"), Keep()])
    client = driver.client("http://shop.test", proxy=f"http://ada:secret@127.0.0.1:{server.port}")
    assert client.get("/a").json() == {"number": "a"}
    assert client.get("/good/2").json() == {"number": 2}
    assert [seen.target for seen in server.seen] == ["http://shop.test/a", "http://shop.test/good/2"]
    assert server.seen[0].all("proxy-authorization") == ["Basic YWRhOnNlY3JldA=="]
    assert server.connections == 1


@pytest.mark.parametrize(
    ("says", "gives"),
    [
        ("407 Proxy Authentication Required", "HTTP 407"),
        ("502 Bad Gateway", "HTTP 502"),
        ("504 Gateway Timeout", "HTTP 504"),
    ],
)
def test_a_proxy_s_own_answer_to_http_is_the_answer(says: str, gives: str, driver: Driver, server: WrongServer) -> None:
    """It cannot be told from the target's."""
    server.on("http://shop.test/a", [good("a", status=says), Keep()])
    client = driver.client("http://shop.test", proxy=f"http://127.0.0.1:{server.port}")
    assert client.get("/a").error == gives


TUNNELS: list[tuple[str, Script, dict[str, Any], str]] = [
    ("refuses", [b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"], {}, "proxy refused"),
    ("wants to know who asks", [b"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic\r\n\r\n"], {}, "proxy refused"),
    ("cannot reach the target", [b"HTTP/1.1 502 Bad Gateway\r\n\r\n"], {}, "proxy refused"),
    ("redirects", [b"HTTP/1.1 302 Found\r\nLocation: http://evil.test/\r\n\r\n"], {}, "proxy refused"),
    ("closes", [], {}, "proxy refused"),
    ("resets", [Reset()], {}, "connection reset"),
    ("closes in its answer", [b"HTTP/1.1 200"], {}, "proxy refused"),
    ("answers junk", [b"junk\r\n\r\n"], {}, "proxy refused"),
    ("is no proxy but greets", [b"220 mail.test\r\n"], {}, "proxy refused"),
    ("answers with headers for ever", [ESTABLISHED, Endless(b"X: y\r\n" * 99)], {}, "proxy refused"),
    ("says more than it should", [ESTABLISHED + b"\r\n" + b"\x16\x03\x03 surprise", Hang()], {}, "proxy refused"),
    (
        "switches protocols",
        [b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"],
        {},
        "proxy refused",
    ),
    ("hangs", [Hang()], SHORT_CONNECT, "connect timeout"),
    ("hangs, and the request's time runs out", [Hang()], SHORT, "timeout"),
    ("drips its answer", [Drip(ESTABLISHED * 50)], SHORT_CONNECT, "connect timeout"),
    ("agrees and hangs", [ESTABLISHED + b"\r\n", Hang()], SHORT_CONNECT, "connect timeout"),
    ("agrees and closes", [ESTABLISHED + b"\r\n", Taken()], {}, "tls failed"),
    ("agrees and answers itself", [ESTABLISHED + b"\r\n", Taken(), good(1)], {}, "tls failed"),
]


@pytest.mark.parametrize(("does", "script", "options", "gives"), TUNNELS, ids=[each[0] for each in TUNNELS])
def test_a_tunnel_fails_when_the_proxy(
    does: str, script: Script, options: dict[str, Any], gives: str, driver: Driver, server: WrongServer
) -> None:
    """Does anything but open it; the request ends in its time and nothing of it was sent."""
    server.on("shop.test:443", script)
    client = driver.client("https://shop.test", proxy=f"http://127.0.0.1:{server.port}", **options)
    response = client.get("/a?token=hush")
    assert (response.error, response.status) == (gives, 0), does
    assert "hush" not in str(server.seen)


def test_a_proxy_that_is_not_there_is_a_connection_refused(driver: Driver, server: WrongServer) -> None:
    """Whatever the scheme of the target."""
    with WrongServer() as gone:
        port = gone.port
    for url in ("http://shop.test", "https://shop.test"):
        assert driver.client(url, proxy=f"http://127.0.0.1:{port}").get("/").error == "connection refused"


CASES = [
    Case("closes instead of an answer", [], then=[good("case"), Keep()], kept=True, retries=1, attempts=2),
    Case("answers twice at once", [good("first") + good("second"), Hang()], body=b'{"number": "first"}'),
    Case("sends junk", [b"junk\r\n\r\n"], "malformed answer", 0),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_behind_a_tunnel_a_server_that(
    case: Case, driver: Driver, server: WrongServer, target: WrongServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Is as wrong as without."""
    server.on(f"127.0.0.1:{target.port}", [Tunnel()])
    options = {"verify": str(authority(tmp_path_factory).certificate), "proxy": f"http://127.0.0.1:{server.port}"}
    check(case, driver, target, **options)
    driver.close()
