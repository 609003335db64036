"""Options of the clients: all problems at once, each with its cure, and no secret in any text."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from wasp_ray.errors import BadInput
from wasp_ray.http import AsyncClient, SyncClient
from wasp_ray.http.options import Options, read_options
from wasp_ray.http.request import RequestMaker

SECRET = "hush4711"


def problems(base_url: str = "http://shop.test", **options: Any) -> list[str]:
    """What is wrong with them."""
    with pytest.raises(BadInput) as caught:
        read_options(base_url, options)
    return caught.value.problems


def test_defaults_are_those_of_the_documentation() -> None:
    """Nothing given: they are as docs/http.md has them."""
    made = read_options("http://shop.test", {})
    assert made == Options(made.origin)
    assert (made.timeout_ns, made.connect_timeout_ns, made.first_byte_timeout_ns) == (30 * 10**9, 5 * 10**9, None)
    assert (made.redirects, made.connections, made.idle_ns, made.max_body) == (0, 1000, 60 * 10**9, 64 * 10**6)
    assert (made.decompress, made.phases, made.dns_ttl_ns, made.expect) == (True, False, 60 * 10**9, None)


@pytest.mark.parametrize("client", [AsyncClient, SyncClient])
def test_all_that_is_wrong_is_told_at_once(client: type) -> None:
    """Address, names and values: one sentence each."""
    with pytest.raises(BadInput) as caught:
        client("ftp://shop.test", timout="5s", timeout="soon", connections=0, verify=3, redirects=-1, idle=0)
    told = caught.value.problems
    assert len(told) == 7, told
    assert any("ftp://shop.test" in each and "http://host" in each for each in told)
    assert any("timout" in each and "timeout" in each for each in told)


@pytest.mark.parametrize(
    ("name", "value", "cure"),
    [
        ("timeout", "soon", "250ms"),
        ("timeout", 0, "above zero"),
        ("timeout", -1, "negative"),
        ("timeout", None, "not a duration"),
        ("first_byte_timeout", "x", "not a duration"),
        ("headers", "X: y", "docs/http.md"),
        ("headers", {"X": "a\r\nY: b"}, "CR, LF"),
        ("headers", {"X\n": "a"}, "letters, digits"),
        ("headers", {"": "a"}, "letters, digits"),
        ("headers", {"Content-Length": "5"}, "by the body"),
        ("headers", {"transfer-encoding": "chunked"}, "by the body"),
        ("headers", {"X": "€"}, "Latin-1"),
        ("headers", {"X": None}, "None"),
        ("auth", 5, "(user, password)"),
        ("auth", "", "not empty"),
        ("auth", ("ada",), "(user, password)"),
        ("auth", ("a:b", "c"), "colon"),
        ("auth", "to\r\nken", "CR, LF"),
        ("cookies", {"a": "b; c=d"}, "without ;"),
        ("cookies", {"a b": "c"}, "letters, digits"),
        ("cookies", {"a": "b\r\n"}, "CR, LF"),
        ("cookies", {"a": "€"}, "Latin-1"),
        ("expect", "200", "a predicate"),
        ("expect", True, "a predicate"),
        ("expect", b"abc", "a predicate"),
        ("expect", [200, "201"], "a predicate"),
        ("retries", 2, "expected 0 or 1"),
        ("retries", True, "expected 0 or 1"),
        ("redirects", "3", "whole number"),
        ("redirects", True, "whole number"),
        ("connections", 1.5, "whole number"),
        ("decompress", "yes", "True or False"),
        ("phases", 1, "True or False"),
        ("max_body", 0, "above zero"),
        ("max_body", "0MB", "above zero"),
        ("max_body", "big", "64MB"),
        ("max_body", True, "64MB"),
        ("verify", "/no/such/file", "/no/such/file"),
        ("cert", "/no/such/file", "/no/such/file"),
        ("cert", ("a", "b", "c"), "(certificate, key)"),
        ("proxy", "https://proxy.test", "http://[user:password@]host:port"),
        ("proxy", "proxy.test:3128", "http://[user:password@]host:port"),
        ("proxy", "http://proxy.test:99999", "1 to 65535"),
        ("unix", "x" * 200, "107"),
        ("unix", "a\0b", "path of a socket"),
        ("unix", "", "path of a socket"),
        ("server_name", "a\nb", "CR, LF"),
        ("dns_ttl", "never", "not a duration"),
    ],
)
def test_a_wrong_value_is_told_with_its_cure(name: str, value: Any, cure: str) -> None:
    """The name of the option and what was expected."""
    told = problems(**{name: value})
    assert len(told) == 1 and f"{name}=" in told[0] and cure in told[0], told


async def _opinion(_response: object) -> None:
    """An async predicate."""


def test_an_async_predicate_is_refused() -> None:
    """It would be content with everything."""
    assert "async" in problems(expect=_opinion)[0]


@pytest.mark.parametrize(
    ("url", "cure"),
    [
        ("shop.test", "http://host"),
        ("//shop.test", "http://host"),
        ("http://", "http://host"),
        ("http:///path", "http://host"),
        ("http://shop.test:99999", "1 to 65535"),
        ("http://shop.test:0", "1 to 65535"),
        ("http://shop.test:http", "1 to 65535"),
        ("http://shop test", "host"),
        ("http://shop\r\nX: y", "CR, LF"),
        ("http://[::1", "brackets"),
        ("http://a..ü", "host"),
        ("http://shop.test/?a=b", "query="),
        ("http://shop.test/#a", "query="),
        ("http://ada:secret@shop.test", "auth="),
    ],
)
def test_a_wrong_base_url_is_told_with_its_cure(url: str, cure: str) -> None:
    """What cannot be an address is never tried."""
    assert cure in problems(url)[0]


@pytest.mark.parametrize(
    ("url", "host", "port", "authority"),
    [
        ("http://shop.test", "shop.test", 80, "shop.test"),
        ("https://SHOP.test:443/", "shop.test", 443, "shop.test"),
        ("https://shop.test:80", "shop.test", 80, "shop.test:80"),
        ("http://127.0.0.1:8080", "127.0.0.1", 8080, "127.0.0.1:8080"),
        ("http://[::1]", "::1", 80, "[::1]"),
        ("http://[::1]:8080", "::1", 8080, "[::1]:8080"),
        ("http://[fe80::1%25lo]:8080", "fe80::1%lo", 8080, "[fe80::1]:8080"),
        ("http://bücher.test", "xn--bcher-kva.test", 80, "xn--bcher-kva.test"),
        ("http://under_score.test", "under_score.test", 80, "under_score.test"),
    ],
)
def test_an_address_is_read_as_browsers_read_it(url: str, host: str, port: int, authority: str) -> None:
    """Host in lower case and ASCII, default ports left out of the Host header, IPv6 in brackets there."""
    origin = read_options(url, {}).origin
    assert (origin.host, origin.port, origin.authority) == (host, port, authority)


def test_files_of_tls_are_read_when_the_client_is_made(tmp_path: Path) -> None:
    """Also for a plain base URL: a redirect or a whole URL may lead to https. All problems still come at once."""
    (tmp_path / "ca.pem").write_text("not a certificate")
    told = problems(verify=str(tmp_path / "ca.pem"), timeout="soon")
    assert len(told) == 2 and "ca.pem" in told[1]


def test_a_key_with_a_passphrase_is_refused_without_a_question(tmp_path: Path) -> None:
    """The library would ask for it at the terminal, in each user's process."""
    key, certificate = tmp_path / "k.pem", tmp_path / "c.pem"
    options = ["-newkey", "rsa:2048", "-passout", "pass:secret", "-subj", "/CN=x", "-keyout", str(key)]
    subprocess.run(["openssl", "req", "-x509", *options, "-out", str(certificate)], check=True, capture_output=True)
    assert "passphrase" in problems(cert=(certificate, key))[0]


