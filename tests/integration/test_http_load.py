"""Runs that load a real server over HTTP: what the books say is what the server saw."""

from __future__ import annotations

import gzip
import subprocess
import sys
import textwrap
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import http_loads
from support.books import check_books, wait_until
from support.http_loads import FAIL_ONCE
from support.servers import serving
from support.wrong_server import WrongServer
from support.wrong_steps import Hang, Keep, Script, good

from wasp_ray import Generator, Profile, RunResult, plain

ACTORS: list[tuple[str, dict[str, Any]]] = [
    ("async gun", {"gun": http_loads.AsyncGun, "schedule": plain(200, "2s")}),
    ("packed async users", {"user": http_loads.AsyncUser, "schedule": plain(6, "2s"), "users_per_process": 3, "think_time": 0.01}),
    ("sync users", {"user": http_loads.SyncUser, "schedule": plain(3, "2s"), "think_time": 0.01}),
    ("sync gun", {"gun": http_loads.SyncGun, "schedule": plain(60, "2s"), "max_workers": 4}),  # each does all kinds
]  # fmt: skip
BROKEN: Script = [good("x", status="500 Oh"), Keep()]
CUT: Script = [good("x")[:-5]]


@pytest.fixture
def target() -> Iterator[WrongServer]:
    """/good/N, /500, /hang and /cut."""
    with WrongServer() as server:
        server.on("/500", BROKEN)
        server.on("/hang", [Hang()])
        server.on("/cut", CUT)
        yield server


def seen_by(server: WrongServer, generator: str, path: str) -> int:
    """How many requests of a Generator the server saw at a path."""
    return sum(seen.all("x-generator") == [generator] and seen.target.startswith(path) for seen in list(server.seen))


def run(*generators: Generator, **options: Any) -> RunResult:
    """A run whose books must close."""
    result = Profile(*generators).run(**options)
    check_books(result)
    return result


@pytest.mark.parametrize(("name", "actor"), ACTORS, ids=[name for name, _ in ACTORS])
def test_the_books_are_what_the_server_saw(name: str, actor: dict[str, Any], target: WrongServer) -> None:
    """Each request is in its group once, each failed call failed once, whatever failed in it and how often."""
    result = run(Generator("g", params={"url": target.url}, **actor))
    generator = result.generators["g"]
    counts = {group: found.count for group, found in generator.groups.items() if group not in ("setup", "g")}
    failed = {group: found.failed for group, found in generator.groups.items()}
    for kind in (*FAIL_ONCE, "two fail", "expected", "GET /good/{}"):
        assert counts[kind] > 0, (kind, counts)
    assert set(counts) == {*FAIL_ONCE, "two fail", "expected", "GET /good/{}"}
    assert seen_by(target, "g", "/good") == counts["GET /good/{}"] + counts["raises"]
    assert seen_by(target, "g", "/500") == sum(
        counts[kind] for kind in ("fails", "two fail", "json", "returned", "expected")
    )
    assert seen_by(target, "g", "/cut") == counts["cut"]
    assert 0 < seen_by(target, "g", "/hang") <= counts["hangs"]  # some may time out before a busy server reads them
    for kind in ("fails", "two fail", "json", "returned", "hangs", "cut"):
        assert failed[kind] == counts[kind], kind
    assert failed["raises"] == failed["expected"] == failed["GET /good/{}"] == 0
    assert generator.ledger.failed == sum(counts[kind] for kind in FAIL_ONCE) + counts["two fail"] / 2
    assert generator.ledger.ok == counts["GET /good/{}"] + counts["expected"]


@pytest.mark.parametrize(("name", "actor"), ACTORS, ids=[name for name, _ in ACTORS])
def test_errors_have_short_names_and_none_is_told_twice(name: str, actor: dict[str, Any], target: WrongServer) -> None:
    """By group: the request's own, and that of an exception of user code; CallFailed is none."""
    result = run(Generator("g", params={"url": target.url}, **actor))
    told = {(each["group"], each["error"]): each["count"] for each in result.summary["generators"]["g"]["errors"]}
    groups = result.generators["g"].groups
    raised = [key for key in told if key[1].startswith("AssertionError")]
    assert len(raised) == 1 and raised[0][0] == "g" and told[raised[0]] == groups["raises"].count
    expected = {
        ("fails", "HTTP 500"), ("two fail", "HTTP 500"), ("json", "HTTP 500"), ("returned", "HTTP 500"),
        ("hangs", "timeout"), ("cut", "answer cut short"),
    }  # fmt: skip
    assert set(told) - set(raised) == expected
    for group, error in expected:
        assert told[group, error] == groups[group].count


