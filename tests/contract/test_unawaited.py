"""Requests that user code forgot to await: their calls fail and say so, whatever runs them. The server's log is the witness."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.runtimes import Runtime
from support.unawaited_loads import AsyncGroup, ForgetfulGun, ForgetfulUser, SyncSetup
from support.wrong_server import WrongServer

from wasp_ray import Generator, Profile, RunResult, plain

ACTORS: dict[str, dict[str, Any]] = {
    "gun": {"gun": ForgetfulGun, "schedule": plain(40, "500ms")},
    "user": {"user": ForgetfulUser, "schedule": plain(1, "20s"), "max_calls": 5, "think_time": 0.01},
    "packed": {
        "user": ForgetfulUser, "schedule": plain(4, "20s"), "users_per_process": 2, "max_calls": 20, "think_time": 0.01,
    },
}  # fmt: skip
GET = "GET /good/{} was never awaited: write `await self.http.get(...)`"
SESSION = "was never awaited: write `async with` or `await` before the session's"
FORGOTTEN = {
    "dropped": GET,
    "assigned": GET,
    "listed": GET,
    "answered": GET,
    "in_group": GET,
    "in_helper": GET,
    "returned": GET,
    "second": "GET /items/{id} was never awaited: write `await self.http.get(...)`",
    "named": "buy was never awaited: write `await self.http.post(...)`",
    "purged": "PURGE /good/{} was never awaited: write `await self.http.request(...)`",
    "helper": "second() was never awaited: write `await` before it",
    "of_aiohttp": f"GET /good/{{}} {SESSION} get(...)",
    "of_aiohttp_named": f"buy {SESSION} post(...)",
    "of_aiohttp_with_phases": f"buy {SESSION} post(...)",
    "of_aiohttp_returned": f"GET /good/{{}} {SESSION} get(...)",
    "of_http2": "GET /good/{} was never awaited: write `await` before the client's get(...)",
    "of_http2_named": "buy was never awaited: write `await` before the client's request(...)",
    "of_http2_sent": "buy was never awaited: write `await` before the client's send(...)",
}
WARNED = pytest.mark.filterwarnings("ignore:.* was never awaited:RuntimeWarning")
"""Of an inline run, in this process."""


@pytest.fixture
def target() -> Iterator[WrongServer]:
    """It answers /good/N."""
    with WrongServer() as server:
        yield server


def generator(name: str, url: str, folder: Path, actor: dict[str, Any], **params: Any) -> Generator:
    """One whose calls have their log in the folder."""
    return Generator(name, params={"url": url, "log": str(folder / name), **params}, **actor)


def calls_in(folder: Path, name: str = "g") -> int:
    """How many calls of a Generator began, by their own log."""
    return (folder / name).read_text().count("\n")


def errors_of(result: RunResult, name: str = "g") -> list[tuple[str, int]]:
    """Texts and counts of its errors."""
    return [(each["error"], each["count"]) for each in result.generators[name].data["errors"]]


@WARNED
def test_a_call_that_forgets_to_await_its_request_fails_and_names_it(
    runtime: Runtime, target: WrongServer, tmp_path: Path
) -> None:
    """Whoever makes it. The server saw nothing; each call of the log is failed by the message, and so is the run."""
    result = runtime.run(
        Profile(*(generator(name, target.url, tmp_path, actor, kind="dropped") for name, actor in ACTORS.items()))
    )
    assert target.seen == []
    for name in ACTORS:
        ledger, calls = result.generators[name].ledger, calls_in(tmp_path, name)
        assert calls > 0 and (ledger.started, ledger.failed, ledger.ok) == (calls, calls, 0), name
        assert errors_of(result, name) == [(GET, calls)]
    assert result.verdict == "failed" and result.exit_code == 1


@WARNED
def test_every_way_to_forget_it_fails_the_call(runtime: Runtime, target: WrongServer, tmp_path: Path) -> None:
    """Behind return, in a list, in a helper, with other clients: no call is ok, and the message says which request it was."""
    result = runtime.run(
        Profile(*(generator(kind, target.url, tmp_path, ACTORS["user"], kind=kind) for kind in FORGOTTEN))
    )
    for kind, message in FORGOTTEN.items():
        found, calls = result.generators[kind], calls_in(tmp_path, kind)
        assert calls > 0 and (found.ledger.failed, found.ledger.ok) == (calls, 0), kind
        assert errors_of(result, kind) == [(message, calls)]
        sent = {"GET /good/{}": calls} if kind == "second" else {}
        requests = {group: each.count for group, each in found.groups.items() if " /" in group or group == "buy"}
        assert requests == sent, kind
    assert len(target.seen) == calls_in(tmp_path, "second")


@pytest.mark.parametrize("name", ACTORS)
def test_a_request_that_was_awaited_or_given_to_a_task_is_not_reported(
    name: str, runtime: Runtime, target: WrongServer, tmp_path: Path
) -> None:
    """Every call is ok, and all requests arrive."""
    kinds = {"awaited": 7, "closed": 0, "nothing": 0}
    result = runtime.run(Profile(*(generator(kind, target.url, tmp_path, ACTORS[name], kind=kind) for kind in kinds)))
    for kind in kinds:
        ledger, calls = result.generators[kind].ledger, calls_in(tmp_path, kind)
        assert (ledger.failed, ledger.ok) == (0, calls) and calls > 0, errors_of(result, kind)
    assert len(target.seen) == 7 * calls_in(tmp_path, "awaited")


@pytest.mark.parametrize("name", ACTORS)
def test_a_request_of_a_task_that_the_call_does_not_wait_for_is_sent_and_not_reported(
    name: str, runtime: Runtime, target: WrongServer, tmp_path: Path
) -> None:
    """Its call is ok. Only the tasks of each actor's last call may be cancelled, by the end of the run."""
    result = runtime.run(Profile(generator("g", target.url, tmp_path, ACTORS[name], kind="in_background")))
    ledger, calls = result.generators["g"].ledger, calls_in(tmp_path)
    assert (ledger.failed, ledger.ok) == (0, calls), errors_of(result)
    assert 0 < len(target.seen) <= 4 * calls
    assert {seen.target for seen in target.seen} == {f"/good/{number}" for number in (1, 2, 3, 4)}


