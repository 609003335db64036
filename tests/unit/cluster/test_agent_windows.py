"""The seconds that a node reports: whole where there is room for them, with coarser histograms where there is not."""

from __future__ import annotations

import numpy as np
import pytest
from support.histograms import histogram_of

from wasp_ray.cluster.agent import Agent
from wasp_ray.cluster.snapshot import Decoder, Told
from wasp_ray.node.options import NodeOptions
from wasp_ray.stats.seconds import Second


def busy_second(at_s: int) -> Second:
    """Twenty groups of 500 requests."""
    made = Second(at_s, scheduled=500, started=500)
    for number in range(20):
        cell = made.cell(f"group {number}", warmup=False)
        cell.ok = 500
        cell.service = cell.response = histogram_of(
            np.random.default_rng((at_s, number)).lognormal(17, 0.5, 500).astype(np.int64)
        )
    return made


@pytest.mark.parametrize(("bytes_per_s", "step"), [(None, 128), (40_000, 128), (7_000, 32), (100, 8)])
def test_seconds_are_thinned_to_what_there_is_room_for(bytes_per_s: int | None, step: int) -> None:
    """Counts stay exact; at 8 buckets to an octave it ends, whatever the room."""
    lines: list[str] = []
    agent = Agent(NodeOptions(source={"file": "load.py"}, run_id="r"), "uid", lines.append, lambda: None, bytes_per_s)
    seconds = [busy_second(at_s) for at_s in range(3)]
    for second in seconds:
        agent.windows({"shop": [second]})
    decoder, found = Decoder("r"), []
    for line in lines:
        told = decoder.read(line)
        if isinstance(told, Told):
            found += [Second.from_data(data) for data in told.data["shop"]]
    assert found == [second.thinned(step) for second in seconds] and decoder.gaps("uid") == 0
    if bytes_per_s is not None and step > 8:
        assert sum(map(len, lines)) < 3 * bytes_per_s * 1.1


def test_nothing_is_reported_of_no_second() -> None:
    """As before t = 0."""
    lines: list[str] = []
    agent = Agent(NodeOptions(source={"file": "load.py"}, run_id="r"), "uid", lines.append, lambda: None, 100)
    agent.windows({"shop": []})
    assert not lines
