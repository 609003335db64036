"""Sessions of aiohttp, requests and httpx2 in real runs against real servers: one record for each request, true to what came."""

from __future__ import annotations

import contextlib
import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import session_loads as loads
from support.books import check_books
from support.web import counted, web_server
from support.web2 import http2_server

from wasp_ray import Generator, Profile, RunResult, VirtualUser, plain

pytestmark = pytest.mark.waits

CALLS = 3
BOTH = [loads.Aiohttp, loads.Requests]


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    """Of a web server."""
    with web_server() as made:
        yield made


@pytest.fixture(scope="module")
def base2() -> Iterator[str]:
    """Of a server of HTTP/2."""
    with http2_server() as made:
        yield made


def run(user: type[VirtualUser], base: str, path: str = "/", *, calls: int = CALLS, **options: Any) -> RunResult:
    """One user and a few calls of it."""
    params = {"base": base, "path": path, "options": options}
    generator = Generator("u", user=user, schedule=plain(1, "20s"), params=params, max_calls=calls)
    result = Profile(generator).run()
    check_books(result)
    assert result.ledger.started == calls, (result.ledger, result.reasons)
    return result


def groups(result: RunResult) -> dict[str, int]:
    """Counts, without the setup's."""
    found: dict[str, Any] = result.summary["generators"]["u"]["groups"]
    return {name: group["count"] for name, group in found.items() if name != "setup"}


def errors(result: RunResult) -> dict[tuple[str, str], int]:
    """Counts by group and name."""
    told: list[dict[str, Any]] = result.summary["generators"]["u"]["errors"]
    return {(each["group"], each["error"]): each["count"] for each in told}


@pytest.mark.parametrize("user", BOTH)
def test_a_request_is_recorded_under_method_and_route(user: type[VirtualUser], base: str) -> None:
    """With its status and bytes, as often as the server saw it."""
    before = counted(base).get("/items/4711", 0)
    result = run(user, base, "/items/4711?token=x")
    assert groups(result) == {"GET /items/{}": CALLS}
    group = result.summary["generators"]["u"]["groups"]["GET /items/{}"]
    assert (group["status"], group["failed"]) == ({"200": CALLS}, 0)
    assert 150 * CALLS < group["bytes_in"] < 300 * CALLS and 100 * CALLS < group["bytes_out"] < 300 * CALLS
    assert counted(base)["/items/4711"] - before == CALLS
    assert (result.verdict, result.ledger.ok) == ("passed", CALLS)


def test_every_way_to_end_a_request_of_aiohttp_is_one_record(base: str) -> None:
    """Left early, streamed, released, as a task, with a group of its own, redirected, gathered, and websockets."""
    result = run(loads.EveryWay, base, calls=2)
    assert not errors(result)
    assert groups(result) == {
        "GET /big": 4, "GET /items/{}": 8, "own name": 2, "POST /echo": 2, "GET /hop/{}": 2, "GET /ws": 2,
    }  # fmt: skip
    assert result.ledger.ok == 2


def test_every_way_to_end_a_request_of_requests_is_one_record(base: str) -> None:
    """Left early, streamed, at once, with a group of its own, redirected."""
    result = run(loads.EveryWayOfRequests, base, calls=2)
    assert not errors(result)
    assert groups(result) == {"GET /big": 4, "GET /items/{}": 2, "own name": 2, "POST /echo": 2, "GET /hop/{}": 2}
    assert result.ledger.ok == 2


def test_every_way_to_end_a_request_over_http2_is_one_record(base2: str) -> None:
    """Left early, streamed, at once, with a group of its own, redirected."""
    result = run(loads.EveryWayOfHttp2, base2, calls=2)
    assert not errors(result)
    assert groups(result) == {"GET /big": 4, "GET /items/{}": 2, "own name": 2, "POST /echo": 2, "GET /hop/{}": 2}
    assert result.ledger.ok == 2


WRONG = {
    "/status/503": "HTTP 503", "/closed": "closed without an answer", "/reset": "connection reset", "/cut": "answer cut short",
    "/malformed": "malformed answer", "/huge-head": "headers too large", "/bad-gzip": "body cannot be decoded",
    "/hop/50": "too many redirects", "/to?url=gopher://x/": "redirect without a place",
}  # fmt: skip


@pytest.mark.parametrize("user", BOTH)
@pytest.mark.parametrize("path", WRONG)
def test_a_failure_has_the_same_name_as_with_our_own_client(user: type[VirtualUser], path: str, base: str) -> None:
    """One record and one failed call each, and no second error for the exception that the call got."""
    result = run(user, base, path)
    (group,) = groups(result)
    assert errors(result) == {(group, WRONG[path]): CALLS}
    assert groups(result)[group] == CALLS and result.ledger.failed == CALLS


