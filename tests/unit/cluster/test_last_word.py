"""A node's books in its container's termination message: small, read back as they were, and nothing else is taken for them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.plans import plan_of

from wasp_ray.cluster.last_word import MAX_WORD_CHARS, ledgers, read_word, word_text
from wasp_ray.cluster.merge import result_of_lost
from wasp_ray.stats.tallies import Ledger
from wasp_ray.stats.totals import GeneratorTotals, NodeTotals


def totals(*names: str, ok: int = 5) -> NodeTotals:
    """Generators that each did the same."""
    ledger = Ledger(scheduled=ok + 3, dropped=1, started=ok + 2, ok=ok, failed=2)
    return NodeTotals(1, "h", generators={name: GeneratorTotals("rate", ledger) for name in names})


@given(st.lists(st.text(max_size=40), min_size=1, max_size=12, unique=True), st.integers(0, 2**53))
def test_books_come_back_as_they_were_or_not_at_all(names: list[str], ok: int) -> None:
    """With many Generators there may be no room for each."""
    text = word_text(totals(*names, ok=ok), ["trouble" * 100] * 9)
    assert len(text) <= MAX_WORD_CHARS
    word = read_word(text)
    assert word is not None
    found = ledgers(word, names)
    if found is not None:
        assert found == {name: totals(name, ok=ok).ledger for name in names}
    else:
        assert len(names) > 1


def test_errors_are_left_out_first_then_generators() -> None:
    """The sum is always there."""
    few = read_word(word_text(totals("g"), ["no room left"]))
    assert few is not None and few["errors"] == ["no room left"] and few["generators"]
    many = read_word(word_text(totals(*(f"generator-{n}" * 4 for n in range(200))), ["no room left"]))
    assert many is not None and (many["errors"], many["generators"]) == ([], {}) and many["ledger"][3] == 1000
    assert ledgers(many, ["a", "b"]) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Traceback (most recent call last):\nNodeFailed: no answer",
        "[1, 2]",
        '{"ledger": {"ok": 1}}',
        json.dumps({"ledger": [1, 0, 0, 0, 0, 0, 0, 0, 0]}),  # does not close
        json.dumps({"ledger": [0] * 9, "generators": {"g": [1] * 8}}),
        json.dumps({"ledger": ["0"] * 9}),
    ],
)
def test_any_other_message_is_no_word(text: str) -> None:
    """The kubelet takes the end of the log where a node left nothing."""
    assert read_word(text) is None


def test_a_word_gives_whole_books_where_a_state_would_lose_calls() -> None:
    """Without times; errors that the node named are kept."""
    word = read_word(word_text(totals("g"), ["the setup failed"]))
    result = result_of_lost(2, None, plan_of(), 0.0, word)
    assert result.totals.ledger == totals("g").ledger and result.errors == ["the setup failed"]
    assert result.totals.generators["g"].dropped_by and result.totals.generators["g"].call.service.count == 0
