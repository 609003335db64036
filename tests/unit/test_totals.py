"""Totals: they add up over nodes, stay bounded, and survive JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.histograms import histogram_of

from wasp_ray.stats.limits import MAX_COUNTERS, MAX_ERRORS, MAX_GROUPS, MAX_STATUSES, OTHER
from wasp_ray.stats.loop_blocks import LoopBlocks
from wasp_ray.stats.tallies import LEDGER_COLUMNS, Ledger
from wasp_ray.stats.totals import GeneratorTotals, NodeTotals, merge_nodes

ledgers = st.builds(Ledger, **{name: st.integers(0, 10**6) for name in LEDGER_COLUMNS})


def generator_of(calls: int, first_error_s: float = 1.0) -> GeneratorTotals:
    made = GeneratorTotals("rate")
    made.ledger = Ledger(scheduled=calls + 1, dropped=1, started=calls, ok=calls - 1, failed=1)
    made.dropped_by = {"generator": 1}
    made.late, made.delivered, made.cpu_s, made.cpu_wait_s, made.call_time_s = 2, calls, 0.5, 0.25, 3.0
    values = np.arange(1, calls + 1, dtype=np.int64) * 1000
    made.start_delay = histogram_of(values)
    made.call.service = histogram_of(values)
    made.call.response = histogram_of(values * 2)
    group = made.group("pay")
    group.ok, group.failed, group.bytes_in, group.bytes_out = calls - 1, 1, 10, 20
    group.add_status("200", calls)
    group.service = histogram_of(values)
    made.segment(1).ok = calls
    made.add_counter("hits", 3)
    made.add_error("HTTP 500", "pay", 1, first_error_s, f"body at {first_error_s}")
    made.users.active_max = 5
    made.users.replaced = 1
    made.loop_blocks = LoopBlocks(2, 0.25, 0.001 * calls, "call" if calls > 50 else "setup")
    made.scheduled_s = calls / 10
    return made


def node_of(number: int, calls: int, first_error_s: float = 1.0) -> NodeTotals:
    return NodeTotals(
        number,
        f"host{number}",
        0.001 * number,
        1.5,
        1000 * number,
        {"shop": generator_of(calls, first_error_s)},
        cpu_over_s=2.0,
    )


@pytest.mark.parametrize(
    ("columns", "closes"),
    [
        ({}, True),
        (
            {"scheduled": 10, "dropped": 3, "started": 7, "ok": 1, "failed": 1, "timeout": 1, "killed": 2, "lost": 2},
            True,
        ),
        ({"scheduled": 10, "started": 10, "ok": 9, "interrupted": 1}, True),
        ({"scheduled": 10, "started": 9, "ok": 9}, False),
        ({"scheduled": 10, "started": 10, "ok": 9}, False),
        ({"scheduled": 9, "started": 10, "ok": 10}, False),
    ],
)
def test_a_ledger_closes_when_both_equations_hold(columns: dict[str, int], closes: bool) -> None:
    """scheduled = started + dropped, and started = ok + failed + timeout + killed + interrupted + lost."""
    assert Ledger(**columns).closes() is closes


@given(ledgers, ledgers)
def test_ledgers_add_by_column(a: Ledger, b: Ledger) -> None:
    """Every column of the sum is the sum of the columns."""
    total = Ledger.from_data(a.to_data())
    total.merge(b)
    assert total.to_data() == {name: a.to_data()[name] + b.to_data()[name] for name in LEDGER_COLUMNS}


def test_a_node_survives_json() -> None:
    """What a node sends is what the controller has."""
    node = node_of(1, 100)
    assert NodeTotals.from_data(json.loads(json.dumps(node.to_data()))) == node


def test_nodes_add_up() -> None:
    """Counts, histograms, counters, users and CPU add up; memory and skew are those of the worst node."""
    total = merge_nodes([node_of(1, 100), node_of(2, 50)])
    shop = total.generators["shop"]
    assert shop.ledger == Ledger(scheduled=152, dropped=2, started=150, ok=148, failed=2)
    assert shop.ledger.closes()
    assert shop.dropped_by == {"generator": 2}
    assert (shop.late, shop.delivered, shop.cpu_s, shop.cpu_wait_s, shop.call_time_s) == (4, 150, 1.0, 0.5, 6.0)
    assert shop.call.service.count == shop.start_delay.count == shop.groups["pay"].service.count == 150
    assert shop.call.service.max_ns == 100_000
    assert shop.groups["pay"].status == {"200": 150}
    assert [segment.count for segment in shop.segments] == [0, 150]
    assert shop.counters == {"hits": 6}
    assert (shop.users.active_max, shop.users.replaced) == (10, 2)
    assert shop.loop_blocks == LoopBlocks(4, 0.5, 0.1, "call")
    assert shop.scheduled_s == 10
    assert (total.cpu_s, total.cpu_over_s, total.peak_rss_bytes, total.start_skew_s) == (3.0, 4.0, 2000, 0.002)
    assert total.ledger == shop.ledger


def test_merging_leaves_the_nodes_alone() -> None:
    """A merged total shares nothing with its nodes, so it can be made again and again."""
    nodes = [node_of(1, 10), node_of(2, 10)]
    before = [node.to_data() for node in nodes]
    assert merge_nodes(nodes).to_data() == merge_nodes(nodes).to_data()
    assert [node.to_data() for node in nodes] == before


def test_the_same_error_of_two_nodes_is_one_entry_with_the_earliest_time() -> None:
    """Errors add by text and group; the example is that of the first."""
    shop = merge_nodes([node_of(1, 10, first_error_s=4.0), node_of(2, 10, first_error_s=0.5)]).generators["shop"]
    assert shop.error_list() == [
        {"error": "HTTP 500", "group": "pay", "count": 2, "first_at_s": 0.5, "example": "body at 0.5"}
    ]


def test_distinct_errors_are_bounded_and_none_is_lost() -> None:
    """Beyond 100 texts the rest is counted together."""
    made = GeneratorTotals("rate")
    for number in range(MAX_ERRORS + 50):
        made.add_error(f"error {number}", "g", 2, 0.1 * number)
    assert len(made.errors) == MAX_ERRORS + 1
    assert made.errors[OTHER, ""].count == 100
    assert made.errors[OTHER, ""].first_at_s == pytest.approx(10.0)


def test_merged_errors_keep_the_most_frequent() -> None:
    """Two full lists make one of the 100 most frequent and the rest, however many nodes there are."""
    rare, common = GeneratorTotals("rate"), GeneratorTotals("rate")
    for number in range(MAX_ERRORS):
        rare.add_error(f"rare {number}", "g", 1, 0.0)
        common.add_error(f"common {number}", "g", 9, 1.0)
    rare.merge(common)
    assert len(rare.errors) == MAX_ERRORS + 1
    assert all(error.startswith("common") for error, _ in rare.errors if error != OTHER)
    assert sum(found.count for found in rare.errors.values()) == 10 * MAX_ERRORS


def test_other_errors_of_any_group_are_one_entry() -> None:
    """Nodes may name the group of the rest differently; it stays one entry."""
    data = GeneratorTotals("rate").to_data()
    data["errors"] = [{"error": OTHER, "group": OTHER, "count": 7, "first_at_s": 1.0, "example": ""}]
    made = GeneratorTotals.from_data(data)
    made.add_error(OTHER, "pay", 1, 0.5)
    assert [(entry["group"], entry["count"], entry["first_at_s"]) for entry in made.error_list()] == [("", 8, 0.5)]


def test_groups_statuses_and_counters_are_bounded() -> None:
    """A name that changes with every call cannot fill the memory; its counts are in `__other__`."""
    made = GeneratorTotals("users")
    for number in range(MAX_GROUPS + 10):
        made.group(f"group {number}").ok += 1
    for number in range(MAX_STATUSES + 10):
        made.group("group 0").add_status(str(number))
    for number in range(MAX_COUNTERS + 10):
        made.add_counter(f"counter {number}")
    assert made.groups[OTHER].count == 10
    assert made.groups["group 0"].status[OTHER] == 10
    assert made.counters[OTHER] == 10
    assert len(made.groups) == MAX_GROUPS + 1
