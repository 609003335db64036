"""TLS: whom a client trusts, what it says of handshakes that fail, and the same wrong answers as without."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from e2e.harness.certs import Authority
from support.http_answers import BODIES, ENDS, PROVISIONAL
from support.http_cases import Case, check
from support.http_drivers import Driver
from support.http_keys import authority, server_context
from support.wrong_server import WrongServer
from support.wrong_steps import Asked, ByRequest, Deaf, Drip, Endless, Hang, Keep, Reset, Script, good

LARGE = b"x" * 5_000_000
SHORT = {"timeout": "300ms"}
SHORT_CONNECT = {"connect_timeout": "300ms"}
TLS_RECORD = b"\x16\x03\x03\x40\x00" + b"\0" * 1000


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority and what it has signed."""
    return authority(tmp_path_factory)


@pytest.fixture
def secure(keys: Authority) -> Iterator[WrongServer]:
    """A server that a client with the right authority trusts."""
    with WrongServer(tls=server_context(keys)) as made:
        yield made


def trusting(keys: Authority) -> dict[str, Any]:
    """The option that trusts the authority."""
    return {"verify": str(keys.certificate)}


@pytest.mark.parametrize("case", PROVISIONAL + BODIES + ENDS, ids=str)
def test_over_tls_a_server_that(case: Case, driver: Driver, secure: WrongServer, keys: Authority) -> None:
    """Does what it does without: the same result, and the two requests after it get their own answers."""
    check(case, driver, secure, **trusting(keys))


def test_an_authority_of_ones_own_is_trusted_for_its_names_only(driver: Driver, keys: Authority) -> None:
    """For the address, and for another name when `server_name` says so, which the server is told."""
    asked: list[str | None] = []
    context = server_context(keys, "shop")
    context.sni_callback = lambda _sock, name, _context: asked.append(name)
    with WrongServer(tls=context) as server:
        wrong = driver.client(server.url, **trusting(keys))
        assert wrong.get("/good/1").error == "certificate not trusted"
        right = driver.client(server.url, server_name="shop.test", **trusting(keys))
        assert right.get("/good/2").json() == {"number": 2}
        assert asked == [None, "shop.test"]
        driver.close()


def test_another_scheme_of_the_same_host_gets_no_headers_of_ones_own(
    driver: Driver, server: WrongServer, secure: WrongServer, keys: Authority
) -> None:
    """From http to https and the other way round."""
    there: Script = [
        f"HTTP/1.1 302 Moved\r\nLocation: {secure.url}/good/1\r\nContent-Length: 0\r\n\r\n".encode(),
        Keep(),
    ]
    back: Script = [
        f"HTTP/1.1 302 Moved\r\nLocation: {server.url}/good/2\r\nContent-Length: 0\r\n\r\n".encode(),
        Keep(),
    ]
    server.on("/moved", there)
    secure.on("/moved", back)
    options = {"redirects": 2, "headers": {"X-Api-Key": "hush"}, **trusting(keys)}
    assert driver.client(server.url, **options).get("/moved").ok
    assert driver.client(secure.url, **options).get("/moved").ok
    for seen in (server, secure):
        keys_at = {each.target: each.all("x-api-key") for each in seen.seen}
        assert keys_at == {"/moved": ["hush"], ("/good/2" if seen is server else "/good/1"): []}


def test_the_system_s_authorities_do_not_trust_a_stranger(driver: Driver, secure: WrongServer) -> None:
    """And `verify=False` trusts everybody."""
    assert driver.client(secure.url).get("/good/1").error == "certificate not trusted"
    assert driver.client(secure.url, verify=False).get("/good/2").json() == {"number": 2}


def test_a_name_is_asked_for_and_checked(driver: Driver, secure: WrongServer, keys: Authority) -> None:
    """localhost is in the certificate."""
    url = f"https://localhost:{secure.port}"
    assert driver.client(url, **trusting(keys)).get("/good/1").json() == {"number": 1}


