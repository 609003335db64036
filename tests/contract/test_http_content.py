"""Content encodings and redirects over real connections: what is unpacked, what is followed, and what is left on the way."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import brotli
import pytest
import zstandard
from support.http_cases import Case, check
from support.http_drivers import CountingRecorder, Driver
from support.wrong_server import WrongServer
from support.wrong_steps import ByRequest, Drip, Endless, Hang, Keep, Reset, Seen, good

TEXT = b"hello, hello, hello" * 100
LIMITED = {"max_body": 100_000}


def encoded(name: str, body: bytes) -> bytes:
    """An answer with this Content-Encoding."""
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (name.encode(), len(body), body)


def chunked(name: str, *pieces: bytes) -> bytes:
    """The same in chunks."""
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % name.encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])


GZIP = gzip.compress(TEXT)
BOMB = gzip.compress(b"\0" * 10_000_000)
BARE = zlib.compress(TEXT)[2:-4]
KEPT = {"connections": 1}

ENCODINGS = [
    Case("packs by gzip", [encoded("gzip", GZIP), Keep()], body=TEXT, connections=1),
    Case("packs by gzip in chunks", [chunked("gzip", GZIP[:10], GZIP[10:]), Keep()], body=TEXT, connections=1),
    Case("packs by gzip byte by byte", [Drip(encoded("GZip", gzip.compress(b"hi")), 0.001), Keep()], body=b"hi", connections=1),
    Case("packs by gzip until it closes", [b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + GZIP], body=TEXT),
    Case("packs by deflate", [encoded("deflate", zlib.compress(TEXT)), Keep()], body=TEXT, connections=1),
    Case("packs by deflate without its header", [encoded("deflate", BARE), Keep()], body=TEXT, connections=1),
    Case("packs by br", [encoded("br", brotli.compress(TEXT)), Keep()], body=TEXT, connections=1),
    Case("packs by zstd", [encoded("zstd", zstandard.compress(TEXT)), Keep()], body=TEXT, connections=1),
    Case("packs twice", [encoded("gzip, br", brotli.compress(GZIP)), Keep()], body=TEXT, connections=1),
    Case("says gzip of nothing", [encoded("gzip", b""), Keep()], body=b"", connections=1),
    Case("says gzip with 204", [
        b"HTTP/1.1 204 No\r\nContent-Encoding: gzip\r\n\r\n", Keep(),
    ], status=204, body=b"", connections=1),
    Case("says gzip of what is none", [encoded("gzip", TEXT), Keep()], "body cannot be decoded", connections=1),
    Case("says br of what is gzip", [encoded("br", GZIP), Keep()], "body cannot be decoded", connections=1),
    Case("cuts its gzip", [encoded("gzip", GZIP[:-9]), Keep()], "body cannot be decoded", connections=1),
    Case("spoils its gzip", [
        encoded("gzip", GZIP[:20] + b"\xff" + GZIP[21:]), Keep(),
    ], "body cannot be decoded", connections=1),
    Case("packs by what nobody knows", [encoded("rot13", b"uryyb"), Keep()], "body cannot be decoded", connections=1),
    Case("cuts the transfer of its gzip", [encoded("gzip", GZIP)[:-3]], "answer cut short"),
    Case("sends a gzip bomb", [encoded("gzip", BOMB), Keep()], "body too large", connections=1, options=LIMITED),
    Case("sends a gzip bomb with status 500", [
        encoded("gzip", BOMB).replace(b"200 OK", b"500 Oh"), Keep(),
    ], "body too large", 500, connections=1, options=LIMITED),
    Case("packs though nobody asked", [encoded("gzip", GZIP), Keep()], body=GZIP, connections=1, options={"decompress": False}),
]  # fmt: skip


@pytest.mark.parametrize("case", ENCODINGS, ids=str)
def test_a_server_that(case: Case, driver: Driver, server: WrongServer) -> None:
    """The body is what was meant, or the request has failed; the connection goes on, since the transfer was right."""
    check(case, driver, server)


def to(place: str, *more: str, status: int = 302, body: bytes = b"moved") -> bytes:
    """A redirect."""
    lines = [f"HTTP/1.1 {status} Moved", f"Location: {place}", f"Content-Length: {len(body)}", *more, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


FOLLOWED = {"redirects": 5}
REDIRECTS = [
    Case("redirects to a good one", [to("/good/7"), Keep()], body=b'{"number": 7}', connections=1, options=FOLLOWED),
    Case("redirects and closes", [to("/good/7", "Connection: close")], body=b'{"number": 7}', options=FOLLOWED),
    Case("redirects to nothing", [to("/nothing"), Keep()], "HTTP 404", 404, connections=1, options=FOLLOWED),
    Case("redirects for ever", [to("/case"), Keep()], "too many redirects", 302, connections=1, attempts=6, options=FOLLOWED),
    Case("redirects without a Location", [
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", Keep(),
    ], "redirect without a place", 302, connections=1, options=FOLLOWED),
    Case("redirects to another scheme", [
        to("ftp://127.0.0.1/"), Keep(),
    ], "redirect without a place", 302, connections=1, options=FOLLOWED),
    Case("redirects to a broken address", [
        to("http://[::1/"), Keep(),
    ], "redirect without a place", 302, connections=1, options=FOLLOWED),
    Case("redirects where nobody listens", [
        to("http://127.0.0.1:1/"), Keep(),
    ], "connection refused", 0, connections=1, options=FOLLOWED),
    Case("redirects to where TLS is to be spoken, but is not", [
        ByRequest(lambda seen: to(f"https://{seen.all('host')[0]}/")), Keep(),
    ], "connect timeout", 0, connections=2, options=FOLLOWED | {"connect_timeout": "200ms"}),
    Case("redirects with a broken body", [to("/good/7")[:-2]], "answer cut short", 302, options=FOLLOWED),
    Case("redirects with a body for ever", [
        b"HTTP/1.1 302 Found\r\nLocation: /good/7\r\n\r\n", Endless(b"a" * 999),
    ], "body too large", 302, options=FOLLOWED | {"max_body": 1000}),
    Case("redirects with a broken line in its Location", [
        b"HTTP/1.1 302 Found\r\nLocation: /good/7\r\n X-Evil: 1\r\nContent-Length: 0\r\n\r\n", Hang(),
    ], "malformed answer", 0, options=FOLLOWED | {"timeout": "1s"}),
    Case("redirects and dies", [to("/case"), Keep()], "closed without an answer", 0, then=[], attempts=3, retries=1,
        connections=3, options=FOLLOWED),
    Case("redirects and resets", [to("/case"), Keep()], then=[Reset()], gives="connection reset", status=0, attempts=3, retries=1,
        connections=3, options=FOLLOWED),
    Case("redirects, which is not followed", [to("/good/7"), Keep()], status=302, body=b"moved", connections=1),
    Case("redirects in more time than there is", [
        Drip(to("/case")[:20], 0.001), to("/case")[20:], Keep(),
    ], "timeout", 0, attempts=2, kept=True, then=[Hang()], options=FOLLOWED | {"timeout": "1s"}),
]  # fmt: skip


@pytest.mark.parametrize("case", REDIRECTS, ids=str)
def test_with_redirects_a_server_that(case: Case, driver: Driver, server: WrongServer) -> None:
    """One record for the chain, whose time is that of one request; what fails on the way fails it."""
    check(case, driver, server)


def test_nothing_secret_is_sent_to_another_host(driver: Driver, server: WrongServer) -> None:
    """Neither by the client's options nor by the request's own; the first host gets all of it."""
    with WrongServer() as other:
        server.on("/away", [to(f"{other.url}/good/1"), Keep()])
        other.on("/back", [to(f"{server.url}/good/2"), Keep()])
        server.on("/away-and-back", [to(f"{other.url}/back"), Keep()])
        client = driver.client(server.url, auth="hush", cookies={"a": "hush"}, redirects=5)
        own: list[dict[str, Any]] = [
            {},
            {"auth": ("ada", "hush")},
            {"headers": {"authorization": "hush", "Cookie": "hush"}},
        ]
        for asks in own:
            assert client.get("/away", **asks).ok and client.get("/away-and-back", **asks).ok
        assert len(other.seen) == 6
        for seen in other.seen:
            assert seen.all("authorization") == []
        assert all(seen.all("authorization") for seen in server.seen if seen.target.startswith("/away"))
        assert not any(seen.all("authorization") for seen in server.seen if seen.target == "/good/2")
        driver.close()


KEY = {"X-Api-Key": "hush", "Authorization": "hush"}


@pytest.mark.parametrize("given_to", ["client", "request"])
def test_headers_of_ones_own_do_not_follow_a_redirect_to_another_server(
    given_to: str, driver: Driver, server: WrongServer
) -> None:
    """Whoever was given them; on the same server they go along, and the chain's way back does not get them again."""
    with WrongServer() as other:
        server.on("/here", [to("/good/1"), Keep()])
        server.on("/away", [to(f"{other.url}/good/2"), Keep()])
        other.on("/back", [to(f"{server.url}/good/3"), Keep()])
        server.on("/away-and-back", [to(f"{other.url}/back"), Keep()])
        asks: dict[str, Any] = {"headers": {**KEY, "Accept-Language": "pt"}}
        client = driver.client(server.url, redirects=5, **(asks if given_to == "client" else {}))
        asks = {} if given_to == "client" else asks
        for path in ("/here", "/away", "/away-and-back"):
            assert client.get(path, **asks).ok
        assert [[seen.all(name) for name in KEY] for seen in other.seen] == 2 * [[[], []]]
        assert [seen.all("accept-language") for seen in other.seen] == 2 * [["pt"]]
        for path in ("/here", "/good/1", "/away", "/away-and-back"):
            assert [seen.all("x-api-key") for seen in server.seen_at(path)] == [["hush"]], path
        assert [seen.all("x-api-key") for seen in server.seen_at("/good/3")] == [[]]
        driver.close()


