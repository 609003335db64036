"""Rings that are written many times over in one run: each call is counted once, whatever slot its record had."""

from __future__ import annotations

from pathlib import Path

from support import loads
from support.books import check_books

from wasp_ray import Generator, Profile, plain
from wasp_ray.node.shape import SMALL_RING


def test_calls_of_workers_whose_rings_wrap_around_are_all_counted(tmp_path: Path) -> None:
    """A sync gun's only worker and each of two users make more than twice as many calls as their rings have slots."""
    calls = {"gun": 5 * SMALL_RING // 2, "users": 80 * SMALL_RING}
    files = {name: tmp_path / name for name in calls}
    result = Profile(
        Generator(
            "gun", gun=loads.WitnessedGun, schedule=plain(calls["gun"] // 4, "4s"),
            max_workers=1, params={"file": str(files["gun"])},
        ),
        Generator(
            "users", user=loads.WitnessedUser, schedule=plain(2, "60s"), max_calls=calls["users"],
            params={"file": str(files["users"])},
        ),
    ).run()  # fmt: skip
    check_books(result)
    assert result.verdict == "passed", result.reasons
    for name, number in calls.items():
        assert result.generators[name].ledger.ok == result.generators[name].groups[name].count == number
        assert files[name].read_bytes().count(b"\n") == number
