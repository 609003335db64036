"""An OTLP receiver that answers as it likes: the load is the same, in the end it has every number once, or it is told why."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any, Literal

import pytest
from support import loads
from support.books import check_books, pid_of, wait_for_start, wait_until
from support.otlp_receiver import CUT_AFTER, CUT_BEFORE, PARTIAL, SLOW, Receiver

from wasp_ray import BadInput, Generator, Otlp, Profile, Prometheus, RunResult, plain

pytestmark = pytest.mark.waits

Temporality = Literal["cumulative", "delta"]
CALLS = ("wasp_ray.calls", "wasp_ray.call.service_time")
REQUESTS = ("wasp_ray.requests", "wasp_ray.request.response_time")
HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"


def load() -> Generator:
    """300 calls in 3 s."""
    return Generator("search", gun=loads.Sleepy, schedule=plain(100, "3s"))


def run(endpoint: str, **options: Any) -> RunResult:
    """An export a second; whatever becomes of them, all calls are made and all states have one end."""
    result = Profile(load(), name="shop", sinks=[Otlp(endpoint=endpoint, **{"interval": "1s", **options})]).run()
    check_books(result)
    assert result.ledger.ok == result.ledger.scheduled == 300
    check_sink(result)
    return result


def check_sink(result: RunResult) -> dict[str, Any]:
    """Each state that was taken has come to one end."""
    books: dict[str, Any] = result.summary["sinks"]["otlp"]
    assert books["accepted"] == books["delivered"] + sum(books["not_delivered"].values()), books
    return books


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
@pytest.mark.parametrize(
    ("answers", "errors"),
    [
        ([503, 502], 2),
        ([500], 1),
        ([429, 429, 429], 3),
        ([401, 403], 2),
        ([400], 1),
        ([302, 404, 405, 421, 408], 5),
        ([200, CUT_BEFORE], 1),
        ([200, CUT_AFTER], 1),
        ([CUT_AFTER, 503, CUT_BEFORE], 3),
        ([SLOW], 0),
    ],
    ids=str,
)
def test_every_number_arrives_once_in_the_end(answers: list[int], errors: int, temporality: Temporality) -> None:
    """A later export says all that one before it did not bring."""
    with Receiver(answers) as receiver:
        result = run(receiver.url, temporality=temporality)
        assert [receiver.sum(name, generator="search", profile="shop") for name in CALLS] == [300, 300]
        assert [receiver.sum(name, generator="search", group="search") for name in REQUESTS] == [300, 300]
        assert receiver.paths == {"/v1/metrics"}
    books = check_sink(result)
    assert books["errors"] == errors and len(books["problems"]) <= errors and not books["not_delivered"], books
    assert (books["maybe_double"] > 0) == (temporality == "delta" and bool({CUT_AFTER, CUT_BEFORE} & set(answers)))


def test_points_that_a_success_left_out_come_again_when_they_are_cumulative() -> None:
    """With the next export."""
    with Receiver([200, PARTIAL]) as receiver:
        books = check_sink(run(receiver.url))
    assert books["errors"] == 1 and books["problems"] == ["1 points were rejected: one is odd"]
    assert not books["not_delivered"]


def test_points_that_a_success_left_out_of_deltas_are_lost_and_counted() -> None:
    """The others of that export must not come twice."""
    with Receiver([200, PARTIAL]) as receiver:
        result = run(receiver.url, temporality="delta")
        assert receiver.sum("wasp_ray.calls", outcome="ok") == 300
    assert check_sink(result)["not_delivered"].keys() == {"rejected"}


@pytest.mark.parametrize(
    ("status", "reason", "told"),
    [
        (302, "redirected", "the server redirects (HTTP 302); set the final URL"),
        (404, "client_error", "404: check the URL"),
        (400, "rejected", "400: "),
        (413, "rejected", "413: "),
        (401, "unauthorized", "401: the credentials were refused; check OTEL_EXPORTER_OTLP_HEADERS"),
        (503, "server_error", "503: "),
        (429, "rate_limited", "429: "),
        (CUT_BEFORE, "unreachable", "the connection ended before the answer"),
    ],
)
@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_a_receiver_that_never_takes_anything_ends_the_run_in_time(
    status: int, reason: str, told: str, temporality: Temporality, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All states are counted by what it said."""
    monkeypatch.setattr("wasp_ray.node.exports.FLUSH_S", 1.0)
    began = time.monotonic()
    with Receiver([status], forever=True) as receiver:
        result = run(receiver.url, temporality=temporality, on_sink_error="fail")
    assert time.monotonic() - began < 30
    books = check_sink(result)
    assert books["delivered"] == 0 and books["not_delivered"] == {reason: books["accepted"]}
    assert any(told in problem for problem in books["problems"]) and result.verdict == "failed"


def test_nobody_there_is_told_with_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what may be a key in it."""
    monkeypatch.setattr("wasp_ray.node.exports.FLUSH_S", 1.0)
    books = check_sink(run("http://127.0.0.1:9/otlp?key=s3cret"))
    assert books["not_delivered"] == {"unreachable": books["accepted"]}
    (problem,) = books["problems"]
    assert problem.startswith("http://127.0.0.1:9/otlp/v1/metrics: ") and "s3cret" not in problem


def test_a_receiver_is_asked_again_when_it_says() -> None:
    """Retry-After, in seconds."""
    with Receiver([429], retry_after="2") as receiver:
        run(receiver.url)
        assert receiver.requests <= 3


def test_credentials_come_from_the_environment_and_stay_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent with every export; in no summary."""
    monkeypatch.setenv(HEADERS, "Authorization=Bearer%20t0p,X-Scope-OrgID=team")
    with Receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{receiver.url}/root")
        result = run("")
        assert receiver.paths == {"/root/v1/metrics"}
        assert receiver.headers["Authorization"] == "Bearer t0p" and receiver.headers["X-Scope-OrgID"] == "team"
    assert (
        result.plan is not None
        and "t0p" not in json.dumps(result.summary)
        and "t0p" not in json.dumps(result.plan.to_data())
    )


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://u:s3cret@x"}, "OTEL_EXPORTER_OTLP_HEADERS"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", HEADERS: "s3cret"}, "percent-encoded"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere"}, "No such file"),
    ],
)
def test_what_the_environment_lacks_is_told_before_the_load(
    env: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a value of the credentials."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInput) as refused:
        Profile(load(), sinks=[Otlp()]).run()
    assert told in str(refused.value) and "s3cret" not in str(refused.value)


def test_wrong_options_are_told_with_the_cure() -> None:
    """All of them; a password is not shown."""
    wrong: list[Any] = [
        Otlp(endpoint="http://u:s3cret@x", temporality="both", interval="10ms"),  # type: ignore[arg-type]
        Otlp(endpoint="collector:4318", interval="soon"),
        Prometheus(port=0, host=""),
    ]
    problems = Profile(load(), sinks=wrong).validate()
    assert len(problems) == 7 and "s3cret" not in " ".join(problems)


def test_a_killed_exporter_costs_the_states_that_it_had_not_sent() -> None:
    """Also those that it was never given: the last one is what counts."""
    with Receiver() as receiver:
        going = Profile(load(), sinks=[Otlp(endpoint=receiver.url, interval="1s")]).start()
        wait_for_start(going)
        wait_until(lambda: receiver.requests > 1)  # so the first one has been answered
        os.kill(pid_of(going, "exporter"), signal.SIGKILL)
        result = going.wait(60)
    check_books(result)
    books = check_sink(result)
    assert result.ledger.ok == 300 and books["not_delivered"].keys() == {"exporter_died"}
