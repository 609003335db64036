"""The counters of workers, added up."""

from __future__ import annotations

from dataclasses import asdict, fields

from wasp_ray.node.headers import headers_of
from wasp_ray.node.sums import Sums, read_sums, sum_of
from wasp_ray.wire.arena import Arena, Header, lay_out

WORDS = {
    "begun": Header.BEGUN, "lost": Header.LOST, "lost_requests": Header.LOST_REQUESTS, "ring_wait_ns": Header.RING_WAIT_NS,
    "dropped_limit": Header.DROPPED_LIMIT, "dropped_generator": Header.DROPPED_GENERATOR,
    "dropped_stopped": Header.DROPPED_STOPPED, "dropped_busy": Header.DROPPED_BUSY,
    "overflowed_strings": Header.OVERFLOWED_STRINGS, "forks": Header.FORKS, "setups_failed": Header.SETUPS_FAILED,
    "blocks": Header.BLOCKS, "blocked_ns": Header.BLOCKED_NS,
}  # fmt: skip


def test_counters_are_those_of_their_header_words_and_add_up_column_by_column() -> None:
    """Of one ring, of several, and of workers that are gone."""
    arena = Arena.create(lay_out([(3, 8, 1)]), shared=False)
    for ring in range(3):
        for number, word in enumerate(WORDS.values()):
            arena.write(0, ring, word, 100**ring * (number + 1))
    rings = [read_sums(arena, 0, ring) for ring in range(3)]
    assert [asdict(sums) for sums in rings] == [
        {name: 100**ring * (number + 1) for number, name in enumerate(WORDS)} for ring in range(3)
    ]
    rings[0].add(rings[2])
    assert rings[0] == sum_of(headers_of(arena, 0), [0, 2]) != sum_of(headers_of(arena, 0), [0, 1])
    assert sum_of(headers_of(arena, 0), []) == Sums()


def test_dropped_is_the_sum_of_the_causes() -> None:
    """And of nothing else."""
    causes = ["dropped_limit", "dropped_generator", "dropped_stopped", "dropped_busy"]
    for column in fields(Sums):
        assert Sums(**{column.name: 7}).dropped == (7 if column.name in causes else 0)
