"""No two users or workers of a run draw the same random numbers, on whatever node; equal seeds draw them again."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import draws
from support.books import check_books
from support.runtimes import Runtime

from wasp_ray import Generator, Profile, plain


def profile(folder: Path) -> Profile:
    """Users, packs and guns, each with some workers on every node."""
    folder.mkdir()
    params = {"folder": str(folder)}
    return Profile(
        Generator("users", user=draws.SyncUser, schedule=plain(6, "1500ms"), params=params),
        Generator("packs", user=draws.AsyncUser, schedule=plain(6, "1s"), users_per_process=2, params=params),
        Generator("gun", gun=draws.AsyncGun, schedule=plain(60, "1s"), params=params),
        Generator("blocking", gun=draws.SyncGun, schedule=plain(60, "1s"), params=params),
    )


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_every_stream_of_a_run_is_another_and_equal_seeds_repeat_them(nodes: int, tmp_path: Path) -> None:
    """context.random, random and numpy.random in setup, and the choice of tasks, of each process that ever worked."""
    runs = []
    for name in ("first", "second"):
        check_books(profile(tmp_path / name).run(nodes=nodes, seed=7))
        runs.append(draws.drawn(tmp_path / name))
    first, second = runs
    assert sum(stream.startswith("users 001 own") for stream in first) == 2, "user 1 was not replaced"
    assert len({stream.split()[1] for stream in first if stream.startswith("users")}) == 6
    values = [tuple(numbers) for numbers in first.values()]
    same = {value: [stream for stream, numbers in first.items() if tuple(numbers) == value] for value in values}
    assert not [streams for streams in same.values() if len(streams) > 1]
    common = set(first) & set(second)
    assert len(common) >= 6 * 3 and {s: first[s] for s in common} == {s: second[s] for s in common}


def test_users_that_another_engine_starts_draw_as_forked_ones_do(tmp_path: Path) -> None:
    """The same streams for the same seed, wherever the process comes from."""
    runs = []
    for name in ("process", "placed"):
        folder = tmp_path / name
        folder.mkdir()
        generator = Generator("users", user=draws.AsyncUser, schedule=plain(3, "300ms"), params={"folder": str(folder)})
        with Runtime(name) as runtime:
            runtime.run(Profile(generator), seed=7)
        runs.append(draws.drawn(folder))
    assert len(runs[0]) == 9 and runs[0] == runs[1]
