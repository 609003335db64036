"""The files beside the bundle: all from one summary, for every ending, and never a reason for a run to fail."""

from __future__ import annotations

import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from support.summaries import summary_of

from wasp_ray.errors import BadInput
from wasp_ray.execution import Findings, Finished, Listener, Outputs, Reporter, Settings
from wasp_ray.execution.outputs import MAX_BYTES


def finished(summary: dict[str, object] | None = None) -> Finished:
    """Return a run that ended well."""
    return Finished(summary or summary_of(), 0, None, None)


def written(outputs: Outputs, run: Finished | None = None, *, is_last: bool = True) -> list[str]:
    """Write, and return the notes."""
    notes: list[str] = []
    outputs.write(run or finished(), notes.append, is_last=is_last)
    return notes


def test_all_come_from_one_summary(tmp_path: Path) -> None:
    """Each in its own form; the step summary is the Markdown."""
    outputs = Outputs(tmp_path / "a.json", tmp_path / "a.xml", tmp_path / "a.md", tmp_path / "step")
    run = finished()
    assert written(outputs, run) == []
    assert json.loads((tmp_path / "a.json").read_text()) == run.summary
    suite = ElementTree.parse(tmp_path / "a.xml").getroot()
    assert f"run {run.summary['run_id']}" in (tmp_path / "a.md").read_text()
    assert run.summary["run_id"] in {each.get("value") for each in suite.iter("property")}
    assert (tmp_path / "step").read_text() == (tmp_path / "a.md").read_text()


def test_nothing_is_written_that_was_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library call is silent, in a CI job too."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step"))
    assert written(Outputs()) == [] and not list(tmp_path.iterdir())


def test_a_step_summary_is_appended_to(tmp_path: Path) -> None:
    """After an empty line, behind what other commands of the step wrote."""
    step = tmp_path / "step"
    step.write_text("# mine")
    written(Outputs(step_summary=step))
    written(Outputs(step_summary=step))
    first, *others = step.read_text().split("\n\n## ✅ PASSED: shop\n")
    assert first == "# mine" and len(others) == 2


@pytest.mark.parametrize(("room", "shown"), [(400, True), (10, False)])
def test_a_step_summary_stays_within_the_limit_of_github(tmp_path: Path, room: int, shown: bool) -> None:
    """What is there already counts; where nothing fits any more, a note says so."""
    step = tmp_path / "step"
    step.write_bytes(b"x" * (MAX_BYTES - room))
    notes = written(Outputs(step_summary=step))
    assert step.stat().st_size <= MAX_BYTES
    assert ("PASSED" in step.read_text()) is shown
    assert bool(notes) is not shown and all(f"at most {MAX_BYTES:,}" in note for note in notes)


def test_files_that_cannot_be_written_any_more_are_notes(tmp_path: Path) -> None:
    """The folder was removed during the run: the others are written all the same."""
    gone = tmp_path / "gone"
    outputs = Outputs(gone / "f" / "a.json", tmp_path / "a.xml", Path("/proc/a.md"), gone / "step")
    gone.write_text("")
    notes = written(outputs)
    assert [note.split()[0] for note in notes] == ["--json", "--markdown", "!"] and "GITHUB_STEP_SUMMARY" in notes[2]
    assert (tmp_path / "a.xml").exists()


def test_what_can_only_be_added_to_waits_for_the_last_summary(tmp_path: Path) -> None:
    """A summary before the wait for alerts is replaced in files; a pipe or a step summary would show both."""
    pipe, file = tmp_path / "pipe", tmp_path / "a.xml"
    os.mkfifo(pipe)
    outputs = Outputs(junit_path=file, markdown_path=pipe, step_summary=tmp_path / "step")
    assert written(outputs, is_last=False) == []
    assert file.exists() and not (tmp_path / "step").exists()


@pytest.mark.parametrize("option", ["json", "junit", "markdown"])
def test_a_path_that_cannot_be_written_is_bad_input(tmp_path: Path, option: str) -> None:
    """With the option's name, the cause and the cure."""
    with pytest.raises(BadInput, match=f"--{option} .*none does not exist: create it first"):
        Outputs(**{f"{option}_path": tmp_path / "none" / "x"}).check(None)


def test_one_file_for_two_outputs_is_bad_input(tmp_path: Path) -> None:
    """The second would replace the first; a device is no file."""
    with pytest.raises(BadInput, match=r"--markdown \S+ is the file of --json too: name another file"):
        Outputs(json_path=tmp_path / "a", markdown_path=tmp_path / "a").check(None)
    Outputs(Path("/dev/null"), Path("/dev/null"), Path("/dev/null")).check(None)


def test_known_secrets_are_in_none_but_the_json(tmp_path: Path) -> None:
    """JSON is the summary itself."""
    run = finished(summary_of("by hunter22"))._replace(secrets=["hunter22"])
    written(Outputs(tmp_path / "a.json", tmp_path / "a.xml", tmp_path / "a.md", tmp_path / "step"), run)
    assert [path.name for path in sorted(tmp_path.iterdir()) if "hunter22" in path.read_text()] == ["a.json"]


def test_what_a_run_was_given_in_secret_is_masked(tmp_path: Path) -> None:
    """Variables and parameters by their names, and what the caller names: a node's error may quote any of them."""
    source = {"params": {"api_key": "k-parameter", "users": "50-users"}}
    settings = Settings(
        source=source, env={"TOKEN": "t-variable", "HOST": "h-variable"}, secret_values=["s-cluster"],
        outputs=Outputs(junit_path=tmp_path / "a.xml", markdown_path=tmp_path / "a.md"),
    )  # fmt: skip
    error = "k-parameter t-variable s-cluster 50-users h-variable"
    assert Reporter(settings, Listener()).conclude([], Findings(errors=[error])).summary["reasons"] == [error]
    for path in tmp_path.iterdir():
        assert "*** *** *** 50-users h-variable" in path.read_text().replace("\\*", "*")


def test_the_result_of_a_detached_run_has_the_same_outputs(tmp_path: Path) -> None:
    """Whoever attaches gets them from the summary that the controller left."""
    import_module("wasp_ray.cluster.cli")  # it imports the commands of runs at its own end, so it comes first
    from wasp_ray.cluster.cli_runs import _show_result

    found: dict[str, Any] = {"summary": summary_of(thresholds=["failed > 0"]), "plan": {}, "exit_code": 1}
    out = tmp_path / "out"
    assert (
        _show_result(found, out, Outputs(tmp_path / "a.json", tmp_path / "a.xml", step_summary=tmp_path / "step")) == 1
    )
    assert json.loads((tmp_path / "a.json").read_text()) == json.loads((out / "summary.json").read_text())
    assert {each.get("value") for each in ElementTree.parse(tmp_path / "a.xml").iter("property")} >= {
        str(out),
        "failed",
    }
    assert f"exit 1 · run {found['summary']['run_id']}" in (tmp_path / "step").read_text()