def test_a_client_certificate_is_shown_where_it_is_asked_for(driver: Driver, keys: Authority) -> None:
    """Without one the request fails, whether the server says so in the handshake or behind it."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = server_context(keys)
        context.maximum_version = version
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(keys.certificate)
        with WrongServer(tls=context) as server:
            known = driver.client(
                server.url, cert=(str(keys.cert("client")), str(keys.key("client"))), **trusting(keys)
            )
            assert known.get("/good/1").json() == {"number": 1}
            error = driver.client(server.url, **trusting(keys)).get("/good/2").error
            # since 1.3 the server says no behind the handshake, and its reset may overtake that
            assert error == "tls failed" or (version == ssl.TLSVersion.TLSv1_3 and error == "connection reset")
            driver.close()


def test_a_server_of_an_old_version_is_refused(driver: Driver, keys: Authority) -> None:
    """No common version: tls failed."""
    context = server_context(keys)
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with WrongServer(tls=context) as server:
        assert driver.client(server.url, **trusting(keys)).get("/good/1").error == "tls failed"
        driver.close()


HANDSHAKES: list[tuple[str, Script, dict[str, Any], str]] = [
    ("speaks plain HTTP", [good(1)], {}, "tls failed"),
    ("sends junk", [b"junk" * 100], {}, "tls failed"),
    ("closes at once", [], {}, "tls failed"),
    ("resets in the handshake", [Asked(), Reset()], {}, "tls failed"),
    ("closes in its hello", [TLS_RECORD], {}, "tls failed"),
    ("says nothing", [Hang()], SHORT_CONNECT, "connect timeout"),
    ("says nothing at all", [Hang()], SHORT, "timeout"),
    ("drips its hello", [Drip(TLS_RECORD)], SHORT_CONNECT, "connect timeout"),
    ("sends empty records for ever", [Endless(b"\x16\x03\x03\x00\x00")], {}, "tls failed"),
]


@pytest.mark.parametrize(("does", "script", "options", "gives"), HANDSHAKES, ids=[each[0] for each in HANDSHAKES])
def test_a_handshake_fails_when_the_server(
    does: str, script: Script, options: dict[str, Any], gives: str, driver: Driver
) -> None:
    """Does anything but shake hands; the request ends in its time and names it."""
    with WrongServer(greeting=script) as server:
        client = driver.client(server.url.replace("http", "https"), **options)
        assert client.get("/good/1").error == gives, does
        driver.close()


def test_plain_http_to_a_tls_port_fails(driver: Driver, secure: WrongServer) -> None:
    """By whatever the server says to it."""
    response = driver.client(f"http://127.0.0.1:{secure.port}").get("/good/1")
    assert response.error in ("malformed answer", "closed without an answer", "connection reset")


SENDING = [
    Case("takes a body of 5 MB", [
        ByRequest(lambda seen: good(len(seen.body or b""))), Keep(),
    ], method="POST", asks={"body": LARGE}, connections=1, body=b'{"number": 5000000}'),
    Case("takes a body in pieces", [
        ByRequest(lambda seen: good(len(seen.body or b""))), Keep(),
    ], method="POST", asks={"body": [LARGE, b"", b"more"]}, connections=1, body=b'{"number": 5000004}'),
    Case("sends a body of 5 MB", [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n" + LARGE, Keep(),
    ], connections=1, body=LARGE),
    Case("answers a body of 5 MB unread, and is deaf", [good("case", status="413 Too Large"), Deaf()], "HTTP 413", 413,
        method="POST", asks={"body": LARGE * 3}, reads_body=False),
    Case("takes no more of a body", [Deaf()], "timeout", 0, method="POST", asks={"body": LARGE * 3}, options=SHORT,
        kept=True, reads_body=False),
    Case("closes instead of an answer", [], then=[good("case"), Keep()], kept=True, retries=1, attempts=2),
    Case("resets instead of an answer", [Reset()], then=[good("case"), Keep()], kept=True, retries=1, attempts=2),
    Case("closes instead of an answer", [], "closed without an answer", 0, kept=True, method="POST"),
]  # fmt: skip


@pytest.mark.parametrize("case", SENDING, ids=str)
def test_over_tls_and_with_large_bodies_a_server_that(
    case: Case, driver: Driver, secure: WrongServer, keys: Authority
) -> None:
    """Reads or does not, answers or closes: as without."""
    check(case, driver, secure, **trusting(keys))
