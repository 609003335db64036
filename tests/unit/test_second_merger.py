"""Seconds of several nodes as those of the run: complete, once, and each node's calls beside them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.histograms import histogram_of

from wasp_ray.report.series import SeriesFile
from wasp_ray.stats.second_merger import LAG_S, SecondMerger
from wasp_ray.stats.seconds import Second, folded


def second(at_s: int, ok: int = 1, *, group: str | None = None, warmup: bool = False) -> Second:
    """Some calls that succeeded."""
    made = Second(at_s, scheduled=ok, started=ok, planned=2.0, users=3, is_warmup=warmup)
    made.cell(None, warmup=warmup).ok = ok
    if group is not None:
        made.cell(group, warmup=warmup).ok = ok
    return made


def test_a_second_is_held_until_all_awaited_nodes_have_reported_it() -> None:
    """Then all nodes together, with groups, and each node with its calls alone."""
    merger = SecondMerger(2)
    merger.add(1, {"g": [second(0, 2, group="cart"), second(1, 5)]})
    assert merger.release({1, 2}) == {}
    merger.add(2, {"g": [second(0, 3, group="cart")]})
    found = merger.release({1, 2})
    (merged,), (first,), (other,) = found[None, "g"], found[1, "g"], found[2, "g"]
    assert merged.calls().ok == merged.cell("cart", warmup=False).ok == merged.started == 5 and merged.users == 6
    assert (first.started, other.started) == (2, 3) and [key.group for key in first.cells] == [None]
    assert merger.release({1, 2}) == {}
    assert [each.at_s for each in merger.release({1})[None, "g"]] == [1]


def test_a_node_that_is_far_behind_holds_nothing_back() -> None:
    """Its part follows by itself."""
    merger = SecondMerger(2)
    merger.add(1, {"g": [second(at_s) for at_s in range(LAG_S + 2)]})
    assert [each.at_s for each in merger.release({1, 2})[None, "g"]] == [0, 1]
    merger.add(2, {"g": [second(0, 7)]})
    late = merger.release({1, 2})
    assert [each.started for each in late[None, "g"]] == [7]


def test_one_node_is_all_nodes() -> None:
    """Its seconds are kept once."""
    merger = SecondMerger(1)
    merger.add(1, {"g": [second(0)], "h": [second(0)]})
    assert sorted(merger.release(())) == [(None, "g"), (None, "h")]


def test_a_longer_window_adds_counts_and_takes_the_mean_of_what_was_planned() -> None:
    """Warm-up is kept apart; a second that is there twice, since a part came late, counts once in the mean."""
    seconds = [second(at_s, warmup=at_s < 5) for at_s in range(20)] + [Second(12, started=4, scheduled=4)]
    found = folded(seconds, 10)
    assert [(each.at_s, each.is_warmup, each.started, each.planned) for each in found] == [
        (0, False, 5, 2.0), (0, True, 5, 2.0), (10, False, 14, 2.0),
    ]  # fmt: skip


def test_a_line_is_written_anew_when_a_part_of_its_second_comes_late(tmp_path: Path) -> None:
    """With those behind it, which stay as they are; much later the part has a line of its own."""
    series = SeriesFile(tmp_path / "series.jsonl")
    for at_s in range(3):
        series.add("g", second(at_s))
        series.add("h", second(at_s, 2))
    before = (tmp_path / "series.jsonl").read_text().splitlines()
    series.add("g", second(1, 4))
    lines = (tmp_path / "series.jsonl").read_text().splitlines()
    assert lines[:2] + lines[3:] == before[:2] + before[3:]
    assert json.loads(lines[2]) == {"generator": "g", **(second(1) + second(1, 4)).line()}
    series.add("g", second(500))
    series.add("g", second(1, 8))
    series.close()
    found = [json.loads(line) for line in (tmp_path / "series.jsonl").read_text().splitlines()]
    assert [(line["generator"], line["at_s"], line["ok"]) for line in found[6:]] == [("g", 500, 1), ("g", 1, 8)]


@pytest.mark.parametrize(("steps", "error"), [(32, 1 / 64), (16, 1 / 32), (8, 1 / 16)])
def test_a_thinned_second_has_the_same_counts_and_coarser_times(steps: int, error: float) -> None:
    """As the logs of pods carry it; min and max stay exact, and both series stay one where they were."""
    drawn = np.random.default_rng(1).lognormal(17, 1, 5000).astype(np.int64)
    made = second(0)
    cell = made.cell(None, warmup=False)
    cell.service = cell.response = histogram_of(drawn)
    thin = made.thinned(steps).calls()
    assert thin.outcomes() == cell.outcomes() and thin.response is thin.service
    assert (thin.service.count, thin.service.sum_ns, thin.service.max_ns) == (5000, drawn.sum(), drawn.max())
    assert len(thin.service.buckets()[0]) < len(cell.service.buckets()[0]) / (128 / steps / 2)
    for q in (1, 50, 90, 99):
        exact, found = cell.service.percentile(q), thin.service.percentile(q)
        assert exact is not None and found is not None and abs(found - exact) <= exact * (error + 1 / 256) + 1
    assert Second.from_data(json.loads(json.dumps(made.thinned(steps).to_data()))) == made.thinned(steps)
