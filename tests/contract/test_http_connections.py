"""Kept connections: what is sent again and what is not, what is not taken from them, how many there are, when they go."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from support.http_cases import Case, check
from support.http_drivers import HANG_GUARD_S, CountingRecorder, Driver, driving
from support.wrong_server import WrongServer
from support.wrong_steps import Ahead, ByRequest, Deaf, Hang, Keep, Later, Pause, Read, Reset, Seen, Step, Taken, good

from wasp_ray.errors import BadInput

SHORT = {"timeout": "300ms"}
ANSWER: list[Step] = [good("case"), Keep()]
NO_BODY: list[Step] = [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Keep()]
ITS_BODY: list[Step] = [ByRequest(lambda seen: good((seen.body or b"").decode())), Keep()]
BUSY = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
LARGE = b"x" * 20_000_000


def pieces() -> Iterator[bytes]:
    """A body that can be read once."""
    yield b"one"
    yield b"two"


AGAIN = [
    Case("closes instead of an answer", [], then=ANSWER, kept=True, retries=1, attempts=2),
    Case("closes instead of an answer", [], then=NO_BODY, kept=True, retries=1, attempts=2, method="HEAD"),
    Case("closes instead of an answer", [], then=ANSWER, kept=True, retries=1, attempts=2, method="DELETE"),
    Case("closes instead of an answer", [], then=ITS_BODY, kept=True, retries=1, attempts=2, method="PUT",
        asks={"body": b"mine"}, body=b'{"number": "mine"}'),
    Case("resets instead of an answer", [Reset()], then=ANSWER, kept=True, retries=1, attempts=2),
    Case("closes instead of an answer, twice", [], "closed without an answer", 0, kept=True, retries=1, attempts=2,
        connections=3),
    Case("resets instead of an answer, twice", [Reset()], "connection reset", 0, kept=True, retries=1, attempts=2,
        connections=3),
]  # fmt: skip

ONCE = [
    Case("closes instead of an answer", [], "closed without an answer", 0, kept=True, method="POST"),
    Case("closes instead of an answer, retries off", [], "closed without an answer", 0, kept=True, options={"retries": 0}),
    Case("resets instead of an answer, retries off", [Reset()], "connection reset", 0, kept=True, options={"retries": 0}),
    Case("closes instead of an answer", [], "closed without an answer", 0, kept=True, method="PATCH"),
    Case("resets instead of an answer", [Reset()], "connection reset", 0, kept=True, method="POST"),
    Case("closes before a body in pieces is answered", [], "closed without an answer", 0, kept=True, method="PUT",
        asks={"body": pieces()}),
    Case("closes in the head", [b"HTTP/1.1 "], "answer cut short", 0, kept=True),
    Case("resets in the head", [b"HTTP/1.1 ", Taken(), Reset()], "answer cut short", 0, kept=True),
    Case("closes behind 100", [b"HTTP/1.1 100 Continue\r\n\r\n"], "answer cut short", 0, kept=True),
    Case("sends junk", [b"junk\r\n\r\n"], "malformed answer", 0, kept=True),
    Case("hangs", [Hang()], "timeout", 0, kept=True, options=SHORT),
    Case("hangs before the first byte", [Hang()], "first byte timeout", 0, kept=True,
        options={"first_byte_timeout": "1s"}),
    Case("closes at the first request", [], "closed without an answer", 0),
]  # fmt: skip

BETWEEN = [
    Case("closes after its answer", [good("case")], body=b'{"number": "case"}'),
    Case("closes after its answer to", [good("case")], method="POST"),
    Case("says 408 when nobody asks", [good("case"), Later(), BUSY], body=b'{"number": "case"}'),
    Case("answers when nobody asks", [good("case"), Later(), good("nobody"), Hang()], body=b'{"number": "case"}'),
    Case("sends a byte when nobody asks", [good("case"), Later(), b"\n", Hang()], body=b'{"number": "case"}'),
    Case("resets after its answer", [good("case"), Taken(), Reset()], body=b'{"number": "case"}'),
]  # fmt: skip

SENDING = [
    Case("takes a body in pieces", ITS_BODY, method="POST", asks={"body": [b"one", b"", b"two"]}, connections=1,
        body=b'{"number": "onetwo"}'),
    Case("takes a body of 20 MB", [
        ByRequest(lambda seen: good(len(seen.body or b""))), Keep(),
    ], method="POST", asks={"body": LARGE}, connections=1, body=b'{"number": 20000000}'),
    Case("says 100 and takes a body of 20 MB", [b"HTTP/1.1 100 Continue\r\n\r\n", good("case"), Keep()], method="POST",
        asks={"body": LARGE}, connections=1),
    Case("answers a body of 20 MB unread, and closes", [
        good("case", "Connection: close", status="413 Too Large"), Taken(),
    ], "HTTP 413", 413, method="POST", asks={"body": LARGE}, reads_body=False),
    Case("answers a body of 20 MB unread, and is deaf", [good("case", status="413 Too Large"), Deaf()], "HTTP 413", 413,
        method="POST", asks={"body": LARGE}, reads_body=False),
    Case("answers a body in pieces unread, and is deaf", [good("case", status="413 Too Large"), Deaf()], "HTTP 413", 413,
        method="POST", asks={"body": [LARGE, LARGE]}, reads_body=False),
    Case("takes no more of a body of 20 MB", [Deaf()], "timeout", 0, method="POST", asks={"body": LARGE},
        options=SHORT, reads_body=False),
    Case("takes a body late, and answers at once then", [
        Ahead(20), Read(), good("case"), Keep(),
    ], method="POST", asks={"body": LARGE}, reads_body=False, options={"first_byte_timeout": "10s", "timeout": "50s"},
        connections=1),
    Case("closes before a body of 20 MB was read", [], "connection reset", 0, method="POST", asks={"body": LARGE},
        reads_body=False),
    Case("resets before a body of 20 MB was read", [Reset()], "connection reset", 0, method="POST", asks={"body": LARGE},
        reads_body=False),
]  # fmt: skip


@pytest.mark.parametrize("case", AGAIN, ids=str)
def test_a_request_is_sent_once_more_when_a_kept_connection(case: Case, driver: Driver, server: WrongServer) -> None:
    """Was closed before anything of an answer was read; that is counted, and a second time is a failure."""
    check(case, driver, server)


@pytest.mark.parametrize("case", ONCE, ids=str)
def test_a_request_is_not_sent_again_when_the_server(case: Case, driver: Driver, server: WrongServer) -> None:
    """May have done what was asked, or has begun to answer."""
    check(case, driver, server)


@pytest.mark.parametrize("case", BETWEEN, ids=str)
def test_the_next_request_has_its_own_answer_when_the_server(case: Case, driver: Driver, server: WrongServer) -> None:
    """Did something to a connection that was idle: it is not used again, and nothing has to be sent twice."""
    check(case, driver, server)


@pytest.mark.parametrize("case", SENDING, ids=str)
def test_while_a_body_is_sent_the_server(case: Case, driver: Driver, server: WrongServer) -> None:
    """May read all of it, nothing, or answer first: the answer counts, and a connection with a rest is not used again."""
    check(case, driver, server)


def test_a_post_right_after_a_kept_connection_was_closed_goes_over_a_new_one(
    driver: Driver, server: WrongServer
) -> None:
    """It need not be repeated, so that it works though it may not be."""
    server.on("/last", [good("last")])
    recorder = CountingRecorder()
    client = driver.client(server.url, recorder)
    for number in range(5):
        assert client.post("/last").ok
        server.wait_for_end("/last")
        driver.settle()
        assert client.post(f"/good/{number}").json() == {"number": number}
        client.close()
    assert not recorder.counters


def test_a_connection_that_was_idle_for_too_long_is_not_used(driver: Driver, server: WrongServer) -> None:
    """`idle` is its limit; the next request opens a new one."""
    client = driver.client(server.url, idle="20ms")
    assert client.get("/good/1").ok
    threading.Event().wait(0.3)
    assert client.get("/good/2").json() == {"number": 2}
    assert server.connections == 2


def test_after_close_a_client_opens_new_connections(driver: Driver, server: WrongServer) -> None:
    """It stays usable."""
    client = driver.client(server.url)
    assert client.get("/good/1").ok
    client.close()
    assert client.get("/good/2").json() == {"number": 2}
    assert server.connections == 2


def test_a_body_that_cannot_be_read_fails_its_request_alone(driver: Driver, server: WrongServer) -> None:
    """User code that raises in its generator has a failed request; no half of one stays on the connection."""

    def broken() -> Iterator[bytes]:
        yield b"one"
        raise RuntimeError("no more")

    client = driver.client(server.url)
    assert client.get("/good/1").ok
    assert client.post("/good/2", body=broken()).error == "body could not be read"
    assert client.get("/good/3").json() == {"number": 3}


def test_an_async_body_is_sent_in_pieces_by_an_async_client(driver: Driver, server: WrongServer) -> None:
    """A sync one cannot read it, and says so before anything is sent."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b""
        yield b"two"

    server.on("/case", ITS_BODY)
    client = driver.client(server.url)
    if driver.is_async:
        assert client.post("/case", body=pieces()).json() == {"number": "onetwo"}
        assert client.get("/good/1").json() == {"number": 1}
        assert server.connections == 1
        return
    with pytest.raises(BadInput, match="async iterable"):
        client.post("/case", body=pieces())
    assert server.connections == 0


