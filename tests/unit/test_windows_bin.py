"""windows.bin: what is written is read again, whole or after a kill, and any window is the sum of its seconds."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wasp_ray.errors import BadInput
from wasp_ray.report.bundle import Bundle, open_bundle
from wasp_ray.report.window_file import HOUR_S, MINUTE_S, WindowFile
from wasp_ray.report.window_writer import WindowWriter
from wasp_ray.stats.histogram import Histogram, bucket_of
from wasp_ray.stats.outcomes import OUTCOMES
from wasp_ray.stats.seconds import CellKey, Origin, Second
from wasp_ray.stats.tallies import Cell
from wasp_ray.stats.windows.columns import Columns, Histograms, pack_ints
from wasp_ray.stats.windows.member import HEAD

MERGED: Origin = (None, "shop")


def histogram(*values_ns: int) -> Histogram:
    """Of these durations."""
    values = np.array(values_ns, np.int64)
    if not len(values):
        return Histogram()
    index, counts = np.unique(bucket_of(values), return_counts=True)
    return Histogram.of_buckets(index, counts, int(values.sum()), int(values.min()), int(values.max()))


def second(at_s: int, seed: int = 0, calls: int = 20, *, warmup: bool = False) -> Second:
    """A second of the load with random times, of calls and two groups."""
    drawn = np.random.default_rng((at_s, seed))
    made = Second(at_s, scheduled=calls + 2, started=calls + 1, lost=at_s % 2, late=1, dropped_by={"max_in_flight": 1})
    made.planned, made.users, made.in_flight, made.is_warmup = 10.25, 3, 2, warmup
    made.errors = {("Timeout: gone", "cart"): 1 + at_s % 3}
    made.start_delay = histogram(*drawn.integers(1, 10**6, 5).tolist())
    for group in (None, "cart", "pay"):
        service = drawn.lognormal(17, 0.5, calls).astype(np.int64)
        cell = Cell(calls - 1, 1, 0, 2, 0, 1000, 500, histogram(*service.tolist()))
        cell.response = cell.service if group == "pay" else histogram(*(service + 1000).tolist())
        made.cells[CellKey(group, warmup)] = cell
    return made


def write(path: Path, *rows: dict[Origin, list[Second]], max_bytes: int = 1 << 30) -> None:
    """A whole file."""
    problems: list[OSError] = []
    writer = WindowWriter(path, problems.append, max_bytes)
    for some in rows:
        writer.add(some)
    writer.close()
    assert not problems


@given(st.lists(st.integers(-(2**62), 2**62), max_size=50))
def test_integers_come_back_as_they_were(values: list[int]) -> None:
    """Of any size and sign, none and many."""
    column = np.array(values, np.int64)
    assert Columns(pack_ints(column)).ints().tolist() == values


@given(st.lists(st.lists(st.integers(0, 2**44), max_size=30), max_size=8))
def test_histograms_come_back_exactly(times: list[list[int]]) -> None:
    """With exact sum, min and max, empty ones and values beyond the last bucket among them."""
    made = [histogram(*values) for values in times]
    found = Columns(Histograms.of(made).pack()).histograms()
    assert found.rows() == made


def test_a_file_has_the_seconds_that_were_written(tmp_path: Path) -> None:
    """All columns of all cells, of all nodes together and of one."""
    seconds = [second(at_s) for at_s in range(130)]
    node = [each.of_calls() for each in seconds]
    write(tmp_path / "w", *({MERGED: [a], (2, "shop"): [b]} for a, b in zip(seconds, node, strict=True)))
    file = WindowFile(tmp_path / "w")
    assert (file.is_whole and file.end_s == 130) or file.end_s == 180
    found = [file.member(entry).seconds() for entry in file.entries if entry.step_s == 1]
    assert [each for part in found for each in part[MERGED]] == seconds
    assert [each for part in found for each in part[2, "shop"]] == node


def total(seconds: list[Second], group: str | None = None, *, warmup: bool = False) -> Cell:
    """The sum of a cell of all seconds."""
    sums = Cell()
    for each in seconds:
        for key, cell in each.cells.items():
            if key.group == group and (warmup or not key.warmup):
                sums.merge(cell)
    return sums


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Second]]:
    """An hour and a bit with a warm-up of 90 s; a part of second 100 came after its minute."""
    folder = tmp_path_factory.mktemp("long")
    seconds = [second(at_s, calls=3, warmup=at_s < 90) for at_s in range(HOUR_S + 75)]
    late = second(100, seed=7, calls=2)
    write(folder / "windows.bin", *({MERGED: [each]} for each in seconds), {MERGED: [late]})
    return folder, [*seconds, late]


@given(start=st.integers(-5, HOUR_S + 80), length=st.integers(0, HOUR_S + 100), warmup=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_window_is_the_sum_of_its_seconds(
    long_run: tuple[Path, list[Second]], start: int, length: int, warmup: bool
) -> None:
    """Whatever hours, minutes and seconds it is put together from."""
    folder, seconds = long_run
    inside = [each for each in seconds if start <= each.at_s < start + length]
    bundle = Bundle(folder)
    for group in (None, "cart", "pay"):
        window = bundle.window(start, start + length, "shop", group, warmup=warmup)
        expected = total(inside, group, warmup=warmup)
        assert {name: window.counts[name] for name in OUTCOMES} == expected.outcomes()
        assert window.service.histogram == expected.service and window.response.histogram == expected.response
        assert (window.bytes_in, window.bytes_out) == (expected.bytes_in, expected.bytes_out)
    loads = [each for each in inside if warmup or not each.is_warmup]
    window = bundle.window(start, start + length, warmup=warmup)
    assert window.counts["scheduled"] == sum(each.scheduled for each in loads)
    assert window.counts["dropped"] == sum(each.dropped for each in loads) == sum(window.dropped_by.values())
    assert window.errors.get(("Timeout: gone", "cart"), 0) == sum(sum(each.errors.values()) for each in inside)


def test_a_window_has_whole_seconds_and_ends_with_the_run(long_run: tuple[Path, list[Second]]) -> None:
    """Edges are rounded outwards; its rate is over the seconds that there were."""
    bundle = Bundle(long_run[0])
    window = bundle.window(120.2, 121.8)
    assert (window.start_s, window.end_s) == (120, 122) and window.rate == 5
    window = bundle.window(HOUR_S + 70, 10**9)
    assert (window.start_s, window.end_s) == (HOUR_S + 70, HOUR_S + 75)
    assert bundle.window(10**6, 10**6 + 5).rate is None


def test_names_that_the_run_does_not_have_are_bad_input(long_run: tuple[Path, list[Second]]) -> None:
    """With those that it has."""
    bundle = Bundle(long_run[0])
    with pytest.raises(BadInput, match="Generator 'shp' is not in this run: it has 'shop'"):
        bundle.window(0, 5, "shp")
    with pytest.raises(BadInput, match="group 'x' is not in this run: it has 'cart', 'pay'"):
        bundle.window(0, 5, group="x")
    with pytest.raises(BadInput, match="node 3 is not in this run: it has none"):
        bundle.window(0, 5, node=3)
    with pytest.raises(BadInput, match="found 5 to 4"):
        bundle.window(5, 4)
    with pytest.raises(ValueError, match=r"percentile\(0.99\)"):
        bundle.window(0, 5).service.percentile(99)


def test_a_file_without_its_index_is_read_by_its_members(long_run: tuple[Path, list[Second]], tmp_path: Path) -> None:
    """As a killed run leaves it, cut anywhere: every whole member counts, and nothing of the one that is not whole."""
    whole = WindowFile(long_run[0] / "windows.bin")
    data = (long_run[0] / "windows.bin").read_bytes()
    third = whole.entries[2]
    for cut in (third.offset + third.size, third.offset + third.size + 10, third.offset + third.size + HEAD.size + 5):
        (tmp_path / "windows.bin").write_bytes(data[:cut])
        bundle = Bundle(tmp_path)
        assert not bundle.windows.is_whole and bundle.summary is None and bundle.windows.end_s == 180
        expected = total(long_run[1][:180], warmup=True)
        assert bundle.window(0, 10**6, warmup=True).service.histogram == expected.service


def test_damage_is_reported_with_its_place(long_run: tuple[Path, list[Second]], tmp_path: Path) -> None:
    """A flipped bit fails the checksum of its member; other members can still be read."""
    data = bytearray((long_run[0] / "windows.bin").read_bytes())
    second_one = WindowFile(long_run[0] / "windows.bin").entries[1]
    data[second_one.offset + second_one.size - 3] ^= 1
    (tmp_path / "windows.bin").write_bytes(data)
    bundle = Bundle(tmp_path)
    assert bundle.window(0, 30, warmup=True).counts["ok"] == 60
    with pytest.raises(BadInput, match="its windows from second 60 on cannot be read: a member is damaged"):
        bundle.window(70, 80)


def test_what_is_no_window_store_is_bad_input(tmp_path: Path) -> None:
    """Another file, another version, nothing."""
    (tmp_path / "windows.bin").write_bytes(b"something else entirely, and long enough for a head")
    with pytest.raises(BadInput, match="no member begins here"):
        Bundle(tmp_path).window(0, 1)
    write(tmp_path / "windows.bin", {MERGED: [second(0)]})
    data = bytearray((tmp_path / "windows.bin").read_bytes())
    data[4] = 9
    (tmp_path / "windows.bin").write_bytes(data[:-5])
    with pytest.raises(BadInput, match="version 9, and this wasp_ray reads version 1"):
        Bundle(tmp_path).window(0, 1)
    with pytest.raises(BadInput, match=r"nowhere is no folder: expected the folder of a run"):
        open_bundle(tmp_path / "nowhere")


def test_the_oldest_hours_are_merged_when_the_file_grows_too_large(tmp_path: Path) -> None:
    """To 10 s, then to a minute; counts stay, and edges are rounded outwards to what is there."""
    seconds = [second(at_s, calls=1) for at_s in range(0, 3 * HOUR_S, 4)]
    rows = [{MERGED: seconds[at : at + 150]} for at in range(0, len(seconds), 150)]
    write(tmp_path / "all", *rows)
    whole = (tmp_path / "all").stat().st_size
    write(tmp_path / "windows.bin", *rows, max_bytes=whole * 2 // 3)
    bundle = Bundle(tmp_path)
    steps = list(bundle.windows.steps().values())
    assert steps[-1] == 1 and steps[0] == 10 and (tmp_path / "windows.bin").stat().st_size < whole
    window = bundle.window(14, 15)
    assert (window.start_s, window.end_s) == (10, 20)
    assert window.service.histogram == total([each for each in seconds if 10 <= each.at_s < 20]).service
    assert bundle.window(0, 10**6).service.histogram == total(seconds).service
    write(tmp_path / "windows.bin", *rows, max_bytes=1)
    bundle = Bundle(tmp_path)
    assert list(bundle.windows.steps().values()) == [MINUTE_S, MINUTE_S, 1]
    assert bundle.window(14, 15).end_s == 60 and bundle.window(0, 10**6).counts["ok"] == total(seconds).ok


def test_a_full_disk_leaves_the_members_that_were_whole(tmp_path: Path) -> None:
    """One problem is reported, once, and the run's thread never hears of it."""
    problems: list[OSError] = []
    writer = WindowWriter(Path("/dev/full"), problems.append)
    for at_s in range(200):
        writer.add({MERGED: [second(at_s)]})
    writer.close()
    assert [problem.errno for problem in problems] == [errno.ENOSPC]


