"""Batches on disk: what their files say is what is left to do, whenever the process ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from wasp_ray.sinks import loki_spool
from wasp_ray.sinks.loki_batch import Part
from wasp_ray.sinks.loki_spool import Spool, SpoolFull

FIRST, SECOND, THIRD = Part(1, 1, 5), Part(2, 1, 3), Part(10, 1, 1)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """Three batches, the second was sent."""
    made = Spool(tmp_path / "spool" / "loki", "{}")
    for part in (THIRD, FIRST, SECOND):
        made.add(part, str(part.number).encode())
    made.mark(SECOND, sent=True)
    yield made
    made.close()


def test_another_process_finds_what_is_left_oldest_first(spool: Spool) -> None:
    """With what each file says of it."""
    spool.mark(FIRST, sent=True)
    spool.mark(FIRST, sent=False)
    spool.close()
    assert spool.folder is not None
    found = Spool.found(spool.folder)
    assert list(found) == list(spool) == [FIRST, SECOND, THIRD] and found.lines == 9
    assert [found.is_sent(part) for part in found] == [False, True, False]
    assert [found.read(part) for part in found] == [b"1", b"2", b"10"]
    found.close()


def test_one_sends_the_batches_at_a_time(spool: Spool) -> None:
    """A second one would send them twice."""
    assert spool.folder is not None
    with pytest.raises(BlockingIOError):
        Spool.found(spool.folder)
    spool.close()
    Spool.found(spool.folder).close()


def test_a_spool_ends_with_its_last_batch(spool: Spool, tmp_path: Path) -> None:
    """As long as one is left its folder stays."""
    for part in (FIRST, SECOND):
        spool.remove(part)
    spool.close()
    assert spool.folder is not None
    found = Spool.found(spool.folder)
    assert list(found) == [THIRD]
    found.remove(THIRD)
    found.close()
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_folder_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its spool is for the time of the run."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spool = Spool(None, "{}")
    spool.add(FIRST, b"x")
    assert spool.folder is None and len(list(tmp_path.iterdir())) == 1
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_split_that_was_cut_short_has_the_whole_alone(spool: Spool) -> None:
    """None of its parts was sent before the whole was removed."""
    spool.add(Part(1, 1, 2), b"half")
    spool.close()
    assert spool.folder is not None
    found = Spool.found(spool.folder)
    assert list(found) == [FIRST, SECOND, THIRD]
    found.close()


def test_parts_of_a_batch_stand_in_its_stead(spool: Spool) -> None:
    """In its place."""
    spool.split(FIRST, [(Part(1, 1, 2), b"a"), (Part(1, 3, 5), b"b")])
    assert list(spool) == [Part(1, 1, 2), Part(1, 3, 5), SECOND, THIRD] and spool.lines == 9


def test_a_split_that_fails_leaves_the_batch_as_it_was(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full at its second part."""
    written = Path.write_bytes

    def once(path: Path, body: bytes) -> int:
        if body == b"b":
            raise OSError("no space")
        return written(path, body)

    monkeypatch.setattr(Path, "write_bytes", once)
    with pytest.raises(OSError, match="no space"):
        spool.split(FIRST, [(Part(1, 1, 2), b"a"), (Part(1, 3, 5), b"b")])
    assert list(spool) == [FIRST, SECOND, THIRD] and spool.read(FIRST) == b"1"


def test_there_is_an_end_of_room(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there stays; what is removed makes room."""
    monkeypatch.setattr(loki_spool, "MAX_BYTES", 10)
    with pytest.raises(SpoolFull):
        spool.add(Part(11, 1, 1), b"1234567")
    spool.remove(THIRD)
    spool.add(Part(11, 1, 1), b"1234567")
    assert len(spool) == 3
