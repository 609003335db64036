"""Threads of user code record what they do: nothing of it is lost, no call's end is overwritten."""

from __future__ import annotations

import gzip
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from support import witness_loads as loads
from support.books import check_books
from support.runtimes import Runtime

from wasp_ray import Generator, Profile, RawSamples, plain, rows

ROUNDS = 40


@pytest.fixture(autouse=True)
def _switch_interval() -> Iterator[None]:
    """That of this process, where inline workers set theirs."""
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("where", ["process", "inline", "placed"])
def test_what_threads_of_a_sync_user_record_is_counted(where: str, tmp_path: Path) -> None:
    """Groups, failures, records and counters as often as the witness has them; raw data stays with its call; each row once."""
    calls = 12
    with Runtime(where) as runtime:
        generator = Generator(
            "u", user=loads.Threads, schedule=plain(2, "120s"), max_calls=calls,
            params={"witness": str(tmp_path / "witness"), "rounds": ROUNDS},
            feeders={"rows": rows([{"n": n} for n in range(8 * ROUNDS * calls)])},
        )  # fmt: skip
        result = runtime.start(Profile(generator, sinks=[RawSamples()]), out=tmp_path / "out").wait(120)
    check_books(result)
    seen, found = loads.seen_in(tmp_path / "witness"), result.generators["u"]
    assert seen["end"] == calls and seen["round"] == 8 * ROUNDS * calls
    assert vars(found.ledger) == {
        **dict.fromkeys(vars(found.ledger), 0),
        "scheduled": calls,
        "started": calls,
        "failed": calls,
    }
    per_name = dict.fromkeys((f"group {at}" for at in range(ROUNDS)), 8 * calls)
    assert {name: found.groups[name].count for name in per_name} == per_name
    assert found.groups["failing"].count == found.groups["failing"].failed == seen["round"]
    assert found.groups["record"].count == found.groups["record"].data["bytes_in"] == seen["round"]
    assert found.groups["own"].count == calls
    assert found.data["counters"] == {"things": 2 * seen["round"]}
    assert [seen[f"row {n}"] for n in range(seen["round"])] == [1] * seen["round"]
    if where != "placed":  # these are without a bundle
        assert data_of_calls(tmp_path / "out") == [{"done": 8 * ROUNDS}] * calls


def data_of_calls(bundle: Path) -> list[Any]:
    """The data of raw samples, all of which belong to calls' own groups."""
    with gzip.open(bundle / "samples.jsonl.gz", "rt") as file:
        samples = [json.loads(line) for line in file]
    with_data = [sample for sample in samples if "data" in sample and sample["data"] is not None]
    assert {sample["group"] for sample in with_data} == {"own"}
    return [sample["data"] for sample in with_data]


class Echo(BaseHTTPRequestHandler):
    """Answers with the query's value, and keeps what it was asked."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        text = self.path.partition("=")[2].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def echo() -> Iterator[ThreadingHTTPServer]:
    """A server that is its own witness."""
    Echo.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("where", ["process", "inline"])
def test_threads_may_share_an_http_client(where: str, echo: ThreadingHTTPServer) -> None:
    """Each has its own answers, and the server saw every request that is counted."""
    calls, rounds = 4, 20
    generator = Generator(
        "u", user=loads.HttpThreads, schedule=plain(1, "120s"), max_calls=calls,
        params={"url": f"http://127.0.0.1:{echo.server_port}", "rounds": rounds},
    )  # fmt: skip
    with Runtime(where) as runtime:
        result = runtime.run(Profile(generator))
    assert result.generators["u"].ledger.ok == calls, result.summary["generators"]["u"]["errors"]
    assert result.generators["u"].groups["GET /item"].count == len(Echo.asked) == 8 * rounds * calls


@pytest.mark.parametrize("where", ["process", "inline"])
def test_what_threads_of_an_async_gun_record_is_counted(where: str, tmp_path: Path) -> None:
    """Beside the loop, which publishes the ends of other calls meanwhile."""
    generator = Generator(
        "g", gun=loads.AsyncThreads, schedule=plain(40, "1s"),
        params={"witness": str(tmp_path / "witness"), "rounds": ROUNDS},
    )  # fmt: skip
    with Runtime(where) as runtime:
        result = runtime.run(Profile(generator))
    seen, found = loads.seen_in(tmp_path / "witness"), result.generators["g"]
    assert seen["end"] == found.ledger.ok == found.ledger.scheduled == 40
    assert found.groups["group"].count == found.groups["record"].count == seen["round"] == 40 * 6 * ROUNDS
    assert found.data["counters"] == {"things": seen["round"]}
    assert found.groups["loop"].count == 40
