"""Clocks of nodes, from stamps on what they tell and when that arrived."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasp_ray.cluster.clocks import Clock, Clocks, clock_warnings


@given(st.floats(-1000, 1000), st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_the_offset_is_wrong_by_the_shortest_way_at_most(offset_s: float, ways_s: list[float]) -> None:
    """However long the other ways are."""
    clocks = Clocks()
    for number, way_s in enumerate(ways_s):
        clocks.heard(1, number + offset_s, number + way_s)
    found = clocks.known()[1]
    assert found.offset_s <= offset_s + 1e-6
    assert found.offset_s == pytest.approx(offset_s - min(ways_s), abs=1e-6)
    assert 0 <= found.error_s <= max(ways_s) - min(ways_s) + 1e-6


def test_history_that_is_read_late_does_no_harm() -> None:
    """A log is read from its first line."""
    clocks = Clocks()
    for at in range(100):
        clocks.heard(3, at, 200.0)
    clocks.heard(3, 200.0, 200.02)
    assert clocks.known()[3].offset_s == pytest.approx(-0.02)


@pytest.mark.parametrize(
    ("offsets", "named"),
    [
        ({1: 0.0, 2: 0.1, 3: -0.2}, []),
        ({1: 0.0, 2: 4.0, 3: 0.1}, ["node 2 +3.9 s"]),
        ({1: -7200.0, 2: -7200.0}, []),  # it is the controller's clock that is off
        ({1: 9.0}, []),
    ],
)
def test_nodes_whose_clocks_differ_from_the_others_are_named(offsets: dict[int, float], named: list[str]) -> None:
    """By more than a second; the terminal's own clock does not matter."""
    said = " ".join(clock_warnings({node: Clock(offset_s, 0.01) for node, offset_s in offsets.items()}))
    assert all(text in said for text in named) and bool(said) == bool(named)


def test_what_is_not_known_well_enough_is_no_warning() -> None:
    """A slow way looks like a clock that is behind."""
    assert clock_warnings({1: Clock(0, 0.01), 2: Clock(-2.0, 1.5), 3: Clock(0, 0.01)}) == []