@pytest.mark.parametrize("user", [http_loads.Simple, http_loads.SimpleSync])
def test_a_call_that_ends_within_its_request_books_it_once(user: type, target: WrongServer) -> None:
    """call_timeout ends both as timeouts; what the client makes of the request afterwards is not counted."""
    params = {"url": target.url, "path": "/hang"}
    result = run(Generator("g", user=user, schedule=plain(2, "1500ms"), params=params, call_timeout="200ms"))
    generator = result.generators["g"]
    assert generator.ledger.timeout >= 4 and generator.ledger.failed == 0
    hung = generator.groups["GET /hang"]
    assert hung.count == hung.timeout == generator.ledger.timeout and "g" not in generator.groups


def test_connections_are_kept_and_closed_ones_cost_no_failure(target: WrongServer) -> None:
    """A server that closes behind every tenth answer, as they do: all calls are ok; what was sent twice is counted."""
    kept: list[Script] = [[good(1), Keep()]] * 9
    target.on("/page", *kept, [good(1)])
    target.routes["/page"].cycles = True
    for user in (http_loads.Simple, http_loads.SimpleSync):
        before = target.connections, len(target.seen)
        params = {"url": target.url, "path": "/page"}
        result = run(
            Generator("g", user=user, schedule=plain(2, "60s"), params=params, think_time=0.005, max_calls=200)
        )
        generator = result.generators["g"]
        connections, requests = target.connections - before[0], len(target.seen) - before[1]
        retries = result.summary["generators"]["g"]["counters"].get("http retries", 0)
        assert generator.ledger.failed == 0 and generator.ledger.ok == 200
        # What is written to a connection that the server has just closed is sent again, and was not seen the first time.
        assert 200 == generator.groups["GET /page"].count <= requests <= 200 + retries
        assert requests / 10 - 5 <= connections <= requests / 10 + 5 + retries


def test_calls_that_meet_a_standstill_wait_for_it_and_none_fails() -> None:
    """The server stands still for a second: 1,250 calls are under way then, on as many connections as that takes."""
    schedule = plain(50, "3500ms") + plain(1250, "1500ms") + plain(50, "4s")  # it stands still from 4 s on
    with serving("stalling") as port:
        params = {"url": f"http://127.0.0.1:{port}", "path": "/"}
        result = run(Generator("g", gun=http_loads.SimpleGun, schedule=schedule, params=params))
    generator = result.generators["g"]
    assert generator.ledger.ok == generator.ledger.scheduled == 2_250
    assert generator.groups["GET /"].response.max >= 0.9


def test_the_connections_of_a_packed_user_end_with_it(target: WrongServer) -> None:
    """Those of its neighbours in the process stay, and the process goes on."""
    schedule = plain(4, "1s") + plain(1, "30s")
    params = {"url": target.url, "path": "/good/1"}
    going = Profile(
        Generator("g", user=http_loads.Simple, schedule=schedule, params=params, users_per_process=4, think_time=0.01)
    ).start()
    try:
        target.wait_for_open(4)
        target.wait_for_open(1)
        before = len(target.seen)
        wait_until(lambda: len(target.seen) > before + 10)
    finally:
        going.stop()
        result = going.wait()
    check_books(result)
    assert result.generators["g"].ledger.failed == 0


@pytest.mark.parametrize("user", [http_loads.Simple, http_loads.SimpleSync])
def test_phases_are_groups_of_their_own(user: type, target: WrongServer) -> None:
    """connect for each connection, first byte for each request; they are no requests of the call."""
    params = {
        "url": target.url,
        "path": "/good/7",
        "options": {"phases": True, "headers": {"Connection": "keep-alive"}},
    }
    result = run(Generator("g", user=user, schedule=plain(3, "1s"), params=params, think_time=0.01))
    generator = result.generators["g"]
    groups, ok = generator.groups, generator.ledger.ok
    assert groups["GET /good/{}"].count == groups["GET /good/{}/first byte"].count == ok > 20
    assert groups["GET /good/{}/connect"].count == target.connections == 3
    assert set(groups) == {"setup", "GET /good/{}", "GET /good/{}/first byte", "GET /good/{}/connect"}


