"""Compares counts of calls and requests with facts, of which some may have more than one outcome. Pure."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from model.truth import COLUMNS, Fact, Outcomes, Truth

MOST_COMBINATIONS = 20_000
OF_REQUESTS = COLUMNS[:-1]
"""A request cannot be lost: such a run is invalid."""


class Divergence(NamedTuple):
    """Something that the summary says and the witness contradicts."""

    check: str
    text: str


def choices(found: Sequence[Truth]) -> Iterator[tuple[Counter[Outcomes], Counter[tuple[str, Outcomes]]]]:
    """Every choice of facts for the uncertain steps of some truths, the most likely first."""
    calls = sum((truth.calls for truth in found), Counter[Outcomes]())
    requests = sum((truth.requests for truth in found), Counter[tuple[str, Outcomes]]())
    steps = [step for truth in found for step in truth.steps]
    seen = set()
    for number, choice in enumerate(itertools.product(*steps)):
        assert number < MOST_COMBINATIONS, "too many killed processes to tell what they left"
        key = tuple(sorted(Counter(choice).items(), key=repr))
        if key in seen:
            continue
        seen.add(key)
        more = sum(choice, Fact())
        yield (
            calls + Counter(more.calls),
            requests + sum((Counter({(n, o): k}) for n, o, k in more.requests), Counter[tuple[str, Outcomes]]()),
        )


def ledger_problems(
    facts: tuple[Counter[Outcomes], Counter[tuple[str, Outcomes]]], ledger: Mapping[str, int]
) -> Iterator[Divergence]:
    calls, _ = facts
    began = sum(calls.values())
    if ledger["started"] != began:
        yield Divergence("started", f"started {ledger['started']}, but {began} calls began")
    counts = {column: ledger[column] for column in COLUMNS}
    if not feasible(calls, counts):
        yield Divergence("outcomes", f"{_shown(counts)}, expected {_expected(calls)}")


def group_problems(
    facts: tuple[Counter[Outcomes], Counter[tuple[str, Outcomes]]], groups: Mapping[str, Any], slack: Counter[str]
) -> Iterator[Divergence]:
    _, requests = facts
    for name in sorted({*groups, *(name for name, _ in requests)}):
        wanted = Counter({outcomes: number for (group, outcomes), number in requests.items() if group == name})
        data = groups.get(name, {"count": 0, "failed": 0})
        count, began = data["count"], sum(wanted.values())
        if not began <= count <= began + slack[name]:
            yield Divergence("groups", f"group {name!r} counts {count}, but {began} requests began")
            continue
        wanted[frozenset(OF_REQUESTS)] += count - began
        low = wanted[frozenset({"failed"})]
        high = sum(number for outcomes, number in wanted.items() if "failed" in outcomes)
        if not low <= data["failed"] <= high:
            yield Divergence("groups", f"group {name!r} has {data['failed']} failed, expected {_expected(wanted)}")
        if any(column not in data for column in OF_REQUESTS):
            if name in groups:
                yield Divergence(
                    "group outcomes",
                    f"group {name!r} does not say {', '.join(c for c in OF_REQUESTS if c not in data)}",
                )
        elif not feasible(wanted, {column: data[column] for column in OF_REQUESTS}):
            shown = _shown({column: data[column] for column in OF_REQUESTS})
            yield Divergence("group outcomes", f"group {name!r}: {shown}, expected {_expected(wanted)}")


def feasible(wanted: Mapping[Outcomes, int], counts: Mapping[str, int]) -> bool:
    """Return whether each item can have one of its outcomes so that the outcomes have these counts (Hall's condition)."""
    if sum(wanted.values()) != sum(counts.values()):
        return False
    names = list(counts)
    for size in range(1, len(names)):
        for chosen in itertools.combinations(names, size):
            bound = sum(number for outcomes, number in wanted.items() if outcomes <= frozenset(chosen))
            if bound > sum(counts[name] for name in chosen):
                return False
    return True


def _shown(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number) or "nothing"


def _expected(wanted: Mapping[Outcomes, int]) -> str:
    parts = sorted(("/".join(sorted(outcomes)), number) for outcomes, number in wanted.items() if number)
    return ", ".join(f"{number} {name}" for name, number in parts) or "nothing"
