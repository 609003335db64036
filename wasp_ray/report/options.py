"""Options of the command line that every command which ends with a verdict has. Their values become an Outputs of a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click


def _step_summary(_context: click.Context, _parameter: click.Parameter, off: bool) -> Path | None:
    """The file that GitHub Actions shows on the page of the job, where there is one and it is wanted."""
    name = os.environ.get("GITHUB_STEP_SUMMARY")
    return Path(name) if name and not off else None


def _file(name: str, help_text: str) -> Any:
    kind = click.Path(path_type=Path, dir_okay=False)
    return click.option(f"--{name}", f"{name}_path", type=kind, metavar="PATH", help=help_text)


def result_options(command: Any) -> Any:
    """--out and --quiet, and the options whose names are the fields of Outputs."""
    for option in reversed((
        click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the bundle, new or empty."),
        _file("json", "Write a copy of summary.json."),
        _file("junit", "Write JUnit XML: a test case for each threshold and alert check, and one for the run."),
        _file("markdown", "Write the result as Markdown."),
        click.option("--no-step-summary", "step_summary", is_flag=True, callback=_step_summary,
                     help="Do not append the Markdown to GITHUB_STEP_SUMMARY where that is set."),
        click.option("--quiet", is_flag=True, default=None, help="No live view and no output of user code; the final table stays."),
    )):  # fmt: skip
        command = option(command)
    return command
