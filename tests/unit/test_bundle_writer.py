"""The bundle: a folder that is whole or says what is missing, and never ends a run."""

from __future__ import annotations

import json
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wasp_ray.errors import BadInput
from wasp_ray.report.bundle_writer import BundleWriter, try_text_file, write_json_file

STARTED = "20260131-120000"
NOBODY = 65534


@contextmanager
def _files_of_at_most(size: int) -> Iterator[None]:
    """Writing past `size` bytes fails as on a full disk (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --out the folder is wasp-runs/TIME-NAME; git ignores it and `latest` leads to the newest."""
    monkeypatch.chdir(tmp_path)
    first = BundleWriter.create(None, "shop/../ load", STARTED)
    second = BundleWriter.create(None, "shop/../ load", STARTED)
    home = tmp_path / "wasp-runs"
    assert first.path == home / f"{STARTED}-shop-..-load" and second.path.name == first.path.name + "-2"
    assert (home / ".gitignore").read_text() == "*\n"
    assert (home / "latest").resolve() == second.path
    assert sorted(path.name for path in home.iterdir()) == sorted(
        [".gitignore", "latest", first.path.name, second.path.name]
    )
    assert not first.problems + second.problems and not list(second.path.iterdir())


def test_a_folder_called_latest_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user put in the place of the link stays, and is spoken of."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wasp-runs/latest").mkdir(parents=True)
    bundle = BundleWriter.create(None, None, STARTED)
    assert bundle.path.name == f"{STARTED}-run" and "latest" in bundle.problems[0]


def test_out_is_the_bundle(tmp_path: Path) -> None:
    """--out DIR is the folder itself, new or empty."""
    (tmp_path / "empty").mkdir()
    assert BundleWriter.create(tmp_path / "empty", "x", STARTED).path == tmp_path / "empty"
    assert BundleWriter.create(tmp_path / "a/b", "x", STARTED).path.is_dir()


@pytest.mark.parametrize(
    ("place", "said"), [("full", "holds files already"), ("file", "found a file"), ("file/below", "cannot be written")]
)
def test_bad_places_are_refused(tmp_path: Path, place: str, said: str) -> None:
    """A folder with files, a file, and a place that cannot be written are bad input, each with a cure."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("")
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=said):
        BundleWriter.create(tmp_path / place, "x", STARTED)


def test_json_is_replaced_in_one_step(tmp_path: Path) -> None:
    """A file that cannot be written whole leaves the former one in place and no rest beside it."""
    bundle = BundleWriter.create(tmp_path / "b", "x", STARTED)
    assert bundle.write_json("summary.json", {"a": float("nan"), "b": [1, float("inf")], "c": "ö\ud800"})
    before = (bundle.path / "summary.json").read_text()
    assert json.loads(before)["a"] is None and json.loads(before)["b"] == [1, None]
    with _files_of_at_most(100):
        assert not bundle.write_json("summary.json", ["x" * 1000])
        assert not bundle.write_json("summary.json", ["x" * 1000])
    assert (bundle.path / "summary.json").read_text() == before
    assert [path.name for path in bundle.path.iterdir()] == ["summary.json"]
    assert bundle.problems == ["summary.json: File too large (2 times)"]


def test_lines_are_whole_or_absent(tmp_path: Path) -> None:
    """On a full disk a line is left out whole; when there is room again the next one gets in."""
    bundle = BundleWriter.create(tmp_path / "b", "x", STARTED)
    assert bundle.append_line("logs/series.jsonl", "one\ntwo")
    with _files_of_at_most(20):
        assert not bundle.append_line("logs/series.jsonl", "x" * 100)
    assert bundle.append_line("logs/series.jsonl", "three")
    bundle.close()
    bundle.close()
    assert (bundle.path / "logs/series.jsonl").read_text() == "one two\nthree\n"
    assert bundle.problems == ["logs/series.jsonl: File too large"]


def test_user_log_is_capped(tmp_path: Path) -> None:
    """Long lines are cut, the file has a limit, and what was left out is counted in it."""
    bundle = BundleWriter.create(tmp_path / "b", "x", STARTED)
    log = bundle.user_log(limit_bytes=5000)
    log.write("shop/3", "red \x1b[31m")
    log.write("shop/3", "y" * 10_000)
    for _ in range(9):
        log.write("shop/3", "z" * 900)
    log.close()
    bundle.close()
    lines = (bundle.path / "logs/users.log").read_text().splitlines()
    assert lines[0] == "shop/3: red \\x1b[31m" and len(lines[1]) == 4096 + len("shop/3: ")
    assert lines[-1] == "… 9 more lines were left out"


def test_json_into_a_device_and_through_a_link(tmp_path: Path) -> None:
    """--json takes /dev/null and a link to a file without replacing either."""
    write_json_file(Path("/dev/null"), {})
    assert Path("/dev/null").is_char_device()
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_json_file(tmp_path / "link", {"a": 1})
    assert (tmp_path / "link").is_symlink() and json.loads((tmp_path / "real").read_text()) == {"a": 1}


@contextmanager
def _without_root() -> Iterator[Path]:
    """A folder of an unprivileged user, as whom the block runs where the tests are root, whom no permission binds."""
    folder, uids = Path(tempfile.mkdtemp(dir="/tmp")), os.getresuid()
    if uids[1] == 0:
        os.chown(folder, NOBODY, -1)
        os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield folder
    finally:
        os.setresuid(*uids)
        shutil.rmtree(folder)


@pytest.mark.parametrize(("mode", "place"), [(0o500, "."), (0o700, "file"), (0o500, "link")])
def test_what_may_not_be_written_is_found_out_before_it_is_needed(mode: int, place: str) -> None:
    """A new file in a read-only folder, a read-only file, a link into a read-only folder; nothing is left of the trial."""
    with _without_root() as folder:
        (folder / "file").write_text("mine")
        (folder / "file").chmod(0o400)
        inner = folder / "inner"
        inner.mkdir(mode=mode)
        (folder / "link").symlink_to(inner / "x.json")
        path = inner / "x.json" if place == "." else folder / place
        with pytest.raises(PermissionError):
            try_text_file(path)
        try_text_file(folder / "new.json")
        assert sorted(each.name for each in folder.iterdir()) == ["file", "inner", "link"]
        assert (folder / "file").read_text() == "mine"


@pytest.mark.parametrize("there", [True, False])
def test_what_was_never_begun_is_taken_back(tmp_path: Path, there: bool) -> None:
    """A folder that was there is as empty as before, one that was not is gone, whatever was written meanwhile."""
    out = tmp_path / "out"
    if there:
        out.mkdir()
    bundle = BundleWriter.create(out, None, STARTED)
    bundle.append_line("logs/users.log", "a line")
    bundle.append_line("events.log", "a line")
    bundle.take_back()
    assert list(tmp_path.rglob("*")) == ([out] if there else [])


def test_latest_leads_to_the_run_before_one_that_never_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And to nothing when there was none."""
    monkeypatch.chdir(tmp_path)
    BundleWriter.create(None, "shop", STARTED).take_back()
    assert [path.name for path in (tmp_path / "wasp-runs").iterdir()] == [".gitignore"]
    first = BundleWriter.create(None, "shop", STARTED)
    BundleWriter.create(None, "shop", STARTED).take_back()
    assert (tmp_path / "wasp-runs/latest").resolve() == first.path
