"""A node's books in a few bytes: what it leaves as its container's termination message, which outlives its log. Pure.

Written at the end of every node of a pod, read by the controller when no result was heard.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from wasp_ray.stats.tallies import LEDGER_COLUMNS, Ledger
from wasp_ray.stats.totals import NodeTotals

MAX_WORD_CHARS = 3000
"""A pod's messages have 12 KiB together, one container's 4 KiB."""


def word_text(totals: NodeTotals, errors: Sequence[str]) -> str:
    """The ledger of each Generator as numbers in the ledger's order; without errors, then without Generators, for room."""
    generators = {name: list(item.ledger.to_data().values()) for name, item in totals.generators.items()}
    word: dict[str, Any] = {"generators": generators, "errors": [text[:200] for text in errors[:3]]}
    for _ in range(3):
        text = json.dumps({"ledger": list(totals.ledger.to_data().values()), **word}, separators=(",", ":"))
        if len(text) <= MAX_WORD_CHARS:
            break
        word.popitem()
    return text


def read_word(text: str) -> dict[str, Any] | None:
    """The same read back; None for any other message, as the last lines of a log that the kubelet takes instead."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if not isinstance(found, dict) or ledger_of(found.get("ledger")) is None:
        return None
    generators, errors = found.get("generators"), found.get("errors")
    if isinstance(generators, dict) and any(ledger_of(numbers) is None for numbers in generators.values()):
        return None
    return {
        "ledger": found["ledger"],
        "generators": generators if isinstance(generators, dict) else {},
        "errors": [str(text) for text in errors] if isinstance(errors, list) else [],
    }


def ledger_of(numbers: Any) -> Ledger | None:
    """A ledger that closes; None when it is none."""
    if not isinstance(numbers, list) or len(numbers) != len(LEDGER_COLUMNS):
        return None
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        return None
    ledger = Ledger.from_data(dict(zip(LEDGER_COLUMNS, numbers, strict=True)))
    return ledger if ledger.closes() else None


def ledgers(word: Mapping[str, Any], names: Sequence[str]) -> dict[str, Ledger] | None:
    """Of each Generator of the plan; None when the word had no room for them."""
    given = dict(word["generators"])
    if not given and len(names) == 1:
        given = {names[0]: word["ledger"]}
    found = {name: ledger_of(numbers) for name, numbers in given.items()}
    whole = {name: ledger for name, ledger in found.items() if ledger is not None}
    return whole if whole or not names else None
