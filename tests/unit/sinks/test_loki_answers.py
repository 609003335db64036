"""What the texts of Loki's answers say of a batch."""

from __future__ import annotations

import gzip
import json

import pytest

from wasp_ray.sinks.loki_batch import Labels, Part, halves, pack, replayed, span_ns
from wasp_ray.sinks.loki_server import ignored_lines


@pytest.mark.parametrize(
    ("text", "ignored"),
    [
        ("entry with timestamp 1 ignored, reason: 'too old',\ntotal ignored: 3 out of 10 for stream: {a=\"b\"}", 3),
        (
            "2 errors like: max entry size '50' bytes exceeded for stream 'a'; 1 errors like: entry has timestamp too old: 1",
            3,
        ),
        ("max entry size '50' bytes exceeded for stream '{a=\"b\"}' while adding an entry with length '61' bytes", 1),
        ("entry for stream '{a=\"b\"}' has timestamp too new: 2099", 1),
        ("couldn't parse push request: unexpected end", 0),
        ("", 0),
    ],
)
def test_a_400_says_how_many_lines_it_left_out(text: str, ignored: int) -> None:
    """In the forms that Loki has for it; 0: of all."""
    assert ignored_lines(text) == ignored


def line(n: int) -> str:
    """As the sink writes them."""
    return json.dumps({"batch": "r-1-7", "n": n})


STREAMS: dict[Labels, list[tuple[int, str]]] = {
    (("kind", "a"),): [(20, line(3)), (10, line(1))],
    (("kind", "b"),): [(30, line(2))],
}


def values(body: bytes) -> list[list[str]]:
    """Instants and lines of a push."""
    return [value for stream in json.loads(gzip.decompress(body))["streams"] for value in stream["values"]]


def test_a_batch_that_is_too_large_is_two_with_the_same_lines() -> None:
    """By the numbers of its lines, so that a half can be asked for; down to one line, which cannot be halved."""
    (first, first_body), (second, second_body) = halves(Part(7, 1, 3), pack(STREAMS))
    assert (first, second) == (Part(7, 1, 1), Part(7, 2, 3))
    assert values(first_body) == [["10", line(1)]] and values(second_body) == [["20", line(3)], ["30", line(2)]]
    assert halves(first, first_body) == [(first, first_body)]


def test_what_is_replayed_is_the_same_in_streams_of_its_own() -> None:
    """One label more; the instants are those of the run."""
    body = replayed(pack(STREAMS))
    assert values(body) == values(pack(STREAMS)) and span_ns(body) == (10, 30)
    labels = [stream["stream"] for stream in json.loads(gzip.decompress(body))["streams"]]
    assert labels == [{"kind": "a", "replayed": "1"}, {"kind": "b", "replayed": "1"}]
