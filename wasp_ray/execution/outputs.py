"""The files that a run writes beside its bundle: --json, --junit, --markdown, and the step summary of a CI job.

All are made from one summary. A path that cannot be written is bad input before anything starts; later it is only a note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from wasp_ray.errors import BadInput
from wasp_ray.report.bundle_writer import is_stream, shown_path, try_text_file, write_json_file, write_text_file

MAX_BYTES = 1024 * 1024
"""GitHub refuses a larger summary of a step."""


class Finished(NamedTuple):
    """A run as its outputs show it."""

    summary: dict[str, Any]
    exit_code: int
    bundle: Path | None
    out: Path | None
    """--out: people are shown the bundle's folder as they named it"""
    secrets: Sequence[str] = ()
    """values that no output but --json, which is for programs, may show"""

    def junit(self) -> str:
        """Return it as JUnit XML."""
        from wasp_ray.report.junit import junit_xml  # here: only few runs want it

        path = shown_path(self.bundle, self.out)
        return junit_xml(self.summary, path=path, exit_code=self.exit_code, secrets=self.secrets)

    def markdown(self, most_bytes: int = MAX_BYTES) -> str:
        """Return it as Markdown."""
        from wasp_ray.report.markdown import markdown

        path = shown_path(self.bundle, self.out)
        return markdown(self.summary, path=path, exit_code=self.exit_code, secrets=self.secrets, most_bytes=most_bytes)


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where to; None: not wanted."""

    json_path: Path | None = None
    junit_path: Path | None = None
    markdown_path: Path | None = None
    step_summary: Path | None = None
    """the Markdown is appended to it"""

    def check(self, out: Path | None) -> None:
        """Raise BadInput for a file that cannot be written; inside of `out`, the folder that the run makes, it can be."""
        taken: dict[Path, str] = {}
        for option, path in self._files():
            _check_path(option, path, out)
            target = path.absolute()
            if not is_stream(path) and (first := taken.setdefault(target, option)) != option:
                raise BadInput(f"{option} {path} is the file of {first} too: name another file")

    def write(self, run: Finished, note: Callable[[str], None], *, is_last: bool = True) -> None:
        """Write all files. Unless `is_last`, a better summary follows, so what can only be added to waits for that one."""
        for option, path in self._files():
            if is_last or not is_stream(path):
                try:
                    if option == "--json":
                        write_json_file(path, run.summary)
                    else:
                        write_text_file(path, run.junit() if option == "--junit" else run.markdown())
                except OSError as exc:
                    note(f"{option} {path}: {exc.strerror or exc}")
        if is_last and self.step_summary is not None:
            try:
                _append(self.step_summary, run)
            except OSError as exc:
                note(f" ! GITHUB_STEP_SUMMARY {self.step_summary} cannot be written: {exc.strerror or exc}")

    def _files(self) -> Iterator[tuple[str, Path]]:
        for option, path in (
            ("--json", self.json_path), ("--junit", self.junit_path), ("--markdown", self.markdown_path)
        ):  # fmt: skip
            if path is not None:
                yield option, path


def _append(path: Path, run: Finished) -> None:
    """Append what still fits into GitHub's limit, with an empty line behind what is there. Raises OSError."""
    with path.open("ab") as file:
        start = b"\n\n" if file.tell() else b""
        room = MAX_BYTES - file.tell() - len(start)
        text = run.markdown(room)
        if not text:
            raise OSError(f"it holds {file.tell():,} bytes already, at most {MAX_BYTES:,} are allowed")
        file.write(start + text.encode())


def _check_path(option: str, path: Path, out: Path | None) -> None:
    folder = path.parent
    try:
        if out is not None:
            if path.resolve() == out.resolve():
                raise BadInput(
                    f"{option} {path} is the folder of --out: name a file, as {option} {path / 'summary.json'}"
                )
            if folder.resolve().is_relative_to(out.resolve()):
                return
        if not folder.is_dir():
            found = "is not a folder" if folder.exists() else "does not exist: create it first"
            raise BadInput(f"{option} {path}: {folder} {found}, or name a file in another folder")
        try_text_file(path)
    except (OSError, RuntimeError) as exc:  # RuntimeError: a loop of links, before Python 3.13
        why = getattr(exc, "strerror", None) or exc
        raise BadInput(f"{option} {path} cannot be written ({why}): name a file that can") from exc
