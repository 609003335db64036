"""Where sessions of other libraries can be used and how they get to their server: TLS, proxies, unix sockets, redirects."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import session_loads as loads
from support.books import check_books
from support.http_keys import authority, server_context
from support.web import counted, web_server
from support.wrong_server import WrongServer
from support.wrong_steps import Keep, good

from wasp_ray import Generator, Profile, RunResult, VirtualUser, plain

pytestmark = pytest.mark.waits

BOTH = [loads.Aiohttp, loads.Requests]
REASON_CODE = """
import sys
sys.modules[{library!r}] = None  # as if it were not installed
from wasp_ray import Generator, Profile, plain
sys.path.insert(0, {tests!r})
from support import session_loads as loads
generator = Generator("u", user=loads.{user}, schedule=plain(1, "1s"), params={{"base": "http://127.0.0.1:9", "path": "/"}})
result = Profile(generator).run(runtime="inline")
print(result.verdict, result.reasons)
"""


def run(
    user: type[VirtualUser], base: str, path: str, calls: int = 2, runtime: Any = "process", **options: Any
) -> RunResult:
    """One user and a few calls of it."""
    params = {"base": base, "path": path, "options": options}
    generator = Generator("u", user=user, schedule=plain(1, "20s"), params=params, max_calls=calls)
    result = Profile(generator).run(runtime=runtime)
    check_books(result)
    return result


def errors(result: RunResult) -> list[str]:
    """Their names."""
    return [each["error"] for each in result.summary["generators"]["u"]["errors"]]


@pytest.mark.parametrize("user", BOTH)
def test_a_certificate_is_checked_unless_that_is_switched_off(
    user: type[VirtualUser], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Against the system's authorities, one of our own, or not at all."""
    keys = authority(tmp_path_factory)
    with WrongServer(tls=server_context(keys)) as server:
        assert errors(run(user, server.url, "/good/1")) == ["certificate not trusted"]
        assert run(user, server.url, "/good/1", verify=str(keys.certificate)).ledger.ok == 2
        assert run(user, server.url, "/good/1", verify=False).ledger.ok == 2


@pytest.mark.parametrize("user", BOTH)
def test_a_proxy_is_asked_with_its_password(user: type[VirtualUser]) -> None:
    """For the whole URL of a target whose name nobody knows."""
    with WrongServer() as server:
        server.on("http://shop.test/a", [good("a"), Keep()])
        result = run(user, "http://shop.test/", "/a", proxy=f"http://ada:secret@127.0.0.1:{server.port}")
        assert result.ledger.ok == 2
        assert [seen.all("proxy-authorization") for seen in server.seen] == [["Basic YWRhOnNlY3JldA=="]] * 2


def test_a_proxy_that_refuses_has_its_own_name() -> None:
    """It was asked for a tunnel."""
    with WrongServer() as server:
        server.on("shop.test:443", [good("x", status="403 Forbidden")])
        proxy = f"http://127.0.0.1:{server.port}"
        for user in BOTH:
            assert errors(run(user, "https://shop.test/", "/a", proxy=proxy)) == ["proxy refused"]


def test_a_unix_socket_leads_to_a_server_too(tmp_path: Path) -> None:
    """The base URL gives the Host header."""
    place = str(tmp_path / "s")
    with WrongServer(family=socket.AF_UNIX, address=place) as server:
        assert run(loads.Aiohttp, "http://shop.test/", "/good/1", unix=place).ledger.ok == 2
        assert server.seen[0].all("host") == ["shop.test"]


@pytest.mark.parametrize("user", BOTH)
def test_credentials_do_not_follow_a_redirect_to_another_host(user: type[VirtualUser]) -> None:
    """Authorization and cookies stay where they belong."""
    with WrongServer() as elsewhere, WrongServer() as server:
        target = elsewhere.url.replace("127.0.0.1", "localhost") + "/good/1"
        server.on("/go", [good("go", f"Location: {target}", status="302 Found"), Keep()])
        result = run(user, server.url, "/go", calls=1, auth="token", cookies={"sid": "7"})
        assert result.ledger.ok == 1
        assert (server.seen[0].all("authorization"), server.seen[0].all("cookie")) == (["Bearer token"], ["sid=7"])
        assert elsewhere.seen and not elsewhere.seen[0].all("authorization") + elsewhere.seen[0].all("cookie")


@pytest.mark.parametrize("gun", [loads.AiohttpGun, loads.RequestsGun])
def test_guns_have_sessions_as_well(gun: type[Any]) -> None:
    """Every call a request, every request a record."""
    with web_server() as base:
        params = {"base": base, "path": "/items/1"}
        result = Profile(Generator("g", gun=gun, schedule=plain(40, "1s"), params=params)).run()
        check_books(result)
        assert result.ledger.ok == 40
        assert result.generators["g"].groups["GET /items/{}"].count == counted(base)["/items/1"] == 40


@pytest.mark.parametrize("user", BOTH)
def test_sessions_work_in_the_inline_runtime(user: type[VirtualUser]) -> None:
    """In a thread of this process, which they leave as they found it."""
    with web_server() as base:
        assert run(user, base, "/items/1", runtime="inline").ledger.ok == 2


def test_a_user_that_restarts_closes_its_session_each_time(tmp_path: Path) -> None:
    """Nothing unclosed is complained of, and each life has made its request."""
    with web_server() as base:
        params = {"base": base}
        generator = Generator("u", user=loads.Restarting, schedule=plain(1, "20s"), params=params, max_calls=3)
        result = Profile(generator).run(out=str(tmp_path / "out"))
    assert result.generators["u"].groups["GET /items/{}"].count == 3
    users_log = tmp_path / "out/logs/users.log"
    assert not users_log.exists() or "nclosed" not in users_log.read_text()


@pytest.mark.parametrize(
    ("user", "told"),
    [
        (loads.Misplaced, "requests() needs an actor with `def call`"),
        (loads.MisplacedSync, "aiohttp() needs an actor with `async def"),
    ],
)
def test_a_session_of_the_wrong_kind_is_refused_with_the_right_one(user: type[VirtualUser], told: str) -> None:
    """In setup."""
    result = Profile(Generator("u", user=user, schedule=plain(1, "1s"))).run()
    assert result.verdict == "error"
    assert told in " ".join(result.reasons) and "there is http() or" in " ".join(result.reasons)


@pytest.mark.parametrize(
    ("user", "library", "extra"),
    [("Aiohttp", "aiohttp", "http"), ("Requests", "requests", "http"), ("Http2", "httpx2", "http2")],
)
def test_a_missing_library_is_told_with_the_extra_that_has_it(user: str, library: str, extra: str) -> None:
    """The rest of wasp_ray does without."""
    code = REASON_CODE.format(library=library, user=user, tests=str(Path(__file__).parents[1]))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert f"pip install 'wasp-ray[{extra}]'" in done.stdout.replace("\\'", "'"), done.stdout + done.stderr
