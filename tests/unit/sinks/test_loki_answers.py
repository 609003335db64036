"""What the texts of Loki's answers say of a batch."""

from __future__ import annotations

import gzip
import json

import pytest

from wasp_ray.sinks.loki_lines import Batch, Labels, encode, halves
from wasp_ray.sinks.loki_push import ignored_lines


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


def test_a_batch_that_is_too_large_is_two_with_the_same_lines() -> None:
    """Down to one line, which cannot be halved."""
    streams: dict[Labels, list[tuple[int, str]]] = {
        (("kind", "a"),): [(2, "two"), (1, "one")],
        (("kind", "b"),): [(3, "three")],
    }
    parts = halves(Batch(7, encode(streams), 3))
    assert [(part.number, part.lines) for part in parts] == [(7, 2), (7, 1)]
    found = [
        value
        for part in parts
        for stream in json.loads(gzip.decompress(part.body))["streams"]
        for value in stream["values"]
    ]
    assert found == [["1", "one"], ["2", "two"], ["3", "three"]]
    assert [part.lines for part in halves(parts[1])] == [1]