WITH_SECRETS: dict[str, Any] = {
    "headers": {"X-Key": SECRET},
    "auth": ("ada", SECRET),
    "cookies": {"session": SECRET},
    "proxy": f"http://ada:{SECRET}@proxy.test:3128",
}


def test_no_secret_is_in_a_repr() -> None:
    """Of options, proxy, request or client: reprs end up in logs and tracebacks."""
    for auth in (("ada", SECRET), SECRET):
        client = SyncClient("http://shop.test", **WITH_SECRETS | {"auth": auth})
        made = client._maker.make("POST", f"/a?token={SECRET}", {"json": {"password": SECRET}, "auth": SECRET})
        texts = [repr(client), repr(client.settings), repr(client.settings.proxy), repr(made), str(made)]
        for text in texts:
            assert SECRET not in text and "aHVzaDQ3MTE" not in text and "OmZ" not in text
        assert SECRET.encode() in made.data


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auth", f"{SECRET}\n"),
        ("auth", f"{SECRET}€"),
        ("auth", (f"ada:{SECRET}", "x")),
        ("auth", ["ada", SECRET, "x"]),
        ("auth", f"{SECRET}\udc80"),
        ("headers", {"X": f"{SECRET}\r"}),
        ("headers", {"X": f"{SECRET}€"}),
        ("headers", {f"X: {SECRET}": ""}),
        ("headers", [f"X: {SECRET}"]),
        ("headers", SECRET),
        ("cookies", {"a": f"{SECRET};"}),
        ("cookies", {f"a={SECRET}": "b"}),
        ("cookies", SECRET),
        ("proxy", f"https://ada:{SECRET}@proxy.test"),
        ("proxy", f"http://ada:{SECRET}/x@proxy.test"),
        ("proxy", f"http://ada:{SECRET}@proxy.test:port"),
        ("proxy", f"http://ada:{SECRET}@[proxy"),
        ("proxy", f"http://ada:{SECRET}\u2100@proxy.test"),
        ("cert", ("a", SECRET, "c")),
        ("password", SECRET),
    ],
)
def test_no_secret_is_in_a_message(name: str, value: Any) -> None:
    """Whatever is wrong with it."""
    assert SECRET not in "\n".join(problems(**{name: value}))


@pytest.mark.parametrize(
    "url",
    [
        f"http://ada:{SECRET}@shop.test",
        f"http://ada:{SECRET}@shop.test:port/",
        f"http://ada:{SECRET}/x@shop.test",
        f"http://ada:{SECRET}@[shop",
        f"ftp://ada:{SECRET}@shop.test",
        f"http://shop.test?token={SECRET}",
        f"ftp://shop.test/?token={SECRET}",
        f"http://ada:{SECRET}\u2100@shop.test",
    ],
)
def test_no_secret_of_a_url_is_in_a_message(url: str) -> None:
    """Neither of its user nor of its query, whether it is the base URL or a request's."""
    assert SECRET not in "\n".join(problems(url))
    client = SyncClient("http://shop.test")
    assert isinstance(client._maker, RequestMaker)
    if url.startswith("http://shop"):
        return
    with pytest.raises(BadInput) as caught:
        client.get(url.replace("ftp:", "http:").replace(f"/?token={SECRET}", f":0/?token={SECRET}"))
    assert SECRET not in str(caught.value)