@pytest.mark.parametrize("user", [*BOTH, loads.Http2])
def test_a_refused_connection_is_a_failed_request(user: type[VirtualUser]) -> None:
    """Nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        result = run(user, f"http://127.0.0.1:{taken.getsockname()[1]}", "/x")
    assert errors(result) == {("GET /x", "connection refused"): CALLS}
    assert result.ledger.failed == CALLS


@pytest.mark.parametrize("user", [*BOTH, loads.Http2])
def test_a_name_that_does_not_resolve_is_a_failed_request(user: type[VirtualUser]) -> None:
    """As the standard promises of .invalid."""
    result = run(user, "http://nowhere.invalid", "/x", calls=1)
    assert errors(result) == {("GET /x", "dns failed"): 1}


@pytest.mark.parametrize(
    ("user", "path"), [(loads.Aiohttp, "/slow"), (loads.Aiohttp, "/drip"), (loads.Requests, "/slow")]
)
def test_a_late_answer_is_a_timeout_of_the_request(user: type[VirtualUser], path: str, base: str) -> None:
    """Its head or its body; the call got an exception and went on as failed."""
    result = run(user, base, path, timeout="300ms", calls=2)
    assert errors(result) == {(f"GET {path}", "timeout"): 2}
    assert result.ledger.failed == 2


def test_a_late_answer_over_http2_is_a_timeout_of_the_request(base2: str) -> None:
    """The whole of it counts."""
    result = run(loads.Http2, base2, "/slow", timeout="300ms", calls=2)
    assert errors(result) == {("GET /slow", "timeout"): 2}


@pytest.mark.parametrize("user", [loads.Aiohttp, loads.Http2])
def test_a_call_that_is_cancelled_at_its_deadline_books_no_request_afterwards(
    user: type[VirtualUser], base: str, base2: str
) -> None:
    """The request has the timeout of its call as its only record, and the session is good for the next."""
    params = {"base": base2 if user is loads.Http2 else base, "path": "/slow"}
    generator = Generator("u", user=user, schedule=plain(1, "20s"), params=params, max_calls=2, call_timeout="300ms")
    result = Profile(generator).run()
    check_books(result)
    assert result.ledger.timeout == 2
    assert groups(result) == {"GET /slow": 2} and not errors(result)
    assert result.generators["u"].groups["GET /slow"].timeout == 2


def test_what_the_user_cancels_is_a_cancelled_request_and_his_own_error_is_his_own(base: str) -> None:
    """Two records; the request that was fine stays fine."""
    result = run(loads.Impatient, base, calls=1)
    assert groups(result) == {"GET /slow": 1, "GET /items/{}": 1}
    assert errors(result) == {("GET /slow", "cancelled"): 1, ("u", "ValueError: of the user"): 1}
    assert result.ledger.failed == 1


@pytest.mark.parametrize("user", BOTH)
def test_expect_judges_and_group_names_every_request_of_a_session(user: type[VirtualUser], base: str) -> None:
    """Predicates see the answer; a function names by method and URL."""
    result = run(user, base, "/status/404", expect=[404], group=lambda method, url: f"{method.lower()} something")
    assert groups(result) == {"get something": CALLS} and result.ledger.ok == CALLS
    result = run(user, base, "/status/200", expect=lambda answer: "X-Wanted" in answer.headers or "no X-Wanted")
    assert errors(result) == {("GET /status/{}", "no X-Wanted"): CALLS}


@pytest.mark.parametrize("user", BOTH)
def test_the_session_sends_what_its_options_say(user: type[VirtualUser], base: str) -> None:
    """Headers, password and cookies, also to a host that is an address."""

    def judged(answer: Any) -> Any:
        sent = answer.request_info.headers if hasattr(answer, "request_info") else answer.request.headers
        wanted = {"X-Team": "blue", "Authorization": "Basic YWRhOnNlY3JldA==", "Cookie": "sid=7"}
        return [name for name, value in wanted.items() if sent.get(name) != value] == [] or f"{dict(sent)}"

    options: dict[str, Any] = {
        "headers": {"X-Team": "blue"},
        "auth": ("ada", "secret"),
        "cookies": {"sid": "7"},
        "expect": judged,
    }
    result = run(user, base, "/echo", **options)
    assert not errors(result)


def test_phases_are_entries_of_their_own(base: str) -> None:
    """Of the one connection and of each answer."""
    found = groups(run(loads.Aiohttp, base, "/items/1", phases=True))
    assert found == {"GET /items/{}": 3, "GET /items/{}/connect": 1, "GET /items/{}/first byte": 3}


def test_no_secret_is_in_what_a_run_leaves(base: str, tmp_path: Path) -> None:
    """Not in records, raw samples, errors, logs or what is printed."""
    params = {"base": base}
    generator = Generator("u", user=loads.Secretive, schedule=plain(1, "10s"), params=params, max_calls=2)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        result = Profile(generator).run(out=str(tmp_path / "out"))
    assert errors(result) == {("GET /status/{}", "HTTP 500"): 2}
    left = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert left and not any(b"SECRET" in content for content in left)
    assert "SECRET" not in printed.getvalue()


@pytest.mark.parametrize("user", [*BOTH, loads.Http2])
def test_a_run_with_sessions_ends_quietly(user: type[VirtualUser], base: str, base2: str, tmp_path: Path) -> None:
    """Nothing unclosed is complained of."""
    params = {"base": base2 if user is loads.Http2 else base, "path": "/items/1"}
    generator = Generator("u", user=user, schedule=plain(2, "10s"), params=params, max_calls=4)
    assert Profile(generator).run(out=str(tmp_path / "out")).ledger.ok == 4
    assert not (tmp_path / "out/logs/users.log").exists(), (tmp_path / "out/logs/users.log").read_text()


@pytest.mark.parametrize(
    ("user", "options", "told"),
    [
        (
            loads.Aiohttp,
            {"pace": 1, "timeout": -1},
            ["aiohttp(pace=...): there is no such option", "aiohttp(timeout=-1)"],
        ),
        (loads.Requests, {"unix": "/x"}, ["requests(unix=...): there is no such option"]),
        (loads.Http2, {"group": 7}, ["http2(group=7): expected a name or a function"]),
    ],
)
def test_wrong_options_end_the_run_with_all_that_is_wrong(
    user: type[VirtualUser], options: dict[str, Any], told: list[str], base: str
) -> None:
    """In setup."""
    generator = Generator(
        "u", user=user, schedule=plain(1, "1s"), params={"base": base, "path": "/", "options": options}
    )
    result = Profile(generator).run()
    assert result.verdict == "error"
    for text in told:
        assert text in json.dumps(result.summary["reasons"]), result.reasons