def _number(seen: Seen) -> int:
    return int(seen.target.split("=")[1])


def test_many_requests_at_once_each_get_their_own_answer(driver: Driver, server: WrongServer) -> None:
    """Every seventh answer is cut and every tenth connection closes behind one: no request gets what another asked for."""
    cut = ByRequest(lambda seen: good(_number(seen))[: 30 if _number(seen) % 7 == 0 else None])
    server.on("/n", [cut, Keep(lambda seen: _number(seen) % 7 != 0 and _number(seen) % 10 != 0)])
    client = driver.client(server.url, connections=8)
    for number, answer in enumerate(client.all_of([f"/n?number={number}" for number in range(300)])):
        if number % 7 == 0:
            assert answer.error == "answer cut short"
        else:
            assert answer.json() == {"number": number}


def test_a_client_has_no_more_connections_than_it_may(driver: Driver, server: WrongServer) -> None:
    """Requests beyond that wait for one to be free, in their order, and get their answers."""
    server.on("/n", [ByRequest(lambda seen: good(_number(seen))), Pause(0.001), Keep()])
    client = driver.client(server.url, connections=3)
    answers = client.all_of([f"/n?number={number}" for number in range(100)])
    assert [answer.json()["number"] for answer in answers] == list(range(100))
    assert server.connections <= 3


