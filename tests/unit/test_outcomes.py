"""Outcomes are defined once: what is made of them follows."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from wasp_ray.aggregator.windows import Windows
from wasp_ray.stats.outcomes import OUTCOMES, OutcomeCounts, outcomes_of
from wasp_ray.stats.tallies import LEDGER_COLUMNS, GroupTotals, Ledger, SegmentTotals

FIVE = ("ok", "failed", "timeout", "killed", "interrupted")


def test_names_and_order_are_those_of_the_interface() -> None:
    """The columns of a ledger and the fields of the counts are the same ones."""
    assert FIVE == OUTCOMES == tuple(field.name for field in dataclasses.fields(OutcomeCounts))
    assert LEDGER_COLUMNS == ("scheduled", "dropped", "started", *FIVE, "lost") == tuple(Ledger().to_data())


@pytest.mark.parametrize("name", OUTCOMES)
def test_each_outcome_is_in_every_place_that_counts(name: str) -> None:
    """Ledger, group and segment, in memory and as data."""
    kinds: list[Any] = [Ledger, GroupTotals, SegmentTotals]
    for kind in kinds:
        made = kind(**{name: 3})
        assert made.to_data()[name] == 3 and kind.from_data(made.to_data()) == made and made.count == 3
        made.merge(kind(**{name: 4}))
        assert made.outcomes() == {**dict.fromkeys(OUTCOMES, 0), name: 7}


def test_errors_are_all_but_ok_and_answers_those_with_a_time() -> None:
    """Killed and interrupted ones say nothing of the target's time."""
    counts = OutcomeCounts(1, 2, 4, 8, 16)
    assert (counts.count, counts.errors, counts.answered) == (31, 30, 7)


def test_a_window_has_a_column_for_each_outcome() -> None:
    """Series and live views take theirs from there."""
    windows = Windows()
    windows.begin(1)
    windows.add_unfinished(OUTCOMES.index("killed"), 2)
    window = windows.close(None)[0].line()
    assert outcomes_of(window) == {**dict.fromkeys(OUTCOMES, 0), "killed": 2} and window["calls"] == 2
