"""What a run could not deliver to Loki waits in its bundle, and `wasp push` delivers it: each line once, or it says so."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support import loads
from support.books import check_books, pid_of, wait_for_start, wait_until
from support.chaos_proxy import ChaosProxy
from support.loki import Loki as Server
from support.loki_client import Line, LokiClient

from wasp_ray import Generator, Loki, Profile, RunResult, plain
from wasp_ray.cli import cli
from wasp_ray.sinks.loki_batch import Part, pack
from wasp_ray.sinks.loki_spool import Spool

pytestmark = pytest.mark.waits

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sinks give up soon after the load."""
    monkeypatch.setattr("wasp_ray.node.exports.FLUSH_S", 1.0)


@pytest.fixture
def proxy(loki: Server) -> Iterator[ChaosProxy]:
    """Between a sink and the real Loki."""
    with ChaosProxy(loki.port) as started:
        yield started


def run(url: str, tenant: LokiClient, out: Path, **options: Any) -> RunResult:
    """400 calls in small batches, one push at a time."""
    given = {"batch_bytes": 20_000, "batch_wait": "200ms", "in_flight": 1, **options}
    sink = Loki(url=url, tenant_id=tenant.tenant, **given)
    generator = Generator("search", gun=loads.Sleepy, schedule=plain(200, "2s"))
    result = Profile(generator, name="shop", sinks=[sink]).run(out=out)
    check_books(result)
    assert result.ledger.ok == 400
    return result


def stored(tenant: LokiClient) -> list[tuple[str, int]]:
    """Batch and number of each line, as often as it is there."""
    found = (json.loads(line.text) for line in tenant.lines('{profile="shop"}'))
    return sorted((line["batch"], line["n"]) for line in found)


def push(*arguments: object) -> Result:
    """The command; what it prints is shown when a test fails."""
    result = CliRunner().invoke(cli, ["push", *map(str, arguments)])
    print(result.output)
    return result


def test_lines_of_a_run_without_loki_are_pushed_from_its_bundle(loki: Server, tmp_path: Path) -> None:
    """All of them, each once, and nothing is left to push."""
    tenant = loki.tenant()
    result = run(NOWHERE, tenant, tmp_path / "out")
    books = result.summary["sinks"]["loki"]
    assert books["delivered"] == 0 and set(books["not_delivered"]) == {"unreachable"}
    assert any("wasp push" in problem for problem in books["problems"])
    pushed = push(tmp_path / "out", "--url", loki.url)
    assert pushed.exit_code == 0 and f"{books['accepted']} delivered" in pushed.output
    assert len(stored(tenant)) == len(set(stored(tenant))) == books["accepted"] > 400
    assert not (tmp_path / "out" / "spool").exists()
    assert "nothing waits" in push(tmp_path / "out").output


def test_a_bundle_is_pushed_on_when_loki_is_there_again(loki: Server, tmp_path: Path) -> None:
    """An attempt in vain leaves everything as it was."""
    tenant = loki.tenant()
    result = run(NOWHERE, tenant, tmp_path / "out")
    failed = push(tmp_path / "out", "--timeout", "500ms")
    assert failed.exit_code == 4 and "0 delivered, unreachable" in failed.output
    assert push(tmp_path / "out", "--url", loki.url + "/loki/api/v1/push").exit_code == 0
    assert len(set(stored(tenant))) == len(stored(tenant)) == result.summary["sinks"]["loki"]["accepted"]