def test_a_request_that_finds_no_connection_free_fails_in_its_time(server: WrongServer) -> None:
    """And leaves those that were under way alone."""
    server.on("/slow", [Later(), good("slow"), Keep()])
    for kind in ("asyncio", "uvloop"):
        with driving(kind) as driver:
            server._later.clear()
            client = driver.client(server.url, connections=2)
            slow = [client.start("/slow") for _ in range(2)]
            assert client.get("/good/1", timeout="100ms").error == "no connection free"
            server.go_on()
            assert [each.result(HANG_GUARD_S).json()["number"] for each in slow] == ["slow", "slow"]
            assert client.get("/good/2").json() == {"number": 2}


def test_a_cancelled_request_takes_no_other_one_with_it(server: WrongServer) -> None:
    """User code may give up, while it waits for a connection or for an answer: the record says so, the others go on."""
    server.on("/slow", [Later(), good("slow"), Keep()])
    for kind in ("asyncio", "uvloop"):
        with driving(kind) as driver:
            server._later.clear()
            recorder = CountingRecorder()
            client = driver.client(server.url, recorder, connections=2)
            given_up, slow, waits_in_vain, waits = (
                client.start(path) for path in ("/slow", "/slow", "/good/1", "/good/2")
            )
            driver.settle()
            waits_in_vain.cancel()
            given_up.cancel()
            assert waits.result(HANG_GUARD_S).json() == {"number": 2}
            server.go_on()
            assert slow.result(HANG_GUARD_S).json() == {"number": "slow"}
            assert sorted(each["error"] for each in recorder.requests) == ["", "", "cancelled", "cancelled"]