def test_a_redirected_post_takes_its_body_along_or_not(driver: Driver, server: WrongServer) -> None:
    """307 sends it again, 303 makes a GET."""
    server.on("/keep", [to("/told", status=307), Keep()])
    server.on("/drop", [to("/told", status=303), Keep()])
    server.on("/told", [ByRequest(lambda seen: good([seen.method, (seen.body or b"").decode()])), Keep()])
    client = driver.client(server.url, redirects=1)
    assert client.post("/keep", json={"a": 1}).json() == {"number": ["POST", '{"a":1}']}
    assert client.post("/drop", json={"a": 1}).json() == {"number": ["GET", ""]}
    assert client.post("/keep", body=[b"a"]).error == "body cannot be sent again"
    assert server.connections == 1


def test_cookies_are_kept_and_sent_as_by_a_browser(driver: Driver, server: WrongServer) -> None:
    """Each client has its own; a redirect's are sent with what follows."""

    def told(seen: Seen) -> bytes:
        return good(sorted("; ".join(seen.all("cookie")).split("; ")))

    server.on("/login", [to("/told", "Set-Cookie: session=7; HttpOnly", "Set-Cookie: deep=1; Path=/deep"), Keep()])
    server.on("/told", [ByRequest(told), Keep()])
    server.on("/deep/told", [ByRequest(told), Keep()])
    server.on("/logout", [good("bye", "Set-Cookie: session=; Max-Age=0"), Keep()])
    client = driver.client(server.url, redirects=1, cookies={"first": "1"})
    assert client.get("/login").json() == {"number": ["first=1", "session=7"]}
    assert client.get("/deep/told").json() == {"number": ["deep=1", "first=1", "session=7"]}
    assert client.get("/told", cookies={"session": "8"}).json() == {"number": ["first=1", "session=8"]}
    assert client.get("/logout").ok
    assert client.get("/told").json() == {"number": ["first=1"]}
    assert driver.client(server.url).get("/told").json() == {"number": [""]}


def test_phases_are_told_and_recorded(driver: Driver, server: WrongServer) -> None:
    """Of a new connection its own, of each request the first byte."""
    recorder = CountingRecorder()
    client = driver.client(f"http://localhost:{server.port}", recorder, phases=True)
    first, second = client.get("/good/1"), client.get("/good/2")
    assert {"connect", "first byte"} <= set(first.phases) <= {"dns", "connect", "first byte"}
    assert set(second.phases) == {"first byte"}
    assert all(0 <= seconds <= first.service_s for seconds in first.phases.values())
    groups = [each["group"] for each in recorder.requests]
    assert groups.count("GET /good/{}") == 2 and groups.count("GET /good/{}/first byte") == 2
    assert groups.count("GET /good/{}/connect") == 1 and not any(each["error"] for each in recorder.requests)
