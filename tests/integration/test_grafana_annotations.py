"""Runs annotated in a Grafana as its documentation describes it: what it holds, and what becomes of the books when it fails."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from e2e.harness.processes import free_port
from support import loads
from support.books import check_books, wait_for_start
from support.grafana import TOKEN, VERSIONS, FakeGrafana, Trouble

from wasp_ray import BadInput, Generator, Grafana, Profile, RunResult, plain

pytestmark = pytest.mark.waits


@pytest.fixture
def grafana(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGrafana]:
    """Named by the environment."""
    with FakeGrafana() as made:
        monkeypatch.setenv("GRAFANA_URL", made.url)
        monkeypatch.setenv("GRAFANA_TOKEN", TOKEN)
        yield made


def profile(**options: Any) -> Profile:
    """2 s of users, a third of whose calls fail."""
    users = Generator("people", user=loads.Failing, schedule=plain(2, "2s"), think_time=0.01)
    return Profile(users, name="shop", sinks=[Grafana(**options)])


def books_of(result: RunResult) -> Mapping[str, Any]:
    """They close."""
    check_books(result)
    books: Mapping[str, Any] = result.summary["sinks"]["grafana"]
    assert books["accepted"] == books["delivered"] + sum(books["not_delivered"].values())
    return books


@pytest.mark.parametrize("version", VERSIONS)
def test_start_end_and_errors_are_annotated(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start and end once, though there are two nodes; the end's reaches back to the start."""
    monkeypatch.setenv("GRAFANA_TOKEN", TOKEN)
    with FakeGrafana(version, "/grafana") as grafana:
        monkeypatch.setenv("GRAFANA_URL", grafana.url)
        before_ms = time.time_ns() // 1_000_000
        result = profile().run(nodes=2)
        after_ms = time.time_ns() // 1_000_000
    books, run_id = books_of(result), result.summary["run_id"]
    assert books["delivered"] == len(grafana.annotations) and not books["errors"]
    assert all(told["tags"][:3] == ["wasp_ray", "shop", run_id] for told in grafana.annotations)
    by_event: dict[str, list[dict[str, Any]]] = {}
    for told in grafana.annotations:
        by_event.setdefault(told["tags"][3], []).append(told)
    assert set(by_event) == {"start", "error", "end"}
    (start,), (end,) = by_event["start"], by_event["end"]
    assert before_ms <= start["time"] and start["time"] <= end["timeEnd"] <= after_ms
    assert abs(end["time"] - start["time"]) < 1_000 and end["timeEnd"] - end["time"] >= 2_000
    assert all(told["tags"][4] == "people" and told["text"] for told in by_event["error"])


@pytest.mark.parametrize(
    ("trouble", "reasons"),
    [
        (Trouble("annotations", 500, {"message": "boom"}, times=2), set()),
        (Trouble("annotations", 429, {"message": "slow down"}, times=1), set()),
        (Trouble("annotations", 401, {"message": "Invalid API key"}), {"unauthorized"}),
        (Trouble("annotations", 403, {"message": "annotations:create"}), {"unauthorized"}),
        (Trouble("annotations", 500, {"message": "boom"}), {"server_error"}),
        (Trouble("annotations", 400, {"message": "no"}), {"rejected"}),
        (Trouble("annotations", 404, "<html>"), {"client_error"}),
        (Trouble("annotations", 404, "<html>", times=2), set()),
        (Trouble("annotations", 302, "<html>"), {"redirected"}),
    ],
    ids=lambda value: f"{value.status}-{value.times}" if isinstance(value, Trouble) else "",
)
def test_what_grafana_does_not_take_is_booked(
    grafana: FakeGrafana, trouble: Trouble, reasons: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tried again where that may help; the run is the same, and the token is in no text of it."""
    monkeypatch.setattr("wasp_ray.node.exports.FLUSH_S", 2.0)
    grafana.troubles.append(trouble)
    result = profile().run()
    books = books_of(result)
    assert set(books["not_delivered"]) == reasons and books["errors"] > 0
    assert not reasons or books["delivered"] == 0
    assert result.verdict == "passed" and result.warnings and TOKEN not in str(result.summary)


def test_a_grafana_that_comes_late_has_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """It need not be there at the start."""
    port = free_port()
    monkeypatch.setenv("GRAFANA_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("GRAFANA_TOKEN", TOKEN)
    going = profile().start()
    wait_for_start(going)
    with FakeGrafana(port=port) as grafana:
        books = books_of(going.wait(60))
    assert books["delivered"] == books["accepted"] == len(grafana.annotations) >= 3


def test_what_the_environment_lacks_is_told_before_the_load() -> None:
    """With what to set."""
    with pytest.raises(BadInput, match=r"(?s)sink grafana.*GRAFANA_URL is not set.*GRAFANA_TOKEN is not set"):
        profile().run()
    assert "expected one of" in profile(on_sink_error="ignore").validate()[0]
