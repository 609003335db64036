"""Any bytes, in any pieces, over real connections: a client says the same of them as the reader alone, and goes on."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.http_drivers import Driver
from support.http_fuzz import MAX_BODY, Answer, answers, pieces_of, read, spoilt
from support.wrong_server import WrongServer
from support.wrong_steps import Keep

from wasp_ray.errors import BadInput
from wasp_ray.http.failures import ALL

EXAMPLES = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CUTS = st.lists(st.integers(0, 10_000), max_size=4)


def test_valid_answers_are_the_same_however_they_are_cut(driver: Driver, server: WrongServer) -> None:
    """Status, headers and body; the connection goes on when the answer allows it."""
    client = driver.client(server.url, max_body=MAX_BODY)

    @EXAMPLES
    @given(answer=answers(), cuts=CUTS, number=st.integers(0, 10**6))
    def holds(answer: Answer, cuts: list[int], number: int) -> None:
        server.on("/case", [*pieces_of(answer.data, cuts), *([] if answer.closes else [Keep()])])
        response = client.get("/case")
        assert response.error == (f"HTTP {answer.status}" if answer.status >= 400 else "")
        assert (response.status, response.body) == (answer.status, answer.body)
        headers = [(name.decode().lower(), value.decode("latin-1")) for name, value in answer.headers]
        for name in dict(headers):
            assert response.headers.get_all(name) == [value for known, value in headers if known == name]
        assert client.get(f"/good/{number}").json() == {"number": number}

    holds()


def test_spoilt_answers_fail_by_name_or_are_what_they_say(driver: Driver, server: WrongServer) -> None:
    """As the reader alone has it: no other exception, no hang, and the next request gets its own answer."""
    client = driver.client(server.url, max_body=MAX_BODY, timeout="20s")

    @EXAMPLES
    @given(data=spoilt() | st.binary(max_size=300), cuts=CUTS, number=st.integers(0, 10**6))
    def holds(data: bytes, cuts: list[int], number: int) -> None:
        server.on("/case", pieces_of(data, cuts))
        response = client.get("/case")
        expected = read([data])
        failed = expected.error or (f"HTTP {expected.status}" if expected.status >= 400 else "")
        if response.error == "body cannot be decoded":  # its headers were spoilt into saying so
            assert b"ncoding" in data
        else:
            assert response.error == failed and (
                response.error in ALL or response.error in ("", f"HTTP {response.status}")
            )
        if not expected.error:
            assert (response.status, response.body) == (expected.status, expected.body)
        server.wait_for_end("/case")
        driver.settle()
        assert client.get(f"/good/{number}").json() == {"number": number}

    holds()


def test_answers_to_head_end_with_their_headers(driver: Driver, server: WrongServer) -> None:
    """With a body that should not be there or without: the next request gets its own answer."""
    client = driver.client(server.url, max_body=MAX_BODY)

    @EXAMPLES
    @given(answer=answers(), cuts=CUTS, number=st.integers(0, 10**6))
    def holds(answer: Answer, cuts: list[int], number: int) -> None:
        server.on("/case", pieces_of(answer.data, cuts))
        response = client.request("HEAD", "/case")
        assert (response.status, response.body) == (answer.status, b"")
        server.wait_for_end("/case")
        driver.settle()
        assert client.get(f"/good/{number}").json() == {"number": number}

    holds()


def test_any_request_of_any_user_gets_an_answer_or_a_bad_input(driver: Driver, server: WrongServer) -> None:
    """Whatever it asks for, the server sees one request of what was meant, and no other request is mixed up."""
    client = driver.client(server.url)
    texts = st.text(max_size=20)

    @EXAMPLES
    @given(
        path=texts,
        query=st.dictionaries(texts, texts, max_size=2),
        value=texts,
        body=st.binary(max_size=99),
        number=st.integers(0, 99),
    )
    def holds(path: str, query: dict[str, str], value: str, body: bytes, number: int) -> None:
        before = len(server.seen)
        if path.startswith(("http://", "https://")):
            return
        try:
            response = client.post("/" + path, query=query, body=body, headers={"X": value})
        except BadInput:
            assert len(server.seen) == before
        else:
            assert response.error in ("HTTP 404", "") and len(server.seen) == before + 1
            assert server.seen[-1].body == body
        assert client.get(f"/good/{number}").json() == {"number": number}

    holds()