def test_a_batch_whose_answer_was_lost_is_not_pushed_twice(
    loki: Server, proxy: ChaosProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sink asks Loki for it, and finds it."""
    monkeypatch.setattr("wasp_ray.node.exports.FLUSH_S", 30.0)
    tenant = loki.tenant()
    proxy.drops_answers = 3
    books = run(proxy.url, tenant, tmp_path / "out").summary["sinks"]["loki"]
    assert proxy.dropped == 3 and books["errors"] > 0  # of pushes and of questions
    assert books["delivered"] == books["accepted"] and books["maybe_double"] == 0
    assert len(stored(tenant)) == len(set(stored(tenant))) == books["delivered"]


def test_batches_that_are_unknown_at_the_end_are_asked_for(loki: Server, proxy: ChaosProxy, tmp_path: Path) -> None:
    """Loki has stored what no answer told: pushing the bundle finds it there and doubles nothing."""
    tenant = loki.tenant()
    proxy.drops_answers = 10**6
    books = run(proxy.url, tenant, tmp_path / "out", in_flight=4).summary["sinks"]["loki"]
    there = len(stored(tenant))
    assert there > 0 and books["delivered"] == 0
    pushed = push(tmp_path / "out", "--url", loki.url)
    assert pushed.exit_code == 0 and "double" not in pushed.output
    assert len(stored(tenant)) == len(set(stored(tenant))) == books["accepted"] >= there


def test_lines_may_be_double_when_loki_does_not_say(loki: Server, tmp_path: Path) -> None:
    """A batch that was sent, of which nothing is known, is sent again: so many may be double."""
    tenant = loki.tenant()
    run(NOWHERE, tenant, tmp_path / "out")
    (target,) = (tmp_path / "out").rglob("target.json")
    spool = Spool.found(target.parent)
    first = next(iter(spool))
    spool.mark(first, sent=True)
    spool.close()
    with ChaosProxy(loki.port) as proxy:
        proxy.refuses = True
        assert push(tmp_path / "out", "--url", proxy.url, "--timeout", "500ms").exit_code == 4
    target.write_text(json.dumps({**json.loads(target.read_text()), "batches": "other"}))  # not what Loki is asked for
    assert push(tmp_path / "out", "--url", loki.url).exit_code == 0


def test_old_lines_go_where_loki_takes_them(loki: Server, tmp_path: Path) -> None:
    """Two hours older than the newest of their stream: refused there, taken in a stream of its own."""
    tenant, now = loki.tenant(), time.time_ns()
    labels = {"service_name": "wasp_ray", "profile": "shop", "kind": "stats"}
    old = now - 2 * 3_600_000_000_000
    lines = [json.dumps({"batch": "r-1-1", "n": n}) for n in (1, 2)]
    tenant.push([Line(now, json.dumps({"batch": "r-1-2", "n": 1}), labels)])
    with pytest.raises(Exception, match="too far behind"):
        tenant.push([Line(old, lines[0], labels)])
    options = Loki(url=loki.url, tenant_id=tenant.tenant).options()
    spool = Spool(tmp_path / "spool" / "loki", json.dumps({**options, "batches": "r-1"}))
    spool.add(Part(1, 1, 2), pack({tuple(labels.items()): [(old, lines[0]), (old + 1, lines[1])]}))
    spool.close()
    assert push(tmp_path).exit_code == 0
    assert stored(tenant) == [("r-1-1", 1), ("r-1-1", 2), ("r-1-2", 1)]


def test_what_a_killed_exporter_had_in_hand_is_in_the_bundle(loki: Server, tmp_path: Path) -> None:
    """All batches that were cut: counted as lost by the run, delivered when nobody else sends them any more."""
    tenant = loki.tenant()
    sink = Loki(url=NOWHERE, tenant_id=tenant.tenant, batch_wait="100ms")
    generator = Generator("search", gun=loads.Sleepy, schedule=plain(200, "4s"))
    going = Profile(generator, name="shop", sinks=[sink]).start(out=tmp_path / "out")
    wait_for_start(going)
    wait_until(lambda: len(list((tmp_path / "out").rglob("*.json.gz"))) > 3)
    early = push(tmp_path / "out", "--url", loki.url)
    assert early.exit_code == 2 and "its run goes on" in early.output
    os.kill(pid_of(going, "exporter"), signal.SIGKILL)
    result = going.wait(60)
    check_books(result)
    assert result.ledger.ok == 800
    assert "exporter_died" in result.summary["sinks"]["loki"]["not_delivered"]
    assert push(tmp_path / "out", "--url", loki.url).exit_code == 0
    assert len(stored(tenant)) == len(set(stored(tenant))) > 40


def test_no_more_attempts_are_made_than_were_allowed(loki: Server, tmp_path: Path) -> None:
    """The lines wait in the bundle."""
    tenant = loki.tenant()
    books = run(NOWHERE, tenant, tmp_path / "out", max_errors=2).summary["sinks"]["loki"]
    assert books["errors"] == 3 and set(books["not_delivered"]) == {"max_errors"}
    assert push(tmp_path / "out", "--url", loki.url).exit_code == 0
    assert len(stored(tenant)) == books["accepted"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["nowhere"], "expected the folder of a bundle"), ([".", "--timeout", "soon"], "--timeout soon")],
)
def test_what_cannot_be_pushed_is_told(arguments: list[str], told: str) -> None:
    """Exit 2."""
    result = push(*arguments)
    assert result.exit_code == 2 and told in result.output
