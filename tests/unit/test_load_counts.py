"""What a node adds to each second: its counters' growth, and its part of what was planned."""

from __future__ import annotations

from typing import Any

import pytest

from wasp_ray.node.load_counts import planned_share


@pytest.mark.parametrize(
    ("kind", "planned", "share", "expected"),
    [
        ("rate", 90.0, (0, 1), 90.0),
        ("rate", 90.0, (1, 3), 30.0),
        ("users", 10.0, (0, 3), 4.0),
        ("users", 10.0, (2, 3), 3.0),
    ],
)
def test_nodes_have_parts_of_what_was_planned(kind: str, planned: float, share: Any, expected: float) -> None:
    """Rates are divided, users are whole."""
    assert planned_share(kind, planned, *share) == expected