def test_requests_of_setup_are_recorded_and_belong_to_no_call(target: WrongServer) -> None:
    """They are in their group, the ledger counts calls."""
    result = run(
        Generator("g", user=http_loads.Spawns, schedule=plain(3, "500ms"), params={"url": target.url}, think_time=0.01)
    )
    generator = result.generators["g"]
    assert generator.groups["in setup"].count == 3
    assert generator.groups["in call"].count == generator.ledger.ok
    assert seen_by(target, "g", "/good/0") == 3 and seen_by(target, "g", "/good/1") == generator.ledger.ok


def test_a_server_that_is_not_there_is_a_failed_run_with_one_name(target: WrongServer) -> None:
    """No user ends by it."""
    with WrongServer() as gone:
        url = gone.url
    params = {"url": url, "path": "/good/1"}
    for user in (http_loads.Simple, http_loads.SimpleSync):
        result = run(Generator("g", user=user, schedule=plain(2, "500ms"), params=params, think_time=0.02))
        summary = result.summary["generators"]["g"]
        assert result.verdict == "failed" and result.generators["g"].ledger.ok == 0
        assert [(each["error"], each["group"]) for each in summary["errors"]] == [
            ("connection refused", "GET /good/{}")
        ]
        assert summary["users"]["replaced"] == 0


SECRETIVE = """
    import os
    from wasp_ray import Generator, Profile, RawSamples, VirtualUser, plain

    class Knows(VirtualUser):
        def setup(self):
            self.secret = secret = os.environ["API_TOKEN"]
            options = {"auth": secret, "cookies": {"s": secret}, "headers": {"X-Key": secret}, "redirects": 2}
            self.http = self.context.http(self.context.params["url"], **options)
            self.other = self.context.http(self.context.params["url"], auth=("ada", secret))

        async def call(self):
            await self.http.get("/good/1", query={"token": self.secret})
            await self.http.get(f"/500?token={self.secret}")
            await self.http.get("/items/{token}", path={"token": self.secret})
            await self.http.post("/500", json={"password": self.secret})
            await self.http.get("/moved")
            await self.other.get("/cut")
            await self.http.get(f"http://ada:{self.secret}@127.0.0.1/")

    def profile(url: str):
        users = Generator("u", user=Knows, schedule=plain(2, "600ms"), think_time=0.05, params={"url": url})
        return Profile(users, sinks=[RawSamples()])
"""


def test_no_token_is_in_the_bundle_or_on_the_terminal(target: WrongServer, tmp_path: Path) -> None:
    """Neither of auth, cookies, headers, bodies and queries nor of the server's answers, with samples and failures."""
    (tmp_path / "load.py").write_text(textwrap.dedent(SECRETIVE))
    secret = "hush-" + "x4Zq91Lm"
    moved = [
        "HTTP/1.1 302 Found",
        f"Location: /good/9?token={secret}",
        f"Set-Cookie: t={secret}",
        "Content-Length: 0",
        "",
        "",
    ]
    target.on("/moved", ["\r\n".join(moved).encode(), Keep()])
    command = [sys.executable, "-c", "from wasp_ray.cli import main; main()", "run", "load.py", "--out", "out"]
    command += ["-p", f"url={target.url}", "-e", f"API_TOKEN={secret}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, cwd=tmp_path, check=False)
    output = done.stdout + done.stderr
    assert "auth=(user, password)" in output, output  # the cure of the last request, which was refused
    assert len(target.seen_at("/moved")) >= 2 and any(secret in str(seen.headers) for seen in target.seen)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {"samples.jsonl.gz", "summary.json", "plan.json", "series.jsonl"} <= {path.name for path in files}
    assert secret not in output
    for path in files:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        assert secret.encode() not in data and b64encode(f"ada:{secret}".encode()) not in data, path