def test_a_merge_that_the_disk_refuses_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the half of a smaller one beside it; it is too large then, and whole."""
    seconds = [second(at_s, calls=1) for at_s in range(0, HOUR_S + 120, 4)]

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    write(tmp_path / "windows.bin", {MERGED: seconds}, max_bytes=1)
    assert [path.name for path in tmp_path.iterdir()] == ["windows.bin"]
    assert Bundle(tmp_path).window(0, 10**6).service.histogram == total(seconds).service


def test_a_window_of_a_group_has_nothing_of_the_calls_load(long_run: tuple[Path, list[Second]]) -> None:
    """Drops, late starts and start delays are of calls."""
    window = Bundle(long_run[0]).window(100, 200, group="cart")
    assert (window.late, window.dropped_by, window.start_delay.count) == (0, {}, 0)
    assert window.counts == {name: window.counts[name] for name in OUTCOMES}


def test_histograms_of_a_thousand_calls_take_less_than_their_simulation_said(tmp_path: Path) -> None:
    """60 to 70 bytes a second, group and series at 100 calls/s, 180 to 270 at 1,000."""
    for calls, most in ((100, 70), (1000, 270)):
        write(tmp_path / str(calls), *({MERGED: [second(at_s, calls=calls)]} for at_s in range(600)))
        entries = WindowFile(tmp_path / str(calls)).entries
        size = sum(entry.size for entry in entries if entry.step_s == 1)
        assert size / 600 / 5 < most * 1.1, size / 600 / 5  # two groups and the calls, one of them with equal series