@WARNED
def test_a_request_that_is_kept_and_dropped_later_fails_the_call_that_drops_it(
    runtime: Runtime, target: WrongServer, tmp_path: Path
) -> None:
    """An attribute that nobody reads: all calls but the first fail."""
    result = runtime.run(Profile(generator("g", target.url, tmp_path, ACTORS["user"], kind="kept")))
    ledger, calls = result.generators["g"].ledger, calls_in(tmp_path)
    assert target.seen == [] and calls > 1
    assert (ledger.failed, ledger.ok) == (calls - 1, 1)


@WARNED
def test_a_call_that_also_raises_has_both_in_its_error(runtime: Runtime, target: WrongServer, tmp_path: Path) -> None:
    """`async with` is for aiohttp: Python's own message alone would not name the request."""
    result = runtime.run(Profile(generator("g", target.url, tmp_path, ACTORS["user"], kind="entered")))
    ((error, count),) = errors_of(result)
    assert error.startswith("TypeError: ") and error.endswith(f"; {GET}")
    assert target.seen == [] and count == calls_in(tmp_path)


@WARNED
@pytest.mark.usefixtures("short_setup_backoff")
@pytest.mark.parametrize("actor", [ForgetfulGun, ForgetfulUser, SyncSetup])
def test_a_setup_that_forgets_to_await_has_failed(
    actor: Any, runtime: Runtime, target: WrongServer, tmp_path: Path
) -> None:
    """No call is made by an actor whose login was never sent."""
    made = {"gun" if actor is ForgetfulGun else "user": actor, "schedule": plain(2, "300ms")}
    result = runtime.run(Profile(generator("g", target.url, tmp_path, made, kind="dropped", **{"in": "setup"})))
    assert target.seen == [] and not (tmp_path / "g").exists()
    assert result.verdict == "error" and any(GET in reason for reason in result.reasons), result.reasons
    assert [each["group"] for each in result.generators["g"].data["errors"]] == ["setup"]


def test_a_teardown_that_forgets_to_await_is_reported(target: WrongServer, tmp_path: Path) -> None:
    """As other failures of a teardown are: on the terminal, beside a run whose calls are ok."""
    done = wasp(LOAD.format(method="teardown"), target.url, tmp_path)
    output = " ".join(done.stdout.split())
    assert "teardown: WaspError: GET /items/{} was never awaited: write `await self.http.get(...)`" in output
    assert done.returncode == 0 and target.seen == []


LOAD = """
    from wasp_ray import *

    class Forgets(Gun):
        def setup(self):
            self.http = self.context.http(self.context.params["url"])

        async def call(self):
            pass

        async def {method}(self):
            self.http.get("/items/1")

    def profile(url: str):
        return Profile(
            Generator("g", gun=Forgets, schedule=plain(20, "500ms"), params={{"url": url}}),
            thresholds=["p95 of g < 100ms", "failed < 1%"],
        )
"""


def wasp(text: str, url: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a load file from the command line."""
    (folder / "load.py").write_text(textwrap.dedent(text))
    command = [sys.executable, "-P", "-m", "wasp_ray", "run", "load.py", "-p", f"url={url}", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("arguments", [(), ("--quiet",), ("--runtime", "inline")], ids=["usual", "quiet", "inline"])
def test_the_command_ends_with_failed_and_the_message_among_its_errors(
    arguments: tuple[str, ...], target: WrongServer, tmp_path: Path
) -> None:
    """The load of R1: exit 1, and ERRORS names the request."""
    done = wasp(LOAD.format(method="call"), target.url, tmp_path, *arguments)
    output = " ".join(done.stdout.split())
    assert done.returncode == 1 and "FAILED" in output and target.seen == []
    assert re.search(r"ERRORS 10 g GET /items/\{\} was never awaited", output), done.stdout
    is_shown = "load.py:12: RuntimeWarning: GET /items/{} was never awaited: write `await" in done.stdout + done.stderr
    assert is_shown == ("--quiet" not in arguments)


def test_once_says_that_the_call_failed_and_why(target: WrongServer, tmp_path: Path) -> None:
    """`--once` prints a line a call."""
    done = wasp(LOAD.format(method="call"), target.url, tmp_path, "--once")
    assert re.search(r"^call g failed .* was never awaited: write `await self\.http\.get", done.stdout, re.MULTILINE)
    assert "call g ok" not in done.stdout and done.returncode == 1 and target.seen == []


def test_a_group_that_is_entered_with_async_says_how_it_is_entered(runtime: Runtime) -> None:
    """`async with self.group()` is a mistake of the same kind, and Python's own message names a class that users never see."""
    result = runtime.run(Profile(Generator("g", user=AsyncGroup, schedule=plain(1, "300ms"), think_time=0.01)))
    ((error, _),) = errors_of(result)
    assert error == "TypeError: self.group() is entered without async: write `with self.group(...):`"
    assert result.generators["g"].ledger.ok == 0
