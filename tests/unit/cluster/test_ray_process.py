"""What Ray's driver tells survives its way through a pipe."""

from __future__ import annotations

import json

import pytest

from wasp_ray.cluster.backend import Happening, LastWord, Line, Note
from wasp_ray.cluster.child_process import MAX_LINE_BYTES
from wasp_ray.cluster.lifecycle import Broken, Cleaned, Collected, Ended, Refused, Seen, Trouble
from wasp_ray.cluster.ray_driver import from_data, to_data


@pytest.mark.parametrize(
    "happening",
    [
        Line(1, "u1", 'a "line" — of node 1', is_error=True, arrived_s=1700000000.25),
        LastWord(2, "u2", {"ledger": {"ok": 3}}),
        Note("a note"),
        Seen(1, "u1", "host a"),
        Ended(1, "u1", "why", counted=True, bad=True),
        Trouble(1, "why", fatal=True),
        Broken("why"),
        Collected(),
        Cleaned(),
    ],
)
def test_an_event_comes_out_as_it_went_in(happening: Happening) -> None:
    """Each kind with all its fields."""
    assert from_data(json.loads(json.dumps(to_data(happening)))) == happening


def test_problems_are_a_list_of_sentences() -> None:
    """JSON has no tuple, and nothing depends on it."""
    found = from_data(json.loads(json.dumps(to_data(Refused(1, "u1", ("this", "that"))))))
    assert isinstance(found, Refused) and list(found.problems) == ["this", "that"]


def test_no_line_is_too_long_for_the_pipe() -> None:
    """Whatever it holds: one that were split would be no JSON."""
    line = json.dumps(to_data(Line(1, "u1", "\x00" * MAX_LINE_BYTES, is_error=True)))
    assert len(line) < MAX_LINE_BYTES
