"""Sinks beside a real load: what they count is what the ledger counts, and nothing that becomes of them reaches the load."""

from __future__ import annotations

import gzip
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from support import loads
from support.books import check_books, pid_of, wait_until

from wasp_ray import Generator, Profile, RawSamples, plain


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """Of a samples.jsonl.gz."""
    with gzip.open(folder / "samples.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


@pytest.mark.parametrize("runtime", ["process", "inline"])
def test_every_call_is_a_sample_when_all_are_asked_for(runtime: str, tmp_path: Path) -> None:
    """Also those of setups; each is once in the file, within the run."""
    generator = Generator("g", gun=loads.Sleepy, schedule=plain(200, "2s"))
    result = Profile(generator, sinks=[RawSamples()]).run(out=tmp_path / "out", runtime=runtime)
    check_books(result)
    lines, books = lines_of(tmp_path / "out"), result.summary["sinks"]["samples"]
    assert sum(line["ends_call"] for line in lines) == result.ledger.started == 400
    assert books["accepted"] == books["delivered"] == len(lines) and not books["not_delivered"]
    setups = [line for line in lines if line["group"] == "setup"]
    assert setups and all(-60 < line["at_s"] <= 0.1 for line in setups)
    calls = {(line["user"], line["call"]) for line in lines if line["ends_call"]}
    assert len(calls) == 400


def test_failures_are_always_sampled_and_successes_by_their_ratio(tmp_path: Path) -> None:
    """sample=0: only what went wrong."""
    generator = Generator("g", user=loads.Failing, schedule=plain(2, "1s"), sample=0.0, think_time=0.01)
    result = Profile(generator, sinks=[RawSamples()]).run(out=tmp_path / "out")
    lines = [line for line in lines_of(tmp_path / "out") if line["ends_call"]]
    assert len(lines) == result.ledger.failed > 10
    assert {line["outcome"] for line in lines} == {"failed"}


def test_several_nodes_have_books_of_their_own_and_a_sum(tmp_path: Path) -> None:
    """In summary.json it is the sum."""
    generator = Generator("g", gun=loads.Sleepy, schedule=plain(100, "2s"))
    result = Profile(generator, sinks=[RawSamples()]).run(out=tmp_path / "out", nodes=2)
    found = [len(lines_of(tmp_path / "out" / "nodes" / node)) for node in "12"]
    assert result.summary["sinks"]["samples"]["delivered"] == sum(found) and min(found) > 50


@pytest.mark.parametrize(("policy", "verdict"), [("warn", "passed"), ("invalid", "invalid"), ("fail", "failed")])
def test_a_killed_exporter_costs_its_lines_and_nothing_else(policy: Any, verdict: str, tmp_path: Path) -> None:
    """SIGKILL in mid-run: every call is made, what was not delivered is counted, and judged as asked for."""
    generator = Generator("g", gun=loads.Sleepy, schedule=plain(200, "4s"))
    going = Profile(generator, sinks=[RawSamples(on_sink_error=policy)]).start(out=tmp_path / "out")
    wait_until(lambda: (going.elapsed_s or 0) > 1)
    os.kill(pid_of(going, "exporter"), signal.SIGKILL)
    result = going.wait(60)
    check_books(result)
    assert result.verdict == verdict, result.reasons
    assert result.ledger.ok == 800
    books = result.summary["sinks"]["samples"]
    lost = books["not_delivered"]
    assert set(lost) <= {"exporter_died", "exporter_slow"} and sum(lost.values()) > 300
    assert books["accepted"] == books["delivered"] + sum(lost.values()) >= 800
    told = [*result.reasons, *result.warnings]
    assert any(text.startswith("sink samples: ") and "were not delivered" in text for text in told), told


def test_what_is_no_sink_is_told_with_the_cure() -> None:
    """Beside all other problems of the profile."""
    wrong: list[Any] = [RawSamples, "loki", RawSamples(on_sink_error="ignore")]  # type: ignore[arg-type]
    problems = Profile(Generator("g", gun=loads.Sleepy, schedule=plain(1, "1s")), sinks=wrong).validate()
    assert [problem.split(":")[0] for problem in problems] == ["Profile sinks", "Profile sinks", "Profile sink samples"]
    assert "expected one of 'warn', 'invalid', 'fail'" in problems[2]
