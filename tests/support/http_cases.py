"""What a wrong server does and what a client makes of it: a case is one line of a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from support.http_clock import clock_of_clients
from support.http_drivers import CountingRecorder, Driver
from support.wrong_server import WrongServer
from support.wrong_steps import Ahead, Endless, Script
from wasp_ray.http.failures import ALL


@dataclass(frozen=True)
class Case:
    """Reads: the server `does` this, so the request `gives` that. `connections`: all that the server saw, two good
    requests afterwards included. `kept`: one good request before. `then`: what it does at the second attempt. `attempts`:
    how often the request was seen.
    """

    does: str
    script: Script
    gives: str = ""
    status: int = 200
    body: bytes | None = None
    connections: int = 2
    retries: int = 0
    kept: bool = False
    method: str = "GET"
    asks: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    reads_body: bool = True
    then: Script | None = None
    attempts: int = 1

    def __str__(self) -> str:
        return f"{self.does}, {self.method} -> {self.gives or 'ok'}"


def check(case: Case, driver: Driver, server: WrongServer, **options: Any) -> None:
    """Plays it; afterwards the same client must get the right answers."""
    assert not case.gives or case.gives in ALL or case.gives == f"HTTP {case.status}"
    if any(isinstance(step, Ahead) for step in case.script):
        with clock_of_clients() as server.clock:
            _check(case, driver, server, options)
    else:
        _check(case, driver, server, options)


def _check(case: Case, driver: Driver, server: WrongServer, options: dict[str, Any]) -> None:
    recorder = CountingRecorder()
    scripts = [case.script] if case.then is None else [case.script, case.then]
    server.on("/case", *scripts, reads_body=case.reads_body)
    asks, given = dict(case.asks), {**options, **case.options}
    if "timeout" in given:  # of this request alone: the good ones may be slow on a busy machine
        asks["timeout"] = given.pop("timeout")
    client = driver.client(server.url, recorder, timeout="25s", **given)
    if case.kept:
        assert client.get("/good/1").json() == {"number": 1}
    response = client.request(case.method, "/case", **asks)
    server.wait_for_request("/case", case.attempts)
    server.go_on()
    if not any(isinstance(step, Endless) for step in case.script):
        server.wait_for_end("/case")
        driver.settle()
    assert (response.error, response.status) == (case.gives, case.status), response
    if case.body is not None:
        assert response.body == case.body
    for number in (2, 3):
        assert client.get(f"/good/{number}").json() == {"number": number}
    assert server.connections == case.connections
    assert recorder.counters.get("http retries", 0) == case.retries
    assert [each["error"] for each in recorder.requests if each["group"].endswith("/case")] == [case.gives]
    assert len(server.seen_at("/case")) == case.attempts
    assert len(recorder.requests) == 3 + case.kept
